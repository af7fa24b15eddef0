"""What a search asks of a baseline, whether it is a table of stages or somebody's module."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from scalesearch.image_size import Resolution
from scalesearch.scaling.changes import Value
from scalesearch.scaling.compound import Coefficients, Multipliers
from scalesearch.scaling.cost import Cost
from scalesearch.scaling.spec_files import Spec

if TYPE_CHECKING:
    from torch import nn

    from scalesearch.scaling.batched_cost import Counts
    from scalesearch.scaling.points import Ints, Points


class ScaledModel(Protocol):
    """A network at certain multipliers, known before it is built."""

    @property
    def spec(self) -> Spec:
        """The network as data: what a file holds of it."""

    @property
    def fingerprint(self) -> str:
        """Equal networks at an equal resolution have equal fingerprints."""

    @property
    def resolution(self) -> Resolution:
        """The size of its images, pixels: the side of square ones, or height and width."""

    @property
    def channels(self) -> int:
        """Of its images."""

    @property
    def shape(self) -> str:
        """Blocks, first and last width, and pixels, for a table's cell."""

    @property
    def last_side(self) -> int:
        """Positions along the shorter side of its last map: what is averaged before the classifier."""

    def cost(self, num_classes: int) -> Cost:
        """What one image costs, without building the network."""

    def build(self, num_classes: int) -> nn.Module:
        """The network, freshly initialised from torch's global generator."""


class Survey(Protocol):
    """A baseline's networks at one φ, many points of a grid at a time.

    All methods raise `ScalingError` where a point leaves nothing of the network; it says why the first one does.
    """

    def macs(self, points: Points) -> Counts:
        """Of each point's network, (N,)."""

    def costs(self, points: Points) -> Counts:
        """The fields of `Cost` of each point's network, (N, 4)."""

    def networks(self, points: Points) -> Networks:
        """The distinct networks that the points realise, and what they cost."""


class Baseline(Protocol):
    """Anything that can be scaled."""

    @property
    def name(self) -> str:
        """What it is called in tables and names of folders."""

    @property
    def resolution(self) -> Resolution:
        """The size of its images, pixels: the native one, unless `at` changed it."""

    @property
    def channels(self) -> int | None:
        """Of its images; None where it can be made for any number."""

    @property
    def native(self) -> Spec:
        """The network itself as data, at its native resolution."""

    @property
    def fixed(self) -> dict[str, str]:
        """Which of alpha, beta and gamma do nothing to it, and why."""

    @property
    def identity(self) -> dict[str, Any]:
        """Whatever of it changes a trial's result, plain values only."""

    def at(
        self,
        *,
        resolution: Resolution | None = None,
        stochastic_depth: float | None = None,
        channels: int | None = None,
    ) -> Baseline:
        """The same network for other images: smaller, larger, of so many channels; or with other drop-path rates.

        Raises:
            BaselineError: its first layer takes another number of channels.
        """

    def meant_for(self, resolution: Resolution | None = None, channels: int | None = None) -> Baseline:
        """The same network with another native resolution, or for images of so many channels."""

    def changed(self, changes: Mapping[str, Value]) -> Baseline:
        """The same network with other values in some fields of its table (`scaling.changes`).

        Raises:
            ScaleSearchError: it has no table, or no such field, or a value breaks its rule.
        """

    def dropout_at(self, phi: float) -> float | None:
        """The head's dropout at φ; None to leave the network's own."""

    def scaled(self, multipliers: Multipliers, *, dropout: float | None = None) -> ScaledModel:
        """The network at these multipliers, not built yet.

        Raises:
            ScalingError: they leave nothing of it.
        """

    def survey(self, phi: float, *, num_classes: int, dropout: float | None = None) -> Survey:
        """Its networks at φ, to be asked for by coefficients."""

    def member(self, coefficients: Coefficients, phi: float) -> ScaledModel:
        """The member of its family at φ, from its native resolution, named and with its origin written down."""


@dataclass(frozen=True)
class Networks:
    """The distinct networks of N points, each once and in the points' order; point i realises ``models[index[i]]``."""

    index: Ints
    models: Sequence[ScaledModel]
    costs: Sequence[Cost]
