"""What the validation images, being so many and no more, leave open about networks that all of them have judged."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np

Truths = np.ndarray[Any, np.dtype[np.bool_]]
Counts = np.ndarray[Any, np.dtype[np.int64]]

DRAWS = 10_000
"""Of the bootstrap."""


class Interval(NamedTuple):
    """An estimate and its interval: accuracies in [0, 1], differences in [−1, 1]."""

    value: float
    low: float
    high: float


def share_right(correct: Truths, confidence: float = 0.95) -> Interval:
    """The share of images (N,) that are right, with Wilson's interval (1927)."""
    from scipy.stats import binomtest

    right, images = int(correct.sum()), len(correct)
    bounds = binomtest(right, images).proportion_ci(confidence, method="wilson")
    return Interval(right / images, float(bounds.low), float(bounds.high))


def paired_difference(one: Truths, other: Truths, confidence: float = 0.95) -> Interval:
    """How much larger ``one``'s share of the same images (N,) is, with the adjusted Wald interval for matched pairs
    (Agresti & Min 2005, Statistics in Medicine 24): half an image is added to each of the four cells.

    Raises:
        ValueError: they are of other numbers of images.
    """
    from scipy.stats import norm

    if one.shape != other.shape:
        raise ValueError(f"the same images, not {len(one)} and {len(other)}")
    only_one, only_other = int((one & ~other).sum()), int((other & ~one).sum())
    more, images = only_one - only_other, len(one) + 2
    error = math.sqrt(only_one + only_other + 1 - more**2 / images) / images
    reach = float(norm.ppf((1 + confidence) / 2)) * error
    return Interval(more / len(one), max(-1.0, more / images - reach), min(1.0, more / images + reach))


def mean_of_classes(right: Counts, images: Counts, confidence: float = 0.95, seed: int = 0) -> Interval:
    """The mean over classes of the share of each class's ``images`` (K,) that are ``right``, with the percentiles of a
    bootstrap that draws the images of every class anew; classes without images are left out.

    A class whose images are all right or all wrong adds nothing to the width: with few images a class, the interval is
    too narrow.
    """
    right, images = right[images > 0], images[images > 0]
    drawn = np.random.default_rng(seed).binomial(images, right / images, (DRAWS, len(images))) / images
    tail = (1 - confidence) / 2
    low, high = np.quantile(drawn.mean(axis=1), [tail, 1 - tail])
    return Interval(float((right / images).mean()), float(low), float(high))
