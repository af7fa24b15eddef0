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
from scalesearch.ranking.seed_scores import Floats, SeedScores, counted, images_covariance, without_negative

SETTINGS = 1024
"""Points of the Sobol sequence for a judgement; a power of two keeps it balanced."""

TREND, SMOOTH, OWN = (0.02, 1.2), (0.005, 1.0), (0.006, 1.4)
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
    def of(cls, points: Sequence[Floats], costs: Sequence[float]) -> Neighbours:
        """Candidates at these shares (3,), which cost so much, in any unit."""
        logs = np.log2(costs)
        return cls(np.array(points), logs - np.median(logs))

    @classmethod
    def none(cls, count: int) -> Neighbours:
        """So many candidates of which nothing is known but their trials."""
        return cls(None, np.zeros(count))


@dataclass(frozen=True, eq=False)
class Normals:
    """Accuracies of n candidates under each of h settings: normal, with ``means`` (h, n) and ``covariances``
    (h, n, n) of those on all images, ``means_here`` and ``covariances_here`` of those on the held-out ones, and
    ``crossed`` (h, n, n), the covariance of the former (rows) with the latter (columns)."""

    means: Floats
    covariances: Floats
    means_here: Floats
    covariances_here: Floats
    crossed: Floats

    def some(self, rows: NDArray[np.bool_]) -> Normals:
        """A part of the settings."""
        return Normals(**{f.name: getattr(self, f.name)[rows] for f in fields(self)})

    @classmethod
    def joined(cls, parts: Sequence[Normals]) -> Normals:
        """Those of all parts."""
        return cls(**{f.name: np.concatenate([getattr(part, f.name) for part in parts]) for f in fields(cls)})


@dataclass(frozen=True, eq=False)
class Moments:
    """Of the whole mixture: expected accuracies on all images (n,), their covariance (n, n), that with accuracies on
    the held-out images (n, n), and the covariance of the latter (n, n)."""

    mean: Floats
    covariance: Floats
    crossed: Floats
    here: Floats

    def after(self, which: int, variance: float) -> Moments:
        """What is left of the covariances when one training more of a candidate is known, with its own variance."""
        size = self.here[which, which] + variance
        told, seen = self.crossed[:, which], self.here[:, which]
        return Moments(
            self.mean,
            self.covariance - np.outer(told, told) / size,
            self.crossed - np.outer(told, seen) / size,
            self.here - np.outer(seen, seen) / size,
        )


