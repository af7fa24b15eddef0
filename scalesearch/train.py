"""One trial: a network, images, a schedule and a seed become an `Outcome`."""

from __future__ import annotations

import math
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import asdict, dataclass
from typing import Any

import torch

from scalesearch.baselines import ScaledModel
from scalesearch.cost import Count, count
from scalesearch.data.batches import TrainBatches, default_workers
from scalesearch.data.images import Images
from scalesearch.device import Clock, is_out_of_memory, release_memory
from scalesearch.errors import DivergedError, OutOfMemoryError
from scalesearch.memory import SavedTensors, state_bytes
from scalesearch.optim import learning_rate_factor
from scalesearch.recipe import Recipe, TrainSettings
from scalesearch.trainer import Trainer

Progress = Callable[[int, int, float, float], None]
"""Called with step, total steps, a recent training loss, and images per second so far."""

REPORT_EVERY = 10
"""Steps between looks at the loss; each look waits for the device."""


@dataclass(frozen=True)
class Outcome:
    """What a trial measured. Accuracy and loss are the minival's at the end of the schedule, in [0, 1] and nats.

    ``curve`` holds (step, accuracy, loss); ``memory`` is the peak of training in bytes (the device's own peak on
    CUDA; weights, gradients, optimiser state and tensors saved for backward elsewhere); ``count`` is fvcore's.
    """

    accuracy: float
    loss: float
    train_loss: float
    curve: tuple[tuple[int, float, float], ...]
    seconds: float
    images_per_second: float
    memory: int
    micro_batch: int
    count: Count

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


def total_steps(settings: TrainSettings, steps_per_epoch: int) -> int:
    """Length of the schedule in updates."""
    return settings.steps or max(1, round((settings.epochs or 0) * steps_per_epoch))


def train(
    candidate: ScaledModel,
    images: Images,
    recipe: Recipe,
    *,
    seed: int,
    device: torch.device,
    on_step: Progress | None = None,
) -> tuple[Outcome, Trainer]:
    """Train ``candidate`` from scratch; the outcome, and the trained network in its trainer.

    Everything random comes from ``seed``: on the CPU, two calls give bit-equal accuracies. When memory ends, the
    micro-batch is halved and gradients are accumulated, so that the batch the optimiser sees stays the same.

    Raises:
        DivergedError: the loss is no longer finite.
        OutOfMemoryError: memory ends even at a micro-batch of one.
    """
    counted = count(candidate.build(images.num_classes), candidate.resolution)
    micro_batch = min(recipe.train.batch_size, len(images.train))
    while True:
        try:
            return _Trial(candidate, images, recipe, seed, device).run(micro_batch, counted, on_step)
        except (RuntimeError, MemoryError) as failure:
            if not is_out_of_memory(failure):
                raise
            reason = str(failure).partition("\n")[0]
        release_memory(device)
        if micro_batch == 1:
            raise OutOfMemoryError(f"memory of {device} ended at a micro-batch of one image: {reason}")
        micro_batch = math.ceil(micro_batch / 2)


class _Trial:
    """One attempt at a trial, from the seed on."""

    def __init__(self, candidate: ScaledModel, images: Images, recipe: Recipe, seed: int, device: torch.device) -> None:
        torch.manual_seed(seed)
        self.images, self.settings, self.device = images, recipe.train, device
        self.trainer = Trainer(candidate, images.num_classes, recipe, device)
        workers = recipe.data.workers if recipe.data.workers is not None else default_workers(device)
        self.batches = TrainBatches(
            images.train,
            recipe.augment,
            candidate.resolution,
            batch_size=self.settings.batch_size,
            seed=seed,
            workers=workers,
        )
        self.steps = total_steps(self.settings, self.batches.steps_per_epoch)

    def run(self, micro_batch: int, counted: Count, on_step: Progress | None) -> tuple[Outcome, Trainer]:
        trainer, steps, device = self.trainer, self.steps, self.device
        schedule = torch.optim.lr_scheduler.LambdaLR(trainer.optimizer, self._learning_rate)
        evaluations = min(self.settings.evaluations, steps)
        evaluate_at = {math.ceil(steps * (i + 1) / evaluations) for i in range(evaluations)}
        curve: list[tuple[int, float, float]] = []
        memory, train_loss, training = 0, math.nan, 0.0
        if device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(device)
        whole, lap = Clock(device), Clock(device)
        for step, (batch, labels) in enumerate(self.batches.take(steps, pin_memory=device.type == "cuda"), start=1):
            measured = SavedTensors(trainer.model) if step == 1 and device.type != "cuda" else None
            with measured or nullcontext():
                loss = trainer.step(batch, labels, micro_batch)
            if measured is not None:
                averaged = trainer.average is not None
                memory = measured.bytes + state_bytes(trainer.model, trainer.optimizer, averaged=averaged)
            schedule.step()
            if step % REPORT_EVERY == 0 or step == steps:
                train_loss = self._finite(loss.item(), step)
                if on_step:
                    speed = step * self.batches.batch_size / (training + lap.seconds())
                    on_step(step, steps, train_loss, speed)
            if step in evaluate_at:
                training += lap.seconds()
                curve.append((step, *trainer.evaluate(self.images.minival, micro_batch)))
                lap.restart()
        outcome = Outcome(
            accuracy=curve[-1][1],
            loss=curve[-1][2],
            train_loss=train_loss,
            curve=tuple(curve),
            seconds=whole.seconds(),
            images_per_second=steps * self.batches.batch_size / training,
            memory=torch.cuda.max_memory_allocated(device) if device.type == "cuda" else memory,
            micro_batch=micro_batch,
            count=counted,
        )
        return outcome, trainer

    def _learning_rate(self, step: int) -> float:
        return learning_rate_factor(step, self.steps, self.batches.steps_per_epoch, self.settings)

    def _finite(self, loss: float, step: int) -> float:
        if not math.isfinite(loss):
            raise DivergedError(
                f"the loss is {loss} at step {step} of {self.steps}: lower train.learning_rate, or warm up longer"
            )
        return loss
