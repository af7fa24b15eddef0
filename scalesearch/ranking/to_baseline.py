"""By how much each row of a sweep differs from the baseline, with intervals that hold for all rows together."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from scalesearch.candidates.comparison_rows import BaselineRows
from scalesearch.ranking.seed_scores import Floats
from scalesearch.ranking.standings import DECIMALS


@dataclass(frozen=True)
class Difference:
    """A row's accuracy less the baseline's, in [-1, 1], and its interval."""

    value: float
    low: float
    high: float


@dataclass(frozen=True)
class Differences:
    """The differences by the row's label, and the probability with which all intervals hold at once."""

    rows: Mapping[str, Difference]
    confidence: float
    seeds: int

    @property
    def words(self) -> str:
        """One sentence: which rows are better or worse than the baseline, and how many are not told apart from it."""
        better = [label for label, row in self.rows.items() if row.low > 0]
        worse = [label for label, row in self.rows.items() if row.high < 0]
        open_ = len(self.rows) - len(better) - len(worse)
        found = [f"{', '.join(labels)} {what}" for labels, what in ((better, "better"), (worse, "worse")) if labels]
        if open_:
            found.append(f"{open_} of {len(self.rows)} rows cannot be told apart from it")
        lack = " One seed: how much seeds differ is assumed, not measured." if self.seeds < 2 else ""
        return f"Against the baseline, at {100 * self.confidence:g} % for all rows together: {'; '.join(found)}.{lack}"


def differences(group: BaselineRows, drawn: Mapping[str, Floats], confidence: float, seeds: int) -> Differences | None:
    """Every trained row against the first, which is the baseline's; None where that, or every other, has no draws.

    An interval is the mean of the draws' differences and so many of their standard deviations, for all rows alike,
    that in the stated share of the draws no row is farther from its mean (Dunnett 1955, "A multiple comparison
    procedure for comparing several treatments with a control", JASA 50:1096; the draws' quantile for his t).

    Args:
        drawn: of `Judgement`, by network fingerprint.
        seeds: the most that a row has.
    """
    networks = {line.label: group.candidates[line.label].model.fingerprint for line in group.lines}
    base = networks[group.lines[0].label]
    labels = [label for label, network in networks.items() if network != base and network in drawn]
    if base not in drawn or not labels:
        return None
    apart = np.stack([drawn[networks[label]] - drawn[base] for label in labels])  # (rows, draws)
    mean, spread = apart.mean(axis=1, keepdims=True), apart.std(axis=1, keepdims=True)
    farthest = np.abs(np.divide(apart - mean, spread, out=np.zeros_like(apart), where=spread > 0)).max(axis=0)
    reach = float(np.quantile(farthest, confidence)) * spread
    columns = zip(labels, mean[:, 0], (mean - reach)[:, 0], (mean + reach)[:, 0], strict=True)
    return Differences(
        {label: Difference(*(round(float(each), DECIMALS) for each in values)) for label, *values in columns},
        confidence,
        seeds,
    )
