"""Two forms of a network on the same images: how their accuracies differ, and how well the images tell that."""

from __future__ import annotations

import math
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

from scalesearch.recipe import DEFAULT_CONFIDENCE


@dataclass(frozen=True)
class Difference:
    """The second's accuracy less the first's, in [−1, 1], with its interval; ``lost`` images only the first got right,
    ``won`` only the second, of ``images``."""

    value: float
    low: float
    high: float
    lost: int
    won: int
    images: int


def paired_difference(
    first: NDArray[np.bool_], second: NDArray[np.bool_], confidence: float = DEFAULT_CONFIDENCE
) -> Difference:
    """From which images each got right, bool (N,), in the same order.

    The interval is Bonett and Price's adjusted Wald interval (2012, "Adjusted Wald confidence interval for a difference
    of binomial proportions based on paired data", J. Educ. Behav. Stat. 37:479–488): one image is added to each of the
    two kinds on which the forms differ, so that no disagreement is not taken for certainty.

    Raises:
        ValueError: they are of different lengths, or empty.
    """
    if first.shape != second.shape or first.ndim != 1 or not len(first):
        raise ValueError(f"expected two rows of equal length, got shapes {first.shape} and {second.shape}")
    images = len(first)
    lost, won = int((first & ~second).sum()), int((second & ~first).sum())
    p_lost, p_won = (lost + 1) / (images + 2), (won + 1) / (images + 2)
    middle = p_won - p_lost
    half = NormalDist().inv_cdf((1 + confidence) / 2) * math.sqrt((p_lost + p_won - middle**2) / (images + 2))
    return Difference((won - lost) / images, max(-1.0, middle - half), min(1.0, middle + half), lost, won, images)
