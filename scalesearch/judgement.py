"""A ranking's certainty: from the ledger's trials to intervals, the probability of being best, and words."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from scalesearch.inference import Plan, Standing, contenders, draws, in_words, next_seeds, summarise
from scalesearch.resampling import Measured
from scalesearch.train import unpacked

if TYPE_CHECKING:
    from scalesearch.study import Record

DEFAULT_CONFIDENCE = 0.95
"""Of intervals and of what is called tied, where a recipe does not say."""

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
    """How sure the ranking is: a standing by network, those that may be the best, and a sentence or three."""

    confidence: float
    standings: Mapping[str, Standing]
    contenders: tuple[str, ...]
    words: str

    def add_to(self, ranking: pd.DataFrame) -> pd.DataFrame:
        """The ranking with the columns front, low, high, p_best and contender."""
        judged, at = ranking.copy(), list(ranking.columns).index("seeds") + 1
        judged.insert(at, "contender", [name in self.contenders for name in ranking["network"]])
        for column in ("p_best", "high", "low"):
            judged.insert(at, column, [getattr(self.standings[name], column) for name in ranking["network"]])
        judged.insert(at, "front", mark_front(ranking, FRONT))
        return judged


def measured(records: Iterable[Record], images: int) -> list[Measured]:
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
        found.append(Measured(name, tuple(float(outcome["accuracy"]) for outcome in outcomes), correct))
    return found


def judge(
    records: Iterable[Record],
    *,
    images: int,
    labels: Mapping[str, str],
    confidence: float = DEFAULT_CONFIDENCE,
    why: str | None = None,
) -> Judgement:
    """What the complete trials say about which candidate is best; the same for the same trials, in whatever order.

    Args:
        labels: what to call the candidates, by network.
        why: no more seeds were added, of `inference.Plan`.
    """
    found = measured(records, images)
    standings = summarise(found, draws(found, images=images), confidence)
    likely = contenders({s.name: s.p_best for s in standings}, confidence)
    words = in_words(standings, images=images, labels=labels, confidence=confidence, why=why)  # type: ignore[arg-type]
    return Judgement(confidence, {s.name: s for s in standings}, likely, words)


def more_seeds(records: Iterable[Record], *, images: int, confidence: float, max_seeds: int) -> Plan:
    """How many seeds each candidate should have in all, until one is known to be best."""
    return next_seeds(measured(records, images), images=images, max_seeds=max_seeds, confidence=confidence)


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
