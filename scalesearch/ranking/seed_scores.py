"""What was measured of a candidate, and how the held-out images, which all candidates share, err about all there are.

An accuracy is a mean over n seeds and N images, crossed; its variance is σ_S²/n + σ_I²/N + σ_SI²/(nN) for seeds,
images, and the luck of one seed on one image. That luck is most of what seeds do to a trained network (Jordan 2024,
"On the Variance of Neural Network Training with respect to Test Sets and Distributions", ICLR); it is seen between
seeds, so it must not be counted among the images' noise too.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from scalesearch.ranking.class_metrics import worth
from scalesearch.ranking.ranking import holdout_error

Floats = NDArray[np.float64]

BORROWED = 2.0
"""Degrees of freedom by which a class of few images takes the others' spread for its own."""


@dataclass(frozen=True, eq=False)
class SeedScores:
    """One candidate's accuracies in [0, 1], one per seed, and which images each seed got right, if known.

    ``correct``: (seeds, images) of bool, the same images in the same order for every candidate; or, where classes count
    alike, what each image adds (`class_metrics.per_image`), and ``classes`` the images' own (images,). ``numbers``: the
    seeds', by default 0, 1 and so on; candidates of the same seed saw the same images in the same order. ``scores``:
    what `estimator` makes of the trainings, for the model of all of them; by default the accuracies.
    """

    name: str
    accuracies: tuple[float, ...]
    correct: NDArray[np.bool_] | Floats | None = None
    numbers: tuple[int, ...] = ()
    scores: tuple[float, ...] = ()
    classes: NDArray[np.int64] | None = None

    def __post_init__(self) -> None:
        if not self.accuracies:
            raise ValueError(f"{self.name}: expected at least one accuracy, got none")
        if not self.numbers:
            object.__setattr__(self, "numbers", tuple(range(len(self.accuracies))))
        if not self.scores:
            object.__setattr__(self, "scores", self.accuracies)
        for what in ("numbers", "scores"):
            if len(getattr(self, what)) != len(self.accuracies):
                raise ValueError(f"{self.name}: {len(getattr(self, what))} {what} of {len(self.accuracies)} seeds")
        if self.correct is not None and self.correct.shape[:-1] != (len(self.accuracies),):
            raise ValueError(
                f"{self.name}: expected correct of shape ({len(self.accuracies)}, images), got {self.correct.shape}"
            )

    @property
    def seeds(self) -> int:
        """How many seeds were trained."""
        return len(self.accuracies)

    @property
    def mean(self) -> float:
        """Mean accuracy over the seeds, in [0, 1]."""
        return math.fsum(self.accuracies) / self.seeds

    @property
    def variance(self) -> float:
        """Between seeds, unbiased; nan for one seed."""
        if self.seeds == 1:
            return math.nan
        return math.fsum((a - self.mean) ** 2 for a in self.accuracies) / (self.seeds - 1)

    @property
    def luck(self) -> float | None:
        """σ_SI², the variance of one seed on one image; None without ``correct`` or a second seed.

        Per image, seeds vary by σ_S² + σ_SI²; their accuracies by σ_S² + σ_SI²/N.
        """
        if self.correct is None or self.seeds == 1:
            return None
        share, images = self.correct.mean(axis=0), int(self.correct.shape[1])
        if self.classes is None:
            within = float(np.mean(share * (1 - share))) * self.seeds / (self.seeds - 1)
        else:
            within = float(self.correct.var(axis=0, ddof=1).mean())
        return max(0.0, within - self.variance) * images / max(1, images - 1)


def counted(measured: Iterable[SeedScores | None], images: int) -> float:
    """How many images there are for the error of a mean over them: where classes count alike, what they are `worth`."""
    classes = next((m.classes for m in measured if m is not None and m.classes is not None), None)
    return images if classes is None else worth(classes)


