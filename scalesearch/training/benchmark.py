"""How fast networks run here: latency, throughput and memory of each, all measured in turns."""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import cast

import torch
from torch import Tensor, nn

from scalesearch.errors import ScaleSearchError
from scalesearch.image_size import image_shape
from scalesearch.models.protocols import ScaledModel
from scalesearch.runtime.device import is_out_of_memory, pick_device, pick_precision, release_memory
from scalesearch.runtime.energy import Counter, Energy, counter_of, idle_watts, used
from scalesearch.runtime.memory import LiveTensors
from scalesearch.runtime.threads import threads
from scalesearch.runtime.timing import matrix_peak, seconds_of, summary
from scalesearch.training.benchmark_settings import BenchSettings, Measurement
from scalesearch.training.trainer import Trainer

CALLS = 10
"""Timed calls per measurement at the least, over all rounds."""
WARM_UP = 3
"""Calls before anything is timed, at the least; they also take a tenth of the time that is measured."""

Compiler = Callable[[nn.Module], nn.Module]


def compiled(model: nn.Module) -> nn.Module:
    """The whole network as one graph per shape, or an error: no part of it falls back silently."""
    return cast(nn.Module, torch.compile(model, fullgraph=True, dynamic=False))


def bench(
    models: Mapping[str, ScaledModel],
    settings: BenchSettings,
    *,
    compiler: Compiler = compiled,
    told: Callable[[str], None] = lambda _: None,
) -> list[Measurement]:
    """Measure every network, in the order given; ``told`` hears what is going on.

    All networks are warmed up first. Then they take turns, round after round, a matrix product before each round: a
    machine that slows down or speeds up does so for all of them. One that fails says why, and the others go on.

    Raises:
        DeviceError: the device is not there.
        BaselineError: a module's spec gives another network with the installed versions.
    """
    device = pick_device(settings.device)
    precision = pick_precision(settings.recipe(device).train, device)
    with ExitStack() as stack:
        stack.enter_context(threads(settings.threads))
        if device.type == "cuda":
            stack.enter_context(torch.cuda.device(device))
        if settings.compile:  # networks of one class share a limit on recompilations
            stack.enter_context(torch._dynamo.config.patch(recompile_limit=10_000, accumulated_recompile_limit=10_000))
        peaks = [matrix_peak(device, precision)]
        networks = []
        for name, model in models.items():
            told(f"{name}: warming up")
            networks.append(_Network(name, model, settings, device, compiler))
        for number in range(settings.rounds):
            peaks.append(matrix_peak(device, precision))
            for network in networks:
                told(f"{network.name}: round {number + 1} of {settings.rounds}")
                network.round()
        if settings.energy:
            _energy(networks, settings, device, told)
    return [network.measurement(max(peaks)) for network in networks]


def _energy(
    networks: list[_Network], settings: BenchSettings, device: torch.device, told: Callable[[str], None]
) -> None:
    """Each network's window, one after the other."""
    counter, reason = counter_of(device)
    if counter is None:
        for network in networks:
            network.failures["energy"] = reason
        return
    told("idle")
    idle = idle_watts(counter)
    for network in networks:
        told(f"{network.name}: energy")
        network.use(counter, idle)


