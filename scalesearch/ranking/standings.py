"""How sure a ranking is: which candidates may be the best, and by how much the others are behind."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from scalesearch.ranking.seed_scores import Floats, SeedScores

DECIMALS = 6
"""Of what is said: linear algebra on another machine, or with more threads, differs in the last bits."""
NAMED = 4
"""Contenders that `in_words` names."""


@dataclass(frozen=True)
class Standing:
    """What the draws say about one candidate. Accuracies are in [0, 1].

    ``mean`` and ``sd``: measured, over seeds; nan for none, and for the sd also for one. ``pooled``: expected, given
    all trials. ``score``: what it is ranked by, ``pooled`` or that times a factor. ``low`` and ``high``: percentile
    interval of the accuracy. ``gap``, ``gap_low`` and ``gap_high``: its difference to the first in ``score`` and that
    one's interval, from draws of both together; 0 for the first itself. ``p_best``: share of the draws that it wins.
    ``ruled_out``: worse than the best by Hsu's comparison.
    """

    name: str
    mean: float
    sd: float
    seeds: int
    pooled: float
    score: float
    low: float
    high: float
    gap: float
    gap_low: float
    gap_high: float
    p_best: float
    ruled_out: bool


def summarise(
    names: Sequence[str],
    measured: Mapping[str, SeedScores],
    drawn: Floats,
    confidence: float = 0.95,
    *,
    pooled: Floats | None = None,
    factors: Floats | None = None,
) -> tuple[Standing, ...]:
    """One standing per candidate, in the order of ``names``, from its draws (resamples, candidates).

    Args:
        measured: by name; those that have no trial are not in it.
        pooled: expected accuracies (candidates,), by default the draws' means.
        factors: what accuracies are multiplied by before they are compared (candidates,), by default nothing.
    """
    pooled = drawn.mean(axis=0) if pooled is None else pooled
    factors = np.ones(len(names)) if factors is None else factors
    scores, tails = pooled * factors, [(1 - confidence) / 2, (1 + confidence) / 2]
    first = int(scores.argmax())
    low, high = np.quantile(drawn, tails, axis=0)
    gap_low, gap_high = np.quantile(drawn - drawn[:, [first]], tails, axis=0)
    p_best, ruled_out = shares_of_wins(drawn * factors), _ruled_out(scores, drawn * factors, confidence)
    columns = {
        "pooled": pooled, "score": scores, "low": low, "high": high, "gap": pooled - pooled[first],
        "gap_low": gap_low, "gap_high": gap_high, "p_best": p_best,
    }  # fmt: skip
    found = []
    for i, name in enumerate(names):
        own, said = measured.get(name), {key: round(float(values[i]), DECIMALS) for key, values in columns.items()}
        mean, sd, seeds = (own.mean, math.sqrt(own.variance), own.seeds) if own else (math.nan, math.nan, 0)
        found.append(Standing(name, mean, sd, seeds, ruled_out=bool(ruled_out[i]), **said))
    return tuple(found)


def shares_of_wins(drawn: Floats) -> Floats:
    """Share of the draws that each column wins; ties are split."""
    best = drawn == drawn.max(axis=1, keepdims=True)
    return np.asarray((best / best.sum(axis=1, keepdims=True)).mean(axis=0))


def _ruled_out(means: Floats, drawn: Floats, confidence: float) -> NDArray[np.bool_]:
    """Beaten by more than noise gives any rival over it (Hsu 1984, "Constrained simultaneous confidence intervals for
    multiple comparisons with the best", Ann. Stat. 12:1136), with the draws' quantile for Dunnett's."""
    if len(means) == 1:
        return np.zeros(1, bool)
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


def closeness(drawn: Floats, within: float) -> float:
    """The probability that the one with the highest mean is at most ``within`` worse than the best: the share of the
    draws where it is. (Ranking and selection call ``within`` the indifference zone.)"""
    leader = int(drawn.mean(axis=0).argmax())
    return float((drawn[:, leader] >= drawn.max(axis=1) - within).mean())


def in_words(
    standings: Sequence[Standing],
    *,
    images: int,
    labels: Mapping[str, str],
    confidence: float = 0.95,
    why: str | None = None,
    close: tuple[float, float] | None = None,
) -> str:
    """One to three plain sentences: who is best or may be, how many cannot be, and what limits the answer.

    Args:
        labels: what to call the candidates, by name.
        why: no more was trained, of `allocation.Next`.
        close: an accuracy, and the probability that the first is at most that much worse than the best.
    """
    p_best = {s.name: s.p_best for s in standings}
    names, percent = contenders(p_best, confidence), f"{100 * confidence:g} %"
    if decided(p_best, confidence):
        sentences = [f"{labels[names[0]]} is best with probability {_probability(p_best[names[0]])}."]
    else:
        untrained = {s.name for s in standings if not s.seeds}
        named = ", ".join(
            f"{labels[name]} (P {_probability(p_best[name])}{', not trained' if name in untrained else ''})"
            for name in names[:NAMED]
        )
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
    if why == "budget spent":
        sentences.append("The budget is spent.")
    if all(s.seeds <= 1 for s in standings):
        sentences.append("No candidate has a second seed: how much seeds differ is assumed, not measured.")
    return " ".join(sentences)


def _probability(p: float) -> str:
    return f"{p:.2f}" if p < 0.995 else "> 0.99"
