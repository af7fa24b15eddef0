"""What the validation images, being so many and no more, leave open about networks that all of them have judged."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np

Floats = np.ndarray[Any, np.dtype[np.float64]]
Truths = np.ndarray[Any, np.dtype[np.bool_]]
Counts = np.ndarray[Any, np.dtype[np.int64]]

DRAWS = 10_000
"""Of the bootstrap."""


class Interval(NamedTuple):
    """An estimate and its interval: accuracies in [0, 1], differences in [−1, 1]."""

    value: float
    low: float
    high: float


def share(values: Floats | Truths, confidence: float = 0.95) -> Interval:
    """Mean of values in [0, 1], an image each (N,). For right and wrong it is Agresti and Coull's interval (1998,
    "Approximate is better than ‘exact’ for interval estimation of binomial proportions", Am. Stat. 52:119): half of z²
    images right and as many wrong are added, so that 18 of 18 right is not taken for certain.
    """
    from scipy.stats import norm

    z = float(norm.ppf((1 + confidence) / 2))
    values = np.asarray(values, dtype=float)
    count = len(values) + z**2
    centre = (values.sum() + z**2 / 2) / count
    spread = (np.square(values - centre).sum() + z**2 / 2 * ((1 - centre) ** 2 + centre**2)) / count
    half = z * math.sqrt(spread / count)
    return Interval(float(values.mean()), max(0.0, float(centre - half)), min(1.0, float(centre + half)))


def paired(differences: Floats, confidence: float = 0.95) -> Interval:
    """Mean of differences in [−1, 1], an image each (N,). Where these are −1, 0 or 1, it is Agresti and Min's interval
    (2005, "Simple improved confidence intervals for comparing matched proportions", Stat. Med. 24:729): half an image
    is added to each of the four cells of right and wrong, so that no images that differ are no proof.
    """
    from scipy.stats import norm

    count = len(differences) + 2
    centre = float(differences.sum()) / count
    spread = (float(np.square(differences).sum()) + 1) / count - centre**2
    half = float(norm.ppf((1 + confidence) / 2)) * math.sqrt(max(0.0, spread) / count)
    return Interval(float(differences.mean()), max(-1.0, centre - half), min(1.0, centre + half))


def paired_difference(one: Truths, other: Truths, confidence: float = 0.95) -> Interval:
    """How much larger ``one``'s share of the same images (N,) is: `paired`.

    Raises:
        ValueError: they are of other numbers of images, or of none.
    """
    if one.shape != other.shape or one.ndim != 1 or not len(one):
        raise ValueError(f"expected the same images, got shapes {one.shape} and {other.shape}")
    return paired(one.astype(float) - other.astype(float), confidence)


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
