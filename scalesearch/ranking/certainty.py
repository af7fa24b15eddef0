"""A ranking's certainty: from the ledger's trials to intervals, the probability of being best, and words."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from scalesearch.ranking.bootstrap import Floats, SeedScores, draws
from scalesearch.ranking.fitted_optimum import Fitted, fit
from scalesearch.ranking.fitted_optimum import in_words as fitted_in_words
from scalesearch.ranking.ranking import trade_off
from scalesearch.ranking.standings import SeedPlan, Standing, closeness, contenders, in_words, next_seeds, summarise
from scalesearch.recipe import DEFAULT_CONFIDENCE
from scalesearch.scaling.shares import DWR, PAPER_SHARES, shares
from scalesearch.trials import unpacked

if TYPE_CHECKING:
    from scalesearch.candidates.grid import Candidate
    from scalesearch.trials import Record

FEWEST = 12
"""Candidates for a fitted optimum: the surface has seven terms, and must be able to miss."""

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

    ``drawn`` has the bootstrap's accuracies by network, (resamples,) each: the same images in the same draw.
    """

    confidence: float
    standings: Mapping[str, Standing]
    contenders: tuple[str, ...]
    words: str
    fitted: Fitted | None = None
    drawn: Mapping[str, Floats] = field(default_factory=dict, repr=False, compare=False)

    def add_to(self, ranking: pd.DataFrame) -> pd.DataFrame:
        """The ranking with the columns front, low, high, p_best and contender."""
        judged, at = ranking.copy(), list(ranking.columns).index("seeds") + 1
        judged.insert(at, "contender", [name in self.contenders for name in ranking["network"]])
        for column in ("p_best", "high", "low"):
            judged.insert(at, column, [getattr(self.standings[name], column) for name in ranking["network"]])
        judged.insert(at, "front", mark_front(ranking, FRONT))
        return judged


def measured(records: Iterable[Record], images: int) -> list[SeedScores]:
    """The complete trials by network, seeds in order.

    Args:
        images: of the minival. Trials of older runs do not say which of them they got right.
    """
    groups: dict[str, list[Record]] = defaultdict(list)
    for record in records:
        if record.state == "complete" and record.outcome:
            groups[record.task.fingerprint].append(record)
    found = []
    for name, trials in sorted(groups.items()):
        outcomes = [t.outcome or {} for t in sorted(trials, key=lambda t: t.task.seed)]
        texts = [outcome.get("correct") for outcome in outcomes]
        correct = np.stack([unpacked(text, images) for text in texts if text]) if all(texts) else None
        found.append(SeedScores(name, tuple(float(outcome["accuracy"]) for outcome in outcomes), correct))
    return found


def judge(
    records: Iterable[Record],
    *,
    images: int,
    labels: Mapping[str, str],
    confidence: float = DEFAULT_CONFIDENCE,
    why: str | None = None,
    target: int | None = None,
    candidates: Iterable[Candidate] = (),
    within: float = 0.0,
) -> Judgement:
    """What the complete trials say about which candidate is best; the same for the same trials, in whatever order.

    Args:
        labels: what to call the candidates, by network.
        why: no more seeds were added, of `inference.SeedPlan`.
        target: MACs; then P(best) is of `ranking.trade_off`'s score. The intervals stay the accuracies'.
        within: an accuracy that does not matter; how probably the first is within it of the best is said in words.
        candidates: with them, the best shares beyond the grid are fitted, if there are enough.
    """
    found, by_network = measured(records, images), {c.model.fingerprint: c for c in candidates}
    drawn = draws(found, images=images)
    standings = {s.name: s for s in summarise(found, drawn, confidence)}
    if target is not None:
        factors = [trade_off(by_network[m.name].cost.macs, target) for m in found]
        scored = [SeedScores(m.name, tuple(f * a for a in m.accuracies)) for m, f in zip(found, factors, strict=True)]
        scores = summarise(scored, drawn * factors, confidence)
        standings = {s.name: replace(standings[s.name], p_best=s.p_best, ruled_out=s.ruled_out) for s in scores}
    likely = contenders({name: s.p_best for name, s in standings.items()}, confidence)
    words = in_words(
        tuple(standings.values()),
        images=images,
        labels=labels,
        confidence=confidence,
        why=why,  # type: ignore[arg-type]
        close=(within, closeness(found, drawn, within)) if within else None,
    )
    fitted = None
    if by_network and not any(c.label for c in by_network.values()):
        fitted = _fitted([by_network[m.name] for m in found], drawn, confidence)
    by_name = {m.name: drawn[:, i] for i, m in enumerate(found)}
    return Judgement(confidence, standings, likely, words, fitted, by_name)


def _fitted(candidates: Sequence[Candidate], drawn: Floats, confidence: float) -> Fitted | None:
    """The best shares of the budget, at the candidates' median cost; None when they are too few, or all on a line."""
    if len(candidates) < FEWEST:
        return None
    middle = float(np.median([candidate.ratio for candidate in candidates]))
    try:
        return fit(
            [shares(candidate.coefficients) for candidate in candidates],
            drawn.mean(axis=0).tolist(),
            log_ratio=[math.log2(candidate.ratio / middle) for candidate in candidates],
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


def more_seeds(
    records: Iterable[Record], *, images: int, confidence: float, max_seeds: int, within: float = 0.0
) -> SeedPlan:
    """How many seeds each candidate should have in all, until one is known to be best, or within ``within`` of it."""
    return next_seeds(
        measured(records, images), images=images, max_seeds=max_seeds, confidence=confidence, within=within
    )


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
