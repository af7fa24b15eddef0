"""Networks that start from the weights of a smaller one and compute what it computes, until they are trained."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from scalesearch.errors import BaselineError, SurgeryError
from scalesearch.image_size import Resolution, image_shape
from scalesearch.models.protocols import ScaledModel
from scalesearch.models.spec_model import SpecModel
from scalesearch.scaling.cost import Cost
from scalesearch.scaling.module_spec import ModuleSpec
from scalesearch.scaling.spec import ModelSpec
from scalesearch.scaling.spec_files import Spec

if TYPE_CHECKING:
    from torch import Tensor, nn


@dataclass(frozen=True)
class GrownModel:
    """A `ScaledModel` that starts with the function of a smaller network's weights in ``file``."""

    model: ScaledModel
    small: ScaledModel
    file: Path

    @property
    def spec(self) -> Spec:
        """The network as data."""
        return self.model.spec

    @property
    def fingerprint(self) -> str:
        """That of the network, however it starts."""
        return self.model.fingerprint

    @property
    def resolution(self) -> Resolution:
        """The size of its images, pixels."""
        return self.model.resolution

    @property
    def channels(self) -> int:
        """Of its images."""
        return self.model.channels

    @property
    def shape(self) -> str:
        """Blocks, widths and pixels, for tables."""
        return self.model.shape

    @property
    def last_side(self) -> int:
        """Positions a side of its last map."""
        return self.model.last_side

    def cost(self, num_classes: int) -> Cost:
        """What one image costs."""
        return self.model.cost(num_classes)

    def build(self, num_classes: int) -> nn.Module:
        """The network, grown; what is new in it is drawn from torch's global generator.

        Raises:
            BaselineError: the file's weights are not the smaller network's.
            SurgeryError: it cannot be grown; the message names the layer.
        """
        from scalesearch.models.surgery.grow.grown import NOISE, grow, grow_scaled
        from scalesearch.models.weights import read_weights

        known = trained(self.small, read_weights(self.file), str(self.file), num_classes)
        large, before = self.model.spec, self.small.spec
        if isinstance(large, ModelSpec) and isinstance(before, ModelSpec):
            _see_larger(before, large)
            rows = [
                row.model_copy(update={"repeats": n.repeats})
                for row, n in zip(before.stages, large.stages, strict=True)
            ]
            drop = {"stochastic_depth": large.stochastic_depth}
            deep = SpecModel(before.model_copy(update={"stages": tuple(rows), **drop})).build(num_classes)
            known = _renamed(known, SpecModel(before.model_copy(update=drop)).build(num_classes))
            grown = self.model.build(num_classes)
            names = known.state_dict().keys()
            origins = {name: name if name in names else None for name in deep.state_dict()}
            grow(known, deep, grown, origins, image_shape(self.channels, self.resolution), NOISE)
            return grown
        if not (isinstance(large, ModuleSpec) and isinstance(before, ModuleSpec)) or large.module != before.module:
            raise SurgeryError(
                large.name, f"it is no larger {before.name}: {_made_of(large)}, and not {_made_of(before)}"
            )
        from scalesearch.models.module_model import ModuleModel

        deeper = ModuleModel(before.model_copy(update={"depth": large.depth, "rounding": large.rounding}))
        grown = self.model.build(num_classes)
        start = grow_scaled(
            ModuleModel(before).scaled(num_classes), deeper.at(num_classes), ModuleModel(large).scaled(num_classes),
            known, NOISE,
        )  # fmt: skip
        grown.load_state_dict(start.state_dict())
        return grown


def trained(small: ScaledModel, weights: Mapping[str, Tensor], source: str, num_classes: int) -> nn.Module:
    """The smaller network with its weights; a classifier for other classes starts afresh.

    Raises:
        BaselineError: a layer would stay untrained: the weights are another network's.
    """
    from scalesearch.models.weights import load_weights, untrained

    module = small.build(num_classes)
    _, beyond = untrained(module, load_weights(module, weights, source), num_classes)
    if beyond:
        raise BaselineError(
            f"{source} has no weights for {len(beyond)} tensors of {small.spec.name} ({beyond[0]}): only a "
            "trained network can be grown"
        )
    return module


def _renamed(trained: nn.Module, twin: nn.Module) -> nn.Module:
    """The same tensors in order, under the names of ``twin``: blocks with a dropped path have other names."""
    own = dict(zip(twin.state_dict(), trained.state_dict().values(), strict=True))
    twin.load_state_dict(own)
    return twin


def _made_of(spec: Spec) -> str:
    return spec.module if isinstance(spec, ModuleSpec) else "a table of stages"


def _see_larger(small: ModelSpec, large: ModelSpec) -> None:
    """Raises SurgeryError where one table of stages is no larger version of another."""
    same = ("op", "kernel", "stride", "expand", "se")
    if len(small.stages) != len(large.stages) or small.activation != large.activation:
        raise SurgeryError(large.name, f"it is no larger {small.name}: its stages are others")
    for number, (a, b) in enumerate(zip(small.stages, large.stages, strict=True), start=1):
        differs = next((f for f in same if getattr(a, f) != getattr(b, f)), None)
        if differs:
            raise SurgeryError(large.name, f"its stage {number} has another {differs} than {small.name}'s")
        if b.repeats < a.repeats or b.channels < a.channels:
            what = "blocks" if b.repeats < a.repeats else "channels"
            raise SurgeryError(large.name, f"its stage {number} has fewer {what} than {small.name}'s")
