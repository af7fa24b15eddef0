"""What a few measured steps decide before a run: how large its batches are, and whether its networks are compiled."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple, TypedDict

import torch

from scalesearch.errors import RecipeError, TrialError
from scalesearch.files import kept_one
from scalesearch.models.protocols import ScaledModel
from scalesearch.recipe import Recipe
from scalesearch.runtime.device import Clock, is_out_of_memory, release_memory
from scalesearch.runtime.threads import threads, worker_threads
from scalesearch.settings import TrainSettings
from scalesearch.training.memory_estimate import estimated_memory
from scalesearch.training.step_timing import MORE, here, noise, seconds_per_step, timed_steps
from scalesearch.training.train import total_steps
from scalesearch.training.trainer import Trainer

FEWEST_STEPS = 100
"""A schedule of fewer updates would be another experiment: batches grow no further."""

ROOM = 0.5
"""Share of a computer's free memory that all its workers' batches may take."""

SHORTEST_BUILD = 10.0
"""Seconds that compiling takes at the very least: a trial that could not earn them back is not probed."""

MOST_SAVED = 0.5
"""The share of a step that compiling saves at the very most."""


class Timings(NamedTuple):
    """Seconds of a step as it is, of building the compiled network (None: not tried), and of its step."""

    plain: float
    built: float | None = None
    compiled: float = 0.0


RateOf = Callable[[Recipe, ScaledModel, torch.device, int], float]
TimingsOf = Callable[[Recipe, ScaledModel, torch.device, int, int], Timings]


class BatchChoice(TypedDict):
    """How large batches are, and what was measured, in words."""

    batch: int
    told: str


class CompileChoice(TypedDict):
    """``on`` or ``off``, and why."""

    compile: str
    told: str


def decide(
    recipe: Recipe, dearest: ScaledModel, median: ScaledModel, device: torch.device, classes: int, images: int
) -> tuple[Recipe, tuple[str, ...]]:
    """The recipe with batch size and compilation settled, where it leaves them to a probe, and a sentence for each.

    Raises:
        RecipeError: the batch size decides which candidates are admitted.
    """
    told = []
    if recipe.train.grow_batch:
        if recipe.search.target_memory is not None:
            raise RecipeError("batch_size", "a number where there is a target_memory, which depends on it", "auto")
        recipe, words = grown(recipe, dearest, device, classes, images)
        told.append(words)
    if recipe.train.compile == "auto":
        recipe, words = compiled(recipe, median, device, classes, images)
        told.append(words)
    return recipe, tuple(told)


def with_batch(recipe: Recipe, batch: int) -> Recipe:
    """The recipe with another batch size, and what follows from it.

    The learning rate grows in proportion (Goyal et al. 2017, §2.1), AdamW's by the square root (Malladi et al. 2022);
    a schedule in steps sees the same number of images.
    """
    train = recipe.train
    factor = batch / train.batch_size
    changes: dict[str, object] = {
        "batch_size": batch,
        "grow_batch": False,
        "learning_rate": train.learning_rate * (math.sqrt(factor) if train.optimizer == "adamw" else factor),
    }
    if train.steps:
        changes["steps"] = max(1, round(train.steps / factor))
    return recipe.model_copy(update={"train": train.model_copy(update=changes)})


def grown(
    recipe: Recipe,
    dearest: ScaledModel,
    device: torch.device,
    classes: int,
    images: int,
    *,
    rate_of: RateOf | None = None,
) -> tuple[Recipe, str]:
    """The recipe with its batch doubled while the dearest candidate trains 5 % faster for it, and what was measured.

    It ends where memory does, or where the schedule would have fewer than a hundred updates. Measured once per
    network and kind of device.

    Args:
        rate_of: measures images per second at a recipe's batch size, 0 where memory ends; by default on the device.
    """
    rate_of = rate_of or _rate
    first, settings, workers = recipe.train.batch_size, recipe.train, recipe.run.workers or 1

    def measure() -> BatchChoice:
        batch, best = first, rate_of(recipe, dearest, device, classes)
        if not best:
            return {"batch": first, "told": "even that ends the memory, so batches will be split"}
        told = f"{first} trains {best:.0f} images a second"
        while _may_be(2 * batch, recipe, images) and _fits(
            with_batch(recipe, 2 * batch).train, dearest, device, classes, workers
        ):
            rate = rate_of(with_batch(recipe, 2 * batch), dearest, device, classes)
            told += f", {2 * batch} {rate:.0f}" if rate else f", {2 * batch} ends the memory"
            if rate < MORE * best:
                break
            batch, best = 2 * batch, rate
        return {"batch": batch, "told": told}

    key = f"{_place(recipe, dearest, device, classes)} {first} {settings.epochs} {settings.steps} {images} {workers}"
    choice = kept_one("batch_size", key, measure)
    changed = with_batch(recipe, choice["batch"])
    rate = f"learning rate {changed.train.learning_rate:.4g}"
    return changed, f"batch size {choice['batch']}, {rate} (the dearest candidate: {choice['told']})"


def _may_be(batch: int, recipe: Recipe, images: int) -> bool:
    """Whether there are as many images, and the schedule has updates enough."""
    return batch <= images and total_steps(with_batch(recipe, batch).train, images // batch) >= FEWEST_STEPS


def _fits(train: TrainSettings, model: ScaledModel, device: torch.device, classes: int, workers: int) -> bool:
    """On an accelerator the attempt will tell; a computer would rather end the process."""
    if device.type != "cpu":
        return True
    return max(1, workers) * estimated_memory(model.cost(classes), train, train.precision) <= ROOM * _available()


def _available() -> float:
    """Bytes of memory that are free here, as far as Linux tells."""
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
    except OSError:
        return math.inf
    return next((1024.0 * int(line.split()[1]) for line in lines if line.startswith("MemAvailable")), math.inf)


def _rate(recipe: Recipe, model: ScaledModel, device: torch.device, classes: int) -> float:
    """Images per second; 0 if memory ends."""
    batch = recipe.train.batch_size
    split = noise(batch, model.resolution, classes, model.channels)
    try:
        with threads(worker_threads(recipe, device)):
            return batch / seconds_per_step(model, recipe, device, split, steps=3)
    except (RuntimeError, MemoryError) as failure:
        if not is_out_of_memory(failure):
            raise
    release_memory(device)
    return 0.0


def compiled(
    recipe: Recipe,
    model: ScaledModel,
    device: torch.device,
    classes: int,
    images: int,
    *,
    timings_of: TimingsOf | None = None,
) -> tuple[Recipe, str]:
    """The recipe with ``compile`` decided for trials like that of ``model``, and why. Measured once, as `grown` is.

    Args:
        timings_of: measures seconds of a step and, where asked, of building; by default on the device.
    """
    length = total_steps(recipe.train, max(1, images // min(recipe.train.batch_size, images)))

    def measure() -> CompileChoice:
        try:
            with threads(worker_threads(recipe, device)):
                return _compile_choice(length, (timings_of or _timings)(recipe, model, device, classes, length))
        except (RuntimeError, TrialError) as failure:  # of Dynamo, its compiler, a memory that ends, a CUDA graph
            release_memory(device)
            reason = str(failure).strip().partition("\n")[0]
            return {"compile": "off", "told": f"it fails here ({reason})"}

    key = f"{_place(recipe, model, device, classes)} {recipe.train.batch_size} {length}"
    choice = kept_one("compile_choice", key, measure)
    return _with_compile(recipe, choice["compile"]), f"compile {choice['compile']}: {choice['told']}"


def _compile_choice(length: int, timings: Timings) -> CompileChoice:
    """Whether a trial of ``length`` steps earns the time back that compiling takes."""
    plain, built, faster = timings
    whole = length * plain
    if built is None:
        return {"compile": "off", "told": f"a trial's {length} steps take {whole:.0f} s, too few to earn it"}
    saved = length * (plain - faster)
    told = f"{built:.0f} s to build, {abs(saved):.0f} of a trial's {whole:.0f} s {'saved' if saved > 0 else 'lost'}"
    return {"compile": "on" if saved > built else "off", "told": told}


def _timings(recipe: Recipe, model: ScaledModel, device: torch.device, classes: int, length: int) -> Timings:
    """Measured on the device; the compiled network only where it could pay."""
    split = noise(recipe.train.batch_size, model.resolution, classes, model.channels).on(device)
    trainer = Trainer(model, classes, _with_compile(recipe, "off"), device)
    plain = timed_steps(trainer, recipe, device, split, steps=3)
    del trainer
    release_memory(device)
    if MOST_SAVED * length * plain < SHORTEST_BUILD:
        return Timings(plain)
    clock = Clock(device)
    trainer = Trainer(model, classes, _with_compile(recipe, "on"), device)
    timed_steps(trainer, recipe, device, split, steps=1)
    built = clock.seconds()
    faster = timed_steps(trainer, recipe, device, split, steps=3)
    del trainer
    release_memory(device)
    return Timings(plain, built, faster)


def _with_compile(recipe: Recipe, choice: str) -> Recipe:
    return recipe.model_copy(update={"train": recipe.train.model_copy(update={"compile": choice})})


def _place(recipe: Recipe, model: ScaledModel, device: torch.device, classes: int) -> str:
    train = recipe.train
    return (
        f"{model.fingerprint} {classes} {train.optimizer} {train.precision} {train.channels_last} {train.ema} "
        f"{here(device)}{' graphs' * recipe.run.cuda_graphs}"
    )
