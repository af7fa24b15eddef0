"""Batches on the device: augmented per sample for training, cropped alike for evaluation."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice

import torch
from torch import Tensor
from torchvision.transforms import InterpolationMode, v2

from scalesearch.data.augment import Augmentation
from scalesearch.data.images import Split
from scalesearch.data.mixing import Mixing
from scalesearch.data.prefetch import ahead
from scalesearch.image_size import Resolution, height_width, of_sides
from scalesearch.runtime.seeding import seed_of
from scalesearch.runtime.team import ALONE, Team
from scalesearch.settings import AugmentSettings

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
"""ImageNet's channel statistics, which nearly every ConvNet recipe uses."""

CPU = torch.device("cpu")


Channels = tuple[float, ...]
"""A number for each channel (R, G, B), as a share of the largest grey level."""


class Normaliser:
    """Levels (N, C, h, w), uint8 or float32, to float32 on the device, normalised per channel."""

    def __init__(
        self, device: torch.device, *, channels_last: bool, mean: Channels | None = None, std: Channels | None = None
    ) -> None:
        """``mean`` and ``std`` are ImageNet's where they are None."""
        self._device = device
        self._layout = torch.channels_last if channels_last else torch.contiguous_format
        self._means, self._stds = (
            torch.tensor(values, device=device).view(1, -1, 1, 1) * 255 for values in (mean or MEAN, std or STD)
        )

    def __call__(self, images: Tensor) -> Tensor:
        if self._means.shape[-2:] != images.shape[-2:]:
            self._means, self._stds = (self._as_large(values, images) for values in (self._means, self._stds))
        moved = images.to(self._device, non_blocking=True).to(torch.float32, memory_format=self._layout)
        return (moved - self._means if moved is images else moved.sub_(self._means)).div_(self._stds)

    def _as_large(self, values: Tensor, images: Tensor) -> Tensor:
        """A number per channel as an image: in channels_last, a CPU takes a fifth of the time for that."""
        return values[..., :1, :1].expand(-1, -1, *images.shape[-2:]).contiguous(memory_format=self._layout)


@dataclass(frozen=True)
class StageViews:
    """What batches are made of from step ``start`` on."""

    start: int
    augment: Augmentation
    mixing: Mixing


class TrainBatches:
    """Batches of (images (B, C, h, w), labels int64 (B,)) on ``device``, in an order that the seed fixes.

    A batch is a function of the seed and its number alone: so a trial may be taken up anywhere. ``batch_size`` is the
    whole team's, each of whose processes gets B / world of the views that one alone would get. Where any of the views
    mixes, batches are float images and shares of the classes; each of a team's processes mixes its own.
    """

    def __init__(
        self,
        split: Split,
        augment: AugmentSettings,
        resolution: Resolution,
        *,
        batch_size: int,
        seed: int,
        device: torch.device = CPU,
        team: Team = ALONE,
        views: Sequence[StageViews] = (),
        classes: int = 0,
    ) -> None:
        """``views`` are those of a schedule whose stages differ, the first one's start at 0; ``classes`` are needed
        where any of them mixes."""
        self.split, self.seed, self.device, self.team, self.classes = split, seed, device, team, classes
        self.batch_size = min(batch_size, len(split))
        self.steps_per_epoch = len(split) // self.batch_size
        self.views = tuple(views) or (StageViews(0, Augmentation(augment, resolution), Mixing()),)
        self.mixes = any(each.mixing for each in self.views)

    def take(self, steps: int, *, start: int = 0) -> Iterator[tuple[Tensor, Tensor]]:
        """The first ``steps`` batches, without the first ``start`` of them.

        Where the images are not on the device, a thread fetches the next ones while these are trained on.
        """
        fetched = (self._fetch(step, chosen) for step, chosen in self._orders(start, steps))
        at_hand = self.split.device == self.device
        for step, images, labels in fetched if at_hand else ahead(fetched):
            generator = torch.Generator().manual_seed(seed_of(self.seed, step))
            views = next(each for each in reversed(self.views) if each.start <= step)
            draws = views.augment.draw(self.batch_size, of_sides(images.shape[-2], images.shape[-1]), generator)
            augmented = views.augment(images, draws[self.team.share(self.batch_size)])
            if self.mixes:
                yield views.mixing(augmented, labels, self.classes, seed=self.seed, step=step)
            else:
                yield augmented, labels

    def _fetch(self, step: int, chosen: Tensor) -> tuple[int, Tensor, Tensor]:
        images, labels = self.split.take(chosen)
        if self.device.type == "cuda" and images.device.type == "cpu":
            images, labels = images.pin_memory(), labels.pin_memory()
        return step, images.to(self.device, non_blocking=True), labels.to(self.device, non_blocking=True)

    def _orders(self, start: int, steps: int) -> Iterator[tuple[int, Tensor]]:
        """Which images each step takes: every epoch in a new order, its last, smaller batch left out."""
        share = self.team.share(self.batch_size)
        every = (batch[share] for batch in self._endless())
        return zip(range(start, steps), islice(every, start, steps), strict=True)

    def _endless(self) -> Iterator[Tensor]:
        generator, size = torch.Generator().manual_seed(self.seed), self.batch_size
        while True:
            shuffled = torch.randperm(len(self.split), generator=generator)
            yield from torch.split(shuffled[: self.steps_per_epoch * size], size)


def evaluation_views(images: Tensor, resolution: Resolution, crop: float) -> Tensor:
    """The central ``crop`` of every image at ``resolution``, (B, C, h, w): Resize(r / crop) + CenterCrop(r)."""
    centre = v2.functional.center_crop(images, [max(1, round(side * crop)) for side in images.shape[-2:]])
    sides = list(height_width(resolution))
    views: Tensor = v2.functional.resize(centre, sides, interpolation=InterpolationMode.BICUBIC, antialias=True)
    return views.clamp(0, 255) if views.is_floating_point() else views


def evaluation_batches(
    split: Split, resolution: Resolution, crop: float, batch_size: int, team: Team = ALONE, device: torch.device = CPU
) -> Iterator[tuple[Tensor, Tensor]]:
    """`evaluation_views` of all images in order, and their labels, made on ``device`` and left there.

    A team's process gets its stretch of the images.
    """
    own = team.part(len(split))
    for start in own[::batch_size]:
        part = slice(start, min(start + batch_size, own.stop))
        images, labels = (whole[part].to(device, non_blocking=True) for whole in (split.images, split.labels))
        yield evaluation_views(images, resolution, crop), labels
