"""A trained network measured at other image sizes than it was trained for.

Random crops make objects look larger in training than in evaluation, so that a network often does better on images
somewhat larger than it was trained on, once its norm statistics are those of that size (Touvron et al. 2019, "Fixing
the train-test resolution discrepancy", NeurIPS).
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from scalesearch.data.batches import evaluation_views
from scalesearch.data.images import Images
from scalesearch.image_size import Resolution, times
from scalesearch.runtime.seeding import generator_states, restore_generators
from scalesearch.training.class_scores import by_class, scores_of
from scalesearch.training.norm_statistics import with_fresh_statistics
from scalesearch.training.trainer import Trainer
from scalesearch.trials import packed

BATCHES = 16
"""Of training images, from which norm statistics are estimated."""


def measured_at(trainer: Trainer, images: Images, factors: tuple[float, ...], own: Resolution) -> list[dict[str, Any]]:
    """The minival's accuracy, loss and right images at each size, in the factors' order.

    At a network's own size its statistics are training's. At another they are estimated at that size, from training
    images that are cropped as in evaluation; ``kept`` is the accuracy with training's.

    Args:
        factors: of ``own``, the size that it was trained for; sizes are the next at which the network runs.
    """
    states, found = generator_states(trainer.device), []
    try:
        for factor in factors:
            pixels = own if factor == 1 else trainer.nearest_size(times(own, factor))
            trainer.resolution = pixels
            kept = trainer.evaluate(images.minival)
            chosen = kept if pixels == own else trainer.evaluate(images.minival, _adapted(trainer, images, pixels))
            found.append(
                {
                    "factor": factor,
                    "pixels": pixels,
                    "accuracy": chosen.accuracy,
                    "loss": chosen.loss,
                    "correct": packed(chosen.correct),
                    "kept": kept.accuracy,
                    **by_class(chosen),
                    "kept_by_class": scores_of(kept, images.minival)[:2],
                }
            )
    finally:
        trainer.resolution = own
        restore_generators(states, trainer.device)
    return found


def _adapted(trainer: Trainer, images: Images, pixels: Resolution) -> torch.nn.Module:
    """The network with norm statistics of training images, spread evenly over all, at another size."""
    split, crop = images.train, trainer.augment.eval_crop
    size = max(1, trainer.settings.batch_size // trainer.team.world)
    batches = min(BATCHES, -(-len(split) // size))
    spread = torch.linspace(0, len(split) - 1, min(len(split), batches * size)).round().long()

    def views(batch: int) -> Tensor:
        return evaluation_views(split.take(spread[batch::batches])[0].to(trainer.device), pixels, crop)

    return with_fresh_statistics(trainer, trainer.result, map(views, range(batches)), batches)
