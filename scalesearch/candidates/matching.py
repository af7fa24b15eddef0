"""Which points of a grid are made equal in cost, and what the others miss it by."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fractions import Fraction

import numpy as np

from scalesearch.candidates.counted_cost import CountMemory, counted_ratio
from scalesearch.candidates.equal_cost import solve
from scalesearch.candidates.measured_cost import Solved
from scalesearch.candidates.quantities import QUANTITIES
from scalesearch.errors import EmptyGridError, ScaleSearchError
from scalesearch.models.protocols import Survey
from scalesearch.run_contents import MatchedFile
from scalesearch.scaling.compound import AXES, Coefficients
from scalesearch.scaling.cost import Cost
from scalesearch.scaling.points import Points
from scalesearch.settings import SearchSettings

Measure = Callable[[Survey, SearchSettings, Sequence[Solved]], MatchedFile]
"""Measures what the points of a grid come to that are solved for (`measured_cost.match_measured`)."""


@dataclass(frozen=True)
class Matched:
    """The points of equal cost, of how many pairs they were solved, and the points that miss it, each with why.

    ``file`` is what was measured, where the cost is.
    """

    points: Points
    pairs: int
    missed: Points
    reasons: Sequence[str]
    file: MatchedFile | None = None


def axis(low: float, high: float, step: float) -> list[float]:
    """``low``, ``low + step``, … up to ``high`` included, without float noise."""
    start, stop, stride = (Fraction(repr(value)) for value in (low, high, step))
    return [float(start + stride * i) for i in range(math.floor((stop - start) / stride) + 1)]


def range_of(search: SearchSettings, name: str) -> tuple[float, float]:
    """The least and the greatest value of a coefficient."""
    return getattr(search, f"min_{name}"), getattr(search, f"max_{name}")


def matched(
    survey: Survey,
    base: Cost,
    phi: float,
    search: SearchSettings,
    memory: CountMemory | None,
    measure: Measure | None,
) -> Matched:
    """For every pair of two coefficients, the third whose network costs target^φ, if it lies in its range.

    Raises:
        EmptyGridError: none does; the message names what came nearest.
        ScaleSearchError: the cost is measured, and there is nothing to measure on.
    """
    if not QUANTITIES[search.match].measured:
        return _counted(survey, base, phi, search, memory)
    if measure is None:
        raise ScaleSearchError(f"--match {search.match} needs a device to measure on: use grid --dry-run")
    file = measure(survey, search, _solved(search))
    admitted = [Coefficients(p.alpha, p.beta, p.gamma) for p in file.points if p.admitted]
    missed = [p for p in file.points if p.admitted is False]
    reasons = [
        f"measured at {p.ratio:.3f}×, not {file.target:.3g}×"
        if p.value is not None
        else f"about {p.ratio:.2f}× by the estimate, not {file.target:.3g}×"
        for p in missed
    ]
    beside = Points.of(Coefficients(p.alpha, p.beta, p.gamma) for p in missed)
    return Matched(Points.of(dict.fromkeys(admitted)), file.pairs, beside, reasons, file)


def _solved(search: SearchSettings) -> list[Solved]:
    """The coefficients that are solved for, each with the values of the others.

    Raises:
        EmptyGridError: there is none that the cost depends on, or it can only be 1.
    """
    quantity = QUANTITIES[search.match]
    if search.solve != "any" and not quantity.exponent(search.solve):
        able = " or ".join(name for name in AXES if quantity.exponent(name))
        raise EmptyGridError(
            f"--match {search.match}: {search.solve} does not change the number of {quantity.words}; add --solve {able}"
        )
    found = []
    for name in AXES if search.solve == "any" else (search.solve,):
        low, high = range_of(search, name)
        if (low, high) != (1, 1) and quantity.exponent(name):
            others = {other: axis(*range_of(search, other), search.step) for other in AXES if other != name}
            found.append(Solved(name, low, high, others))
    if not found:
        raise EmptyGridError(f"--solve {search.solve}: it can only be 1; widen its range, or solve another coefficient")
    return found


def _counted(survey: Survey, base: Cost, phi: float, search: SearchSettings, memory: CountMemory | None) -> Matched:
    quantity, target = QUANTITIES[search.match], search.target**phi
    ratio = counted_ratio(search.match, survey, base, memory)
    solved = [
        solve(
            ratio, each.name, each.low, each.high, each.others, target=target, growth=search.target, quantity=quantity
        )
        for each in _solved(search)
    ]
    points = sum((found for found, _ in solved), Points.of([]))
    ratios = np.concatenate([found for _, found in solved])
    good = np.abs(ratios / target - 1) <= search.match_tolerance
    what = "costs" if search.match == "macs" else f"has {quantity.words}"
    if not good.any():
        nearest = int(np.argmin(np.abs(ratios - target)))
        wanted = f"costs {target:.3g}× the baseline"
        if search.match != "macs":
            wanted = f"has {target:.3g}× the baseline's {quantity.words}"
        raise EmptyGridError(
            f"no candidate {wanted} within {search.match_tolerance:.1%}. The nearest is "
            f"{points[nearest]} at {ratios[nearest]:.3f}×: widen --match-tolerance, or solve another coefficient."
        )
    reasons = [f"{what} {value:.3f}×, not {target:.3g}×" for value in ratios[~good].tolist()]
    return Matched(Points.of(dict.fromkeys(points.where(good))), len(points), points.where(~good), reasons)
