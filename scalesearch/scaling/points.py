"""Points of a grid as columns: a million of them are three arrays, and exact arithmetic is for the few that need it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np

from scalesearch.scaling.compound import Coefficients

Floats = np.ndarray[Any, np.dtype[np.float64]]
Ints = np.ndarray[Any, np.dtype[np.int64]]
Bools = np.ndarray[Any, np.dtype[np.bool_]]

FLOAT_NOISE = 1e-12
"""Relative error that the float α·β²·γ² may have, a thousand times what it has."""


@dataclass(frozen=True, eq=False)
class Points:
    """α, β and γ of N points, float64 (N,) each; a `Coefficients` is made when a point is looked at."""

    alpha: Floats
    beta: Floats
    gamma: Floats

    @classmethod
    def of(cls, points: Iterable[Coefficients]) -> Points:
        """These coefficients as columns."""
        rows = [(point.alpha, point.beta, point.gamma) for point in points]
        return cls(*np.array(rows, np.float64).reshape(-1, 3).T)

    @classmethod
    def product(cls, alphas: Sequence[float], betas: Sequence[float], gammas: Sequence[float]) -> Points:
        """Every combination, α slowest: sorted if each axis is."""
        axes = [np.array(values, np.float64) for values in (alphas, betas, gammas)]
        return cls(*(column.ravel() for column in np.meshgrid(*axes, indexing="ij")))

    def __len__(self) -> int:
        return len(self.alpha)

    def __getitem__(self, index: int) -> Coefficients:
        return Coefficients(float(self.alpha[index]), float(self.beta[index]), float(self.gamma[index]))

    def __iter__(self) -> Iterator[Coefficients]:
        return map(Coefficients, self.alpha.tolist(), self.beta.tolist(), self.gamma.tolist())

    def __add__(self, other: Points) -> Points:
        pairs = ((self.alpha, other.alpha), (self.beta, other.beta), (self.gamma, other.gamma))
        return Points(*(np.concatenate(pair) for pair in pairs))

    def where(self, chosen: Bools | Ints) -> Points:
        """The points that a mask keeps, or those at some indices."""
        return Points(self.alpha[chosen], self.beta[chosen], self.gamma[chosen])

    def sorted(self) -> Points:
        """By α, then β, then γ."""
        return self.where(np.lexsort((self.gamma, self.beta, self.alpha)))

    def growth(self) -> Floats:
        """α·β²·γ², but for float noise."""
        return self.alpha * self.beta**2 * self.gamma**2

    def rounded_growth(self, digits: int = 6) -> Floats:
        """Each point's `Coefficients.growth`, rounded as Python rounds."""
        scaled = self.growth() * 10**digits
        rounded: Floats = np.rint(scaled) / 10**digits
        for index in _in_doubt(np.abs(scaled - np.floor(scaled) - 0.5), scaled):
            rounded[index] = round(self[index].growth(), digits)
        return rounded

    def within(self, target: float, tolerance: float) -> Bools:
        """Whose exact α·β²·γ² lies within ``tolerance`` of ``target``, boundary included."""
        growth = self.growth()
        beyond = np.abs(growth - target) - tolerance
        inside: Bools = beyond <= 0
        centre, width = _exact(target), _exact(tolerance)
        for index in _in_doubt(beyond, growth + target):
            inside[index] = abs(self[index].exact_growth() - centre) <= width
        return inside

    def nearest(self, target: float) -> Coefficients:
        """The first of those whose exact α·β²·γ² is nearest to ``target``; there must be a point."""
        growth = self.growth()
        distance = np.abs(growth - target)
        doubtful = _in_doubt(distance - distance.min(), growth + target)
        return min((self[index] for index in doubtful), key=lambda point: abs(point.exact_growth() - _exact(target)))


def _in_doubt(distance: Floats, scale: Floats) -> list[int]:
    """Where a comparison of ``distance`` with zero is up to the float noise of numbers as large as ``scale``."""
    doubt: list[int] = np.flatnonzero(np.abs(distance) <= FLOAT_NOISE * np.maximum(scale, 1)).tolist()
    return doubt


def _exact(value: float) -> Fraction:
    """The decimal as printed."""
    return Fraction(repr(float(value)))