@dataclass(frozen=True, eq=False)
class Posterior:
    """What is known of the accuracies of n candidates: a mixture of `Normals`, with ``weights`` (h,).

    ``luck``: the standard deviation between trainings of a candidate, expected.
    """

    weights: Floats
    normals: Normals
    luck: float

    @property
    def mean(self) -> Floats:
        """Expected accuracies (n,) on all images."""
        return np.asarray(self.weights @ self.normals.means)

    def moments(self) -> Moments:
        """Of the whole mixture."""
        n, weights = self.normals, self.weights
        apart, apart_here = n.means - weights @ n.means, n.means_here - weights @ n.means_here

        def whole(within: Floats, left: Floats, right: Floats) -> Floats:
            between = np.einsum("h,hi,hj->ij", weights, left, right)
            return np.asarray(np.einsum("h,hij->ij", weights, within) + between)

        return Moments(
            self.mean,
            whole(n.covariances, apart, apart),
            whole(n.crossed, apart, apart_here),
            whole(n.covariances_here, apart_here, apart_here),
        )

    def draws(self, count: int, *, seed: int = 0, here: bool = False) -> Floats:
        """Accuracies (count, n), drawn together: what the candidates share is shared in every row.

        Args:
            here: on the held-out images, in place of all.
        """
        n = self.normals
        means, covariances = (n.means_here, n.covariances_here) if here else (n.means, n.covariances)
        rng = np.random.default_rng(seed)
        chosen = np.sort(rng.choice(len(self.weights), size=count, p=self.weights))
        used, which = np.unique(chosen, return_inverse=True)
        factors = np.linalg.cholesky(_firm(covariances[used]))
        noise = rng.standard_normal((count, means.shape[1]))
        return np.asarray(means[chosen] + np.einsum("cij,cj->ci", factors[which], noise))


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
    prior = _Settings.sobol(settings, error=holdout_error(level, counted(measured, images)))
    sampling = _sampling(measured, images) if with_images else np.zeros((n, n))
    block = max(1, CELLS // n**2)
    evidences, lucks, parts = list[Floats](), list[Floats](), list[Normals]()
    highest = -np.inf
    for start in range(0, settings, block):
        some = prior.some(slice(start, start + block))
        evidence, normals = _condition(trials, some, some.covariances(near), sampling, level)
        highest = max(highest, float(evidence.max()))
        kept = evidence > highest - IMPROBABLE
        evidences.append(evidence[kept])
        lucks.append(some.luck[kept])
        parts.append(normals.some(kept))
    weights = np.exp(np.concatenate(evidences) - highest)
    weights /= weights.sum()
    return Posterior(weights, Normals.joined(parts), float(weights @ np.concatenate(lucks)))


def _sampling(measured: Sequence[SeedScores | None], images: int) -> Floats:
    """`images_covariance`; a candidate without a trial will err as the others do, and with them, on the average."""
    trained = [i for i, m in enumerate(measured) if m is not None]
    known = images_covariance([m for m in measured if m is not None], images)
    own, count = float(np.diag(known).mean()), len(trained)
    shared = float((known.sum() - np.trace(known)) / (count * (count - 1))) if count > 1 else 0.0
    made = np.full((len(measured), len(measured)), shared)
    np.fill_diagonal(made, own)
    made[np.ix_(trained, trained)] = known
    return without_negative(made)


@dataclass(frozen=True, eq=False)
class _Trials:
    """Trainings: candidate, seed and score of each (trials,), and how many candidates there are."""

    candidates: NDArray[np.int64]
    seeds: NDArray[np.int64]
    accuracies: Floats
    count: int

    @classmethod
    def of(cls, rows: Sequence[tuple[int, SeedScores]], count: int) -> _Trials:
        flat = [(i, seed, a) for i, m in rows for seed, a in zip(m.numbers, m.scores, strict=True)]
        at, seeds, accuracies = zip(*flat, strict=True)
        return cls(np.array(at), np.unique(seeds, return_inverse=True)[1], np.array(accuracies, dtype=float), count)

    @property
    def table(self) -> Floats:
        """How many trainings each seed has of each candidate: (seeds, candidates)."""
        table = np.zeros((self.seeds.max() + 1, self.count))
        np.add.at(table, (self.seeds, self.candidates), 1)
        return table


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


def _condition(
    trials: _Trials, settings: _Settings, prior: Floats, sampling: Floats, level: float
) -> tuple[Floats, Normals]:
    """Log evidence (h,) of the trials, and the accuracies given them.

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
    backward, upper = np.swapaxes(onto, 1, 2), np.swapaxes(lower, 1, 2)
    spread = variance[:, None, None]
    normals = Normals(
        means=level + (backward @ solved)[..., 0],
        covariances=prior - backward @ onto + spread * (backward @ np.linalg.solve(inner, onto)),
        means_here=np.asarray(level + on_images[..., 0]),
        covariances_here=spread * (lower @ np.linalg.solve(inner, upper)),
        crossed=spread * (backward @ np.linalg.solve(inner, upper)),
    )
    return evidence, normals


def _firm(covariances: Floats) -> Floats:
    """With so much on the diagonal that rounding leaves them positive."""
    n = covariances.shape[-1]
    size = np.trace(covariances, axis1=-2, axis2=-1)[..., None, None] / n
    return np.asarray(covariances + (1e-9 * size + 1e-14) * np.eye(n))