def images_covariance(measured: Sequence[SeedScores], images: int) -> Floats:
    """σ_I²/N between candidates, (n, n): how so many images err about all there are, without the seeds' luck.

    A candidate without ``correct`` errs alone, with Agresti and Coull's error, which is wider. Where no candidate has
    a second seed, luck is what the two candidates that are most alike differ by. Where classes count alike, images err
    within their classes (`_within_classes`). Negative eigenvalues, left by subtracting an estimate, are zero.

    Raises:
        ValueError: ``correct`` is of another number of images.
    """
    for m in measured:
        if m.correct is not None and m.correct.shape[1] != images:
            raise ValueError(f"{m.name}: expected {images} images, got {m.correct.shape[1]}")
    alike = counted(measured, images)
    covariance = np.diag([holdout_error(m.mean, alike) ** 2 for m in measured])
    paired = [i for i, m in enumerate(measured) if m.correct is not None]
    if paired:
        shares = np.array([m.correct.mean(axis=0) for m in measured if m.correct is not None])
        pooled = _luck(measured)
        if pooled is None:
            pooled = _least_disagreement(shares)
        luck = [pooled if m.luck is None else m.luck / m.seeds for m in measured if m.correct is not None]
        classes = next((m.classes for m in measured if m.classes is not None), None)
        spread = np.atleast_2d(np.cov(shares)) if classes is None else _within_classes(shares, classes)
        covariance[np.ix_(paired, paired)] = (spread - np.diag(luck)) / images
    return without_negative(covariance)


def _within_classes(values: Floats, classes: NDArray[np.int64]) -> Floats:
    """N times the covariance (n, n) of means of ``values`` (n, N) over images drawn class by class: Σ n_c·S_c/N.

    Values are N/(K·n_c) times what they would be if classes were equally frequent; in that unit, S_c is drawn towards
    the spread within all classes by `BORROWED` degrees of freedom: one image alone has no spread of its own.
    """
    _, which, counts = np.unique(classes, return_inverse=True, return_counts=True)
    images, kinds = len(classes), len(counts)
    scale = images / (kinds * counts)
    means = np.stack([np.bincount(which, weights=row, minlength=kinds) / counts for row in values])
    apart = (values - means[:, which]) / scale[which]
    all_of_them = apart @ apart.T / max(1, images - kinds)
    found = np.zeros_like(all_of_them)
    order = np.split(np.argsort(which, kind="stable"), np.cumsum(counts)[:-1])
    for own, count, size in zip(order, counts, scale, strict=True):
        inside = (apart[:, own] @ apart[:, own].T + BORROWED * all_of_them) / (count - 1 + BORROWED)
        found += count * size**2 * inside / images
    return found


def without_negative(covariance: Floats) -> Floats:
    """A covariance (n, n) whose negative eigenvalues are zero."""
    values, vectors = np.linalg.eigh(covariance)
    return np.asarray((vectors * np.maximum(values, 0)) @ vectors.T)


def _luck(measured: Sequence[SeedScores]) -> float | None:
    """σ_SI², pooled; None where no candidate knows it."""
    known = [(m.luck, m.seeds - 1) for m in measured if m.luck is not None]
    return sum(luck * freedom for luck, freedom in known) / sum(f for _, f in known) if known else None


def _least_disagreement(right: Floats) -> float:
    """Of (candidates, images): half the mean squared difference of the most alike; for zeros and ones that is half the
    share of images on which they differ. 0 for one candidate."""
    if not np.isin(right, (0, 1)).all():
        squares = np.square(right).sum(axis=1)
        apart = (squares[:, None] + squares - 2 * right @ right.T) / (2 * right.shape[1])
        return float(max(0.0, apart[np.triu_indices(len(right), 1)].min())) if len(right) > 1 else 0.0
    same = right @ right.T + (1 - right) @ (1 - right).T
    apart = (1 - same / right.shape[1]) / 2
    return float(apart[np.triu_indices(len(right), 1)].min()) if len(right) > 1 else 0.0
