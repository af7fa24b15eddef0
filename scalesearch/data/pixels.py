"""From a decoded image to the numbers that networks see: channels, depth, and the shape of the network's images."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from PIL import Image
from torch.nn import functional

from scalesearch.errors import DataError
from scalesearch.image_size import Resolution, height_width

Array = np.ndarray[Any, np.dtype[Any]]
Crop = Literal["centre", "squash", "pad"]

WHITE_8, WHITE_16 = 2**8 - 1, 2**16 - 1
DTYPES: Mapping[int, Any] = {8: np.uint8, 16: np.float32}
"""Of pixels, by their bits: whole levels, or levels with fractions. White is 255 either way."""


@dataclass(frozen=True)
class View:
    """How images become arrays: how many ``channels`` (1: grey, 3: colour, 4: and alpha), of how many ``bits`` (8 or
    16), and what becomes of those of another ratio (``crop``).

    ``centre`` cuts the largest centred part of the network's ratio, ``squash`` stretches the whole image to it, ``pad``
    fits the whole image in and leaves the rest black.
    """

    channels: int = 3
    bits: int = 8
    crop: Crop = "centre"

    @property
    def key(self) -> str:
        """Tells caches apart; empty for what there always was."""
        return "" if self == View() else f"-{self.channels}-{self.bits}-{self.crop}"


AS_EVER = View()
"""In colour, with 8 bits, the central square."""


def as_array(image: Image.Image, view: View = AS_EVER) -> Array:
    """An image of any mode as (H, W, C): uint8, or with 16 bits float32, 255 being white.

    Sixteen bits are scaled: eight of them are the upper ones. (Pillow's own conversion would turn everything above 255
    white.)

    Raises:
        DataError: its values have no known range.
    """
    if image.mode == "F":
        raise DataError("its values are floating-point numbers (mode F) of no known range: save it with 8 or 16 bits")
    if image.mode.startswith("I"):
        values = np.asarray(image).astype(np.int64)
        if values.min() < 0 or values.max() > WHITE_16:
            raise DataError(f"its values (mode {image.mode}) go from {values.min()} to {values.max()}, not in 16 bits")
        scaled = values >> 8 if view.bits == 8 else values * (WHITE_8 / WHITE_16)
        grey = scaled.astype(DTYPES[view.bits])[..., None]
        colour = [grey] * min(view.channels, 3)
        return np.concatenate([*colour, *[np.full_like(grey, WHITE_8)] * (view.channels == 4)], axis=-1)
    mode = {1: "L", 3: "RGB", 4: "RGBA"}[view.channels]
    array = np.array(image if image.mode == mode else image.convert(mode), DTYPES[view.bits])
    return array if array.ndim == 3 else array[..., None]


def fitted(array: Array, size: Resolution, crop: Crop = "centre") -> Array:
    """An image (H, W, C) as a network's (C, h, w), resized with anti-aliasing.

    torchvision's CenterCrop, and PyTorch's bicubic kernel: Pillow's, but for a grey level here and there, and faster.
    """
    height, width = height_width(size)
    if crop == "centre":
        top, left, down, across = centre(array.shape[0], array.shape[1], size)
        return _resized(array[top : top + down, left : left + across], height, width)
    if crop == "squash":
        return _resized(array, height, width)
    share = min(height / array.shape[0], width / array.shape[1])
    down, across = (max(1, round(side * share)) for side in array.shape[:2])
    whole = np.zeros((array.shape[2], height, width), array.dtype)
    top, left = (height - down) // 2, (width - across) // 2
    whole[:, top : top + down, left : left + across] = _resized(array, down, across)
    return whole


def centre(height: int, width: int, size: Resolution) -> tuple[int, int, int, int]:
    """The largest centred part of an image of the ratio of ``size``: top, left, height and width, pixels."""
    high, wide = height_width(size)
    down, across = min(height, max(1, round(width * high / wide))), min(width, max(1, round(height * wide / high)))
    return round((height - down) / 2), round((width - across) / 2), down, across


def share_kept(height: int, width: int, size: Resolution) -> float:
    """How much of an image its centre of the ratio of ``size`` is, of its area."""
    _, _, down, across = centre(height, width, size)
    return down * across / (height * width)


def largest(height: int, width: int, size: Resolution, crop: Crop) -> float:
    """How many times as large as ``size`` an image can be seen without enlarging it."""
    shares = [own / side for own, side in zip((height, width), height_width(size), strict=True)]
    return min(shares) if crop == "centre" else max(shares)


def _resized(array: Array, height: int, width: int) -> Array:
    if array.shape[:2] == (height, width):
        return array.transpose(2, 0, 1)
    # Copied by NumPy: torch's copies would start threads of their own in each of the threads that decode.
    whole = torch.from_numpy(np.ascontiguousarray(array)).permute(2, 0, 1)[None]
    resized = functional.interpolate(whole, size=(height, width), mode="bicubic", antialias=True)[0]
    levels: Array = (resized.clamp_(0, WHITE_8) if resized.is_floating_point() else resized).numpy()
    return levels
