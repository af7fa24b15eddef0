"""Whether there is anything to be found: how much candidates differ, over how much trainings of one of them do."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from scipy import stats

if TYPE_CHECKING:
    import pandas as pd

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Signal:
    """An analysis of variance of scores by candidate, with seeds as blocks: every candidate saw the same seeds.

    ``f`` is the variance between candidates over what is left, 1 where there is nothing to be found; ``between`` and
    ``within`` are its degrees of freedom, ``p`` the probability of such an F where candidates do not differ.
    """

    f: float
    between: int
    within: int
    p: float

    def __str__(self) -> str:
        p = "p < 0.001" if self.p < 0.001 else f"p = {self.p:.2g}"
        return f"F = {self.f:.3g} ({self.between} and {self.within} degrees of freedom, {p})"


def signal(scores: Mapping[str, Mapping[int, float]]) -> Signal | None:
    """The signal in scores by candidate and seed; None where no spread can be told from two candidates and two seeds.

    Both effects are fitted by least squares, so that candidates may have been trained with some of the seeds only.

    >>> signal({"a": {0: 0.50, 1: 0.52}, "b": {0: 0.60, 1: 0.61}, "c": {0: 0.70, 1: 0.73}}).within
    2
    """
    rows = [(name, seed, score) for name, by_seed in scores.items() for seed, score in by_seed.items()]
    values = np.array([score for _, _, score in rows], dtype=np.float64)
    seeds, names = _columns([seed for _, seed, _ in rows]), _columns([name for name, _, _ in rows])
    reduced, reduced_rank = _left(seeds, values)
    full, full_rank = _left(np.hstack([seeds, names]), values)
    between, within = full_rank - reduced_rank, len(rows) - full_rank
    if between < 1 or within < 1 or full <= 1e-15 * max(1e-300, float(values @ values)):
        return None
    f = (reduced - full) / between / (full / within)
    return Signal(float(f), between, within, float(stats.f.sf(f, between, within)))


def signal_of(trials: pd.DataFrame) -> Signal | None:
    """The signal in the accuracies of a run's complete trials, rows of `trials.csv`."""
    complete = trials[trials["state"] == "complete"]
    return signal(
        {
            str(network): dict(zip(rows["seed"].astype(int), rows["accuracy"].astype(float), strict=True))
            for network, rows in complete.groupby("network", sort=False)
        }
    )


def _columns(labels: list[Any]) -> Floats:
    """One column of ones and zeros for each label."""
    distinct = {label: i for i, label in enumerate(dict.fromkeys(labels))}
    made = np.zeros((len(labels), len(distinct)))
    made[np.arange(len(labels)), [distinct[label] for label in labels]] = 1
    return made


def _left(design: Floats, values: Floats) -> tuple[float, int]:
    """What least squares leave: the sum of squares, and the rank of the design."""
    if not len(values):
        return 0.0, 0
    fitted, _, rank, _ = np.linalg.lstsq(design, values, rcond=None)
    rest = values - design @ fitted
    return float(rest @ rest), int(rank)
