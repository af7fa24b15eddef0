"""Ways to divide a growth among depth, width and resolution, each scaled until the measured MACs have grown so much.

Rounded labels ("d = 4", "w = 2") do not cost the same. Here every strategy is followed to the same measured cost; what
whole layers, channels and pixels leave to be desired is mended by the smallest change of pixels or width that does.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import product

from scalesearch.candidates.comparison import AXIS, ComparisonRow, scalable
from scalesearch.candidates.counted_cost import Ratio
from scalesearch.candidates.pricing import Counted, Pricing
from scalesearch.candidates.quantities import Quantity
from scalesearch.errors import EmptyGridError
from scalesearch.image_size import height_width
from scalesearch.models.protocols import Baseline, Survey
from scalesearch.scaling.compound import Coefficients, Multipliers
from scalesearch.scaling.points import Floats, Points
from scalesearch.scaling.shares import DWR, PAPER_SHARES, Shares, shares

STRATEGIES: Mapping[str, Shares] = {
    "depth": Shares(1, 0, 0),
    "width": Shares(0, 1, 0),
    "resolution": Shares(0, 0, 1),
    "compound": PAPER_SHARES,
    "dWr": DWR,
}
"""One dimension alone; Tan & Le 2019, §3.3; Dollár, Singh & Girshick 2021."""

WHOSE = {"compound": "shares of the paper's 1.2, 1.1, 1.15", "dWr": "shares of pycls's dWr: 10, 80, 10 %"}
FINENESS = 1e-4
"""Steps of log₂(growth) in which a strategy is followed."""
FARTHEST = 4.0
"""A strategy's nominal growth goes up to this power of the target: rounding at small sizes may eat much of it."""
NARROWEST, WIDEST = 0.25, 4.0
"""Widths between which a sweep's row is brought to a cost."""
PIXELS = range(-8, 9)
WIDTHS = tuple(round(1 + 0.01 * i, 2) for i in range(-8, 9))


def matched(
    baseline: Baseline,
    target: float,
    num_classes: int,
    tolerance: float,
    own: Mapping[str, Coefficients] | None = None,
    pricing: Pricing | None = None,
) -> list[ComparisonRow]:
    """The baseline, and every strategy at ``target`` times its MACs, or what it costs by another ``pricing``.

    Args:
        own: further compound coefficients by label, such as a run's winner.

    Raises:
        EmptyGridError: a strategy reaches nothing within ``tolerance`` (relative), with what came nearest.
    """
    survey = baseline.survey(1, num_classes=num_classes)
    pricing = pricing or Counted("macs", baseline.scaled(Multipliers(1, 1, 1)).cost(num_classes))
    every = {**STRATEGIES, **{label: shares(c) for label, c in (own or {}).items()}}
    lines = [ComparisonRow("baseline", "baseline", 1.0, 1.0, 1.0)]
    for label, divided in every.items():
        axis = AXIS.get(label)
        if axis in baseline.fixed or (axis and not pricing.quantity.exponent(axis)):
            continue
        bounds = (0, round(math.log2(target) * FARTHEST / FINENESS))
        lines.append(
            _solved(survey, min(height_width(baseline.resolution)), pricing, label, divided, target, tolerance, bounds)
        )
    return scalable(lines, baseline.fixed)


def at_equal_cost(
    baseline: Baseline,
    lines: Sequence[ComparisonRow],
    target: float,
    num_classes: int,
    tolerance: float,
    pricing: Pricing | None = None,
) -> list[ComparisonRow]:
    """The rows of a sweep, each made wider or narrower until it costs ``target`` times the unchanged baseline's MACs,
    or what that costs by another ``pricing``.

    A row that does so as it is stays as it is.

    Raises:
        EmptyGridError: no width of a row reaches that within ``tolerance`` (relative), with what came nearest.
    """
    pricing = pricing or Counted("macs", baseline.scaled(Multipliers(1, 1, 1)).cost(num_classes))
    bounds = round(2 * math.log2(NARROWEST) / FINENESS), round(2 * math.log2(WIDEST) / FINENESS)
    found = []
    for line in lines:
        survey = baseline.changed(line.changes).survey(1, num_classes=num_classes)
        if pricing.near(line.label, survey, target, tolerance):
            found.append(line)
            continue
        divided = STRATEGIES["width"]
        solved = _solved(
            survey, min(height_width(baseline.resolution)), pricing, line.label, divided, target, tolerance, bounds
        )
        notes = "; ".join(filter(None, (line.note, solved.note)))
        found.append(replace(line, width=solved.width, resolution=solved.resolution, note=notes or None))
    return found


