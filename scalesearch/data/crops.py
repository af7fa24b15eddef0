"""Random resized crops and flips of a batch, each image its own: where they lie, and what is seen there."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional

from scalesearch.image_size import Resolution, height_width

TRIES, ASPECT = 10, 4 / 3
TOGETHER = 2**22
"""Pixels of the images that are multiplied at once, 64 images of 256 a side: their float32 copies take 0.2 GB."""


def draw_boxes(count: int, size: Resolution, scale: tuple[float, float], generator: torch.Generator) -> Tensor:
    """Crops of images of ``size`` pixels: int64 (count, 4), each top, left, height, width.

    The area is uniform over ``scale``, a share of the image's; the aspect is log-uniform from 3/4 to 4/3 of the image's
    own. Of ten tries the first that fits the image is taken, else the whole image (Szegedy et al. 2015, §6, as
    torchvision does).
    """
    area, aspect = torch.rand(2, count, TRIES, dtype=torch.float64, generator=generator)
    side = (scale[0] + (scale[1] - scale[0]) * area).sqrt()
    slant = torch.exp((aspect - 0.5) * math.log(ASPECT))
    height, width = height_width(size)
    whole = torch.tensor([height, width], dtype=torch.float64)
    tries = torch.stack([height * side / slant, width * side * slant], dim=-1).round()
    tries = torch.cat([tries, whole.expand(count, 1, 2)], dim=1)
    fits = ((tries >= 1) & (tries <= whole)).all(-1)
    sides = tries[torch.arange(count), fits.to(torch.uint8).argmax(1)]  # argmax: the first of equals
    corners = torch.rand(count, 2, dtype=torch.float64, generator=generator).mul(whole - sides + 1).floor()
    return torch.cat([corners, sides], dim=1).long()


def resized_crops(images: Tensor, boxes: Tensor, flips: Tensor, resolution: Resolution) -> Tensor:
    """What is seen through ``boxes``, int64 (B, 4) on the CPU, mirrored where ``flips``, bool (B,): (B, C, h, w).

    The images are (B, C, H, W), uint8 or levels with fractions, float32. The resize is bicubic (a = −1/2) with
    antialiasing: PyTorch's own for uint8 on the CPU, and on other devices the same arithmetic, so that every device
    sees the same grey levels.
    """
    if images.device.type == "cpu":
        return _one_by_one(images, boxes, flips, resolution)
    return multiplied_crops(images, boxes, flips, resolution)


def _one_by_one(images: Tensor, boxes: Tensor, flips: Tensor, resolution: Resolution) -> Tensor:
    """The same on a CPU, where PyTorch's kernel is several times faster than matrices; fastest on channels_last."""
    layout, size = torch.channels_last, height_width(resolution)
    views = torch.empty(len(images), images.shape[1], *size, dtype=images.dtype, memory_format=layout)
    for view, image, box, flip in zip(views, images, boxes.tolist(), flips.tolist(), strict=True):
        top, left, height, width = box
        seen = image[None, :, top : top + height, left : left + width].contiguous(memory_format=layout)
        if (height, width) != size:
            seen = functional.interpolate(seen, size=size, mode="bicubic", antialias=True)
            seen = seen.clamp_(0, 255) if seen.is_floating_point() else seen
        view.copy_(seen[0].flip(-1) if flip else seen[0])
    return views


