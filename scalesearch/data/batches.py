"""Batches on the device: augmented per sample for training, cropped alike for evaluation."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from itertools import islice
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset
from torchvision.transforms import InterpolationMode, v2

from scalesearch.data.images import Split
from scalesearch.recipe import AugmentSettings
from scalesearch.team import ALONE, Team

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
"""ImageNet's channel statistics, which nearly every ConvNet recipe uses."""


def normalise(images: Tensor, device: torch.device, *, channels_last: bool) -> Tensor:
    """uint8 (N, 3, r, r) to float32 on the device, normalised per channel."""
    layout = torch.channels_last if channels_last else torch.contiguous_format
    moved = images.to(device, non_blocking=True).to(torch.float32, memory_format=layout)
    mean = torch.tensor(MEAN, device=device).view(3, 1, 1) * 255
    std = torch.tensor(STD, device=device).view(3, 1, 1) * 255
    return moved.sub_(mean).div_(std)


def augmentation(settings: AugmentSettings, resolution: int) -> Callable[[Tensor], Tensor]:
    """One image, uint8 (3, S, S), to a random view of it, uint8 (3, resolution, resolution)."""
    steps: list[Any] = [
        v2.RandomResizedCrop(resolution, scale=settings.scale, interpolation=InterpolationMode.BICUBIC, antialias=True)
    ]
    if settings.flip:
        steps.append(v2.RandomHorizontalFlip())
    policy = {
        "randaugment": lambda: v2.RandAugment(num_ops=2, magnitude=settings.magnitude),
        "autoaugment": v2.AutoAugment,
        "trivialaugment": v2.TrivialAugmentWide,
    }.get(settings.policy)
    if policy:
        steps.append(policy())
    views: Callable[[Tensor], Tensor] = v2.Compose(steps)
    return views


Key = tuple[int, int]


class _Augmented(Dataset[tuple[Tensor, Tensor]]):
    """Item (index, seed) is a view of one image, and its label; it depends on nothing else, whoever makes it."""

    def __init__(self, split: Split, transform: Callable[[Tensor], Tensor]) -> None:
        self.split, self.transform = split, transform

    def __getitem__(self, key: Key) -> tuple[Tensor, Tensor]:
        index, seed = key
        with torch.random.fork_rng(devices=[]):
            torch.default_generator.manual_seed(seed)  # this one alone: torch.manual_seed would reach a GPU's too
            return self.transform(self.split.images[index]), self.split.labels[index]


class _Order:
    """The keys of the batches ``steps``, epoch after epoch in a new order; an epoch's last, smaller batch is left
    out. Of every batch, a team's process gets its share."""

    def __init__(self, images: int, batch_size: int, steps: range, seed: int, team: Team) -> None:
        self.images, self.batch_size, self.steps, self.seed, self.team = images, batch_size, steps, seed, team

    def __len__(self) -> int:
        return len(self.steps)

    def __iter__(self) -> Iterator[list[Key]]:
        return map(self.team.share, islice(self._endless(), self.steps.start, self.steps.stop))

    def _endless(self) -> Iterator[list[Key]]:
        generator, size = torch.Generator().manual_seed(self.seed), self.batch_size
        while True:
            shuffled = torch.randperm(self.images, generator=generator).tolist()
            views = torch.randint(2**62, (self.images,), generator=generator).tolist()
            for start in range(0, self.images - size + 1, size):
                yield list(zip(shuffled[start : start + size], views[start : start + size], strict=True))


class TrainBatches:
    """Batches of (images uint8 (B, 3, r, r), labels int64 (B,)) in an order that the seed fixes.

    ``batch_size`` is the whole team's, each of whose processes gets B / world of the images that one alone would get.
    """

    def __init__(
        self,
        split: Split,
        augment: AugmentSettings,
        resolution: int,
        *,
        batch_size: int,
        seed: int,
        workers: int,
        team: Team = ALONE,
    ) -> None:
        self.count, self.seed, self.workers, self.team = len(split), seed, workers, team
        self.batch_size = min(batch_size, len(split))
        self.steps_per_epoch = len(split) // self.batch_size
        self.dataset = _Augmented(split, augmentation(augment, resolution))

    def take(self, steps: int, *, start: int = 0, pin_memory: bool = False) -> Iterator[tuple[Tensor, Tensor]]:
        """The first ``steps`` batches, without the first ``start`` of them."""
        order = _Order(self.count, self.batch_size, range(start, steps), self.seed, self.team)
        loader = DataLoader(self.dataset, batch_sampler=order, num_workers=self.workers, pin_memory=pin_memory)
        yield from loader


def default_workers(device: torch.device) -> int:
    """None on the CPU, where they would take the cores the step needs; up to eight beside an accelerator."""
    return 0 if device.type == "cpu" else min(8, os.cpu_count() or 1)


def evaluation_batches(
    split: Split, resolution: int, crop: float, batch_size: int, team: Team = ALONE
) -> Iterator[tuple[Tensor, Tensor]]:
    """The central ``crop`` of every image at ``resolution``, uint8 (B, 3, r, r): Resize(r / crop) + CenterCrop(r).

    A team's process gets its stretch of the images.
    """
    side = max(1, round(split.images.shape[-1] * crop))
    own = team.part(len(split))
    for start in own[::batch_size]:
        part = slice(start, min(start + batch_size, own.stop))
        centre = v2.functional.center_crop(split.images[part], [side, side])
        views = v2.functional.resize(
            centre, [resolution, resolution], interpolation=InterpolationMode.BICUBIC, antialias=True
        )
        yield views, split.labels[part]
