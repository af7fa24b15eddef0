"""A ranking's certainty: from the ledger's trials to intervals, the probability of being best, and words."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import astuple, dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from scalesearch.ranking.estimator import Training, seed_scores
from scalesearch.ranking.fitted_optimum import Fitted, fit
from scalesearch.ranking.fitted_optimum import in_words as fitted_in_words
from scalesearch.ranking.pooled import Neighbours, pool
from scalesearch.ranking.ranking import EXPONENT, trade_off
from scalesearch.ranking.seed_scores import Floats, SeedScores
from scalesearch.ranking.standings import Standing, closeness, contenders, in_words, summarise
from scalesearch.recipe import DEFAULT_CONFIDENCE
from scalesearch.scaling.shares import DWR, PAPER_SHARES, shares
from scalesearch.trials import unpacked

if TYPE_CHECKING:
    from scalesearch.candidates.grid import Candidate
    from scalesearch.trials import Record

FEWEST = 12
"""Candidates for a fitted optimum: the surface has seven terms, and must be able to miss."""

DRAWS = 10_000
"""Of all accuracies together, for intervals and probabilities."""

FRONT = {
    "accuracy": "high",
    "macs": "low",
    "params": "low",
    "activations": "low",
    "latency_ms": "low",
    "memory": "low",
}
"""What the Pareto front is over, as far as it was measured."""


@dataclass(frozen=True)
class Judgement:
    """How sure the ranking is: a standing by network, those that may be the best, and a sentence or three.

    ``drawn`` has accuracies by network, (resamples,) each, drawn together from what all trials say (`pooled`).
    """

    confidence: float
    standings: Mapping[str, Standing]
    contenders: tuple[str, ...]
    words: str
    fitted: Fitted | None = None
    drawn: Mapping[str, Floats] = field(default_factory=dict, repr=False, compare=False)

    def add_to(self, ranking: pd.DataFrame) -> pd.DataFrame:
        """The ranking in the order of the standings' scores, with what they say in further columns."""
        scores = [-self.standings[name].score for name in ranking["network"]]
        judged = ranking.iloc[np.argsort(scores, kind="stable")].reset_index(drop=True)
        judged["rank"] = range(1, len(judged) + 1)
        judged["score"] = [self.standings[name].score for name in judged["network"]]
        at = list(judged.columns).index("seeds") + 1
        judged.insert(at, "contender", [name in self.contenders for name in judged["network"]])
        for column in ("p_best", "high", "low", "gap_high", "gap_low", "gap", "pooled"):
            judged.insert(at, column, [getattr(self.standings[name], column) for name in judged["network"]])
        judged.insert(at, "front", mark_front(judged, FRONT))
        return judged


def measured(records: Iterable[Record], images: int) -> list[SeedScores]:
    """The complete trials by network, seeds in order.

    Args:
        images: of the minival. Trials of older runs do not say which of them they got right.
    """
    complete = [(r.task, r.outcome) for r in records if r.state == "complete" and r.outcome]
    trainings = (
        Training(
            task.fingerprint,
            task.seed,
            float(outcome["accuracy"]),
            float(outcome.get("loss", math.nan)),
            _of_images(outcome, images),
            outcome.get("classes"),
        )
        for task, outcome in complete
    )
    return list(seed_scores(sorted(trainings, key=lambda t: (t.name, t.seed)), images).values())


def _of_images(outcome: Mapping[str, Any], images: int) -> NDArray[np.bool_] | Floats | None:
    """Which images were right; or, by a metric in which classes count alike, what each of them adds."""
    if "of_images" in outcome:
        return np.asarray(outcome["of_images"], dtype=float)
    return unpacked(outcome["correct"], images) if outcome.get("correct") else None