def multiplied_crops(
    images: Tensor, boxes: Tensor, flips: Tensor, resolution: Resolution, *, together: int = TOGETHER
) -> Tensor:
    """`resized_crops` as two products of matrices, for at most ``together`` pixels at once: down · image · acrossᵀ.

    As in PyTorch's kernel the weights have 16 bits, columns come first, and grey levels are rounded in between. Every
    product is then a whole number of units that float32 holds, so that the sums are the same in any order. (Where an
    image shrinks more than twofold some sums outgrow float32: 1 pixel in 10⁴ may differ, by one level. And it has to
    be float32: no TF32, no autocast.) Levels with fractions stay so.
    """
    (tall, broad), (high, wide) = images.shape[-2:], height_width(resolution)
    top, left, height, width = boxes.to(images.device, non_blocking=True).unbind(1)
    mirrored = flips.to(images.device, non_blocking=True)
    upright = torch.zeros_like(mirrored)
    if (tall, high) == (broad, wide):  # made at once: their many kernels are small
        both = torch.cat([left, top]), torch.cat([width, height]), torch.cat([mirrored, upright])
        across, down = _weights(*both, broad, wide).chunk(2)
    else:
        across, down = _weights(left, width, mirrored, broad, wide), _weights(top, height, upright, tall, high)
    count = max(1, together // (tall * broad))
    parts = zip(*(torch.split(whole, count) for whole in (images, down, across)), strict=True)
    views = [_product(*part) for part in parts]
    return views[0] if len(views) == 1 else torch.cat(views)


def _product(images: Tensor, down: Tensor, across: Tensor) -> Tensor:
    """Grey levels of images (B, C, H, W) by the weights of both axes, float32 (B, h, H) and (B, w, W)."""
    count, channels, tall, broad = images.shape
    whole = not images.is_floating_point()
    high, wide, half = down.shape[1], across.shape[1], down.new_full((1, 1, 1), 0.5 if whole else 0.0)
    rows = images.to(torch.float32).reshape(count, channels * tall, broad)
    narrowed = torch.baddbmm(half, rows, across.mT)
    narrowed = narrowed.clamp_(0, 255).floor_() if whole else narrowed
    # Rows in front and channels beside the columns: one product per image, not one per channel.
    beside = narrowed.view(count, channels, tall, wide).transpose(1, 2).reshape(count, tall, -1)
    views = torch.baddbmm(half, down, beside).clamp_(0, 255).to(images.dtype)
    in_channels = views.view(count, high, channels, wide).transpose(1, 2)
    return in_channels.contiguous(memory_format=torch.channels_last)


def _weights(start: Tensor, length: Tensor, mirrored: Tensor, size: int, resolution: int) -> Tensor:
    """How much of every pixel of an axis goes into every output pixel: float32 (B, resolution, size).

    The pixels are those from ``start`` on, ``length`` of them, int64 (B,); ``mirrored`` turns the output round.
    """
    device = start.device
    precise = torch.float32 if device.type == "mps" else torch.float64
    start, length = start.to(precise)[:, None, None], length.to(precise)[:, None, None]
    scale = length / resolution
    stretch = scale.clamp(min=1)
    place = torch.arange(resolution, device=device, dtype=precise)[None, :, None]
    place = torch.where(mirrored[:, None, None], resolution - 1 - place, place)
    centre = scale * (place + 0.5)
    taps = min(size, 2 * math.ceil(2 * max(size / resolution, 1)) + 1)
    first = (centre - 2 * stretch + 0.5).floor().clamp(min=0).add(start).clamp(max=size - taps)
    pixel = first + torch.arange(taps, device=device, dtype=precise)
    inside = (pixel >= start) & (pixel < start + length)
    weight = _cubic((pixel - start + 0.5 - centre) / stretch) * inside
    weight = weight / weight.sum(-1, keepdim=True)
    # As many binary places as keep the largest weight in 16 bits.
    places = torch.ceil(torch.log2((2**15 - 0.5) / weight.amax((1, 2), keepdim=True))) - 1
    unit = torch.exp2(-places)
    matrix = torch.zeros(len(start), resolution, size, device=device)
    return matrix.scatter_(2, pixel.long(), ((weight / unit).round() * unit).to(torch.float32))


def _cubic(x: Tensor) -> Tensor:
    """Keys' cubic convolution kernel with a = −1/2; zero from |x| = 2 on."""
    x = x.abs().clamp(max=2)
    near = (1.5 * x - 2.5) * x * x + 1
    far = ((2.5 - 0.5 * x) * x - 4) * x + 2
    return torch.where(x < 1, near, far)
