"""Random views of a whole batch at once, on the device it is on: crop, flip, and a policy's operations."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from scalesearch.data.crops import draw_boxes, resized_crops
from scalesearch.data.operations import operated
from scalesearch.data.policies import draw_operations
from scalesearch.image_size import Resolution
from scalesearch.settings import AugmentSettings


@dataclass(frozen=True, eq=False)
class Draws:
    """What chance decided for each of B images, on the CPU.

    ``boxes``, int64 (B, 4): top, left, height and width of the crop in pixels; ``flips``, bool (B,); ``operations``,
    int64 (B, n): which of `OPERATIONS`, one after another, and their ``magnitudes``, float64 (B, n), with signs.
    """

    boxes: Tensor
    flips: Tensor
    operations: Tensor
    magnitudes: Tensor

    def __len__(self) -> int:
        return len(self.boxes)

    def __getitem__(self, where: int | slice | Tensor) -> Draws:
        """Those of some of the images; of one, a batch of one."""
        if isinstance(where, int):
            where = slice(where, where + 1 or None)
        return Draws(self.boxes[where], self.flips[where], self.operations[where], self.magnitudes[where])


@dataclass(frozen=True)
class Augmentation:
    """Random views of images at ``resolution``: each image its own crop, flip and operations.

    Whatever is random is in the draws, which a generator on the CPU fixes: the same draws give the same views, in
    whatever batch an image is, on every device (but for a level here and there, where a device rounds blends its way).
    """

    settings: AugmentSettings
    resolution: Resolution

    def draw(self, count: int, size: Resolution, generator: torch.Generator) -> Draws:
        """For ``count`` images of ``size`` pixels; ``generator`` is on the CPU."""
        boxes = draw_boxes(count, size, self.settings.scale, generator)
        flips = torch.rand(count, generator=generator) < (0.5 if self.settings.flip else 0)
        return Draws(boxes, flips, *draw_operations(self.settings, self.resolution, count, generator))

    def __call__(self, images: Tensor, draws: Draws) -> Tensor:
        """Views (B, C, h, w) of images (B, C, H, W), of the same type; the device is never waited for.

        They are laid out in channels_last, or contiguous after operations: as either is fastest. Operations know whole
        levels alone: those with fractions are rounded for them.
        """
        views = resized_crops(images, draws.boxes, draws.flips, self.resolution)
        if not draws.operations.shape[1]:
            return views
        levels = views.round().to(torch.uint8) if views.is_floating_point() else views
        for operations, magnitudes in zip(draws.operations.T, draws.magnitudes.T, strict=True):
            levels = operated(levels, operations, magnitudes)
        return levels.to(views.dtype)
