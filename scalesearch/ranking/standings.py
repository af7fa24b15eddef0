"""How sure a ranking is: which candidates may be the best, whom to give more seeds, and when that cannot help."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from scalesearch.ranking.bootstrap import Floats, SeedScores, draws, seed_noise_known
from scalesearch.ranking.rank_correlation import Agreement, rank_agreement

__all__ = [
    "Agreement",
    "SeedPlan",
    "SeedScores",
    "Standing",
    "Why",
    "closeness",
    "contenders",
    "decided",
    "draws",
    "hopeless",
    "in_words",
    "next_seeds",
    "rank_agreement",
    "seed_noise_known",
    "summarise",
]

Why = Literal["seed noise unknown", "contenders", "decided", "close enough", "hopeless", "max seeds"]

FIRST_REPEATED = 4
"""Leading candidates that get a second seed before any other, or a third of all: they measure the seeds' noise."""

FUTURES = 200
"""Outcomes of infinitely many seeds that `hopeless` imagines."""

NAMED = 4
"""Contenders that `in_words` names."""


@dataclass(frozen=True)
class Standing:
    """What the draws say about one candidate.

    ``sd``: between seeds, nan for one. ``low`` and ``high``: percentile interval of the mean. ``p_best``: share of the
    draws that it wins. ``ruled_out``: worse than the best by Hsu's comparison; the true best is ruled out in at most
    1 − confidence of all experiments, whatever the truth.
    """

    name: str
    mean: float
    sd: float
    seeds: int
    low: float
    high: float
    p_best: float
    ruled_out: bool


@dataclass(frozen=True)
class SeedPlan:
    """How many seeds to have next, in total, by name, for those that need more; and why these, or why no more.

    "seed noise unknown" (the leading ones get a second seed) and "contenders" go on; "decided", "close enough",
    "hopeless" and "max seeds" end it, with nothing in ``seeds``.
    """

    seeds: Mapping[str, int]
    why: Why


def summarise(measured: Sequence[SeedScores], drawn: Floats, confidence: float = 0.95) -> tuple[Standing, ...]:
    """One standing per candidate, in the order of ``measured``, from its `draws`."""
    low, high = np.quantile(drawn, [(1 - confidence) / 2, (1 + confidence) / 2], axis=0)
    p_best, ruled_out = _p_best(drawn), _ruled_out(np.array([m.mean for m in measured]), drawn, confidence)
    return tuple(
        Standing(
            m.name, m.mean, math.sqrt(m.variance), m.seeds,
            float(low[i]), float(high[i]), float(p_best[i]), bool(ruled_out[i]),
        )
        for i, m in enumerate(measured)
    )  # fmt: skip


def _p_best(drawn: Floats) -> Floats:
    """Share of the draws that each column wins; ties are split."""
    best = drawn == drawn.max(axis=1, keepdims=True)
    return np.asarray((best / best.sum(axis=1, keepdims=True)).mean(axis=0))


def _ruled_out(means: Floats, drawn: Floats, confidence: float) -> NDArray[np.bool_]:
    """Beaten by more than noise gives any rival over it (Hsu 1984, "Constrained simultaneous confidence intervals for
    multiple comparisons with the best", Ann. Stat. 12:1136), with the bootstrap's quantile for Dunnett's."""
    noise = drawn - means
    critical = np.quantile(_best_rival(noise) - noise, confidence, axis=0)
    return np.asarray((_best_rival(means[None]) - means)[0] > critical)


def _best_rival(values: Floats) -> Floats:
    """Per row and column, the largest of the other columns; −∞ where there is none."""
    rows = np.arange(len(values))
    first = values.argmax(axis=1)
    rest = values.copy()
    rest[rows, first] = -np.inf
    rivals = np.repeat(values.max(axis=1, keepdims=True), values.shape[1], axis=1)
    rivals[rows, first] = rest.max(axis=1)
    return rivals


def contenders(p_best: Mapping[str, float], confidence: float = 0.95) -> tuple[str, ...]:
    """The fewest candidates whose shares of won draws add up to ``confidence``, likeliest first, equals by name.

    Whom more seeds serve best, not a guarantee: among many near equals the luckiest wins too many draws, and the set
    misses the true best more often than 1 − confidence. `Standing.ruled_out` does not.
    """
    ordered = sorted(p_best, key=lambda name: (-p_best[name], name))
    total = 0.0
    for count, name in enumerate(ordered, 1):
        total += p_best[name]
        if total >= confidence - 1e-12:
            return tuple(ordered[:count])
    return tuple(ordered)


def decided(p_best: Mapping[str, float], confidence: float = 0.95) -> bool:
    """Whether one candidate alone is best with probability ``confidence``."""
    return max(p_best.values()) >= confidence


