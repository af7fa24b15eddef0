"""Which operations a policy draws, and how strong: torchvision's RandAugment, TrivialAugment and AutoAugment."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from scalesearch.data.operations import OPERATIONS
from scalesearch.image_size import Resolution, height_width
from scalesearch.settings import AugmentSettings

NAMES = tuple(OPERATIONS)
DRAWN = len(NAMES) - 1
"""RandAugment and TrivialAugment draw from all but the last, which inverts."""
SIGNED = ("shear_x", "shear_y", "translate_x", "translate_y", "rotate", "brightness", "color", "contrast", "sharpness")
RANDAUGMENT_OPERATIONS = 2

AUTOAUGMENT = """
posterize 0.4 8, rotate 0.6 9; solarize 0.6 5, autocontrast 0.6 0; equalize 0.8 0, equalize 0.6 0;
posterize 0.6 7, posterize 0.6 6; equalize 0.4 0, solarize 0.2 4; equalize 0.4 0, rotate 0.8 8;
solarize 0.6 3, equalize 0.6 0; posterize 0.8 5, equalize 1.0 0; rotate 0.2 3, solarize 0.6 8;
equalize 0.6 0, posterize 0.4 6; rotate 0.8 8, color 0.4 0; rotate 0.4 9, equalize 0.6 0;
equalize 0.0 0, equalize 0.8 0; invert 0.6 0, equalize 1.0 0; color 0.6 4, contrast 1.0 8;
rotate 0.8 8, color 1.0 2; color 0.8 8, solarize 0.8 7; sharpness 0.4 7, invert 0.6 0;
shear_x 0.6 5, equalize 1.0 0; color 0.4 0, equalize 0.6 0; equalize 0.4 0, solarize 0.2 4;
solarize 0.6 5, autocontrast 0.6 0; invert 0.6 0, equalize 1.0 0; color 0.6 4, contrast 1.0 8;
equalize 0.8 0, equalize 0.6 0
"""
"""The policy found on ImageNet (Cubuk et al. 2019, Table 9): pairs of operation, probability and magnitude of ten."""


@dataclass(frozen=True)
class Range:
    """The strongest of each kind: shears as slopes, shifts across and down in pixels, turns in degrees, blends, bits
    taken away."""

    bins: int
    shear: float
    shifts: tuple[float, float]
    turn: float
    blend: float
    bits: int

    def magnitudes(self) -> Tensor:
        """By operation and bin, weakest first: float64 (len(NAMES), bins), without signs."""

        def upto(strongest: float) -> Tensor:
            return torch.linspace(0.0, strongest, self.bins)  # float32, which decides how shifts are cut to pixels

        (across, down), blend = (upto(shift).trunc() for shift in self.shifts), upto(self.blend)
        each = {
            "shear_x": upto(self.shear),
            "shear_y": upto(self.shear),
            "translate_x": across,
            "translate_y": down,
            "rotate": upto(self.turn),
            "brightness": blend,
            "color": blend,
            "contrast": blend,
            "sharpness": blend,
            "posterize": (8 - torch.arange(self.bins) / ((self.bins - 1) / self.bits)).round(),
            "solarize": torch.linspace(1.0, 0.0, self.bins),
        }
        return torch.stack([each.get(name, torch.zeros(self.bins)) for name in NAMES]).double()


def draw_operations(
    settings: AugmentSettings, resolution: Resolution, count: int, generator: torch.Generator
) -> tuple[Tensor, Tensor]:
    """For each of ``count`` images the operations, one after another, and their magnitudes.

    int64 and float64 (count, n), n being 2 for RandAugment and AutoAugment, 1 for TrivialAugment, 0 without a policy.
    """
    height, width = height_width(resolution)
    shifts = 150 / 331 * width, 150 / 331 * height
    if settings.policy == "none":
        return torch.zeros(count, 0, dtype=torch.int64), torch.zeros(count, 0, dtype=torch.float64)
    if settings.policy == "randaugment":
        table = Range(bins=31, shear=0.3, shifts=shifts, turn=30.0, blend=0.9, bits=4).magnitudes()
        drawn = torch.randint(DRAWN, (count, RANDAUGMENT_OPERATIONS), generator=generator)
        bins = torch.full_like(drawn, settings.magnitude)
    elif settings.policy == "trivialaugment":
        table = Range(bins=31, shear=0.99, shifts=(32.0, 32.0), turn=135.0, blend=0.99, bits=6).magnitudes()
        drawn = torch.randint(DRAWN, (count, 1), generator=generator)
        bins = torch.randint(31, (count, 1), generator=generator)
    else:
        table = Range(bins=10, shear=0.3, shifts=shifts, turn=30.0, blend=0.9, bits=4).magnitudes()
        pairs, probabilities, strengths = _autoaugment()
        chosen = torch.randint(len(pairs), (count,), generator=generator)
        happens = torch.rand(count, 2, generator=generator) <= probabilities[chosen]
        drawn = torch.where(happens, pairs[chosen], NAMES.index("identity"))
        bins = strengths[chosen]
    signed = torch.tensor([name in SIGNED for name in NAMES])[drawn]
    negative = signed & (torch.rand(drawn.shape, generator=generator) <= 0.5)
    magnitudes = table[drawn, bins]
    return drawn, torch.where(negative, -magnitudes, magnitudes)


def _autoaugment() -> tuple[Tensor, Tensor, Tensor]:
    """Operations int64, probabilities float32 and bins int64 of the 25 pairs, each (25, 2)."""
    pairs = [[step.split() for step in pair.split(",")] for pair in AUTOAUGMENT.split(";")]
    return (
        torch.tensor([[NAMES.index(name) for name, _, _ in pair] for pair in pairs]),
        torch.tensor([[float(probability) for _, probability, _ in pair] for pair in pairs]),
        torch.tensor([[int(strength) for _, _, strength in pair] for pair in pairs]),
    )
