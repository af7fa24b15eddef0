"""How should this ConvNet grow? Compound-scaling search over depth, width and resolution."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from scalesearch.version import __version__

if TYPE_CHECKING:
    from scalesearch.baselines import build_model
    from scalesearch.modulespec import ModuleSpec
    from scalesearch.scaling import Coefficients, Multipliers, Rounding, scale_spec
    from scalesearch.spec import ModelSpec
    from scalesearch.specs import dump_spec, load_spec
    from scalesearch.surgery import scale_module

__all__ = [
    "Coefficients",
    "ModelSpec",
    "ModuleSpec",
    "Multipliers",
    "Rounding",
    "__version__",
    "build_model",
    "dump_spec",
    "load_spec",
    "scale_module",
    "scale_spec",
]

_HOMES = {
    "build_model": "scalesearch.baselines",
    "Coefficients": "scalesearch.scaling",
    "Multipliers": "scalesearch.scaling",
    "Rounding": "scalesearch.scaling",
    "scale_spec": "scalesearch.scaling",
    "ModelSpec": "scalesearch.spec",
    "ModuleSpec": "scalesearch.modulespec",
    "scale_module": "scalesearch.surgery",
    "dump_spec": "scalesearch.specs",
    "load_spec": "scalesearch.specs",
}


def __getattr__(name: str) -> Any:
    """Public names load their module when first asked for, so that ``import scalesearch`` costs nothing."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(_HOMES[name]), name)
