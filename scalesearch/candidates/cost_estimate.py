"""What measured costs come to for networks that were not measured: a sum of counts, weighted by a few that were."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from scalesearch.errors import ScalingError
from scalesearch.models.protocols import Networks, ScaledModel, Survey
from scalesearch.scaling.compound import Coefficients
from scalesearch.scaling.cost import Cost
from scalesearch.scaling.points import Floats, Points
from scalesearch.scaling.shares import Shares

COUNTS = ("macs", "params", "activations", "blocks", "constant")
"""What a network's time is taken to be a sum of: each over the baseline's, times a weight of at least zero."""

DIVISIONS = (
    Shares(1, 0, 0), Shares(0, 1, 0), Shares(0, 0, 1), Shares(0.5, 0.5, 0), Shares(0.5, 0, 0.5), Shares(0, 0.5, 0.5),
    Shares(1 / 3, 1 / 3, 1 / 3),
)  # fmt: skip
"""Of a growth: the networks that are measured for the estimate, at each of `GROWTHS`."""
GROWTHS = (0.5, 1.0, 1.5)
"""Powers of the target at which they grow."""


@dataclass(frozen=True)
class Estimate:
    """Cost over the baseline's as a weighted sum of `COUNTS`; it rises with each, as a solver needs it."""

    weights: tuple[float, ...]
    base: Cost
    blocks: int

    @classmethod
    def fitted(cls, networks: Networks, ratios: Floats, base: Cost, blocks: int) -> Estimate:
        """The non-negative least squares of the relative errors.

        Args:
            ratios: measured, of ``networks.models``, (N,).
        """
        from scipy.optimize import nnls

        unweighted = cls((1.0,) * len(COUNTS), base, blocks)
        table = unweighted._counts(networks.models, networks.costs)
        weights, _ = nnls(table / ratios[:, None], np.ones(len(ratios)))
        return cls(tuple(weights.tolist()), base, blocks)

    def of(self, survey: Survey, points: Points) -> Floats:
        """Of each point's network, (N,)."""
        networks = survey.networks(points)
        return self.of_networks(networks)[networks.index]

    def of_networks(self, networks: Networks) -> Floats:
        """Of the distinct networks."""
        table = self._counts(networks.models, networks.costs)
        total = np.zeros(len(table))
        for weight, column in zip(self.weights, table.T, strict=True):  # not a product of matrices: its sums may differ
            total += weight * column
        return total

    def _counts(self, models: Sequence[ScaledModel], costs: Sequence[Cost]) -> np.ndarray[Any, Any]:
        base = self.base
        rows = [
            (
                cost.macs / base.macs,
                cost.params / base.params,
                cost.activations / base.activations,
                max(1, model.spec.blocks) / max(1, self.blocks),
                1.0,
            )
            for model, cost in zip(models, costs, strict=True)
        ]
        return np.array(rows, np.float64).reshape(-1, len(COUNTS))


def sample(survey: Survey, target: float, ranges: Sequence[tuple[float, float]]) -> Networks:
    """The baseline, and networks that grow towards about ``target`` in different ways.

    Args:
        target: growth at φ = 1.
        ranges: least and greatest α, β and γ; what lies beyond is drawn to the end.
    """
    wanted = [Coefficients(1, 1, 1)]
    wanted += [division.coefficients(target**growth) for growth in GROWTHS for division in DIVISIONS]
    inside = dict.fromkeys(
        Coefficients(
            *(
                round(min(max(value, low), high), 4)
                for value, (low, high) in zip((c.alpha, c.beta, c.gamma), ranges, strict=True)
            )
        )
        for c in wanted
    )
    return survey.networks(Points.of(c for c in inside if _realised(survey, c)))


def _realised(survey: Survey, point: Coefficients) -> bool:
    try:
        survey.costs(Points.of([point]))
    except ScalingError:
        return False
    return True
