"""A network that a table of stages describes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from scalesearch.image_size import Resolution, height_width
from scalesearch.scaling.cost import Cost, closed_form
from scalesearch.scaling.spec import ModelSpec

if TYPE_CHECKING:
    from torch import nn


@dataclass(frozen=True)
class SpecModel:
    """A `ScaledModel` made of a spec."""

    spec: ModelSpec

    @property
    def fingerprint(self) -> str:
        """Twelve hex digits, equal for equal networks at an equal resolution."""
        return self.spec.fingerprint

    @property
    def resolution(self) -> Resolution:
        """The size of its images, pixels."""
        return self.spec.resolution

    @property
    def channels(self) -> int:
        """Of its images."""
        return self.spec.stem.inputs

    @property
    def shape(self) -> str:
        """Blocks, channels of the stem and of the widest layer, pixels, for tables."""
        return f"{self.spec.blocks} · {self.spec.stem.channels}–{self.spec.widest} · {self.spec.resolution}"

    @property
    def last_side(self) -> int:
        """Positions along the shorter side of its last map: every stride rounds up."""
        return -(-min(height_width(self.spec.resolution)) // self.spec.total_stride)

    def cost(self, num_classes: int) -> Cost:
        """What one image costs, in closed form."""
        return closed_form(self.spec, num_classes)

    def build(self, num_classes: int) -> nn.Module:
        """The network, freshly initialised from torch's global generator."""
        from scalesearch.models.build import build_model

        return build_model(self.spec, num_classes)
