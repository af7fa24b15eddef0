"""What to measure of networks, and what was measured."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, Literal

import torch
from pydantic import Field, PositiveFloat, PositiveInt

from scalesearch.image_size import Resolution
from scalesearch.recipe import Recipe
from scalesearch.runtime.energy import Energy
from scalesearch.runtime.timing import Timing
from scalesearch.scaling.cost import Cost
from scalesearch.settings import TrainSettings
from scalesearch.validation import MOST_CLASSES, Strict


class BenchSettings(Strict):
    """What to measure and for how long: ``seconds`` per measurement, spread over ``rounds``.

    ``batch_size`` is 256 on CUDA and 32 elsewhere, unless it is given. ``energy`` is measured over windows of
    ``energy_seconds``: counters are coarse. Reduced precision is autocast's; its copies of
    the weights are made once, except by a compiled network, which makes them in every call.
    """

    batch_size: Annotated[PositiveInt, Field(le=10**15)] | None = None
    seconds: PositiveFloat = 2.0
    rounds: PositiveInt = 5
    threads: PositiveInt | None = None
    precision: Literal["auto", "fp32", "bf16", "fp16"] = "auto"
    channels_last: bool = True
    compile: bool = False
    training: bool = False
    energy: bool = False
    energy_seconds: PositiveFloat = 10.0
    num_classes: Annotated[PositiveInt, Field(le=MOST_CLASSES)] = 1000
    device: str = "auto"

    def batch_on(self, device: torch.device) -> int:
        """Images per batch on this kind of device."""
        return self.batch_size or (256 if device.type == "cuda" else 32)

    def recipe(self, device: torch.device) -> Recipe:
        """The training step that is timed: `Trainer`'s, SGD with momentum, so slowly that the weights stay."""
        train = TrainSettings(
            steps=1,
            batch_size=self.batch_on(device),
            learning_rate=1e-12,
            precision=self.precision,
            channels_last=self.channels_last,
        )
        return Recipe(train=train)


@dataclass(frozen=True)
class Measurement:
    """One network: what it costs, and how it ran; None where that was not asked for, cannot be measured, or failed.

    Attributes:
        single, batch, training: inference at batch 1 and at ``batch_size``; a training step at ``batch_size``.
        memory: peak bytes of inference at ``batch_size``. CUDA: the allocator's peak, other networks left out. CPU:
            weights, images and the tensors alive between operations; scratch space inside one is not in it.
        training_memory: the same of a training step, on CUDA alone.
        energy: what inference at ``batch_size`` uses.
        matrix_peak: FLOP/s of the fastest matrix product in this precision on this device, the best of all rounds.
        failures: by "build", "single", "batch", "training" or "energy", why there is no result.
    """

    name: str
    resolution: Resolution
    cost: Cost
    batch_size: int
    single: Timing | None = None
    batch: Timing | None = None
    training: Timing | None = None
    memory: int | None = None
    training_memory: int | None = None
    matrix_peak: float | None = None
    energy: Energy | None = None
    failures: Mapping[str, str] = field(default_factory=dict)

    @property
    def ran(self) -> bool:
        """Whether anything of it could be timed."""
        return any((self.single, self.batch, self.training))

    @property
    def images_per_second(self) -> float | None:
        """Throughput of inference at ``batch_size``."""
        return _rate(self.batch_size, self.batch)

    @property
    def training_images_per_second(self) -> float | None:
        """Of a training step; None where it was not measured."""
        return _rate(self.batch_size, self.training)

    @property
    def macs_per_second(self) -> float | None:
        """Multiply-adds of convolutions and linear layers per second, at ``batch_size``."""
        return None if self.images_per_second is None else self.cost.macs * self.images_per_second

    @property
    def share_of_peak(self) -> float | None:
        """Of ``matrix_peak``, counting two FLOPs per multiply-add."""
        if self.macs_per_second is None or self.matrix_peak is None:
            return None
        return 2 * self.macs_per_second / self.matrix_peak


def _rate(images: int, timing: Timing | None) -> float | None:
    return None if timing is None else 1e3 * images / timing.median_ms