def _solved(
    survey: Survey,
    pixels: int,
    pricing: Pricing,
    label: str,
    divided: Shares,
    target: float,
    tolerance: float,
    bounds: tuple[int, int],
) -> ComparisonRow:
    """The row of a strategy that is followed between two ``bounds``, in steps of `FINENESS`."""
    notes: dict[Coefficients, str] = {}

    def solve(ratio: Ratio) -> Coefficients:
        found, mended = _followed(ratio, pixels, pricing.quantity, label, divided, target, tolerance, bounds)
        notes[found] = "; ".join(filter(None, [WHOSE.get(label, ""), mended]))
        return found

    chosen = pricing.settle(label, survey, solve)
    return ComparisonRow(label, label, chosen.alpha, chosen.beta, chosen.gamma, note=notes[chosen] or None)


def _followed(
    price: Ratio,
    pixels: int,
    quantity: Quantity,
    label: str,
    divided: Shares,
    target: float,
    tolerance: float,
    bounds: tuple[int, int],
) -> tuple[Coefficients, str]:
    """Where a strategy costs the target, and how that was mended."""

    def ratio(points: list[Coefficients]) -> Floats:
        return price(Points.of(points))

    def at(step: int) -> Coefficients:
        return _rounded(divided.coefficients(2 ** (step * FINENESS)))

    below, above = bounds
    if ratio([at(above)])[0] < target:
        raise EmptyGridError(f"{label} alone does not reach {target:g}× the baseline's {quantity.words}")
    if ratio([at(below)])[0] > target:
        raise EmptyGridError(f"{label} costs more than {target:g}× the baseline's {quantity.words}, however narrow")
    while above - below > 1:
        middle = (below + above) // 2
        below, above = (middle, above) if ratio([at(middle)])[0] < target else (below, middle)
    trims = {(c, trim): _trimmed(c, trim, pixels) for c in (at(below), at(above)) for trim in _trims()}
    ratios = ratio(list(trims.values()))
    misses = [abs(value / target - 1) for value in ratios.tolist()]
    good = [i for i, miss in enumerate(misses) if miss <= tolerance]
    if not good:
        nearest = min(range(len(misses)), key=misses.__getitem__)
        counted = quantity.name == "macs"
        wanted = f"costs {target:g}× the baseline" if counted else f"has {target:g}× the baseline's {quantity.words}"
        option = "--match-macs" if counted else "--match"
        raise EmptyGridError(
            f"{label}: nothing {wanted} within {tolerance:.1%}. The nearest is "
            f"{list(trims.values())[nearest]} at {ratios[nearest]:.3f}×: take another {option} or --resolution, "
            "or widen --match-tolerance"
        )
    keys = list(trims)
    best = min(good, key=lambda i: (_change(keys[i][1], keys[i][0], pixels), misses[i]))
    chosen, (added, width) = trims[keys[best]], keys[best][1]
    told = [f"{added:+d} px"] * (added != 0) + [f"width ×{width:g}"] * (width != 1)
    return chosen, f"mended by {' and '.join(told)}" if told else ""


def _trims() -> list[tuple[int, float]]:
    return list(product(PIXELS, WIDTHS))


def _trimmed(c: Coefficients, trim: tuple[int, float], pixels: int) -> Coefficients:
    """With some pixels more or less, and that much wider; as it is for (0, 1)."""
    added, width = trim
    if not added:
        return _rounded(Coefficients(c.alpha, c.beta * width, c.gamma))
    side = max(1, math.floor(pixels * c.gamma + 0.5) + added)
    return _rounded(Coefficients(c.alpha, c.beta * width, side / pixels))


def _change(trim: tuple[int, float], c: Coefficients, pixels: int) -> float:
    """How much of the cost a trim shifts: the logarithms of what it does to pixels and to width."""
    added, width = trim
    side = math.floor(pixels * c.gamma + 0.5)
    return abs(math.log(max(1, side + added) / side)) + abs(math.log(width))


def _rounded(c: Coefficients) -> Coefficients:
    """As they are written down."""
    return Coefficients(round(c.alpha, 6), round(c.beta, 6), round(c.gamma, 6))
