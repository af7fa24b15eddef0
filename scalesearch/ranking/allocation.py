"""Which candidate is trained next: the one whose training is expected to raise the winner's accuracy most per cost.

That expectation is the knowledge gradient for correlated beliefs (Frazier, Powell & Dayanik 2009, "The Knowledge-
Gradient Policy for Correlated Normal Beliefs", INFORMS J. Comput. 21:599): a training of one candidate tells of its
neighbours too, and what is worth knowing is what would change who is named the winner. One training alone often cannot
change that where a few could, so it is taken per training over one, two or four of them, whichever promises most
(Frazier & Powell 2010, "Paradoxes in Learning and the Marginal Value of Information", Decis. Anal. 7:378).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from scipy.stats import norm

from scalesearch.ranking.pooled import Moments, Neighbours, Posterior, pool
from scalesearch.ranking.seed_scores import Floats, SeedScores, images_covariance
from scalesearch.ranking.standings import closeness, decided, shares_of_wins

Why = Literal["start", "undecided", "decided", "close enough", "hopeless", "max seeds"]

FEWEST, SHARE = 7, 0.4
"""Candidates of a start, and the share of all that it is where that is more: a quadratic has six terms."""
FUTURES = 200
"""Outcomes of infinitely many seeds that `hopeless` imagines."""
SETTINGS = 256
"""Of `pooled.pool`, for a decision that is made again after every training."""
DRAWS = 4_000
"""Of all accuracies together, for whether it is decided."""
TOGETHER = (1, 2, 4)
"""Trainings of one candidate that are thought of at once."""
QUANTILES = norm.ppf((np.arange(64) + 0.5) / 64)
"""What a training may come to, in standard deviations of what is expected."""


@dataclass(frozen=True)
class Next:
    """The candidate to train next, with one seed more than it has; None ends the search, and ``why`` says for what.

    "start" and "undecided" go on; "decided", "close enough", "hopeless" and "max seeds" end it.
    """

    name: str | None
    why: Why


def start(points: Floats) -> list[int]:
    """Rows of the candidates that are trained before anything is known: spread over the shares (n, 3).

    The first is the one nearest to the middle, and each next one the farthest from all before; so the corners come
    early. All rows, where they are few.
    """
    count = min(len(points), max(FEWEST, math.ceil(SHARE * len(points))))
    apart = np.linalg.norm(points[:, None] - points, axis=-1)
    chosen = [int(np.linalg.norm(points - points.mean(axis=0), axis=-1).argmin())]
    while len(chosen) < count:
        nearest = apart[:, chosen].min(axis=1)
        nearest[chosen] = -1
        chosen.append(int(nearest.argmax()))
    return chosen


def next_training(
    names: Sequence[str],
    measured: Mapping[str, SeedScores],
    costs: Floats,
    *,
    images: int,
    neighbours: Neighbours | None = None,
    running: Sequence[str] = (),
    max_seeds: int,
    confidence: float | None = 0.95,
    within: float = 0.0,
    with_images: bool = True,
    known: Posterior | None = None,
) -> Next:
    """What to train next; a function of what was measured and what runs, so that an interrupted search goes on alike.

    Args:
        names: the candidates that may be trained.
        measured: by name; those without a complete trial are not in it.
        costs: of one training of each, in any unit.
        running: names, once for each training that has begun or waits.
        max_seeds: the most of one candidate.
        confidence: how probable it has to be that one candidate is the best; None never ends by itself.
        within: an accuracy that does not matter: it is enough that the first is at most that much worse.
        with_images: False takes these very images for all there are; then it is never "hopeless".
        known: the candidates' `pooled.pool`, where it is there already.
    """
    near = neighbours or Neighbours.none(len(names))
    found = [measured.get(name) for name in names]
    if not any(found):
        waiting = [name for name in names if name not in running]
        return Next(waiting[0], "start") if waiting else Next(None, "max seeds")
    if known is None:
        known = pool(found, images=images, neighbours=near, with_images=with_images, settings=SETTINGS)
    if confidence is not None:
        drawn = known.draws(DRAWS)
        if decided(dict(zip(names, shares_of_wins(drawn).tolist(), strict=True)), confidence):
            return Next(None, "decided")
        if within and closeness(drawn, within) >= confidence:
            return Next(None, "close enough")
        if with_images and hopeless(found, known, images=images, confidence=confidence):
            return Next(None, "hopeless")
    counts = np.array([(m.seeds if m else 0) + list(running).count(name) for name, m in zip(names, found, strict=True)])
    free = counts < max_seeds
    if not free.any():
        return Next(None, "max seeds")
    moments = known.moments()
    for name in running:
        moments = moments.after(list(names).index(name), known.luck**2)
    worth = np.where(free, knowledge_gradient(moments, known.luck) / costs, -np.inf)
    return Next(names[int(worth.argmax())], "undecided")


def knowledge_gradient(known: Moments, luck: float) -> Floats:
    """By how much one training of each candidate is expected to raise the highest mean: (n,), in accuracy.

    Args:
        luck: standard deviation of one training.
    """
    best = np.zeros(len(known.mean))
    for together in TOGETHER:
        spread = known.crossed / np.sqrt(np.diag(known.here) + luck**2 / together)  # column j: what training j moves
        after = known.mean[:, None, None] + spread[:, :, None] * QUANTILES
        best = np.maximum(best, (after.max(axis=0).mean(axis=-1) - known.mean.max()) / together)
    return np.asarray(best)


def hopeless(
    measured: Sequence[SeedScores | None],
    known: Posterior,
    *,
    images: int,
    confidence: float = 0.95,
    resamples: int = 2_000,
    seed: int = 0,
) -> bool:
    """Whether even infinitely many seeds would leave it undecided: then the held-out images are the limit.

    What infinitely many seeds would show is itself uncertain, so it is drawn; hopeless is when fewer than
    1 − confidence of these futures are decided by the images' noise alone. Without knowing which images were right
    that noise cannot be paired, is overestimated, and the answer is too pessimistic.
    """
    trained = [i for i, m in enumerate(measured) if m is not None]
    covariance = images_covariance([m for m in measured if m is not None], images)
    noise = np.zeros((resamples, len(measured)))
    noise[:, trained] = np.random.default_rng(seed).multivariate_normal(
        np.zeros(len(trained)), covariance, size=resamples, method="eigh"
    )
    futures = known.draws(FUTURES, seed=seed, here=True)
    return sum(float(shares_of_wins(f + noise).max()) >= confidence for f in futures) < (1 - confidence) * FUTURES
