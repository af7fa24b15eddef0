"""How rows of a comparison are brought to one cost: by counting, or by measuring and solving again."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

import numpy as np

from scalesearch.candidates.counted_cost import CountMemory, Ratio, counted_ratio
from scalesearch.candidates.measured_cost import FINAL, ROUNDS, MeasuredCost
from scalesearch.candidates.quantities import QUANTITIES, Quantity
from scalesearch.errors import EmptyGridError
from scalesearch.models.protocols import ScaledModel, Survey
from scalesearch.scaling.compound import Coefficients
from scalesearch.scaling.cost import Cost
from scalesearch.scaling.points import Points

Solve = Callable[[Ratio], Coefficients]
"""The coefficients at which a ratio comes nearest to the target, by some way to grow.

Raises:
    EmptyGridError: they do not come near.
"""


class Pricing(Protocol):
    """What rows cost over the baseline's, by one quantity."""

    @property
    def quantity(self) -> Quantity:
        """By which rows are made equal."""

    def settle(self, label: str, survey: Survey, solve: Solve) -> Coefficients:
        """Where a row costs the target.

        Raises:
            EmptyGridError: nowhere.
        """

    def near(self, label: str, survey: Survey, target: float, tolerance: float) -> bool:
        """Whether a row as it is costs the target within the tolerance."""


class Counted:
    """By a counted quantity."""

    def __init__(self, name: str, base: Cost, memory: CountMemory | None = None) -> None:
        self.quantity, self._base, self._memory = QUANTITIES[name], base, memory

    def settle(self, label: str, survey: Survey, solve: Solve) -> Coefficients:
        """Solved at once."""
        return solve(counted_ratio(self.quantity.name, survey, self._base, self._memory))

    def near(self, label: str, survey: Survey, target: float, tolerance: float) -> bool:
        """Counted."""
        ratio = counted_ratio(self.quantity.name, survey, self._base, self._memory)
        return bool(abs(ratio(UNSCALED)[0] / target - 1) <= tolerance)


UNSCALED = Points.of([Coefficients(1, 1, 1)])


class Measured:
    """By what is measured: solved by the estimate, measured, solved again by what that said."""

    def __init__(self, cost: MeasuredCost) -> None:
        self.cost, self.quantity = cost, cost.wish.quantity
        self.models: dict[str, ScaledModel] = {}
        """What each row came to, by its label."""

    def settle(self, label: str, survey: Survey, solve: Solve) -> Coefficients:
        """Of the networks that were measured, the one nearest to the target."""
        wish, estimate = self.cost.wish, self.cost.ratio(survey)
        tried: dict[Coefficients, float] = {}
        off = 1.0
        wish.told(f"measuring {label}")
        for number in range(ROUNDS + 1):
            try:
                found = solve(lambda points, off=off: off * estimate(points))  # type: ignore[misc]
            except EmptyGridError:
                if number == 0:
                    raise
                break
            ratio = tried[found] = self._measure(label, survey, found)
            if wish.miss(ratio) <= wish.tolerance:
                return found
            off = ratio / float(estimate(Points.of([found]))[0])
        nearest = min(tried, key=lambda c: wish.miss(tried[c]))
        raise EmptyGridError(
            f"{label}: nothing is measured to have {wish.target:g}× the baseline's {self.quantity.words} within "
            f"{wish.tolerance:.1%}. The nearest is {nearest} at {tried[nearest]:.3f}×: take another ratio or "
            "--resolution, or widen --match-tolerance"
        )

    def near(self, label: str, survey: Survey, target: float, tolerance: float) -> bool:
        """Measured."""
        return abs(self._measure(label, survey, UNSCALED[0]) / target - 1) <= tolerance

    def ratio_of(self, label: str) -> float:
        """What a row was measured to cost over the baseline; 1 of the baseline's own row."""
        return self.cost.readings.ratio(self.models[label]) if label in self.models else 1.0

    def _measure(self, label: str, survey: Survey, point: Coefficients) -> float:
        networks = survey.networks(Points.of([point]))
        self.models[label] = networks.models[0]
        return float(np.asarray(self.cost.try_out(networks, FINAL))[0])
