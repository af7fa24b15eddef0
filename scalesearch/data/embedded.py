"""A small procedural image set: drawn on the spot, seeded, at any resolution.

A class is a tint, which of two glyphs stands above the other, and the direction of a fine grating behind them.
Each asks for something else. The tint is there to be learnt in seconds. Telling a disc from a cross under changing
colour, size and rotation takes features (width); their order takes a receptive field that spans both (depth, or
fewer pixels); the grating lies close to the pixel limit of a small image (resolution). It checks the machinery and
is no evidence about any task.
"""

from __future__ import annotations

from functools import lru_cache
from itertools import product
from typing import Any

import numpy as np

VERSION = 1
"""Of the drawing: it names cached images and runs, so it grows whenever a pixel changes."""

SIZES = {"train": 3000, "val": 600}
TINTS = ("red", "green", "blue")
ORDERS = ("disc-cross", "cross-disc")
GRATINGS = ("level", "upright")
CLASSES = tuple("-".join(parts) for parts in product(TINTS, ORDERS, GRATINGS))
CYCLES = (9.0, 12.0)
"""Periods of the grating across the image: below the pixel limit of 32 pixels (16), but not by much."""

Floats = np.ndarray[Any, np.dtype[np.floating[Any]]]


def labels(split: str) -> tuple[int, ...]:
    """The class of every image of ``"train"`` or ``"val"``: all equally frequent."""
    return tuple(i % len(CLASSES) for i in range(SIZES[split]))


@lru_cache(maxsize=2)
def draw(split: str, resolution: int) -> np.ndarray[Any, np.dtype[np.uint8]]:
    """The images of ``"train"`` or ``"val"``, uint8 (N, resolution, resolution, 3).

    The same image at another resolution is the same scene, drawn with more or fewer pixels.
    """
    random = np.random.default_rng([2019, len(split)])
    return np.stack([_scene(CLASSES[label], resolution, random) for label in labels(split)])


def _scene(name: str, resolution: int, random: np.random.Generator) -> np.ndarray[Any, np.dtype[np.uint8]]:
    tint, top, bottom, grating = name.split("-")
    centres = (np.arange(resolution, dtype=np.float32) + 0.5) / resolution
    x, y = np.meshgrid(centres, centres)
    colour = random.uniform(0.3, 0.55) + random.uniform(-0.06, 0.06, 3)
    colour[TINTS.index(tint)] += 0.2
    canvas: Floats = np.ones((resolution, resolution, 3), np.float32) * colour.astype(np.float32)
    cycles, phase = random.uniform(*CYCLES), random.uniform(0, 2 * np.pi)
    along = y if grating == "level" else x
    # A pixel averages the wave over its own width: the finer the wave, the fainter it gets.
    seen = np.sinc(cycles / resolution)
    canvas += (0.25 * seen * np.sin(2 * np.pi * cycles * along + phase))[..., None].astype(np.float32)
    middle = random.uniform(0.42, 0.58)
    for glyph, height in ((top, random.uniform(0.23, 0.3)), (bottom, random.uniform(0.7, 0.77))):
        mask = _glyph(
            glyph,
            x - np.float32(middle + random.uniform(-0.2, 0.2)),
            y - np.float32(height),
            random.uniform(0.13, 0.18),
            random.uniform(0, np.pi),
            1.0 / resolution,
        )[..., None]
        canvas = canvas * (1 - mask) + mask * random.uniform(0, 1, 3).astype(np.float32)
    return np.clip(canvas * 255, 0, 255).astype(np.uint8)


def _glyph(kind: str, x: Floats, y: Floats, size: float, turn: float, pixel: float) -> Floats:
    """Coverage in [0, 1] of a glyph of radius ``size`` at the origin, its edge one pixel soft."""
    u = np.cos(turn) * x + np.sin(turn) * y
    v = -np.sin(turn) * x + np.cos(turn) * y
    radius = np.hypot(u, v)
    if kind == "disc":
        distance = radius - size
    else:
        arm, length = 0.28 * size, size
        bars = [np.maximum(np.abs(a) - arm, np.abs(b) - length) for a, b in ((u, v), (v, u))]
        distance = np.minimum(*bars)
    coverage: Floats = np.clip(0.5 - distance / pixel, 0, 1).astype(np.float32)
    return coverage
