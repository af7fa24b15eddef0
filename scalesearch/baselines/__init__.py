"""What can be scaled: the built-in network specs, and the user's own by path."""

from __future__ import annotations

import difflib
from dataclasses import dataclass, field
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from scalesearch.cost import Cost, closed_form
from scalesearch.errors import BaselineError
from scalesearch.scaling import Multipliers, Rounding, scale_spec
from scalesearch.spec import ModelSpec, load_spec

if TYPE_CHECKING:
    from torch import nn


class ScaledModel(Protocol):
    """A network at certain multipliers, known before it is built."""

    @property
    def fingerprint(self) -> str:
        """Equal networks at an equal resolution have equal fingerprints."""

    @property
    def resolution(self) -> int:
        """The side of its square input, pixels."""

    @property
    def shape(self) -> str:
        """Blocks, first and last width, and pixels, for a table's cell."""

    def cost(self, num_classes: int) -> Cost:
        """What one image costs, without building the network."""

    def build(self, num_classes: int) -> nn.Module:
        """The network, freshly initialised from torch's global generator."""


class Baseline(Protocol):
    """Anything that can be scaled."""

    @property
    def name(self) -> str: ...

    @property
    def resolution(self) -> int:
        """The native side of its square input, pixels."""

    def scaled(self, multipliers: Multipliers, *, dropout: float | None = None) -> ScaledModel: ...


@dataclass(frozen=True)
class SpecModel:
    """A `ScaledModel` made of a spec."""

    spec: ModelSpec

    @property
    def fingerprint(self) -> str:
        return self.spec.fingerprint

    @property
    def resolution(self) -> int:
        return self.spec.resolution

    @property
    def shape(self) -> str:
        return f"{self.spec.blocks} · {self.spec.stem.channels}–{self.spec.widest} · {self.spec.resolution}"

    def cost(self, num_classes: int) -> Cost:
        return closed_form(self.spec, num_classes)

    def build(self, num_classes: int) -> nn.Module:
        from scalesearch.models import build_model

        return build_model(self.spec, num_classes)


@dataclass(frozen=True)
class SpecBaseline:
    """A `Baseline` made of a spec and the rounding rules it is scaled by."""

    spec: ModelSpec
    rounding: Rounding = field(default_factory=Rounding)

    @property
    def name(self) -> str:
        return self.spec.name

    @property
    def resolution(self) -> int:
        return self.spec.resolution

    def scaled(self, multipliers: Multipliers, *, dropout: float | None = None) -> SpecModel:
        return SpecModel(scale_spec(self.spec, multipliers, self.rounding, dropout=dropout))


def builtin_names() -> list[str]:
    """The built-in baselines, sorted."""
    return sorted(f.name.removesuffix(".yaml") for f in files(__name__).iterdir() if f.name.endswith(".yaml"))


def resolve(name: str) -> ModelSpec:
    """The spec of a built-in baseline, or of the YAML file at this path.

    Raises:
        BaselineError: there is none; the message names the nearest built-in one.
        SpecError: the file breaks a rule.
    """
    if name in builtin_names():
        return load_spec(Path(str(files(__name__) / f"{name}.yaml")))
    path = Path(name).expanduser()
    if path.suffix in (".yaml", ".yml"):
        if not path.is_file():
            raise BaselineError(f"no spec file at {name}")
        return load_spec(path)
    near = difflib.get_close_matches(name, builtin_names(), n=1, cutoff=0.5)
    hint = f" Did you mean {near[0]}?" if near else ""
    raise BaselineError(
        f"no baseline {name!r}.{hint} `scalesearch baselines` lists them; the path of a SPEC.yaml works too."
    )
