"""What can be scaled: the built-in networks, a user's spec, and modules of timm, torchvision or one's own."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING

from scalesearch.errors import BaselineError, SurgeryError
from scalesearch.image_size import Resolution
from scalesearch.models.protocols import Baseline, ScaledModel
from scalesearch.models.spec_baseline import SpecBaseline
from scalesearch.models.spec_model import SpecModel
from scalesearch.scaling.compound import Rounding
from scalesearch.scaling.module_spec import ModuleSpec
from scalesearch.scaling.spec import ModelSpec
from scalesearch.scaling.spec_files import Spec, load_spec
from scalesearch.validation import is_file, nearest

if TYPE_CHECKING:
    from torch import nn

__all__ = [
    "Baseline",
    "ScaledModel",
    "SpecBaseline",
    "SpecModel",
    "baseline_of",
    "build_model",
    "builtin",
    "builtin_names",
    "model_of",
    "open_baseline",
]


TABLES = files("scalesearch.models") / "baselines"
"""Where the built-in baselines are, a YAML file each."""


def builtin_names() -> list[str]:
    """The built-in baselines, sorted."""
    return sorted(f.name.removesuffix(".yaml") for f in TABLES.iterdir() if f.name.endswith(".yaml"))


def builtin(name: str) -> ModelSpec:
    """The spec of a built-in baseline.

    Raises:
        BaselineError: there is none; the message names the nearest one.
    """
    if name not in builtin_names():
        near = nearest(name, builtin_names(), cutoff=0.5)
        hint = f" Did you mean {near}?" if near else ""
        raise BaselineError(
            f"no baseline {name!r}.{hint} `scalesearch baselines` lists them; "
            "timm:NAME, torchvision:NAME, FILE.py:FACTORY and SPEC.yaml work too."
        )
    spec = load_spec(Path(str(TABLES / f"{name}.yaml")))
    if not isinstance(spec, ModelSpec):
        raise BaselineError(f"{name} is no table of stages")
    return spec


def open_baseline(name: str, rounding: Rounding | None = None, resolution: Resolution | None = None) -> Baseline:
    """A built-in network, the spec at a path, or a module: ``timm:…``, ``torchvision:…``, ``FILE.py:…``, ``package:…``.

    Only a module loads torch.

    Args:
        resolution: the native size of a network of the user's own; timm's, torchvision's and specs know theirs.

    Raises:
        BaselineError: there is none; the message names the nearest built-in one.
        SpecError: the file breaks a rule.
    """
    rounding = rounding or Rounding()
    path = Path(name).expanduser()
    if path.suffix in (".yaml", ".yml"):
        if not is_file(path):
            raise BaselineError(f"no spec file at {name}")
        return baseline_of(load_spec(path), rounding)
    if ":" in name:
        from scalesearch.models.module_baseline import ModuleBaseline

        own = name.partition(":")[0] not in ("timm", "torchvision")
        baseline = ModuleBaseline(name, rounding, opened_at=resolution if own else None)
        try:
            _ = baseline.resolution  # it is there, and can be scaled
        except SurgeryError as failure:
            if own and " px: " in failure.reason:
                hint = "; if it is meant for another size, --resolution says which"
                raise SurgeryError(failure.layer, f"{failure.reason}{hint}") from failure
            raise
        return baseline
    return SpecBaseline(builtin(name), rounding)


def baseline_of(spec: Spec, rounding: Rounding | None = None) -> Baseline:
    """A spec as a baseline. A module's spec keeps the rounding that it was made with."""
    if isinstance(spec, ModuleSpec):
        from scalesearch.models.module_baseline import ModuleBaseline

        return ModuleBaseline(spec.module, spec.rounding, spec, opened_at=spec.opened_at, made_for=spec.channels)
    return SpecBaseline(spec, rounding or Rounding())


def build_model(spec: Spec, num_classes: int = 1000) -> nn.Module:
    """The network that a spec describes, freshly initialised from torch's global generator; a backbone as it is.

    Raises:
        BaselineError: the module it was made from is not there, or is another one by now.

    >>> import torch
    >>> from scalesearch import build_model
    >>> from scalesearch.models.catalogue import builtin
    >>> network = build_model(builtin("mobilenet_v2"), num_classes=10).eval()
    >>> network(torch.zeros(1, 3, 64, 64)).shape
    torch.Size([1, 10])
    """
    if isinstance(spec, ModuleSpec):
        from scalesearch.models.module_model import ModuleModel

        return ModuleModel(spec).bare(num_classes)
    return model_of(spec).build(num_classes)


def model_of(spec: Spec) -> ScaledModel:
    """The network that a spec describes."""
    if isinstance(spec, ModuleSpec):
        from scalesearch.models.module_model import ModuleModel

        return ModuleModel(spec)
    return SpecModel(spec)
