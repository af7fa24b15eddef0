"""Bootstrap draws of accuracies: over the held-out images, which candidates share, and over seeds, which they do not.

An accuracy is a mean over n seeds and N images, crossed; its variance is σ_S²/n + σ_I²/N + σ_SI²/(nN) for seeds,
images, and the luck of one seed on one image. Resampling both factors counts the luck more than once (Owen 2007, "The
pigeonhole bootstrap", Ann. Appl. Stat. 1:386), and luck is most of what seeds do to a trained network (Jordan 2024,
"On the Variance of Neural Network Training with respect to Test Sets and Distributions", ICLR). Hence: images are
resampled with the seeds' luck in them, and seeds add only what luck does not explain.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from scalesearch.ranking.ranking import holdout_error

Floats = NDArray[np.float64]

CELLS = 2_000_000
"""Image weights held at a time, resamples × images: 16 MB."""


@dataclass(frozen=True, eq=False)
class SeedScores:
    """One candidate's accuracies in [0, 1], one per seed, and which images each seed got right, if known.

    ``correct``: (seeds, images) of bool, the same images in the same order for every candidate. ``numbers``: the
    seeds', by default 0, 1 and so on; candidates of the same seed saw the same images in the same order.
    """

    name: str
    accuracies: tuple[float, ...]
    correct: NDArray[np.bool_] | None = None
    numbers: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        if not self.numbers:
            object.__setattr__(self, "numbers", tuple(range(len(self.accuracies))))
        if len(self.numbers) != len(self.accuracies):
            raise ValueError(f"{self.name}: {len(self.numbers)} numbers of {len(self.accuracies)} seeds")
        if not self.accuracies:
            raise ValueError(f"{self.name}: expected at least one accuracy, got none")
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


def seed_noise_known(measured: Sequence[SeedScores]) -> bool:
    """Whether any candidate has two seeds; without, `draws` know the images' noise alone."""
    return any(m.seeds > 1 for m in measured)


def draws(
    measured: Sequence[SeedScores],
    *,
    images: int,
    resamples: int = 10_000,
    seed: int = 0,
    with_images: bool = True,
    with_seeds: bool = True,
) -> Floats:
    """Bootstrap draws of every candidate's accuracy: (resamples, candidates), columns as in ``measured``.

    A function of the values alone: candidates draw in the order of their names, so neither their order nor that of
    their seeds changes a candidate's column.

    Images: one multinomial resample for all candidates, so that what they share cancels in their differences; a
    candidate without ``correct`` draws alone, with Agresti and Coull's error, which is wider. Seeds: a residual
    bootstrap of the one-way layout with modified residuals, pooled over candidates (Davison & Hinkley 1997, §6.2.3),
    scaled to Student's t, as few residuals know their own spread badly.

    Args:
        images: how many there are, held out.
        with_images: False takes these very images for all there are, and leaves the seeds' noise.
        with_seeds: False draws what infinitely many seeds would leave, normal with the images' own covariance.
    """
    for m in measured:
        if m.correct is not None and m.correct.shape[1] != images:
            raise ValueError(f"{m.name}: expected {images} images, got {m.correct.shape[1]}")
    order = sorted(range(len(measured)), key=lambda i: measured[i].name)
    ordered = [measured[i] for i in order]
    image_rng, seed_rng = (np.random.default_rng(s) for s in np.random.SeedSequence(seed).spawn(2))
    if not with_images:
        drawn = np.tile([m.mean for m in ordered], (resamples, 1))
    elif with_seeds:
        drawn = _resample_images(ordered, images, resamples, image_rng)
    else:
        drawn = _limit(ordered, images, resamples, image_rng)
    if with_seeds:
        drawn += _resample_seeds(ordered, resamples, seed_rng, beyond=images if with_images else None)
    columns = np.empty_like(drawn)
    columns[:, order] = drawn
    return columns


