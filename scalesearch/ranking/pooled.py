"""One model of all trials: what each candidate's accuracy is, from its own trainings and from its neighbours'.

A trial's accuracy is that of its candidate on these images, plus an effect of its seed, which all candidates of that
seed share (the same order, crops and flips), plus the luck of the training. Accuracies on these images differ from
those on all images by the noise of a sample, which candidates share as far as they are right on the same ones. Over
the shares of depth, width and resolution, accuracy is a quadratic and a smooth deviation from it (a Gaussian process;
Rasmussen & Williams 2006, §2.7); every candidate has a deviation of its own beside, and its cost an effect.

How large each of these is, is not fitted but integrated over: points of a Sobol sequence through the priors, weighted
by how probable they make the measured accuracies.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtri
from scipy.stats import qmc

from scalesearch.ranking.ranking import holdout_error
from scalesearch.ranking.seed_scores import Floats, SeedScores, images_covariance

SETTINGS = 1024
"""Points of the Sobol sequence for a judgement; a power of two keeps it balanced."""

TREND, SMOOTH, OWN = (0.02, 1.2), (0.005, 1.0), (0.004, 1.0)
"""Prior medians, in accuracy, and log standard deviations: of the quadratic from the simplex's centre to its corners,
of the smooth deviation from it, and of a candidate's own."""
REACH = (0.35, 0.4)
"""The same of the smooth deviation's length, in shares."""
LUCK = (0.75, 0.5)
"""The same of the standard deviation between seeds, the median in errors of a holdout of so many images."""
EQUAL = 0.1
"""Prior probability that candidates do not differ at all."""
SEED_SHARE = 0.6
"""The most that seeds' effects may be of the variance between trainings of a candidate."""
IMPROBABLE = 14.0
"""Settings so many e-folds less probable than the likeliest are left out: less than a millionth of its weight."""
CELLS = 1_000_000
"""Covariances held at a time, settings × candidates²: 8 MB."""
LEVEL, PER_DOUBLING = 0.3, 0.05
"""Prior standard deviations of the accuracy of all, and of what twice the cost buys."""


@dataclass(frozen=True, eq=False)
class Neighbours:
    """Where candidates lie: ``points`` (n, 3), shares of depth, width and resolution, and ``log_cost`` (n,), log2 of
    their cost over that of the middle one. Without ``points`` nobody tells anything of anybody else."""

    points: Floats | None
    log_cost: Floats

    def some(self, rows: Sequence[int]) -> Neighbours:
        """A part of them."""
        return Neighbours(None if self.points is None else self.points[rows], self.log_cost[rows])

    @classmethod
    def none(cls, count: int) -> Neighbours:
        """So many candidates of which nothing is known but their trials."""
        return cls(None, np.zeros(count))


@dataclass(frozen=True, eq=False)
class Posterior:
    """What is known of the accuracies of n candidates: a mixture of normals, one for each of h settings.

    ``weights`` (h,), ``means`` (h, n), ``covariances`` (h, n, n). ``luck``: the standard deviation between trainings
    of a candidate, expected.
    """

    weights: Floats
    means: Floats
    covariances: Floats
    luck: float

    @property
    def mean(self) -> Floats:
        """Expected accuracies (n,)."""
        return np.asarray(self.weights @ self.means)

    def moments(self) -> tuple[Floats, Floats]:
        """Mean (n,) and covariance (n, n) of the whole mixture."""
        apart = self.means - self.mean
        between = np.einsum("h,hi,hj->ij", self.weights, apart, apart)
        return self.mean, np.asarray(np.einsum("h,hij->ij", self.weights, self.covariances) + between)

    def draws(self, count: int, *, seed: int = 0) -> Floats:
        """Accuracies (count, n), drawn together: what the candidates share is shared in every row."""
        rng = np.random.default_rng(seed)
        chosen = np.sort(rng.choice(len(self.weights), size=count, p=self.weights))
        used, which = np.unique(chosen, return_inverse=True)
        factors = np.linalg.cholesky(_firm(self.covariances[used]))
        noise = rng.standard_normal((count, self.means.shape[1]))
        return np.asarray(self.means[chosen] + np.einsum("cij,cj->ci", factors[which], noise))