def closeness(measured: Sequence[SeedScores], drawn: Floats, within: float) -> float:
    """The probability that the one with the highest mean is at most ``within`` worse than the best: the share of the
    draws where it is. (Ranking and selection call ``within`` the indifference zone.)"""
    leader = max(range(len(measured)), key=lambda i: measured[i].mean)
    return float((drawn[:, leader] >= drawn.max(axis=1) - within).mean())


def hopeless(
    measured: Sequence[SeedScores], *, images: int, confidence: float = 0.95, resamples: int = 2_000, seed: int = 0
) -> bool:
    """Whether even infinitely many seeds would leave it undecided: then the held-out images are the limit.

    What infinitely many seeds would show is itself uncertain, so it is drawn from the seeds' noise; hopeless is when
    fewer than 1 − confidence of these futures are decided by the images' noise alone. As seeds grow this becomes the
    plain question whether the leader stands at the means as they are. Without ``correct`` the images' noise cannot be
    paired, is overestimated, and the answer is too pessimistic.
    """
    futures = draws(measured, images=images, resamples=FUTURES, seed=seed, with_images=False)
    noise = draws(measured, images=images, resamples=resamples, seed=seed, with_seeds=False)
    noise -= [m.mean for m in measured]
    return sum(float(_p_best(means + noise).max()) >= confidence for means in futures) < (1 - confidence) * FUTURES


def next_seeds(
    measured: Sequence[SeedScores],
    *,
    images: int,
    max_seeds: int,
    confidence: float = 0.95,
    within: float = 0.0,
    resamples: int = 10_000,
    seed: int = 0,
) -> SeedPlan:
    """One more seed for every contender, until decided, hopeless, or all contenders have ``max_seeds``.

    Args:
        within: an accuracy that does not matter: it is enough to know that the leader is no more than that worse than
            the best.
    """
    if not seed_noise_known(measured) and len(measured) > 1:
        ordered = sorted(measured, key=lambda m: (-m.mean, m.name))
        first = ordered[: max(FIRST_REPEATED, math.ceil(len(ordered) / 3))]
        return (
            SeedPlan({m.name: 2 for m in first}, "seed noise unknown") if max_seeds > 1 else SeedPlan({}, "max seeds")
        )
    drawn = draws(measured, images=images, resamples=resamples, seed=seed)
    p_best = {m.name: float(p) for m, p in zip(measured, _p_best(drawn), strict=True)}
    if decided(p_best, confidence):
        return SeedPlan({}, "decided")
    if within and closeness(measured, drawn, within) >= confidence:
        return SeedPlan({}, "close enough")
    if hopeless(measured, images=images, confidence=confidence, resamples=min(2_000, resamples), seed=seed):
        return SeedPlan({}, "hopeless")
    seeds = {m.name: m.seeds for m in measured}
    more = {name: seeds[name] + 1 for name in contenders(p_best, confidence) if seeds[name] < max_seeds}
    return SeedPlan(more, "contenders" if more else "max seeds")


def in_words(
    standings: Sequence[Standing],
    *,
    images: int,
    labels: Mapping[str, str],
    confidence: float = 0.95,
    why: Why | None = None,
    close: tuple[float, float] | None = None,
) -> str:
    """One to three plain sentences: who is best or may be, how many cannot be, and what limits the answer.

    Args:
        labels: what to call the candidates, by name.
        why: of `SeedPlan`.
        close: an accuracy, and the probability that the first is at most that much worse than the best.
    """
    p_best = {s.name: s.p_best for s in standings}
    names, percent = contenders(p_best, confidence), f"{100 * confidence:g} %"
    if decided(p_best, confidence):
        sentences = [f"{labels[names[0]]} is best with probability {_probability(p_best[names[0]])}."]
    else:
        named = ", ".join(f"{labels[name]} (P {_probability(p_best[name])})" for name in names[:NAMED])
        rest = f", and {len(names) - NAMED} more" if len(names) > NAMED else ""
        sentences = [f"{len(names)} of {len(standings)} candidates cannot be told apart at {percent}: {named}{rest}."]
        others = [s.ruled_out for s in standings if s.name not in names]
        if others:
            sentences.append(f"Ruled out at {percent}: {sum(others)} of the others.")
        if close is not None:
            sentences.append(
                f"The first is within {100 * close[0]:g} points of the best with probability {_probability(close[1])}."
            )
        if why == "hopeless":
            sentences.append(f"A minival of {images} images is too small to separate them, however many seeds.")
    if all(s.seeds == 1 for s in standings):
        sentences.append("No candidate has a second seed, so the seeds' noise is not in this.")
    return " ".join(sentences)


def _probability(p: float) -> str:
    return f"{p:.2f}" if p < 0.995 else "> 0.99"
