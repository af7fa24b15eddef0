"""A machine whose times follow a law, to match candidates on without measuring anything."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence

import numpy as np

from scalesearch.models.protocols import ScaledModel

CLASSES = 10


def seconds_by_law(model: ScaledModel) -> float:
    """Of a network: layers have a price of their own, and arithmetic is cheaper where there is more of it."""
    cost = model.cost(CLASSES)
    return 1e-3 * model.spec.blocks + 1e-9 * math.pow(cost.macs, 0.97) + 2e-10 * cost.activations


class LawMeter:
    """A `Meter` by a law, with errors of so many per cent; it keeps what it was asked for."""

    def __init__(
        self, baseline: ScaledModel, law: Callable[[ScaledModel], float] = seconds_by_law, noise: float = 0.0
    ) -> None:
        self._base, self._law, self._noise = law(baseline), law, noise
        self._random = np.random.default_rng(0)
        self.asked: list[tuple[str, int]] = []

    @property
    def base(self) -> float:
        """Milliseconds of the baseline."""
        return 1e3 * self._base

    @property
    def seconds(self) -> float:
        """It takes a second for each turn."""
        return float(sum(turns for _, turns in self.asked))

    @property
    def place(self) -> Mapping[str, str | int]:
        """A machine that there is not."""
        return {"device": "a law", "threads": 1, "batch": 1, "precision": "fp32"}

    def measure(self, models: Sequence[ScaledModel], turns: int) -> list[list[float]]:
        """Ratios by the law, each with its own error."""
        self.asked += [(model.fingerprint, turns) for model in models]
        return [
            [self._law(model) / self._base * (1 + self._noise * float(self._random.normal())) for _ in range(turns)]
            for model in models
        ]
