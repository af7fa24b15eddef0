"""What networks cost on this device beside the baseline: in turns, so that whatever slows one slows the other."""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Protocol

import torch

from scalesearch.errors import DeviceError, ScaleSearchError
from scalesearch.models.protocols import ScaledModel
from scalesearch.recipe import Recipe
from scalesearch.runtime.device import Clock, device_name, is_out_of_memory, release_memory
from scalesearch.runtime.energy import Counter, counter_of
from scalesearch.runtime.threads import threads, worker_threads
from scalesearch.runtime.timing import seconds_of
from scalesearch.training.trainer import Trainer

TOGETHER = 8
"""Networks on the device at once, beside the baseline."""
WARM_UP = 2
"""Calls before a network is measured."""
BRIEF = 0.05
"""Seconds below which a call is made once more before each turn, since others have been in the caches."""

Call = Callable[[], object]


class Gauge(Protocol):
    """Reads what a call costs, and says for how long it has to be made again and again until that can be read."""

    @property
    def least_seconds(self) -> float:
        """Of a reading."""

    def seconds(self, call: Call) -> float:
        """That one call takes."""

    def read(self, call: Call, calls: int) -> float:
        """What one of so many calls costs, in the quantity's unit."""


@dataclass(frozen=True)
class Stopwatch:
    """Milliseconds: the median of the calls."""

    device: torch.device
    least_seconds: float = 0.03

    def seconds(self, call: Call) -> float:
        """That one call takes."""
        return seconds_of(call, self.device)

    def read(self, call: Call, calls: int) -> float:
        """Milliseconds of one of so many calls."""
        return 1e3 * statistics.median(seconds_of(call, self.device) for _ in range(calls))


@dataclass(frozen=True)
class EnergyGauge:
    """Millijoules of an image, idle power included: the mean over the calls."""

    device: torch.device
    counter: Counter
    batch: int
    least_seconds: float = 0.5

    def seconds(self, call: Call) -> float:
        """That one call takes."""
        return seconds_of(call, self.device)

    def read(self, call: Call, calls: int) -> float:
        """Millijoules of an image of so many calls."""
        clock = Clock(self.device)
        before = self.counter.joules()
        for _ in range(calls):
            call()
        clock.seconds()
        return 1e3 * (self.counter.joules() - before) / (calls * self.batch)


class _Running:
    """A network on the device, warm."""

    def __init__(self, model: ScaledModel, meter: TurnMeter) -> None:
        self._meter, self._trainer = meter, Trainer(model, meter.num_classes, meter.recipe, meter.device)
        shape, device = (meter.batch, 3, model.resolution, model.resolution), meter.device
        if meter.training:
            self._pixels = torch.randint(256, shape, dtype=torch.uint8, device=device)
            self._labels = torch.randint(meter.num_classes, shape[:1], device=device)
        else:
            layout = torch.channels_last if meter.recipe.train.channels_last else torch.contiguous_format
            self._pixels = torch.randn(shape, device=device).to(memory_format=layout)
            self._trainer.model.eval()
        with self._ready() as call:
            taken = min(meter.gauge.seconds(call) for _ in range(WARM_UP))
        self._again = taken < BRIEF
        self._calls = max(1, math.ceil(meter.gauge.least_seconds / max(taken, 1e-6)))

    @contextmanager
    def _ready(self) -> Iterator[Call]:
        if self._meter.training:
            yield lambda: self._trainer.step(self._pixels, self._labels, self._meter.batch)
            return
        network = self._trainer.model
        with torch.no_grad(), self._trainer.autocast():
            yield lambda: network(self._pixels)

    def read(self) -> float:
        """What a call costs now."""
        with self._ready() as call:
            if self._again:
                call()
            return self._meter.gauge.read(call, self._calls)


class TurnMeter:
    """Measures networks in turns with the baseline, of which every reading is held against one just before it."""

    def __init__(
        self,
        baseline: ScaledModel,
        recipe: Recipe,
        device: torch.device,
        num_classes: int,
        gauge: Gauge | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """
        Args:
            recipe: its ``search.match`` is measured; its precision is settled.
            gauge: reads costs; of the quantity on this device by default.

        Raises:
            DeviceError: energy is to be measured, and nothing counts it.
        """
        search, self.device, self.num_classes = recipe.search, device, num_classes
        self.training = search.match == "train-time"
        self.batch = search.match_batch or (recipe.train.batch_size if self.training else 1)
        self.recipe = recipe.model_copy(update={"train": recipe.train.model_copy(update={"learning_rate": 1e-12})})
        own = worker_threads(recipe, device) if self.training else None
        self._threads = search.match_threads or own
        self.gauge = gauge or _gauge(search.match, device, self.batch)
        self._baseline, self._clock, self._readings, self._seconds = baseline, clock, list[float](), 0.0

    @property
    def base(self) -> float:
        """What the baseline costs: the median of all its readings."""
        return statistics.median(self._readings)

    @property
    def seconds(self) -> float:
        """How long measuring took so far."""
        return self._seconds

    @property
    def place(self) -> Mapping[str, str | int]:
        """Where it measures."""
        return {
            "device": device_name(self.device),
            "threads": self._threads or torch.get_num_threads(),
            "batch": self.batch,
            "precision": self.recipe.train.precision,
        }

    def measure(self, models: Sequence[ScaledModel], turns: int) -> list[list[float]]:
        """Of each network, its cost over the baseline's just before it, turn by turn.

        Raises:
            DeviceError: one of them cannot run.
        """
        began, found = self._clock(), list[list[float]]()
        with ExitStack() as stack:
            stack.enter_context(threads(self._threads))
            if self.device.type == "cuda":
                stack.enter_context(torch.cuda.device(self.device))
            for at in range(0, len(models), TOGETHER):
                found += self._together(models[at : at + TOGETHER], turns)
        self._seconds += self._clock() - began
        return found

    def _together(self, models: Sequence[ScaledModel], turns: int) -> list[list[float]]:
        baseline, running = self._run(self._baseline), [self._run(model) for model in models]
        ratios: list[list[float]] = [[] for _ in running]
        for _ in range(turns):
            for network, into in zip(running, ratios, strict=True):
                self._readings.append(baseline.read())
                into.append(network.read() / self._readings[-1])
        del baseline, running
        release_memory(self.device)
        return ratios

    def _run(self, model: ScaledModel) -> _Running:
        try:
            return _Running(model, self)
        except ScaleSearchError:
            raise
        except (RuntimeError, MemoryError) as failure:
            why = "out of memory" if is_out_of_memory(failure) else str(failure).strip().partition("\n")[0]
            raise DeviceError(f"a network of {model.shape} cannot be measured on {self.device}: {why}") from failure


def _gauge(quantity: str, device: torch.device, batch: int) -> Gauge:
    if quantity != "energy":
        return Stopwatch(device)
    counter, reason = counter_of(device)
    if counter is None:
        raise DeviceError(f"--match energy: neither NVML nor RAPL can be read: {reason}; --match latency measures time")
    return EnergyGauge(device, counter, batch)