def judge(
    records: Sequence[Record],
    *,
    images: int,
    labels: Mapping[str, str],
    confidence: float = DEFAULT_CONFIDENCE,
    why: str | None = None,
    target: int | None = None,
    exponent: float = EXPONENT,
    candidates: Iterable[Candidate] = (),
    within: float = 0.0,
) -> Judgement:
    """What the complete trials say about which candidate is best; the same for the same trials, in whatever order.

    Args:
        labels: what to call the candidates, by network.
        why: no more was trained, of `allocation.Next`.
        target: MACs; then P(best) is of accuracy times `ranking.trade_off` with ``exponent``. The intervals stay the
            accuracies'.
        within: an accuracy that does not matter; how probably the first is within it of the best is said in words.
        candidates: with them, each learns from its neighbours, those without a trial too, and the best shares beyond
            the grid are fitted, if there are enough.
    """
    found, by_network = {m.name: m for m in measured(records, images)}, {c.model.fingerprint: c for c in candidates}
    names = sorted({*found, *untrained(records, by_network.values())})
    near = neighbours([by_network.get(name) for name in names])
    if near.points is None:  # then nobody tells anything of those without a trial
        names, near = sorted(found), Neighbours.none(len(found))
    posterior = pool([found.get(name) for name in names], images=images, neighbours=near)
    drawn = posterior.draws(DRAWS)
    factors = None
    if target is not None:
        factors = np.array([trade_off(by_network[name].cost.macs, target, exponent) for name in names])
    standings = summarise(names, found, drawn, confidence, pooled=posterior.mean, factors=factors)
    likely = contenders({s.name: s.p_best for s in standings}, confidence)
    words = in_words(
        standings,
        images=images,
        labels=labels,
        confidence=confidence,
        why=why,
        close=(within, closeness(drawn, within)) if within else None,
    )
    fitted = None
    if by_network and not any(c.label for c in by_network.values()):
        trained = [i for i, name in enumerate(names) if name in found]
        fitted = _fitted([by_network[names[i]] for i in trained], drawn[:, trained], confidence)
    by_name = {name: drawn[:, i] for i, name in enumerate(names)}
    return Judgement(confidence, {s.name: s for s in standings}, likely, words, fitted, by_name)


def neighbours(candidates: Sequence[Candidate | None]) -> Neighbours:
    """Where they lie among each other; rows of a comparison, and what does not grow, have no place."""
    known = [c for c in candidates if c is not None and c.label is None and c.coefficients.growth() > 1]
    if not known or len(known) < len(candidates):
        return Neighbours.none(len(candidates))
    points = points_of(known)
    return Neighbours.of([points[c.model.fingerprint] for c in known], [c.equal_ratio for c in known])


def points_of(candidates: Iterable[Candidate]) -> dict[str, Floats]:
    """Shares of depth, width and resolution (3,) by network, of those that grow and are no rows of a comparison."""
    return {
        c.model.fingerprint: np.array(astuple(shares(c.coefficients)))
        for c in candidates
        if c.label is None and c.coefficients.growth() > 1
    }


def untrained(records: Iterable[Record], candidates: Iterable[Candidate]) -> list[str]:
    """Networks of the candidates, but for rows of a comparison, of which no trial has come to any end."""
    tried = {r.task.fingerprint for r in records if r.state in ("complete", "dropped", "failed", "lost")}
    return [c.model.fingerprint for c in candidates if c.label is None and c.model.fingerprint not in tried]


def _fitted(candidates: Sequence[Candidate], drawn: Floats, confidence: float) -> Fitted | None:
    """The best shares of the budget, at the candidates' median cost; None when they are too few, or all on a line."""
    if len(candidates) < FEWEST:
        return None
    middle = float(np.median([candidate.equal_ratio for candidate in candidates]))
    try:
        return fit(
            [shares(candidate.coefficients) for candidate in candidates],
            drawn.mean(axis=0).tolist(),
            log_ratio=[math.log2(candidate.equal_ratio / middle) for candidate in candidates],
            drawn=drawn,
            confidence=confidence,
        )
    except ValueError:
        return None


def beyond_the_grid(fitted: Fitted) -> str:
    """The fitted optimum in words, and whether two well-known divisions of the growth lie in its region."""
    known = {"the paper's (depth 28, width 29, resolution 43 %)": PAPER_SHARES, "pycls's dWr (10, 80, 10 %)": DWR}
    verdicts = [f"{name} {'may' if fitted.contains(at) else 'cannot'} be the best" for name, at in known.items()]
    return f"{fitted_in_words(fitted)} At {100 * fitted.confidence:g} % {' and '.join(verdicts)}."


def mark_front(frame: pd.DataFrame, better: Mapping[str, str]) -> Sequence[bool]:
    """Which rows no other row beats: at least as good in every column, and better in one.

    Args:
        better: "high" or "low" by column; columns with a missing value are left out.
    """
    columns = [name for name in better if name in frame and frame[name].notna().all()]
    values = np.column_stack([frame[name] * (1 if better[name] == "high" else -1) for name in columns]).astype(float)
    at_least = (values[:, None] >= values[None]).all(axis=2)
    beats = at_least & (values[:, None] > values[None]).any(axis=2)
    beaten: list[bool] = np.asarray(beats.any(axis=0)).tolist()
    return [not lost for lost in beaten]
