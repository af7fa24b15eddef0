"""The same networks on two schedules: what one of them saves, and what it costs in accuracy."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy import stats

from scalesearch.ranking.seed_scores import Floats

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class Saved:
    """Over ``pairs`` of trainings of one network with one seed: the difference in accuracy, other less plain, and the
    seconds of the other over those of the plain one, each with its interval (nan for a single pair)."""

    pairs: int
    confidence: float
    accuracy: tuple[float, float, float]
    seconds: tuple[float, float, float]

    @property
    def words(self) -> str:
        """Both, in a sentence."""
        difference, low, high = (100 * value for value in self.accuracy)
        ratio, less, more = self.seconds
        told = f"{difference:+.1f} points" + (f" ({low:+.1f} to {high:+.1f})" if self.pairs > 1 else "")
        time = f"{ratio:.2f} times its seconds" + (f" ({less:.2f} to {more:.2f})" if self.pairs > 1 else "")
        return (
            f"Progressive learning beside the plain schedule, {self.pairs} pairs of trainings: {told}, {time}; "
            f"intervals at {100 * self.confidence:g} % know the luck of trainings, not that of the held-out images."
        )


def saved(plain: pd.DataFrame, other: pd.DataFrame, confidence: float) -> Saved | None:
    """What ``other`` trials save beside ``plain`` ones; None where no network has a seed on both schedules.

    Args:
        plain, other: `ranking.trials_frame`'s.
    """
    before, after = _complete(plain), _complete(other)
    both = [key for key in before if key in after]
    if not both:
        return None
    differences = np.array([after[key][0] - before[key][0] for key in both])
    ratios = np.log([after[key][1] / before[key][1] for key in both])
    low, middle, high = np.exp(mean_interval(ratios, confidence)).tolist()
    less, mean, more = mean_interval(differences, confidence)
    return Saved(len(both), confidence, (mean, less, more), (middle, low, high))


def _complete(trials: pd.DataFrame) -> dict[Any, tuple[float, float]]:
    rows = trials[trials["state"] == "complete"].to_dict("records")
    return {(row["network"], row["seed"]): (float(row["accuracy"]), float(row["seconds"])) for row in rows}


def mean_interval(values: Floats, confidence: float) -> tuple[float, float, float]:
    """Student's interval of a mean, and the mean in its middle."""
    mean = float(values.mean())
    if len(values) < 2:
        return float("nan"), mean, float("nan")
    half = float(stats.t.ppf((1 + confidence) / 2, len(values) - 1) * values.std(ddof=1) / len(values) ** 0.5)
    return mean - half, mean, mean + half
