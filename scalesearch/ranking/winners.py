"""Who wins on this machine and who by MACs, where what candidates cost on this machine was measured."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from scalesearch.ranking.class_metrics import METRICS
from scalesearch.ranking.ranking import EXPONENT
from scalesearch.scaling.compound import Coefficients

if TYPE_CHECKING:
    import pandas as pd

    from scalesearch.candidates.quantities import Quantity


@dataclass(frozen=True)
class Winners:
    """Rows of a ranking: the best on this machine, and the best by MACs.

    Candidates of equal cost are ordered by accuracy; by the other cost, in which they differ, by
    accuracy·cost^−0.07 (Tan et al. 2019, MnasNet, Eq. 2, which is of latency; Tan & Le 2019, §4).
    """

    on_machine: dict[str, Any]
    by_macs: dict[str, Any]

    @property
    def differ(self) -> bool:
        """Whether they are two networks."""
        return bool(self.on_machine["network"] != self.by_macs["network"])


def winners(ranking: pd.DataFrame, *, measured: str, equal: str) -> Winners:
    """The two of a ranking, best first.

    Args:
        measured: the column of what was measured on this machine.
        equal: what candidates were made equal in: ``measured`` or ``macs``.
    """
    accuracy = ranking["pooled"] if "pooled" in ranking else ranking["accuracy"]
    best = {}
    for column in (measured, "macs"):
        factor = 1.0 if column == equal else ranking[column].astype(float) ** EXPONENT
        best[column] = {str(k): v for k, v in ranking.iloc[int(np.argmax(accuracy * factor))].items()}
    return Winners(best[measured], best["macs"])


def in_words(
    found: Winners, measured: str, equal: str, quantity: Quantity, place: str, metric: str = "accuracy"
) -> str:
    """Both of them in a sentence, or that they are one.

    Args:
        place: the machine, in words.
        metric: what stands as accuracy in the ranking.
    """
    cost, name = quantity.words, METRICS.get(metric, metric)
    what = "" if metric == "accuracy" else f" {name}"

    def told(row: dict[str, Any]) -> str:
        at = f"{float(row[measured]):.3g} {quantity.unit}, {row['macs'] / 1e6:.3g} M MACs"
        return f"{_name(row)} ({100 * row['accuracy']:.1f} %{what}, {at})"

    if not found.differ:
        return f"{_name(found.on_machine)} wins both on this machine ({cost}, {place}) and by MACs"
    how = [
        f"at equal {words}" if column == equal else f"{name}·{words}^{str(EXPONENT).replace('-', '−')}"
        for column, words in ((measured, cost), ("macs", "MACs"))
    ]
    return (
        f"two winners: on this machine {told(found.on_machine)}, {how[0]} ({place}); by MACs {told(found.by_macs)}, "
        f"{how[1]}"
    )


def _name(row: dict[str, Any]) -> str:
    label = row.get("label")
    if isinstance(label, str):
        return label
    return str(Coefficients(float(row["alpha"]), float(row["beta"]), float(row["gamma"])))
