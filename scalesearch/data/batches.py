"""Batches on the device: augmented per sample for training, cropped alike for evaluation."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset
from torchvision.transforms import InterpolationMode, v2

from scalesearch.data.images import Split
from scalesearch.recipe import AugmentSettings

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


class _Augmented(Dataset[Tensor]):
    """Item (index, seed) is a view of one image that depends on nothing else, whichever process makes it."""

    def __init__(self, images: Tensor, transform: Callable[[Tensor], Tensor]) -> None:
        self.images, self.transform = images, transform

    def __getitem__(self, key: tuple[int, int]) -> Tensor:
        index, seed = key
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            return self.transform(self.images[index])


class TrainBatches:
    """Endless batches of (images uint8 (B, 3, r, r), labels (B,)), reshuffled every epoch; the last part is dropped."""

    def __init__(
        self, split: Split, augment: AugmentSettings, resolution: int, batch_size: int, seed: int, workers: int
    ) -> None:
        self.split, self.seed, self.workers = split, seed, workers
        self.batch_size = min(batch_size, len(split))
        self.steps_per_epoch = len(split) // self.batch_size
        self.dataset = _Augmented(split.images, augmentation(augment, resolution))

    def take(self, steps: int) -> Iterator[tuple[Tensor, Tensor]]:
        order: list[list[tuple[int, int]]] = []
        generator = torch.Generator().manual_seed(self.seed)
        while len(order) < steps:
            shuffled = torch.randperm(len(self.split), generator=generator).tolist()
            views = torch.randint(2**62, (len(self.split),), generator=generator).tolist()
            keys = list(zip(shuffled, views, strict=True))
            size = self.batch_size
            order += [keys[i * size : (i + 1) * size] for i in range(self.steps_per_epoch)]
        del order[steps:]
        loader = DataLoader(
            self.dataset,
            batch_sampler=order,
            num_workers=self.workers,
            pin_memory=self.workers > 0 and torch.cuda.is_available(),
        )
        for keys, images in zip(order, loader, strict=True):
            yield images, self.split.labels[[index for index, _ in keys]]


def default_workers(device: torch.device) -> int:
    """None on the CPU, where they would take the cores the step needs; up to eight beside an accelerator."""
    return 0 if device.type == "cpu" else min(8, os.cpu_count() or 1)


def evaluation_images(split: Split, resolution: int, crop: float) -> Tensor:
    """The central ``crop`` of every image at ``resolution``, uint8 (N, 3, r, r): Resize(r / crop) + CenterCrop(r)."""
    side = max(1, round(split.images.shape[-1] * crop))
    parts = [
        v2.functional.resize(
            v2.functional.center_crop(images, [side, side]),
            [resolution, resolution],
            interpolation=InterpolationMode.BICUBIC,
            antialias=True,
        )
        for images in torch.split(split.images, 256)
    ]
    return torch.cat(parts)