class _Network:
    """One network on the device, warm, and the times it took so far."""

    def __init__(
        self, name: str, model: ScaledModel, settings: BenchSettings, device: torch.device, compiler: Compiler
    ) -> None:
        self.name, self.model, self.settings, self.device = name, model, settings, device
        self.batch_size = settings.batch_on(device)
        self.calls: dict[str, int] = {}
        self.samples: dict[str, list[list[float]]] = {}
        self.memory: dict[str, int | None] = {}
        self.failures: dict[str, str] = {}
        self.energy: Energy | None = None
        self._attempt("build", partial(self._build, compiler))
        if not self.failures:
            for kind in ("single", "batch", "training") if settings.training else ("single", "batch"):
                self._attempt(kind, partial(self._warm_up, kind))

    def round(self) -> None:
        """Time every kind of call, after one call that brings the network back into the caches."""
        for kind in tuple(self.calls):
            self._attempt(kind, partial(self._measure, kind))

    def use(self, counter: Counter, idle: float) -> None:
        """Measure what inference uses."""
        if "batch" in self.calls:
            self._attempt("energy", partial(self._use, counter, idle))

    def _use(self, counter: Counter, idle: float) -> None:
        def wait() -> None:
            if self.device.type == "cuda":
                torch.cuda.synchronize(self.device)

        with self._ready("batch") as (call, _):
            seconds = self.settings.energy_seconds
            self.energy = used(counter, call, wait, images=self.batch_size, seconds=seconds, idle=idle)

    def measurement(self, peak: float) -> Measurement:
        timings = {kind: summary(self.samples[kind]) for kind in self.calls}
        return Measurement(
            self.name,
            self.model.resolution,
            self.model.cost(self.settings.num_classes),
            self.batch_size,
            single=timings.get("single"),
            batch=timings.get("batch"),
            training=timings.get("training"),
            memory=self.memory.get("batch"),
            training_memory=self.memory.get("training"),
            matrix_peak=peak,
            energy=self.energy,
            failures=self.failures,
        )

    def _build(self, compiler: Compiler) -> None:
        settings = self.settings
        self.trainer = Trainer(self.model, settings.num_classes, settings.recipe(self.device), self.device)
        self.own = [*self.trainer.model.parameters(), *self.trainer.model.buffers()]
        if settings.compile:
            self.trainer.model = compiler(self.trainer.model)

    def _attempt(self, kind: str, work: Callable[[], None]) -> None:
        try:
            work()
        except ScaleSearchError:
            raise
        except Exception as failure:
            compiling = self.settings.compile and kind != "build" and kind not in self.calls
            self.failures[kind] = ("torch.compile: " if compiling else "") + _reason(failure)
            self.calls.pop(kind, None)
            self.memory.pop(kind, None)
        if kind in self.failures:
            release_memory(self.device)  # here, where the failure no longer holds what it was made of

    def _warm_up(self, kind: str) -> None:
        share = self.settings.seconds / self.settings.rounds
        before = torch.cuda.memory_allocated() if self.device.type == "cuda" else 0
        with self._ready(kind) as (call, images):
            seconds_of(call, self.device)
            if self.device.type == "cuda":
                torch.cuda.reset_peak_memory_stats()
            times: list[float] = []
            while len(times) < WARM_UP - 1 or sum(times) < self.settings.seconds / 10:
                times.append(seconds_of(call, self.device))
            if self.device.type == "cuda":
                self.memory[kind] = torch.cuda.max_memory_allocated() - before + _bytes(self.own)
            elif self.device.type == "cpu" and kind == "batch" and not self.settings.compile:
                self.memory[kind] = _live_bytes(call, [*self.own, images])
        self.calls[kind] = max(math.ceil(CALLS / self.settings.rounds), round(share / statistics.median(times)))
        self.samples[kind] = []

    def _measure(self, kind: str) -> None:
        with self._ready(kind) as (call, _):
            seconds_of(call, self.device)
            self.samples[kind].append([seconds_of(call, self.device) for _ in range(self.calls[kind])])

    @contextmanager
    def _ready(self, kind: str) -> Iterator[tuple[Callable[[], object], Tensor]]:
        """The call to time, and its images; they are on the device already."""
        image = image_shape(self.model.channels, self.model.resolution)
        shape = (1 if kind == "single" else self.batch_size, *image)
        if kind == "training":
            pixels = torch.randint(256, shape, dtype=torch.uint8, device=self.device)
            labels = torch.randint(self.settings.num_classes, shape[:1], device=self.device)
            yield lambda: self.trainer.step(pixels, labels, self.batch_size), pixels
            return
        layout = torch.channels_last if self.settings.channels_last else torch.contiguous_format
        images = torch.randn(shape, device=self.device).to(memory_format=layout)
        network = self.trainer.model.eval()
        with torch.no_grad(), self.trainer.autocast():  # in inference mode autocast would copy the weights every time
            yield lambda: network(images), images


def _reason(failure: Exception) -> str:
    if is_out_of_memory(failure):
        return "out of memory"
    said = next((line.strip() for line in str(failure).splitlines() if line.strip()), "")
    return f"{type(failure).__name__}: {said}"


def _bytes(tensors: list[Tensor]) -> int:
    storages = {tensor.untyped_storage().data_ptr(): tensor.untyped_storage().nbytes() for tensor in tensors}
    return sum(storages.values())


def _live_bytes(call: Callable[[], object], known: list[Tensor]) -> int | None:
    """The most bytes alive at once while ``call`` runs, ``known`` included; None if it leaves something behind."""
    torch.clear_autocast_cache()
    with LiveTensors(known) as live:
        call()
    torch.clear_autocast_cache()
    return _bytes(known) + live.peak if live.now == 0 else None
