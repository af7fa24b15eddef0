"""Trained networks on the same corrupted images: which images each gets right, and what that takes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from scalesearch.data.corruptions import Condition, Corruptor
from scalesearch.data.held_out import HeldOut
from scalesearch.data.images import Split
from scalesearch.errors import OutOfMemoryError
from scalesearch.runtime.device import Clock, is_out_of_memory
from scalesearch.training.trainer import Trainer

PROBED = 8
"""Images that a price is measured with on a CPU; an accelerator is given a whole batch."""


class RightAnswers(NamedTuple):
    """Which images each network gets right, bool (networks, conditions, images), and whether a condition changed any
    image at all, bool (conditions,)."""

    right: Tensor
    changed: Tensor


def measure(
    trainers: Sequence[Trainer],
    images: HeldOut,
    conditions: Sequence[Condition],
    corruptor: Corruptor,
    *,
    told: Callable[[int], None] = lambda done: None,
) -> RightAnswers:
    """Which images each network gets right under each condition.

    An image is corrupted once, and all networks see what came out, each at its own size.

    Args:
        told: called with the number of images that are done.

    Raises:
        OutOfMemoryError: the device has no room for a batch.
    """
    right = torch.zeros(len(trainers), len(conditions), len(images), dtype=torch.bool)
    changed = torch.zeros(len(conditions), dtype=torch.bool)
    step = max(trainer.evaluated_together for trainer in trainers)
    for start in range(0, len(images), step):
        part = slice(start, min(start + step, len(images)))
        clean, labels = torch.as_tensor(images.split.images[part]), images.split.labels[part]
        for place, condition in enumerate(conditions):
            corrupted = corruptor(clean, images.indices[part], condition)
            changed[place] |= not torch.equal(corrupted, clean)
            for number, trainer in enumerate(trainers):
                right[number, place, part] = _right(trainer, Split(corrupted, labels))
        told(part.stop)
    return RightAnswers(right, changed)


def seconds_an_image(
    trainers: Sequence[Trainer], images: HeldOut, conditions: Sequence[Condition], corruptor: Corruptor
) -> float:
    """What `measure` will about take for each image, from a few: networks, and each corruption at its severest."""
    device = trainers[0].device
    count = min(len(images), PROBED if device.type == "cpu" else trainers[0].evaluated_together)
    clean, labels = torch.as_tensor(images.split.images[:count]), images.split.labels[:count]
    split, clock, each = Split(clean, labels), Clock(device), 0.0
    for trainer in trainers:
        _right(trainer, split)
        clock.restart()
        _right(trainer, Split(clean, labels))  # another split, whose views are not at hand
        each += clock.seconds() * len(conditions)
    for name in dict.fromkeys(condition.corruption for condition in conditions if condition.corruption):
        own = [condition for condition in conditions if condition.corruption == name]
        clock.restart()
        corruptor(clean, images.indices[:count], own[-1])
        each += clock.seconds() * len(own)
    return each / count


def _right(trainer: Trainer, split: Split) -> Tensor:
    try:
        return trainer.evaluate(split.on(trainer.device)).correct
    except RuntimeError as failure:
        if not is_out_of_memory(failure):
            raise
        size = trainer.evaluated_together
        raise OutOfMemoryError(
            f"{trainer.device} has no room for {size} images at {trainer.resolution} px: --set train.batch_size="
            f"{max(1, size // 2)}"
        ) from failure
