"""What a search, or one training, will take, from a few real steps on this device."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from scalesearch.errors import DeviceError
from scalesearch.models.protocols import ScaledModel
from scalesearch.runtime.device import Clock, is_out_of_memory, release_memory
from scalesearch.runtime.threads import threads, worker_threads, workers_side_by_side
from scalesearch.training.legs import steps_in_all
from scalesearch.training.progressive import shortened
from scalesearch.training.single import Job
from scalesearch.training.step_timing import noise, timed_steps
from scalesearch.training.train import total_steps
from scalesearch.training.trainer import Trainer

if TYPE_CHECKING:
    from scalesearch.search.setup import Prepared

    Planned = Prepared | Job


STEPS = 4
"""How many of a candidate's steps are timed."""


@dataclass(frozen=True)
class Quote:
    """Expected seconds of all trials together, how many train side by side, and bytes at the peak of the largest.

    ``speeds`` are the images a second that each network was expected to train at, by its fingerprint, ``per_trial`` the
    expected seconds of one.
    """

    seconds: float
    workers: int
    memory: int
    speeds: Mapping[str, float] = field(default_factory=dict)
    per_trial: float = 0.0

    @property
    def wall(self) -> float:
        """Seconds by the clock."""
        return self.seconds / self.workers


def is_worthwhile(prepared: Prepared, steps: int = STEPS) -> bool:
    """Whether the probe is so much shorter than the search that it is no part of it to speak of: three per cent."""
    return 3 * (steps + 2) <= 0.03 * _steps(prepared) * len(prepared.tasks)


def _batch(planned: Planned) -> int:
    return min(planned.recipe.train.batch_size, planned.train_images)


def _steps(planned: Planned) -> int:
    """Of one training, branches included."""
    settings = planned.recipe.train
    return steps_in_all(settings, total_steps(settings, planned.train_images // _batch(planned)))


def is_long(job: Job, steps: int = STEPS) -> bool:
    """Whether one training is so long that foreseeing it is no part of it to speak of: three per cent."""
    return steps + 2 <= 0.03 * _steps(job)


def training_seconds(job: Job, steps: int = STEPS) -> float:
    """Expected seconds of one network's training by one process, with what it measures on the minival and at the end on
    the validation images, if there are any; what decoding them takes is not foreseen."""
    val, timing = job.source.val, probe(job, job.model, steps)
    return _seconds(job, job.model, timing) + (len(val.labels) * timing[1] if val else 0)


def _seconds(planned: Planned, model: ScaledModel, timing: tuple[float, float]) -> float:
    """Of one training of ``model``, by what `probe` found."""
    recipe, length, (per_step, per_image) = planned.recipe, _steps(planned), timing
    held_out = planned.minival_images * min(recipe.train.evaluations, length)
    return length * per_step * shortened(recipe, model.resolution, length) + held_out * per_image


def quote(prepared: Prepared, steps: int = STEPS) -> Quote:
    """Time ``steps`` training steps of the cheapest, the median and the dearest candidate; others lie between.

    On a CPU with as many threads as a worker will have.
    """
    recipe, batch = prepared.recipe, _batch(prepared)
    by_cost = prepared.plan.by_cost
    probed = [by_cost[i] for i in sorted({0, len(by_cost) // 2, len(by_cost) - 1})]
    with threads(worker_threads(recipe, prepared.device)):
        measured = [probe(prepared, candidate.model, steps) for candidate in probed]
    seconds = [_seconds(prepared, c.model, timing) for c, timing in zip(probed, measured, strict=True)]
    macs, known = [c.cost.macs for c in by_cost], [c.cost.macs for c in probed]
    each = np.interp(macs, known, seconds)
    steps_each = np.interp(macs, known, [per_step for per_step, _ in measured])
    speeds = {c.model.fingerprint: batch / float(each) for c, each in zip(by_cost, steps_each, strict=True)}
    workers = max(1, min(workers_side_by_side(recipe, prepared.device), len(prepared.tasks)))
    memory = max(prepared.memory(c.cost) for c in by_cost)
    total = float(each.mean()) * prepared.trainings
    if (budget := prepared.planner.budget) and budget.unit == "seconds":
        total = min(total, budget.amount * workers)
    return Quote(total, workers, memory, speeds, float(each.mean()))


def told_quote(prepared: Prepared) -> Quote:
    """The quote of a dry run.

    Raises:
        DeviceError: the dearest candidate does not fit on the device.
    """
    try:
        return quote(prepared)
    except (RuntimeError, MemoryError) as failure:
        if not is_out_of_memory(failure):
            raise
        raise DeviceError(
            f"the dearest candidate does not fit on {prepared.device} at batch size "
            f"{prepared.recipe.train.batch_size}: lower --batch-size, set --target-memory, or start anyway: a trial "
            "that runs out of memory splits its batches"
        ) from failure


def probe(planned: Planned, model: ScaledModel, steps: int) -> tuple[float, float]:
    """Seconds of one training step and of evaluating one image, on random images, after a step or more to warm up."""
    recipe, device, classes = planned.recipe, planned.device, len(planned.source.classes)
    size = recipe.data.cache_resolution or model.resolution
    trainer = Trainer(model, classes, recipe, device)
    batch = noise(_batch(planned), size, classes, model.channels).on(device)
    per_step = timed_steps(trainer, recipe, device, batch, steps)
    held_out = noise(min(trainer.evaluated_together, planned.minival_images), size, classes, model.channels).on(device)
    trainer.evaluate(held_out)  # the first time is none of the others'
    clock = Clock(device)
    trainer.evaluate(held_out)
    per_image = clock.seconds() / len(held_out)
    del trainer
    release_memory(device)
    return per_step, per_image
