"""How fast steps are here: the precision that trains a network faster, and how many workers a device feeds."""

from __future__ import annotations

import torch

from scalesearch.data.batches import TrainBatches
from scalesearch.data.images import Split
from scalesearch.image_size import Resolution, image_shape
from scalesearch.models.protocols import ScaledModel
from scalesearch.recipe import Recipe
from scalesearch.runtime.device import Clock, device_name, release_memory
from scalesearch.training.trainer import Trainer

LONG_ENOUGH = 0.5
"""Seconds that an accelerator's steps are timed for at least."""

MORE = 1.05
"""How much more workers have to train together to be worth their memory."""


def noise(images: int, size: Resolution, classes: int, channels: int = 3) -> Split:
    """Images of nothing, to time steps with."""
    generator = torch.Generator().manual_seed(0)
    return Split(
        torch.randint(256, (images, *image_shape(channels, size)), dtype=torch.uint8, generator=generator),
        torch.randint(classes, (images,), generator=generator),
    )


def seconds_per_step(model: ScaledModel, recipe: Recipe, device: torch.device, split: Split, steps: int) -> float:
    """Of training on ``split`` in batches of all its images, after a step or more to warm up."""
    trainer = Trainer(model, int(split.labels.max()) + 1, recipe, device)
    seconds = timed_steps(trainer, recipe, device, split.on(device), steps)
    del trainer
    release_memory(device)
    return seconds


def timed_steps(trainer: Trainer, recipe: Recipe, device: torch.device, split: Split, steps: int) -> float:
    """Seconds of one of ``steps`` steps, data and augmentation included, after those that warm up.

    An accelerator does so many again and again until half a second has passed: its clocks rise while it works.
    """
    batches = TrainBatches(split, recipe.augment, trainer.resolution, batch_size=len(split), seed=0, device=device)
    for images, labels in batches.take(trainer.warm_up):
        trainer.step(images, labels, len(split))
    clock, done, seconds = Clock(device), 0, 0.0
    while not done or (device.type != "cpu" and seconds < LONG_ENOUGH):
        for images, labels in batches.take(steps):
            trainer.step(images, labels, len(split))
        done, seconds = done + steps, clock.seconds()
    return seconds / done


def here(device: torch.device) -> str:
    """What a measured time holds for: the device, its threads, and torch's version."""
    return f"{device_name(device)} × {torch.get_num_threads()} torch {torch.__version__}"
