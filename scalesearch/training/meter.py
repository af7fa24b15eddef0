"""What networks cost on this device beside the baseline: in turns, so that whatever slows one slows the other."""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Protocol

import torch

from scalesearch.errors import DeviceError, ScaleSearchError
from scalesearch.image_size import image_shape
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
TURN = 0.08
"""Seconds of a turn of two networks, at the least."""
BRIEF, FEWEST = 0.2, 3
"""Seconds of two calls below which there are at least so many of each in a turn."""
WINDOW = 0.5
"""Seconds over which a counter of energy is read."""

Call = Callable[[], object]


class Gauge(Protocol):
    """Reads what two calls cost, in a turn of theirs."""

    @property
    def seconds(self) -> Callable[[Call], float]:
        """How long a call takes."""

    def turn(self, one: Call, other: Call, seconds: tuple[float, float]) -> tuple[float, float]:
        """What a call of each costs, in the quantity's unit.

        Args:
            seconds: that a call of each takes.
        """


def processor_seconds(call: Call) -> float:
    """Of this thread while ``call`` runs; while the system lets other programs run, they do not pass."""
    began = time.thread_time()
    call()
    return time.thread_time() - began


@dataclass(frozen=True)
class Stopwatch:
    """Milliseconds: calls of the two alternate, and the median of each counts.

    ``seconds`` is how a call is timed: `seconds_of`, or `processor_seconds`.
    """

    seconds: Callable[[Call], float]

    def turn(self, one: Call, other: Call, seconds: tuple[float, float]) -> tuple[float, float]:
        """Milliseconds of a call of each."""
        both = sum(seconds)
        calls = max(FEWEST if both < BRIEF else 1, math.ceil(TURN / both))
        pairs = [(self.seconds(one), self.seconds(other)) for _ in range(calls)]
        return 1e3 * statistics.median(a for a, _ in pairs), 1e3 * statistics.median(b for _, b in pairs)


@dataclass(frozen=True)
class EnergyGauge:
    """Millijoules of an image, idle power included: the mean over as many calls as a counter needs to tell them."""

    device: torch.device
    counter: Counter
    batch: int

    @property
    def seconds(self) -> Callable[[Call], float]:
        """How long a call takes."""
        return partial(seconds_of, device=self.device)

    def turn(self, one: Call, other: Call, seconds: tuple[float, float]) -> tuple[float, float]:
        """Millijoules of an image through each."""
        return self._read(one, seconds[0]), self._read(other, seconds[1])

    def _read(self, call: Call, seconds: float) -> float:
        calls = max(1, math.ceil(WINDOW / seconds))
        clock, before = Clock(self.device), self.counter.joules()
        for _ in range(calls):
            call()
        clock.seconds()
        return 1e3 * (self.counter.joules() - before) / (calls * self.batch)


class _Running:
    """A network on the device, warm."""

    def __init__(self, model: ScaledModel, meter: TurnMeter) -> None:
        self._meter, self._trainer = meter, Trainer(model, meter.num_classes, meter.recipe, meter.device)
        shape, device = (meter.batch, *image_shape(model.channels, model.resolution)), meter.device
        if meter.training:
            self._pixels = torch.randint(256, shape, dtype=torch.uint8, device=device)
            self._labels = torch.randint(meter.num_classes, shape[:1], device=device)
        else:
            layout = torch.channels_last if meter.recipe.train.channels_last else torch.contiguous_format
            self._pixels = torch.randn(shape, device=device).to(memory_format=layout)
            self._trainer.model.eval()
        with self.ready() as call:
            self.seconds = max(1e-6, min(meter.gauge.seconds(call) for _ in range(WARM_UP)))

    @contextmanager
    def ready(self) -> Iterator[Call]:
        """The call that is measured."""
        if self._meter.training:
            yield lambda: self._trainer.step(self._pixels, self._labels, self._meter.batch)
            return
        network = self._trainer.model
        with torch.no_grad(), self._trainer.autocast():
            yield lambda: network(self._pixels)


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
        self.gauge = gauge or self._own_gauge(search.match)
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

    def _own_gauge(self, quantity: str) -> Gauge:
        if quantity == "energy":
            counter, reason = counter_of(self.device)
            if counter is None:
                raise DeviceError(
                    f"--match energy: neither NVML nor RAPL can be read here: {reason}; --match latency measures time"
                )
            return EnergyGauge(self.device, counter, self.batch)
        alone = self.device.type == "cpu" and (self._threads or torch.get_num_threads()) == 1
        return Stopwatch(processor_seconds if alone else partial(seconds_of, device=self.device))

    def _together(self, models: Sequence[ScaledModel], turns: int) -> list[list[float]]:
        baseline, running = self._run(self._baseline), [self._run(model) for model in models]
        ratios: list[list[float]] = [[] for _ in running]
        for _ in range(turns):
            for network, into in zip(running, ratios, strict=True):
                with baseline.ready() as one, network.ready() as other:
                    own, its = self.gauge.turn(one, other, (baseline.seconds, network.seconds))
                self._readings.append(own)
                into.append(its / own)
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
