"""What a search will take, from a few real steps on this device."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch

from scalesearch.baselines import ScaledModel
from scalesearch.data.batches import TrainBatches
from scalesearch.data.images import Split
from scalesearch.device import Clock
from scalesearch.train import total_steps
from scalesearch.trainer import Trainer

if TYPE_CHECKING:
    from scalesearch.prepare import Prepared


@dataclass(frozen=True)
class Quote:
    """Expected seconds of the whole search, and bytes at the peak of its largest trial."""

    seconds: float
    memory: int


def quote(prepared: Prepared, steps: int = 4) -> Quote:
    """Time ``steps`` training steps of the cheapest, the median and the dearest candidate; others lie between."""
    recipe = prepared.recipe
    batch = min(recipe.train.batch_size, prepared.train_images)
    by_cost = sorted(prepared.plan.candidates, key=lambda c: c.cost.macs)
    probed = list(dict.fromkeys([by_cost[0], by_cost[len(by_cost) // 2], by_cost[-1]]))
    length = total_steps(recipe.train, prepared.train_images // batch)
    held_out = prepared.minival_images * min(recipe.train.evaluations, length)
    seconds: list[float] = []
    for candidate in probed:
        per_step, per_image = probe(prepared, candidate.model, batch, steps)
        seconds.append(length * per_step + held_out * per_image)
    each = np.interp([c.cost.macs for c in by_cost], [c.cost.macs for c in probed], seconds)
    return Quote(float(each.sum()) * recipe.seeds, max(prepared.memory(c.cost) for c in by_cost))


def probe(prepared: Prepared, model: ScaledModel, batch: int, steps: int) -> tuple[float, float]:
    """Seconds of one training step and of evaluating one image, on random images, after one step to warm up."""
    recipe, device, classes = prepared.recipe, prepared.device, len(prepared.source.classes)
    size = recipe.data.cache_resolution or model.resolution
    generator = torch.Generator().manual_seed(0)
    split = Split(
        torch.randint(256, (batch, 3, size, size), dtype=torch.uint8, generator=generator),
        torch.randint(classes, (batch,), generator=generator),
    )
    trainer = Trainer(model, classes, recipe, device)
    batches = TrainBatches(split, recipe.augment, model.resolution, batch_size=batch, seed=0, workers=0)
    clock = Clock(device)
    for step, (images, labels) in enumerate(batches.take(steps + 1)):
        trainer.step(images, labels, batch)
        if step == 0:
            clock.restart()
    per_step = clock.seconds() / steps
    clock.restart()
    trainer.evaluate(split)
    return per_step, clock.seconds() / batch
