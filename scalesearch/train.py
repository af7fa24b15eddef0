"""One trial: a network, images, a schedule and a seed become an `Outcome`."""

from __future__ import annotations

import gc
import math
import time
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import asdict, dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from scalesearch.baselines import ScaledModel
from scalesearch.cost import Cost, Count, count, training_bytes
from scalesearch.data.batches import TrainBatches, default_workers, evaluation_images, normalise
from scalesearch.data.images import Images, Split
from scalesearch.errors import DeviceError, DivergedError, OutOfMemoryError
from scalesearch.optim import OPTIMIZER_SLOTS, WeightAverage, learning_rate_factor, make_optimizer
from scalesearch.recipe import AugmentSettings, Recipe, TrainSettings

Progress = Callable[[int, int, float, float], None]
"""Called with step, total steps, a recent training loss, and images per second so far."""


@dataclass(frozen=True)
class Outcome:
    """What a trial measured. Accuracy and loss are the minival's at the end of the schedule, in [0, 1] and nats.

    ``memory`` is the peak of one training step in bytes (the device's own peak on CUDA; weights, gradients,
    optimiser state and tensors saved for backward elsewhere); ``count`` is fvcore's.
    """

    accuracy: float
    loss: float
    train_loss: float
    curve: tuple[tuple[int, float, float], ...]
    seconds: float
    images_per_second: float
    memory: int
    micro_batch: int
    count: Count = field(default_factory=lambda: Count(0, 0))

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> Outcome:
        curve = tuple((int(step), float(acc), float(loss)) for step, acc, loss in data["curve"])
        return cls(**(data | {"curve": curve, "count": Count(**data["count"])}))


