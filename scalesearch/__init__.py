"""How should this ConvNet grow? Compound-scaling search over depth, width and resolution."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from scalesearch.models import build_model
    from scalesearch.scaling import Coefficients, Multipliers, Rounding, scale_spec
    from scalesearch.spec import ModelSpec, dump_spec, load_spec

__version__ = "0.1.0"
__all__ = [
    "Coefficients",
    "ModelSpec",
    "Multipliers",
    "Rounding",
    "build_model",
    "dump_spec",
    "load_spec",
    "scale_spec",
]

_HOMES = {
    "build_model": "scalesearch.models",
    "Coefficients": "scalesearch.scaling",
    "Multipliers": "scalesearch.scaling",
    "Rounding": "scalesearch.scaling",
    "scale_spec": "scalesearch.scaling",
    "ModelSpec": "scalesearch.spec",
    "dump_spec": "scalesearch.spec",
    "load_spec": "scalesearch.spec",
}


def __getattr__(name: str) -> Any:
    """Public names load their module when first asked for, so that ``import scalesearch`` costs nothing."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(_HOMES[name]), name)
