"""Images of a batch mixed with each other, and their labels with them: mixup and CutMix, as torchvision has them.

(Zhang et al. 2018, "mixup: Beyond Empirical Risk Minimization"; Yun et al. 2019, "CutMix".)
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional
from torchvision.transforms import v2

from scalesearch.runtime.seeding import seed_of

MIXED = 1
"""Tells the seed of what mixes a batch from the one of its crops."""


@dataclass(frozen=True)
class Mixing:
    """How batches are mixed. ``halves``: the first half by mixup and the other by CutMix, in place of a choice."""

    mixup: float = 0.0
    cutmix: float = 0.0
    halves: bool = False

    def __bool__(self) -> bool:
        return self.mixup > 0 or self.cutmix > 0

    def __call__(self, images: Tensor, labels: Tensor, classes: int, *, seed: int, step: int) -> tuple[Tensor, Tensor]:
        """Mixed images float32 (B, C, h, w), levels 0 to 255, and shares of the classes (B, classes).

        What chance decides is a function of the seed and the step. Nothing is mixed where both α are 0, so that every
        stage of a training has batches of one kind.

        Args:
            images: (B, C, h, w).
            labels: int64 (B,).
        """
        mixed = images.float()
        if not self:
            return mixed, functional.one_hot(labels, classes).float()
        with torch.random.fork_rng(devices=[]):
            torch.default_generator.manual_seed(seed_of(seed_of(seed, step), MIXED))
            if self.halves:
                half = len(labels) // 2
                parts = [
                    self._transform(kind, classes)(mixed[part], labels[part])
                    for kind, part in (("mixup", slice(half)), ("cutmix", slice(half, None)))
                ]
                return torch.cat([part[0] for part in parts]), torch.cat([part[1] for part in parts])
            kinds = [kind for kind in ("mixup", "cutmix") if getattr(self, kind) > 0]
            kind = kinds[int(torch.randint(len(kinds), ()))]
            mixed, shares = self._transform(kind, classes)(mixed, labels)
            return mixed, shares

    def _transform(self, kind: str, classes: int) -> v2.Transform:
        made = {"mixup": v2.MixUp, "cutmix": v2.CutMix}[kind]
        return made(alpha=getattr(self, kind), num_classes=classes)
