"""Many points of a grid at once: which network each of them realises, and what the networks cost.

A table of stages depends on α through its repeats alone, on β through its channels and on γ through its pixels, and
each takes few values however fine the grid is. So a value is rounded once, and a network is made and counted once.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import astuple
from functools import cache
from typing import Generic, TypeVar

import numpy as np

from scalesearch.errors import ScalingError
from scalesearch.models.protocols import Networks, ScaledModel
from scalesearch.models.spec_model import SpecModel
from scalesearch.scaling.batched_cost import BatchedCost, Counts
from scalesearch.scaling.compound import (
    Coefficients,
    Rounding,
    resized,
    scale_spec,
    scaled_pixels,
    scaled_repeats,
    scaled_widths,
)
from scalesearch.scaling.cost import Cost
from scalesearch.scaling.points import Floats, Ints, Points
from scalesearch.scaling.spec import ModelSpec

NOTHING = -1
"""The index of what cannot be realised."""


Value = TypeVar("Value")


class _Axis(Generic[Value]):
    """What the values of one coefficient come to: every value is worked out once, every outcome kept once."""

    def __init__(self, realise: Callable[[float], Value]) -> None:
        self._realise = realise
        self._index: dict[float, int] = {}
        self._seen: dict[Value, int] = {}
        self.outcomes: list[Value] = []

    def index(self, values: Floats) -> Ints:
        """Of each value's outcome among ``outcomes``; `NOTHING` where there is none."""
        distinct, inverse = np.unique(values, return_inverse=True)
        return np.array([self._one(value) for value in distinct.tolist()], np.int64)[inverse]

    def _one(self, value: float) -> int:
        if value not in self._index:
            try:
                outcome = self._realise(value)
            except ScalingError:
                self._index[value] = NOTHING
            else:
                self._index[value] = self._seen.setdefault(outcome, len(self.outcomes))
                if self._index[value] == len(self.outcomes):
                    self.outcomes.append(outcome)
        return self._index[value]


class TableSurvey:
    """A `Survey` of a table of stages, by the closed form; its results are `scale_spec`'s and `closed_form`'s."""

    def __init__(
        self, spec: ModelSpec, rounding: Rounding, phi: float, *, num_classes: int, dropout: float | None
    ) -> None:
        self._spec, self._rounding, self._phi = spec, rounding, phi
        self._dropout = dropout
        self._repeats = _Axis(lambda alpha: scaled_repeats(spec, alpha**phi, rounding))
        self._widths = _Axis(lambda beta: scaled_widths(spec, beta**phi, rounding))
        self._pixels = _Axis(lambda gamma: scaled_pixels(spec, gamma**phi, rounding))
        self._tariff = BatchedCost(spec, num_classes)

    def macs(self, points: Points) -> Counts:
        """Of each point's network, (N,).

        Raises:
            ScalingError: a point realises none; it says why the first of them does not.
        """
        return self._costs(self._indices(points), fields=1)[:, 0]

    def costs(self, points: Points) -> Counts:
        """The fields of `Cost` of each point's network, (N, 4).

        Raises:
            ScalingError: a point realises none; it says why the first of them does not.
        """
        return self._costs(self._indices(points))

    def networks(self, points: Points) -> Networks:
        """The distinct networks and their costs.

        Raises:
            ScalingError: a point realises none; it says why the first of them does not.
        """
        indices = self._indices(points)
        _, first, inverse = np.unique(self._code(*indices), return_index=True, return_inverse=True)
        order = np.argsort(first)
        place = np.empty_like(order)
        place[order] = np.arange(len(order))
        repeats, widths, pixels = (index[first[order]] for index in indices)
        costs = [Cost(*row) for row in self._costs((repeats, widths, pixels)).tolist()]
        return Networks(place[inverse], self._models(repeats, widths, pixels), costs)

    def _code(self, repeats: Ints, widths: Ints, pixels: Ints) -> Ints:
        """One number for each network."""
        return (repeats * len(self._widths.outcomes) + widths) * len(self._pixels.outcomes) + pixels

    def _costs(self, which: tuple[Ints, Ints, Ints], fields: int = 4) -> Counts:
        return self._tariff.costs(self._repeats.outcomes, self._widths.outcomes, self._pixels.outcomes, which, fields)

    def _indices(self, points: Points) -> tuple[Ints, Ints, Ints]:
        repeats = self._repeats.index(points.alpha)
        widths, pixels = self._widths.index(points.beta), self._pixels.index(points.gamma)
        nothing = np.flatnonzero((widths == NOTHING) | (pixels == NOTHING))
        if len(nothing):
            scale_spec(self._spec, points[nothing[0]].at(self._phi), self._rounding)
        return repeats, widths, pixels

    def _models(self, repeats: Ints, widths: Ints, pixels: Ints) -> list[ScaledModel]:
        @cache
        def network(row: int, column: int) -> ModelSpec:
            blocks, channels = self._repeats.outcomes[row], self._widths.outcomes[column]
            return resized(self._spec, blocks, channels, self._spec.resolution, dropout=self._dropout)

        sizes = [self._pixels.outcomes[index] for index in pixels.tolist()]
        rows = zip(repeats.tolist(), widths.tolist(), sizes, strict=True)
        return [SpecModel(network(row, column).model_copy(update={"resolution": size})) for row, column, size in rows]


class OneByOne:
    """A `Survey` that realises every point by itself: for networks whose scaling is no formula.

    Args:
        realise: a point's network.
        price: what a point costs, where that is cheaper than the network; a search asks for many more of them.
    """

    def __init__(
        self, realise: Callable[[Coefficients], ScaledModel], price: Callable[[Coefficients], Cost], num_classes: int
    ) -> None:
        self._realise, self._price, self._num_classes = cache(realise), price, num_classes

    def macs(self, points: Points) -> Counts:
        """Of each point's network, (N,)."""
        return np.array([self._price(point).macs for point in points], object)

    def costs(self, points: Points) -> Counts:
        """The fields of `Cost` of each point's network, (N, 4)."""
        return np.array([astuple(self._price(point)) for point in points], object).reshape(-1, 4)

    def networks(self, points: Points) -> Networks:
        """The distinct networks, told apart by their fingerprints, and their costs."""
        place: dict[str, int] = {}
        index: list[int] = []
        models: list[ScaledModel] = []
        for point in points:
            model = self._realise(point)
            index.append(place.setdefault(model.fingerprint, len(models)))
            if index[-1] == len(models):
                models.append(model)
        return Networks(np.array(index, np.int64), models, [model.cost(self._num_classes) for model in models])