def pick_device(name: str) -> torch.device:
    """``auto`` is the first accelerator there is, else the CPU.

    Raises:
        DeviceError: the name is not understood, or the device is not there.
    """
    if name == "auto":
        if torch.cuda.is_available():
            return torch.device("cuda:0")
        return torch.device("mps" if torch.backends.mps.is_available() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError as failure:
        raise DeviceError(f"device {name!r} is not understood: use auto, cpu, mps, cuda or cuda:N") from failure
    if device.type == "cuda":
        if not torch.cuda.is_available():
            raise DeviceError(f"device {name!r}: torch finds no CUDA device here; use --device cpu, or install a driver")
        device = torch.device("cuda", device.index or 0)
        if device.index >= torch.cuda.device_count():
            raise DeviceError(f"device {name!r}: this machine has cuda:0 to cuda:{torch.cuda.device_count() - 1}")
    elif device.type == "mps" and not torch.backends.mps.is_available():
        raise DeviceError("device 'mps' is not there; use --device cpu")
    elif device.type not in ("cpu", "mps"):
        raise DeviceError(f"device {name!r} is not supported: use auto, cpu, mps, cuda or cuda:N")
    return device


def pick_precision(settings: TrainSettings, device: torch.device) -> str:
    """bf16 where a GPU computes it, fp32 elsewhere: on CPUs, depthwise convolutions get slower in bf16."""
    if settings.precision != "auto":
        return settings.precision
    return "bf16" if device.type == "cuda" and torch.cuda.is_bf16_supported() else "fp32"


def estimated_memory(cost: Cost, settings: TrainSettings, precision: str) -> int:
    """Bytes that one training step is expected to take: `scalesearch.cost.training_bytes` with the recipe's settings."""
    return training_bytes(
        cost,
        settings.batch_size,
        optimizer_slots=OPTIMIZER_SLOTS[settings.optimizer],
        ema=settings.ema > 0,
        element_bytes=4 if precision == "fp32" else 2,
    )


def total_steps(settings: TrainSettings, steps_per_epoch: int) -> int:
    return settings.steps or max(1, round((settings.epochs or 0) * steps_per_epoch))


def train(
    candidate: ScaledModel,
    images: Images,
    recipe: Recipe,
    seed: int,
    device: torch.device,
    on_step: Progress | None = None,
) -> tuple[Outcome, nn.Module]:
    """Train ``candidate`` from scratch; the outcome, and the network that was evaluated (the average, if there is one).

    Everything random comes from ``seed``: on the CPU, two calls give bit-equal outcomes. When memory ends, the
    micro-batch is halved and gradients are accumulated, so that the batch the optimiser sees stays the same.

    Raises:
        DivergedError: the loss is no longer finite.
        OutOfMemoryError: memory ends even at a micro-batch of one.
    """
    counted = count(candidate.build(images.num_classes), candidate.resolution)
    micro_batch = min(recipe.train.batch_size, len(images.train))
    while True:
        try:
            return _attempt(candidate, images, recipe, seed, device, micro_batch, counted, on_step)
        except (torch.OutOfMemoryError, RuntimeError) as failure:
            if not _is_out_of_memory(failure):
                raise
            reason = str(failure).splitlines()[0]
        if micro_batch == 1:
            raise OutOfMemoryError(f"memory of {device} ended at a micro-batch of one image: {reason}")
        micro_batch = math.ceil(micro_batch / 2)
        gc.collect()
        if device.type == "cuda":
            torch.cuda.empty_cache()


def _is_out_of_memory(failure: BaseException) -> bool:
    return isinstance(failure, torch.OutOfMemoryError) or "not enough memory" in str(failure)


def _attempt(
    candidate: ScaledModel,
    images: Images,
    recipe: Recipe,
    seed: int,
    device: torch.device,
    micro_batch: int,
    counted: Count,
    on_step: Progress | None,
) -> tuple[Outcome, nn.Module]:
    settings = recipe.train
    torch.manual_seed(seed)
    layout = torch.channels_last if settings.channels_last else torch.contiguous_format
    model = candidate.build(images.num_classes).to(device, memory_format=layout)  # type: ignore[call-overload]
    if settings.norm_momentum is not None:
        for module in model.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.momentum = settings.norm_momentum
    optimizer = make_optimizer(model, settings)
    average = WeightAverage(model, settings.ema) if settings.ema else None
    workers = recipe.data.workers if recipe.data.workers is not None else default_workers(device)
    batches = TrainBatches(images.train, recipe.augment, candidate.resolution, settings.batch_size, seed, workers)
    steps = total_steps(settings, batches.steps_per_epoch)
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda step: learning_rate_factor(step, steps, batches.steps_per_epoch, settings)
    )
    precision = pick_precision(settings, device)
    scaler = torch.amp.GradScaler(device.type, enabled=precision == "fp16")
    evaluate_at = {math.ceil(steps * (i + 1) / settings.evaluations) for i in range(settings.evaluations)}
    held_out = evaluation_images(images.minival, candidate.resolution, recipe.augment.eval_crop)
    evaluated = average or model
    curve: list[tuple[int, float, float]] = []
    memory, trained_seconds, recent = 0, 0.0, torch.zeros((), device=device)
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
    started = time.perf_counter()
    mark = started
    for step, (batch, labels) in enumerate(batches.take(steps), start=1):
        model.train()
        saved = _SavedTensors(model) if step == 1 and device.type != "cuda" else nullcontext()
        with saved:
            loss = _step(model, batch, labels, settings, device, precision, micro_batch, optimizer, scaler)
        if isinstance(saved, _SavedTensors):
            memory = saved.bytes + _state_bytes(model, optimizer, average)
        schedule.step()
        if average is not None:
            average.update_parameters(model)
        recent = loss
        if step % 10 == 0 or step == steps:
            if not math.isfinite(loss.item()):
                raise DivergedError(
                    f"the loss is {loss.item()} at step {step} of {steps}: lower train.learning_rate, or warm up longer"
                )
            if on_step:
                elapsed = trained_seconds + time.perf_counter() - mark
                on_step(step, steps, loss.item(), step * batches.batch_size / elapsed)
        if step in evaluate_at:
            trained_seconds += time.perf_counter() - mark
            accuracy, held_loss = _evaluate(evaluated, held_out, images.minival.labels, settings, device, precision)
            curve.append((step, accuracy, held_loss))
            mark = time.perf_counter()
    if device.type == "cuda":
        memory = torch.cuda.max_memory_allocated(device)
    outcome = Outcome(
        accuracy=curve[-1][1],
        loss=curve[-1][2],
        train_loss=float(recent),
        curve=tuple(curve),
        seconds=time.perf_counter() - started,
        images_per_second=steps * batches.batch_size / trained_seconds,
        memory=memory,
        micro_batch=micro_batch,
        count=counted,
    )
    return outcome, evaluated.module if isinstance(evaluated, WeightAverage) else evaluated


def _step(
    model: nn.Module,
    batch: Tensor,
    labels: Tensor,
    settings: TrainSettings,
    device: torch.device,
    precision: str,
    micro_batch: int,
    optimizer: torch.optim.Optimizer,
    scaler: torch.amp.GradScaler,
) -> Tensor:
    """One update; the mean loss of the batch, still on the device."""
    optimizer.zero_grad(set_to_none=True)
    total = torch.zeros((), device=device)
    for part, part_labels in zip(batch.split(micro_batch), labels.split(micro_batch), strict=True):
        inputs = normalise(part, device, channels_last=settings.channels_last)
        with _autocast(device, precision):
            logits = model(inputs)
        loss = functional.cross_entropy(
            logits.float(),
            part_labels.to(device, non_blocking=True),
            label_smoothing=settings.label_smoothing,
        ) * (len(part) / len(batch))
        scaler.scale(loss).backward()  # type: ignore[no-untyped-call]
        total += loss.detach()
    if settings.clip_norm is not None:
        scaler.unscale_(optimizer)
        nn.utils.clip_grad_norm_(model.parameters(), settings.clip_norm)
    scaler.step(optimizer)
    scaler.update()
    return total


