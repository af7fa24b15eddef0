"""What a policy may do to an image: torchvision's operations on a batch, each image with its own strength."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

Kernel = Callable[[Tensor, Tensor], Tensor]
"""Images uint8 (N, C, h, w) and their numbers float32 (N, 6), see `_numbers`, to images."""


def operated(images: Tensor, operations: Tensor, magnitudes: Tensor) -> Tensor:
    """Every image after its own operation: uint8 (B, C, h, w), contiguous.

    What only means something for colour leaves grey images as they are, and what changes levels leaves alpha.

    ``operations``, int64 (B,), are places in `OPERATIONS`; ``magnitudes``, float64 (B,), are torchvision's, sign
    included. Both are on the CPU, so that the images can be sorted by operation without waiting for their device.
    """
    order = operations.argsort(stable=True)
    numbers = _numbers(operations, magnitudes, images.shape[-2:])[order].to(images.device, non_blocking=True)
    there, back = (places.to(images.device, non_blocking=True) for places in (order, order.argsort()))
    by_kind = images.contiguous().index_select(0, there)
    start = 0
    for kernel, count in _parts(operations):
        part = slice(start, start + count)
        if count and kernel is not None and not (kernel in COLOUR_ALONE and images.shape[1] == 1):
            seen = by_kind[part] if kernel is _moved else by_kind[part, :3]
            seen.copy_(kernel(seen, numbers[part]))
        start += count
    return by_kind.index_select(0, back)


def _parts(operations: Tensor) -> list[tuple[Kernel | None, int]]:
    """The kernels in the order of `OPERATIONS`, and how many images each gets; neighbours that share one are one."""
    parts: list[tuple[Kernel | None, int]] = []
    counts = torch.bincount(operations, minlength=len(OPERATIONS)).tolist()
    for kernel, count in zip(OPERATIONS.values(), counts, strict=True):
        before = parts.pop()[1] if parts and parts[-1][0] is kernel else 0
        parts.append((kernel, before + count))
    return parts


def _numbers(operations: Tensor, magnitudes: Tensor, size: Sequence[int]) -> Tensor:
    """What the kernels compute with: float32 (B, 6).

    Of a movement, the matrix (a, b, c; d, e, f) that takes an output pixel, from the centre, to where it is seen:
    (a·x + b·y + c, d·x + e·y + f). Of a blend, the shares of the image and of what it is blended with. Else a mask of
    bits, or the level from which on it is inverted.
    """
    m = magnitudes
    zero, one, (half_height, half_width) = torch.zeros_like(m), torch.ones_like(m), (side / 2 for side in size)
    blend, cos, sin = (1 + m, -m, zero, zero, zero, zero), m.deg2rad().cos(), m.deg2rad().sin()
    each = {
        "shear_x": (one, m, m * half_height, zero, one, zero),  # the top row stays
        "shear_y": (one, zero, zero, m, one, m * half_width),
        "translate_x": (one, zero, -m, zero, one, zero),
        "translate_y": (one, zero, zero, zero, one, -m),
        "rotate": (cos, -sin, zero, sin, cos, zero),
        "brightness": blend,
        "color": blend,
        "contrast": blend,
        "sharpness": blend,
        "posterize": (256 - torch.exp2(8 - m), zero, zero, zero, zero, zero),
        "solarize": (torch.ceil((255 * m).to(torch.float32)).to(m), zero, zero, zero, zero, zero),
    }
    table = torch.stack([number for name in OPERATIONS for number in each.get(name, (zero,) * 6)])
    return table.view(len(OPERATIONS), 6, -1)[operations, :, torch.arange(len(m))].to(torch.float32)


def _moved(images: Tensor, numbers: Tensor) -> Tensor:
    """The nearest pixel; black beyond the border. Each position is one sum, which every device rounds alike."""
    count, channels, height, width = images.shape
    x, y = (torch.arange(n, device=images.device, dtype=torch.float32) - (n - 1) / 2 for n in (width, height))
    a, b, c = numbers.view(count, 2, 3, 1).unbind(2)
    # half a pixel to round, and one for the frame
    middle = torch.tensor([(n - 1) / 2 + 1.5 for n in (width, height)], device=images.device)[:, None]
    seen = (a * x)[:, :, None, :] + (b * y + (c + middle))[:, :, :, None]
    across, down = seen.floor_().unbind(1)
    across, down = across.clamp_(0, width + 1), down.clamp_(0, height + 1)
    framed = images.new_zeros(count, channels, height + 2, width + 2)
    framed[:, :, 1:-1, 1:-1] = images
    pixels = down.mul_(width + 2).add_(across).to(torch.int64).view(count, 1, -1)
    return framed.flatten(2).gather(2, pixels.expand(-1, channels, -1)).view_as(images)


def _brightened(images: Tensor, numbers: Tensor) -> Tensor:
    return _levels(images.to(torch.float32).mul_(_column(numbers, 0)))


def _coloured(images: Tensor, numbers: Tensor) -> Tensor:
    values = images.to(torch.float32)
    return _blended(values, _grey(values), numbers)


def _contrasted(images: Tensor, numbers: Tensor) -> Tensor:
    values = images.to(torch.float32)
    # Rows are summed in whole numbers: float32 ends at 2²⁴, and the order of its sums would be each device's own.
    total = _grey(values).sum(3, keepdim=True).to(torch.int64).sum(2, keepdim=True)
    return _blended(values, total.to(torch.float32) / images[0, 0].numel(), numbers)


def _sharpened(images: Tensor, numbers: Tensor) -> Tensor:
    """Blended with the mean of 3×3 pixels of which the middle one counts five times; the border stays."""
    if min(images.shape[-2:]) <= 2:
        return images
    levels = images.to(torch.int16)
    inner = levels[..., 1:-1, 1:-1]
    rows = (levels[..., :-2] + levels[..., 2:]).add_(levels[..., 1:-1])
    sums = (rows[..., :-2, :] + rows[..., 2:, :]).add_(rows[..., 1:-1, :]).add_(inner, alpha=4)
    middle = inner.to(torch.float32)
    change = sums.to(torch.float32).div_(13).round_().sub_(middle)
    sharp = images.clone()
    sharp[..., 1:-1, 1:-1] = _levels(middle.addcmul_(change, _column(numbers, 1)))
    return sharp


def _posterized(images: Tensor, numbers: Tensor) -> Tensor:
    return images & _column(numbers, 0).to(torch.uint8)


def _solarized(images: Tensor, numbers: Tensor) -> Tensor:
    bright = images >= _column(numbers, 0).to(torch.uint8)
    return images ^ bright.to(torch.uint8).neg_()  # −1 is 255: every bit turned round; a CPU is slow at `where`


def _autocontrasted(images: Tensor, _: Tensor) -> Tensor:
    low, high = images.amin((2, 3), keepdim=True).float(), images.amax((2, 3), keepdim=True).float()
    flat = low == high
    step = torch.where(flat, 1, (high - low) * (1 / 255))
    return _levels(images.to(torch.float32).sub_(torch.where(flat, 0, low)).div_(step))


def _equalized(images: Tensor, _: Tensor) -> Tensor:
    """Levels after as many pixels as lie below them, in steps; PIL's rounding."""
    levels = images.flatten(2).to(torch.int64)
    counts = torch.zeros(*images.shape[:2], 256, dtype=torch.int32, device=images.device)
    counts.scatter_add_(2, levels, torch.ones_like(counts[:1, :1, :1]).expand_as(levels))
    below = counts.cumsum(2) - counts
    brightest = images.amax((2, 3)).to(torch.int64)[..., None]
    step = below.gather(2, brightest) // 255
    table = torch.div(below + step // 2, step.clamp(min=1), rounding_mode="floor").clamp_(0, 255)
    table = torch.where(step > 0, table, torch.arange(256, device=images.device))
    return table.to(torch.uint8).gather(2, levels).view_as(images)


def _grey(values: Tensor) -> Tensor:
    """Luma in whole levels, float32 (N, 1, h, w), of float32 (N, 3, h, w); grey images are it themselves."""
    if values.shape[1] == 1:
        return values.clone()
    red, green, blue = values[:, 0:1], values[:, 1:2], values[:, 2:3]
    return (red * 0.2989).add_(green, alpha=0.587).add_(blue, alpha=0.114).floor_()


def _blended(values: Tensor, other: Tensor, numbers: Tensor) -> Tensor:
    return _levels(values.mul_(_column(numbers, 0)).addcmul_(other, _column(numbers, 1)))


def _column(numbers: Tensor, which: int) -> Tensor:
    return numbers[:, which, None, None, None]


def _levels(values: Tensor) -> Tensor:
    """float32 to uint8, cut to the range and down to whole levels, as torchvision does.

    By way of int16, which a CPU finds twice as fast.
    """
    return values.clamp_(0, 255).to(torch.int16).to(torch.uint8)


OPERATIONS: dict[str, Kernel | None] = {
    "identity": None,
    "shear_x": _moved,
    "shear_y": _moved,
    "translate_x": _moved,
    "translate_y": _moved,
    "rotate": _moved,
    "brightness": _brightened,
    "color": _coloured,
    "contrast": _contrasted,
    "sharpness": _sharpened,
    "posterize": _posterized,
    "autocontrast": _autocontrasted,
    "equalize": _equalized,
    "solarize": _solarized,
    "invert": _solarized,  # from level 0 on; RandAugment and TrivialAugment know all but this last one
}
"""Every operation by name, and what carries it out."""

COLOUR_ALONE = (_coloured,)
"""Operations that mean nothing for grey images."""
