"""What was measured of a candidate, and how the held-out images, which all candidates share, err about all there are.

An accuracy is a mean over n seeds and N images, crossed; its variance is σ_S²/n + σ_I²/N + σ_SI²/(nN) for seeds,
images, and the luck of one seed on one image. That luck is most of what seeds do to a trained network (Jordan 2024,
"On the Variance of Neural Network Training with respect to Test Sets and Distributions", ICLR); it is seen between
seeds, so it must not be counted among the images' noise too.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from scalesearch.ranking.ranking import holdout_error

Floats = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class SeedScores:
    """One candidate's accuracies in [0, 1], one per seed, and which images each seed got right, if known.

    ``correct``: (seeds, images) of bool, the same images in the same order for every candidate. ``numbers``: the
    seeds', by default 0, 1 and so on; candidates of the same seed saw the same images in the same order. ``scores``:
    what `estimator` makes of the trainings, for the model of all of them; by default the accuracies.
    """

    name: str
    accuracies: tuple[float, ...]
    correct: NDArray[np.bool_] | None = None
    numbers: tuple[int, ...] = ()
    scores: tuple[float, ...] = ()

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
        within = float(np.mean(share * (1 - share))) * self.seeds / (self.seeds - 1)
        return max(0.0, within - self.variance) * images / max(1, images - 1)


def images_covariance(measured: Sequence[SeedScores], images: int) -> Floats:
    """σ_I²/N between candidates, (n, n): how so many images err about all there are, without the seeds' luck.

    A candidate without ``correct`` errs alone, with Agresti and Coull's error, which is wider. Where no candidate has
    a second seed, luck is what the two candidates that are most alike differ by. Negative eigenvalues, left by
    subtracting an estimate, are zero.

    Raises:
        ValueError: ``correct`` is of another number of images.
    """
    for m in measured:
        if m.correct is not None and m.correct.shape[1] != images:
            raise ValueError(f"{m.name}: expected {images} images, got {m.correct.shape[1]}")
    covariance = np.diag([holdout_error(m.mean, images) ** 2 for m in measured])
    paired = [i for i, m in enumerate(measured) if m.correct is not None]
    if paired:
        shares = np.array([m.correct.mean(axis=0) for m in measured if m.correct is not None])
        pooled = _luck(measured)
        if pooled is None:
            pooled = _least_disagreement(shares)
        luck = [pooled if m.luck is None else m.luck / m.seeds for m in measured if m.correct is not None]
        covariance[np.ix_(paired, paired)] = (np.atleast_2d(np.cov(shares)) - np.diag(luck)) / images
    return without_negative(covariance)


def without_negative(covariance: Floats) -> Floats:
    """A covariance (n, n) whose negative eigenvalues are zero."""
    values, vectors = np.linalg.eigh(covariance)
    return np.asarray((vectors * np.maximum(values, 0)) @ vectors.T)


def _luck(measured: Sequence[SeedScores]) -> float | None:
    """σ_SI², pooled; None where no candidate knows it."""
    known = [(m.luck, m.seeds - 1) for m in measured if m.luck is not None]
    return sum(luck * freedom for luck, freedom in known) / sum(f for _, f in known) if known else None


def _least_disagreement(right: Floats) -> float:
    """Of (candidates, images), zeros and ones: half the share of images on which the most alike differ; 0 for one."""
    same = right @ right.T + (1 - right) @ (1 - right).T
    apart = (1 - same / right.shape[1]) / 2
    return float(apart[np.triu_indices(len(right), 1)].min()) if len(right) > 1 else 0.0
