"""How a growth in cost is divided among depth, width and resolution.

With α·β²·γ² = growth, the shares log α, 2 log β and 2 log γ of log growth add up to one.
"""

from __future__ import annotations

import math
from dataclasses import astuple, dataclass

from scalesearch.scaling.compound import PAPER, Coefficients

NAMES = ("depth", "width", "resolution")


@dataclass(frozen=True, order=True)
class Shares:
    """What depth, width and resolution each get of the growth in log cost; they add up to one.

    EfficientNet's (1.2, 1.1, 1.15) is about (0.28, 0.29, 0.43); pycls's dWr is (0.1, 0.8, 0.1).
    """

    depth: float
    width: float
    resolution: float

    def coefficients(self, growth: float = 2.0) -> Coefficients:
        """α, β, γ with α·β²·γ² = ``growth``."""
        return Coefficients(growth**self.depth, growth ** (self.width / 2), growth ** (self.resolution / 2))

    def __str__(self) -> str:
        return ", ".join(f"{name} {100 * share:.0f} %" for name, share in zip(NAMES, astuple(self), strict=True))


def shares(coefficients: Coefficients) -> Shares:
    """How ``coefficients`` divide their own growth.

    Raises:
        ValueError: they do not grow.
    """
    growth = coefficients.growth()
    if growth <= 1:
        raise ValueError(f"expected coefficients that grow the cost, got {coefficients}: growth {growth:.4g}")
    total = math.log2(growth)
    parts = (math.log2(coefficients.alpha), 2 * math.log2(coefficients.beta), 2 * math.log2(coefficients.gamma))
    return Shares(*(_exact(part / total) for part in parts))


def _exact(share: float) -> float:
    """Nothing and all as they are: logarithms leave 1.0000000000000002 of what grows alone."""
    return next((float(whole) for whole in (0, 1) if abs(share - whole) < 1e-12), share)


PAPER_SHARES, DWR = shares(PAPER), Shares(0.1, 0.8, 0.1)
"""Divisions of the growth that others found: Tan & Le 2019; Dollár, Singh & Girshick 2021."""