def _resample_images(measured: Sequence[SeedScores], images: int, resamples: int, rng: np.random.Generator) -> Floats:
    """Sums of whole numbers, so that equal candidates tie exactly."""
    out = np.empty((resamples, len(measured)))
    paired = [i for i, m in enumerate(measured) if m.correct is not None]
    for i, m in enumerate(measured):
        if m.correct is None:
            out[:, i] = m.mean + holdout_error(m.mean, images) * rng.standard_normal(resamples)
    if not paired:
        return out
    right = np.array([m.correct.sum(axis=0) for m in measured if m.correct is not None], dtype=np.float64).T
    trials = np.array([measured[i].seeds * images for i in paired])
    rows = max(1, CELLS // images)
    for start in range(0, resamples, rows):
        count = min(rows, resamples - start)
        picks = rng.integers(images, size=(count, images)) + images * np.arange(count)[:, None]
        weights = np.bincount(picks.ravel(), minlength=count * images).reshape(count, images)
        out[start : start + count, paired] = weights.astype(np.float64) @ right / trials
    return out


def _resample_seeds(
    measured: Sequence[SeedScores], resamples: int, rng: np.random.Generator, *, beyond: int | None
) -> Floats:
    """Noise of the means from residuals e·√(n/(n − 1)); ``beyond`` so many images, only what those do not explain."""
    repeated = [m for m in measured if m.seeds > 1]
    if not repeated:
        return np.zeros((resamples, len(measured)))
    residuals = np.sort([(a - m.mean) * math.sqrt(m.seeds / (m.seeds - 1)) for m in repeated for a in m.accuracies])
    freedom = sum(m.seeds - 1 for m in repeated)
    luck = _luck(measured)
    if beyond is not None and luck is not None:
        variance = math.fsum(m.variance * (m.seeds - 1) for m in repeated) / freedom
        residuals *= math.sqrt(max(0.0, 1 - luck / beyond / variance)) if variance else 0.0
    unsure = np.sqrt(freedom / rng.chisquare(freedom, resamples))[:, None]
    means = [rng.choice(residuals, (resamples, m.seeds)).mean(axis=1) for m in measured]
    return np.asarray(unsure * np.stack(means, axis=1))


def _luck(measured: Sequence[SeedScores]) -> float | None:
    """σ_SI², pooled; None where no candidate knows it."""
    known = [(m.luck, m.seeds - 1) for m in measured if m.luck is not None]
    return sum(luck * freedom for luck, freedom in known) / sum(f for _, f in known) if known else None


def _limit(measured: Sequence[SeedScores], images: int, resamples: int, rng: np.random.Generator) -> Floats:
    """Normal draws with the images' covariance."""
    values, vectors = np.linalg.eigh(images_covariance(measured, images))
    factor = vectors * np.sqrt(np.maximum(values, 0))
    means = np.array([m.mean for m in measured])
    return np.asarray(means + rng.standard_normal((resamples, len(measured))) @ factor.T)


def images_covariance(measured: Sequence[SeedScores], images: int) -> Floats:
    """σ_I²/N between candidates, (n, n): how so many images err about all there are, without the seeds' luck.

    Where no candidate has a second seed, luck is what the two candidates that are most alike differ by. Negative
    eigenvalues, left by subtracting an estimate, are zero.
    """
    covariance = np.diag([holdout_error(m.mean, images) ** 2 for m in measured])
    paired = [i for i, m in enumerate(measured) if m.correct is not None]
    if paired:
        shares = np.array([m.correct.mean(axis=0) for m in measured if m.correct is not None])
        pooled = _luck(measured)
        if pooled is None:
            pooled = _least_disagreement(shares)
        luck = [pooled if m.luck is None else m.luck / m.seeds for m in measured if m.correct is not None]
        covariance[np.ix_(paired, paired)] = (np.atleast_2d(np.cov(shares)) - np.diag(luck)) / images
    values, vectors = np.linalg.eigh(covariance)
    return np.asarray((vectors * np.maximum(values, 0)) @ vectors.T)


def _least_disagreement(right: Floats) -> float:
    """Of (candidates, images), zeros and ones: half the share of images on which the most alike differ; 0 for one."""
    same = right @ right.T + (1 - right) @ (1 - right).T
    apart = (1 - same / right.shape[1]) / 2
    return float(apart[np.triu_indices(len(right), 1)].min()) if len(right) > 1 else 0.0