def _autocast(device: torch.device, precision: str) -> Any:
    if precision == "fp32":
        return nullcontext()
    return torch.autocast(device.type, torch.bfloat16 if precision == "bf16" else torch.float16)


@torch.inference_mode()
def _evaluate(
    model: nn.Module, images: Tensor, labels: Tensor, settings: TrainSettings, device: torch.device, precision: str
) -> tuple[float, float]:
    """Top-1 accuracy and mean cross-entropy (without label smoothing)."""
    model.eval()
    correct = torch.zeros((), dtype=torch.int64, device=device)
    loss = torch.zeros((), dtype=torch.float64, device=device)
    for part, part_labels in zip(images.split(settings.batch_size), labels.split(settings.batch_size), strict=True):
        inputs = normalise(part, device, channels_last=settings.channels_last)
        truth = part_labels.to(device)
        with _autocast(device, precision):
            logits = model(inputs).float()
        correct += (logits.argmax(1) == truth).sum()
        loss += functional.cross_entropy(logits, truth, reduction="sum")
    return int(correct) / len(labels), float(loss) / len(labels)


def evaluate(model: nn.Module, split: Split, resolution: int, recipe: Recipe, device: torch.device) -> float:
    """Top-1 accuracy of a trained network on ``split`` at ``resolution``."""
    settings: TrainSettings = recipe.train
    augment: AugmentSettings = recipe.augment
    images = evaluation_images(split, resolution, augment.eval_crop)
    return _evaluate(model, images, split.labels, settings, device, pick_precision(settings, device))[0]


def probe(
    candidate: ScaledModel, num_classes: int, recipe: Recipe, device: torch.device, batch_size: int, steps: int
) -> tuple[float, float]:
    """Seconds of one training step and of evaluating one image, timed on random images after one step to warm up."""
    settings, precision = recipe.train, pick_precision(recipe.train, device)
    layout = torch.channels_last if settings.channels_last else torch.contiguous_format
    model = candidate.build(num_classes).to(device, memory_format=layout)  # type: ignore[call-overload]
    optimizer = make_optimizer(model, settings)
    scaler = torch.amp.GradScaler(device.type, enabled=precision == "fp16")
    size = recipe.data.cache_resolution or candidate.resolution
    split = Split(
        torch.randint(256, (batch_size, 3, size, size), dtype=torch.uint8), torch.randint(num_classes, (batch_size,))
    )
    batches = TrainBatches(split, recipe.augment, candidate.resolution, batch_size, 0, 0)
    clock = _Clock(device)
    for step, (batch, labels) in enumerate(batches.take(steps + 1)):
        model.train()
        _step(model, batch, labels, settings, device, precision, batch_size, optimizer, scaler)
        if step == 0:
            clock.restart()
    per_step = clock.seconds() / steps
    images = evaluation_images(split, candidate.resolution, recipe.augment.eval_crop)
    clock.restart()
    _evaluate(model, images, split.labels, settings, device, precision)
    return per_step, clock.seconds() / batch_size


class _Clock:
    """Wall time of work on a device, which may still be queued when a call returns."""

    def __init__(self, device: torch.device) -> None:
        self._device, self._start = device, time.perf_counter()

    def restart(self) -> None:
        self.seconds()
        self._start = time.perf_counter()

    def seconds(self) -> float:
        if self._device.type == "cuda":
            torch.cuda.synchronize(self._device)
        return time.perf_counter() - self._start


class _SavedTensors(torch.autograd.graph.saved_tensors_hooks):
    """Counts the bytes that autograd keeps for backward, each storage once, the model's own parameters left out."""

    def __init__(self, model: nn.Module) -> None:
        own = {p.untyped_storage().data_ptr() for p in (*model.parameters(), *model.buffers())}
        seen: set[int] = set()
        self.bytes = 0

        def keep(tensor: Tensor) -> Tensor:
            storage = tensor.untyped_storage()
            if storage.data_ptr() not in own | seen:
                seen.add(storage.data_ptr())
                self.bytes += storage.nbytes()
            return tensor

        super().__init__(keep, lambda tensor: tensor)


def _state_bytes(model: nn.Module, optimizer: torch.optim.Optimizer, average: nn.Module | None) -> int:
    parameters = sum(p.numel() * p.element_size() for p in model.parameters())
    slots = sum(
        t.numel() * t.element_size() for state in optimizer.state.values() for t in state.values() if torch.is_tensor(t)
    )
    return parameters * (2 + (average is not None)) + slots
