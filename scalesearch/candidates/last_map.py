"""Whether candidates differ by a step in what they see last, which neither cost nor resolution tells.

A network that halves its map five times makes two positions a side of 64 pixels and three of 65. Such a step is next to
free, and was worth twenty points of accuracy where a comparison straddled it (MobileNetV2; `results/evidence`).
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from scalesearch.candidates.grid import Candidate
from scalesearch.image_size import Resolution, height_width, times

STEP = 1.25
"""How many times more the last map's side grows than the image's: from here on it is a step that is told."""


def step_in_last_maps(candidates: Sequence[Candidate], resolution: Resolution) -> str | None:
    """What to say of candidates whose last maps differ by more than their images do; None where nothing is to be said.

    Args:
        resolution: the baseline's, pixels. Of rectangles the shorter sides are compared.
    """
    height, width = height_width(resolution)
    shorter, square = min(height, width), height == width
    sides: dict[int, list[int]] = {}
    for candidate in candidates:
        sides.setdefault(candidate.model.last_side, []).append(min(height_width(candidate.model.resolution)))
    if len({pixels for every in sides.values() for pixels in every}) < sum(len(set(every)) for every in sides.values()):
        return None  # they differ by their strides, and on purpose: no size of the images changes that
    if not _has_step([(side, pixels) for side, every in sides.items() for pixels in every]):
        return None
    told = [
        f"{f'{side} × {side} positions' if square else f'{side} position' + 's' * (side != 1)} ({_pixels(every)})"
        for side, every in sorted(sides.items())
    ]
    halved = max(round(math.log2(pixels / side)) for side, every in sides.items() for pixels in every)
    ratios = sorted({pixels / shorter for every in sides.values() for pixels in every})
    calm = _without_step(ratios, 2**halved, shorter)
    advice = f"; --resolution {_written(resolution, calm / shorter)} has no such step" if calm else ""
    where = "" if square else " along the shorter side"
    return (
        f"the networks end in maps of {', '.join(told[:-1])} or {told[-1]}{where}: who is above such a step sees more "
        f"for next to no MACs, and may win by that{advice}"
    )


def _written(resolution: Resolution, factor: float) -> str:
    """As ``--resolution`` takes it."""
    return str(times(resolution, factor)).replace("×", "x")


def _has_step(maps: Sequence[tuple[int, int]]) -> bool:
    """Of (side, pixels): whether some map has grown `STEP` times more than its image."""
    ordered = sorted({(pixels, side) for side, pixels in maps})
    return any(
        after[1] / before[1] >= STEP * after[0] / before[0] - 1e-9
        for i, before in enumerate(ordered)
        for after in ordered[i + 1 :]
    )


def _without_step(ratios: Sequence[float], stride: int, resolution: int) -> int | None:
    """The smallest resolution of the baseline above its own, and at most twice that, at which there is no step."""
    for base in range(resolution + 1, 2 * resolution + 1):
        pixels = [round(base * ratio) for ratio in ratios]
        if not _has_step([(math.ceil(p / stride), p) for p in pixels]):
            return base
    return None


def _pixels(every: Sequence[int]) -> str:
    low, high = min(every), max(every)
    return f"{low} px" if low == high else f"{low} to {high} px"
