"""Corrupted images: five of ImageNet-C's corruptions at its published levels (Hendrycks & Dietterich 2019).

Levels are those of the authors' programs (github.com/hendrycks/robustness, ``ImageNet-C/create_c``). Noise, JPEG,
brightness and contrast are four of the benchmark's fifteen corruptions; Gaussian blur is one of its four extra ones, in
place of the fifteen's defocus, glass, motion and zoom blur. Two things differ: grey levels are rounded, where the
authors cut decimals off, and what comes out is not stored as JPEG (of quality 85) once more.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torchvision.transforms.v2 import functional

from scalesearch.runtime.seeding import seed_of

SEVERITIES = (1, 2, 3, 4, 5)
TRUNCATED = 4.0
"""Standard deviations at which the blur's kernel ends, as in scikit-image's ``gaussian``, which the authors call."""


@dataclass(frozen=True)
class Levels:
    """Published levels of every corruption, for severities 1 to 5, and the side of the images that they are for."""

    name: str
    title: str
    side: int
    of: Mapping[str, tuple[float, float, float, float, float]]


IMAGENET_C = Levels(
    "imagenet-c",
    "ImageNet-C",
    224,
    {
        "gaussian_noise": (0.08, 0.12, 0.18, 0.26, 0.38),  # standard deviation, white is 1
        "gaussian_blur": (1, 2, 3, 4, 6),  # standard deviation, pixels
        "jpeg_compression": (25, 18, 15, 10, 7),  # quality
        "brightness": (0.1, 0.2, 0.3, 0.4, 0.5),  # added to the value of HSV, white is 1
        "contrast": (0.4, 0.3, 0.2, 0.1, 0.05),  # factor of the distance to the image's mean
    },
)
"""``make_imagenet_c.py``."""

CIFAR_C = Levels(
    "cifar-c",
    "CIFAR-10-C",
    32,
    {
        "gaussian_noise": (0.04, 0.06, 0.08, 0.09, 0.10),
        "gaussian_blur": (0.4, 0.6, 0.7, 0.8, 1),
        "jpeg_compression": (80, 65, 58, 50, 40),
        "brightness": (0.05, 0.1, 0.15, 0.2, 0.3),
        "contrast": (0.75, 0.5, 0.4, 0.3, 0.15),
    },
)
"""``make_cifar_c.py``, for images of 32 px, which stand less."""

PUBLISHED = {levels.name: levels for levels in (IMAGENET_C, CIFAR_C)}
CORRUPTIONS = tuple(IMAGENET_C.of)


@dataclass(frozen=True)
class Condition:
    """How images are changed: a corruption at a severity; none at all where the severity is 0."""

    corruption: str | None = None
    severity: int = 0


CLEAN = Condition()


def conditions_of(corruptions: Sequence[str], severities: Sequence[int]) -> list[Condition]:
    """Clean images first, then every corruption at every severity."""
    return [CLEAN, *(Condition(name, severity) for name in corruptions for severity in severities)]


@dataclass(frozen=True)
class Corruptor:
    """Makes corrupted images of others (N, C, H, W) on the CPU; the same ones for whoever asks.

    ``seen`` is how many of the S pixels a side networks see after their central crop: that many count as the
    published ``levels.side``, so that the blur's σ is the published one times seen / side, the same share of the
    picture at any size. All other levels are per pixel, or of the whole image, and stay as they are. The noise of an
    image depends on ``seed``, its index and the severity alone.
    """

    levels: Levels
    seen: float
    seed: int = 0

    def level(self, condition: Condition) -> float:
        """What the severity comes to: the published number, of the blur in pixels of these images."""
        if condition.corruption is None:
            return 0.0
        published = self.levels.of[condition.corruption][condition.severity - 1]
        return published * self.seen / self.levels.side if condition.corruption == "gaussian_blur" else published

    def __call__(self, images: Tensor, indices: Sequence[int], condition: Condition) -> Tensor:
        """The images under a condition, (N, C, H, W); ``indices`` say which image of the set each one is.

        Alpha stays as it is, and levels with fractions keep them, but under JPEG.
        """
        if images.shape[1] == 4:
            return torch.cat([self(images[:, :3], indices, condition), images[:, 3:]], dim=1)
        if images.is_floating_point() and condition.corruption == "jpeg_compression":
            return self(images.round().to(torch.uint8), indices, condition).to(images.dtype)
        return self._corrupted(images, indices, condition)

    def _corrupted(self, images: Tensor, indices: Sequence[int], condition: Condition) -> Tensor:
        level = self.level(condition)
        match condition.corruption:
            case None:
                return images
            case "jpeg_compression":
                made: Tensor = functional.jpeg(images, int(level))
                return made
            case "gaussian_noise":
                return _levels(images + 255 * level * self._noise(images, indices, condition.severity), images.dtype)
            case "gaussian_blur":
                return _levels(blurred(images.float(), level), images.dtype)
            case "brightness":
                return _levels(brightened(images.float(), 255 * level), images.dtype)
            case "contrast":
                mean = images.float().mean((2, 3), keepdim=True)
                return _levels((images - mean) * level + mean, images.dtype)
        raise ValueError(f"there is no corruption {condition.corruption!r}")

    def _noise(self, images: Tensor, indices: Sequence[int], severity: int) -> Tensor:
        """Standard normal, float32 (N, C, H, W)."""
        seeds = [seed_of(seed_of(self.seed, index), severity) for index in indices]
        shape = images.shape[1:]
        return torch.stack([torch.randn(shape, generator=torch.Generator().manual_seed(seed)) for seed in seeds])


def blurred(images: Tensor, sigma: float) -> Tensor:
    """Float images (N, C, H, W) under a Gaussian of ``sigma`` pixels, columns first, then rows; edges are mirrored.

    (scikit-image repeats the last pixel instead.)
    """
    width = 2 * min(int(TRUNCATED * sigma + 0.5), min(images.shape[-2:]) - 1) + 1
    for kernel in ([1, width], [width, 1]):
        images = functional.gaussian_blur(images, kernel, [sigma, sigma])
    return images


def brightened(images: Tensor, by: float) -> Tensor:
    """Images (N, C, H, W) of grey levels to 255 whose HSV value, the largest channel, is ``by`` larger, at most 255.

    Hue and saturation stay, so that all three channels grow by one factor; black becomes grey.
    """
    value = images.amax(1, keepdim=True)
    brighter = (value + by).clamp(max=255)
    return torch.where(value > 0, images * (brighter / torch.where(value > 0, value, 1)), brighter)


def _levels(images: Tensor, dtype: torch.dtype) -> Tensor:
    """Clipped, and rounded to the next grey level where those are whole."""
    clipped = images.clamp(0, 255)
    return clipped if dtype.is_floating_point else clipped.round().to(dtype)