def pool(
    measured: Sequence[SeedScores | None],
    *,
    images: int,
    neighbours: Neighbours | None = None,
    with_images: bool = True,
    settings: int = SETTINGS,
) -> Posterior:
    """The posterior of every candidate's accuracy: with infinitely many seeds and, by default, images.

    Args:
        measured: one per candidate; None for one that has no trial, about which its neighbours tell all that is known.
        images: how many were held out.
        with_images: False takes these very images for all there are.
        settings: how many are integrated over.

    Raises:
        ValueError: nothing was measured.
    """
    n, rows = len(measured), [(i, m) for i, m in enumerate(measured) if m is not None]
    if not rows:
        raise ValueError("expected trials, got none")
    near = neighbours or Neighbours.none(n)
    trials = _Trials.of(rows, n)
    level = float(trials.accuracies.mean())
    prior = _Settings.sobol(settings, error=holdout_error(level, images))
    sampling = np.zeros((n, n))
    if with_images:
        at = [i for i, _ in rows]
        sampling[np.ix_(at, at)] = images_covariance([m for _, m in rows], images)
    found: list[_Conditioned] = []
    block = max(1, CELLS // n**2)
    for start in range(0, settings, block):
        some = prior.some(slice(start, start + block))
        found = [_Conditioned.joined([*found, _condition(trials, some, some.covariances(near), sampling, level)])]
    return found[0].posterior()


@dataclass(frozen=True, eq=False)
class _Trials:
    """Trainings: candidate, seed and accuracy of each (trials,), and how many candidates there are."""

    candidates: NDArray[np.int64]
    seeds: NDArray[np.int64]
    accuracies: Floats
    count: int

    @classmethod
    def of(cls, rows: Sequence[tuple[int, SeedScores]], count: int) -> _Trials:
        flat = [(i, seed, a) for i, m in rows for seed, a in zip(m.numbers, m.accuracies, strict=True)]
        at, seeds, accuracies = zip(*flat, strict=True)
        return cls(np.array(at), np.unique(seeds, return_inverse=True)[1], np.array(accuracies, dtype=float), count)

    @property
    def table(self) -> Floats:
        """How many trainings each seed has of each candidate: (seeds, candidates)."""
        table = np.zeros((self.seeds.max() + 1, self.count))
        np.add.at(table, (self.seeds, self.candidates), 1)
        return table


@dataclass(frozen=True, eq=False)
class _Conditioned:
    """Settings after the trials: log ``evidence`` (h,), ``means`` (h, n), ``covariances`` (h, n, n), ``luck`` (h,)."""

    evidence: Floats
    means: Floats
    covariances: Floats
    luck: Floats

    @classmethod
    def joined(cls, parts: Sequence[_Conditioned]) -> _Conditioned:
        """Those of all parts that are not e^−`IMPROBABLE` as probable as the likeliest."""
        kept = np.concatenate([part.evidence for part in parts])
        kept = kept > kept.max() - IMPROBABLE
        columns = ("evidence", "means", "covariances", "luck")
        return cls(*(np.concatenate([getattr(part, name) for part in parts])[kept] for name in columns))

    def posterior(self) -> Posterior:
        weights = np.exp(self.evidence - self.evidence.max())
        weights /= weights.sum()
        return Posterior(weights, self.means, self.covariances, float(weights @ self.luck))


@dataclass(frozen=True, eq=False)
class _Settings:
    """Sizes of what makes accuracies differ, (h,) each: see the module's text and the priors' names."""

    trend: Floats
    smooth: Floats
    reach: Floats
    own: Floats
    luck: Floats
    seed_share: Floats
    differ: Floats

    @classmethod
    def sobol(cls, count: int, *, error: float) -> _Settings:
        """Points through the priors. ``error``: of a holdout, in accuracy."""
        uniform = qmc.Sobol(7, seed=0).random(count)
        normal = ndtri(np.clip(uniform, 1e-6, 1 - 1e-6))
        spreads = (TREND, SMOOTH, REACH, OWN, (LUCK[0] * error, LUCK[1]))
        trend, smooth, reach, own, luck = (m * np.exp(sd * normal[:, i]) for i, (m, sd) in enumerate(spreads))
        return cls(trend, smooth, reach, own, luck, SEED_SHARE * uniform[:, 5], 1.0 * (uniform[:, 6] >= EQUAL))

    def some(self, rows: slice) -> _Settings:
        """A part of them."""
        return _Settings(**{f.name: getattr(self, f.name)[rows] for f in fields(self)})

    def covariances(self, near: Neighbours) -> Floats:
        """Of the candidates' accuracies before anything is measured: (h, n, n)."""
        n = len(near.log_cost)
        cost = PER_DOUBLING**2 * np.outer(near.log_cost, near.log_cost)
        if near.points is None:
            return np.broadcast_to(LEVEL**2 * (1 + np.eye(n)) + cost, (len(self.own), n, n))
        made = cost + (self.own**2)[:, None, None] * np.eye(n)
        centred = near.points - 1 / 3
        inner = centred @ centred.T
        apart = ((near.points[:, None] - near.points) ** 2).sum(axis=-1)
        made = made + (self.trend**2)[:, None, None] * (inner + inner**2)
        made = made + (self.smooth**2)[:, None, None] * np.exp(-apart / (2 * (self.reach**2)[:, None, None]))
        return np.asarray(LEVEL**2 + self.differ[:, None, None] * made)


def _condition(trials: _Trials, settings: _Settings, prior: Floats, sampling: Floats, level: float) -> _Conditioned:
    """The accuracies on all images, given the trials.

    With V the correlation of trials of one seed, X their candidates, the trials y ~ N(Xμ, σ²V), where μ are accuracies
    on these images, N(level, prior + sampling). XᵀV⁻¹X, XᵀV⁻¹y and yᵀV⁻¹y are sums over seeds, so that nothing larger
    than n × n is ever factored.
    """
    y, n = trials.accuracies - level, trials.count
    table, share, luck = trials.table, settings.seed_share[:, None], settings.luck
    sizes = table.sum(axis=1)
    sums = np.bincount(trials.seeds, weights=y, minlength=len(sizes))
    shrink = share / (1 - share + share * sizes)  # (h, seeds)
    alone = 1 - settings.seed_share
    precision = np.eye(n) * table.sum(axis=0) - np.einsum("hs,si,sj->hij", shrink, table, table)
    precision = precision / alone[:, None, None]
    weighted = np.bincount(trials.candidates, weights=y, minlength=n) - (shrink * sums) @ table
    weighted = weighted / alone[:, None]
    squares = (y @ y - shrink @ sums**2) / alone
    log_v = ((sizes - 1) * np.log(1 - share) + np.log(1 - share + share * sizes)).sum(axis=1)

    variance = luck**2
    lower = np.linalg.cholesky(_firm(prior + sampling))
    inner = np.swapaxes(lower, 1, 2) @ precision @ lower + variance[:, None, None] * np.eye(n)
    solved = np.linalg.solve(inner, np.swapaxes(lower, 1, 2) @ weighted[..., None])
    on_images = lower @ solved
    explained = (weighted[:, None, :] @ on_images)[:, 0, 0]
    log_det = np.linalg.slogdet(inner)[1] - n * np.log(variance)
    evidence = -0.5 * (len(y) * np.log(variance) + log_v + log_det + (squares - explained) / variance)

    onto = np.linalg.solve(lower, prior)  # L⁻¹K: accuracies on all images given those on these
    backward = np.swapaxes(onto, 1, 2)
    means = level + (backward @ solved)[..., 0]
    covariances = prior - backward @ onto + variance[:, None, None] * (backward @ np.linalg.solve(inner, onto))
    return _Conditioned(evidence, means, covariances, luck)


def _firm(covariances: Floats) -> Floats:
    """With so much on the diagonal that rounding leaves them positive."""
    n = covariances.shape[-1]
    size = np.trace(covariances, axis1=-2, axis2=-1)[..., None, None] / n
    return np.asarray(covariances + (1e-9 * size + 1e-14) * np.eye(n))
