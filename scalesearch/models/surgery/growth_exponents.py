"""How a network's MACs grow: the exponents of depth, width and resolution (ideally 1, 2 and 2)."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

from scalesearch.errors import SurgeryError
from scalesearch.image_size import mean_side, times
from scalesearch.models.surgery.network import Network

POINTS = (1.25, 1.5, 1.75, 2.0)
"""Multipliers at which each dimension is looked at, the others at 1."""


@dataclass(frozen=True)
class GrowthLaw:
    """MACs ∝ d^depth · w^width · r^resolution, each fitted alone; None where a dimension does not scale."""

    depth: float | None
    width: float | None
    resolution: float | None

    def __str__(self) -> str:
        parts = (("d", self.depth), ("w", self.width), ("r", self.resolution))
        words = " ".join(f"{name}^{value:.2f}" for name, value in parts if value is not None)
        return f"MACs ∝ {words}" if words else "none: nothing of it scales"


def growth_law(network: Network) -> GrowthLaw:
    """Fit each exponent by least squares in logarithms, through the original."""
    base = network.scaled().cost.macs

    def exponent(macs: Callable[[float], tuple[float, int]]) -> float | None:
        pairs = []
        for point in POINTS:
            try:
                reached, count = macs(point)
            except SurgeryError:
                continue
            if reached > 1:
                pairs.append((math.log(reached), math.log(count / base)))
        total = sum(x * x for x, _ in pairs)
        return sum(x * y for x, y in pairs) / total if total else None

    def deeper(factor: float) -> tuple[float, int]:
        return (factor if network.stages else 1.0), network.scaled(depth=factor).cost.macs

    def wider(factor: float) -> tuple[float, int]:
        return (factor if network.free else 1.0), network.scaled(width=factor).cost.macs

    def sharper(factor: float) -> tuple[float, int]:
        size = network.nearest(times(network.resolution, factor))
        return mean_side(size) / mean_side(network.resolution), network.scaled(resolution=size).cost.macs

    return GrowthLaw(exponent(deeper), exponent(wider), exponent(sharper))
