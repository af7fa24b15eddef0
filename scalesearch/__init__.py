"""How should this ConvNet grow? Compound-scaling search over depth, width and resolution."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from scalesearch.version import __version__

if TYPE_CHECKING:
    from scalesearch.models.catalogue import build_model
    from scalesearch.models.surgery.scale import scale_module
    from scalesearch.scaling.compound import Coefficients, Multipliers, Rounding, scale_spec
    from scalesearch.scaling.module_spec import ModuleSpec
    from scalesearch.scaling.spec import ModelSpec
    from scalesearch.scaling.spec_files import dump_spec, load_spec
    from scalesearch.search.python import Search

__all__ = [
    "Coefficients",
    "ModelSpec",
    "ModuleSpec",
    "Multipliers",
    "Rounding",
    "Search",
    "__version__",
    "build_model",
    "dump_spec",
    "load_spec",
    "scale_module",
    "scale_spec",
]

_HOMES = {
    "Search": "scalesearch.search.python",
    "build_model": "scalesearch.models.catalogue",
    "Coefficients": "scalesearch.scaling.compound",
    "Multipliers": "scalesearch.scaling.compound",
    "Rounding": "scalesearch.scaling.compound",
    "scale_spec": "scalesearch.scaling.compound",
    "ModelSpec": "scalesearch.scaling.spec",
    "ModuleSpec": "scalesearch.scaling.module_spec",
    "scale_module": "scalesearch.models.surgery.scale",
    "dump_spec": "scalesearch.scaling.spec_files",
    "load_spec": "scalesearch.scaling.spec_files",
}


def __getattr__(name: str) -> Any:
    """Public names load their module when first asked for, so that ``import scalesearch`` costs nothing."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(_HOMES[name]), name)
