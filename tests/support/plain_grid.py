"""The plan of a grid point by point, in exact arithmetic: slow, short, and what the fast one is held against."""

from __future__ import annotations

import math
from bisect import bisect_left
from dataclasses import dataclass
from fractions import Fraction
from functools import cache
from itertools import product

from scalesearch.models.spec_baseline import SpecBaseline
from scalesearch.scaling.compound import AXES, Coefficients, Multipliers
from scalesearch.scaling.cost import Cost
from scalesearch.scaling.spec import ModelSpec
from scalesearch.settings import SearchSettings


@dataclass(frozen=True)
class Row:
    """What became of a point; ``spec`` and ``cost`` are None where it was not realised."""

    coefficients: Coefficients
    verdict: str
    spec: ModelSpec | None = None
    cost: Cost | None = None
    also: tuple[Coefficients, ...] = ()


class PlainGrid:
    """The grid of ``search`` on ``baseline`` at φ; ``rows`` in the order in which they were decided."""

    def __init__(self, baseline: SpecBaseline, phi: float, search: SearchSettings, num_classes: int) -> None:
        self._baseline, self._phi, self._search, self._classes = baseline, phi, search, num_classes
        self._base = baseline.scaled(Multipliers(1, 1, 1)).cost(num_classes)
        self.rows: list[Row] = []
        points = self._matched() if search.match == "macs" else self._nominal()
        self._merge(sorted({*points, *(Coefficients(*point) for point in search.also)}))

    @cache  # noqa: B019
    def _realise(self, point: Coefficients) -> tuple[ModelSpec, Cost]:
        model = self._baseline.scaled(point.at(self._phi), dropout=0.3)
        return model.spec, model.cost(self._classes)

    def _ratio(self, point: Coefficients) -> float:
        return self._realise(point)[1].macs / self._base.macs

    def _range(self, name: str) -> tuple[float, float]:
        return getattr(self._search, f"min_{name}"), getattr(self._search, f"max_{name}")

    def _axis(self, name: str) -> list[float]:
        value, high = (Fraction(repr(end)) for end in self._range(name))
        values = []
        while value <= high:
            values.append(float(value))
            value += Fraction(repr(self._search.step))
        return values

    def _nominal(self) -> list[Coefficients]:
        target, tolerance = (Fraction(repr(value)) for value in (self._search.target, self._search.tolerance))
        points = [Coefficients(*point) for point in product(*map(self._axis, AXES))]
        inside = [point for point in points if abs(point.exact_growth() - target) <= tolerance]
        why = f"growth outside {self._search.target:g} ± {self._search.tolerance:g}"
        self.rows += [Row(point, why) for point in points if point not in inside]
        return inside

    def _matched(self) -> list[Coefficients]:
        target, found = self._search.target**self._phi, []
        for solved in AXES if self._search.solve == "any" else (self._search.solve,):
            others = [name for name in AXES if name != solved]
            for pair in product(*map(self._axis, others)):
                best = self._solve(dict(zip(others, pair, strict=True)), solved, target)
                if abs(self._ratio(best) / target - 1) <= self._search.match_tolerance:
                    found.append(best)
                else:
                    why = f"costs {self._ratio(best):.3f}×, not {target:.3g}×"
                    self.rows.append(Row(best, why, *self._realise(best)))
        return found

    def _solve(self, fixed: dict[str, float], name: str, target: float) -> Coefficients:
        def at(value: float) -> Coefficients:
            return Coefficients(**fixed, **{name: value})

        def over(value: float) -> bool:
            return self._ratio(at(value)) > target

        low, high = self._range(name)
        left, right = at(low), at(high)
        if over(low) != over(high):
            steps = range(round(low * 10**4), round(high * 10**4))
            below, above = steps[0], steps[-1] + 1
            while above - below > 1:
                middle = (below + above) // 2
                if over(middle / 10**4) == over(low):
                    below, left = middle, at(middle / 10**4)
                else:
                    above, right = middle, at(middle / 10**4)
        best = min((left, right), key=lambda point: abs(self._ratio(point) / target - 1))
        return self._towards_nominal(best, fixed, name)

    def _towards_nominal(self, best: Coefficients, fixed: dict[str, float], name: str) -> Coefficients:
        """Among the values that cost the same, the one nearest to the target of αβ²γ²."""
        low, high = self._range(name)
        others = math.prod(value ** (1 if other == "alpha" else 2) for other, value in fixed.items())
        nominal = self._search.target / others if name == "alpha" else math.sqrt(self._search.target / others)
        here, goal = (round(x * 10**4) for x in (getattr(best, name), min(max(nominal, low), high)))
        if here == goal:
            return best
        towards = range(here, goal, 1 if goal > here else -1)
        points = [Coefficients(**fixed, **{name: step / 10**4}) for step in (*towards, goal)]
        alike = bisect_left(points, True, key=lambda point: self._ratio(point) != self._ratio(best))
        return points[alike - 1] if alike > 1 else best

    def _merge(self, points: list[Coefficients]) -> None:
        groups: dict[str, list[Coefficients]] = {}
        for point in points:
            groups.setdefault(self._realise(point)[0].fingerprint, []).append(point)
        for first, *others in groups.values():
            self.rows.append(Row(first, "admitted", *self._realise(first), also=tuple(others)))
            why = f"same network as {first}"
            self.rows += [Row(other, why, *self._realise(other)) for other in others]
