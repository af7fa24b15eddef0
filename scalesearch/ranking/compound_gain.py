"""By how much the compound row beats the best single dimension, with an interval."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from scalesearch.candidates.comparison import SINGLE
from scalesearch.candidates.comparison_rows import COMPOUND, BaselineRows

CONFIDENCE = 0.95


@dataclass(frozen=True)
class Gain:
    """How much compound scaling gains over the best single dimension, relative to the latter.

    (A_compound − max A_single) / max A_single, as A are mean accuracies. The interval knows that the best of several
    was taken: that the compound beats all is claimed where it beats each, that one beats it where the luckiest of them
    would (Hsu 1984, as for the ranking). ``seeds``: the most that a row has.
    """

    value: float
    low: float
    high: float
    compound: str
    single: str
    seeds: int
    confidence: float = CONFIDENCE

    @property
    def words(self) -> str:
        """One sentence."""
        sure = f"at {100 * self.confidence:g} %"
        verdict = (
            f"the compound is better than each of them {sure}"
            if self.low > 0
            else f"a single dimension is better {sure}"
            if self.high < 0
            else "which of the two is better is not decided"
        )
        lack = "; one seed, so that the trainings' own noise is not in this" if self.seeds < 2 else ""
        return (
            f"{self.compound} over {self.single}, the best single dimension: {100 * self.value:+.1f} % relative "
            f"({100 * self.confidence:g} %: {100 * self.low:+.1f} … {100 * self.high:+.1f}): {verdict}{lack}."
        )


def gain(group: BaselineRows, accuracies: Mapping[str, float], drawn: Mapping[str, Any], seeds: int) -> Gain | None:
    """None where the compound row or every single one is missing, or a dimension has several rows.

    Args:
        accuracies: means by network fingerprint.
        drawn: of `Judgement`, by network fingerprint.
    """
    candidates = group.candidates
    rows = [(x.dimension, x.label, candidates[x.label].model.fingerprint) for x in group.lines]
    known = {name: (label, network) for name, label, network in rows if network in accuracies}
    singles = [known[name] for name in SINGLE if name in known]
    several = max(Counter(name for name, _, _ in rows if name in (*SINGLE, COMPOUND)).values(), default=0) > 1
    if COMPOUND not in known or not singles or several:
        return None
    label, compound = known[COMPOUND]
    best, network = max(singles, key=lambda row: accuracies[row[1]])
    highest = accuracies[network]
    if not highest:
        return None
    gains = np.array([accuracies[compound] - accuracies[name] for _, name in singles]) / highest
    luck = np.array([drawn[compound] - drawn[name] for _, name in singles]) / highest - gains[:, None]
    tail = (1 - CONFIDENCE) / 2
    low = (gains + np.quantile(luck, tail, axis=1)).min()
    high = gains.min() + np.quantile((-luck).max(axis=0), 1 - tail)
    return Gain(float(gains.min()), float(low), float(high), label, best, seeds)
