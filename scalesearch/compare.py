"""Rows in place of a grid: each baseline's are a run of their own, trained and kept as a grid's candidates are."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from scalesearch.comparison import SINGLE, Line
from scalesearch.grid import Candidate, Plan
from scalesearch.recipe import Recipe, Row
from scalesearch.scaling import Coefficients

if TYPE_CHECKING:
    from scalesearch.search import Result

CONFIDENCE = 0.95
COMPOUND = "compound"
OFF = 0.1
"""Relative difference of a depth in whole blocks from its multiplier that is worth a note."""


@dataclass(frozen=True)
class Group:
    """One baseline's rows and the networks they come to, by label."""

    name: str
    lines: Sequence[Line]
    plan: Plan
    resolution: int
    blocks: int

    @property
    def candidates(self) -> dict[str, Candidate]:
        points = {point: c for c in self.plan.candidates for point in (c.coefficients, *c.also)}
        return {x.label: points[Coefficients(x.depth, x.width, x.resolution)] for x in self.lines}


def with_rows(recipe: Recipe, name: str, lines: Sequence[Line]) -> Recipe:
    """The recipe that trains a baseline's rows in place of a grid."""
    rows = tuple(Row(label=x.label, depth=x.depth, width=x.width, resolution=x.resolution) for x in lines)
    search = recipe.search.model_copy(update={"rows": rows, "also": ()})
    return recipe.model_copy(update={"baseline": name, "phi": 1.0, "search": search})


@dataclass(frozen=True)
class Gain:
    """How much compound scaling gains over the best single dimension, relative to the latter.

    (A_compound − max A_single) / max A_single, as A are mean accuracies; ``low`` and ``high`` are the percentile
    interval of the same bootstrap that judges the ranking, with the maximum taken in every draw.
    """

    value: float
    low: float
    high: float
    compound: str
    single: str
    confidence: float = CONFIDENCE

    @property
    def words(self) -> str:
        """One sentence."""
        verdict = (
            "compound scaling wins"
            if self.low > 0
            else f"{self.single} alone wins"
            if self.high < 0
            else "which of the two is better is not decided"
        )
        return (
            f"{self.compound} over {self.single}, the best single dimension: {100 * self.value:+.1f} % relative "
            f"({100 * self.confidence:g} %: {100 * self.low:+.1f} … {100 * self.high:+.1f}): {verdict}."
        )


def gain(group: Group, accuracies: Mapping[str, float], drawn: Mapping[str, Any]) -> Gain | None:
    """None where the compound row or every single one is missing.

    Args:
        accuracies: means by network fingerprint.
        drawn: of `Judgement`, by network fingerprint.
    """
    candidates = group.candidates
    rows = {x.dimension: (x.label, candidates[x.label].model.fingerprint) for x in reversed(group.lines)}
    known = {name: row for name, row in rows.items() if row[1] in accuracies}
    singles = [known[name] for name in SINGLE if name in known]
    if COMPOUND not in known or not singles:
        return None
    label, compound = known[COMPOUND]
    best, network = max(singles, key=lambda row: accuracies[row[1]])
    highest = np.max([drawn[name] for _, name in singles], axis=0)
    gains = drawn[compound] / highest - 1
    low, high = np.quantile(gains, [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2])
    return Gain(accuracies[compound] / accuracies[network] - 1, float(low), float(high), label, best)


def rows_json(group: Group, result: Result | None) -> list[dict[str, Any]]:
    """The rows as plain values, with what was measured of them if they were trained."""
    measured: dict[str, dict[str, Any]] = {}
    if result is not None:
        from scalesearch.ranking import records_json

        measured = {row["network"]: row for row in records_json(result.ranking)}
    found, candidates = [], group.candidates
    for line in group.lines:
        candidate = candidates[line.label]
        got = measured.get(candidate.model.fingerprint, {})
        found.append(
            {
                "label": line.label,
                "dimension": line.dimension,
                "series": line.series,
                "depth": line.depth,
                "width": line.width,
                "resolution": line.resolution,
                "pixels": candidate.model.resolution,
                "macs": candidate.cost.macs,
                "ratio": candidate.ratio,
                "params": candidate.cost.params,
                "network": candidate.model.fingerprint,
                "note": "; ".join(filter(None, (line.note, _in_blocks(line, candidate, group.blocks)))) or None,
                "paper": line.paper and {"macs": line.paper.macs, "top1": line.paper.top1},
                **{key: got.get(key) for key in ("accuracy", "sd", "low", "high", "p_best", "val_accuracy")},
                "seeds": got.get("seeds", 0),
            }
        )
    return found


def _in_blocks(line: Line, candidate: Candidate, base: int) -> str | None:
    """What whole blocks make of a depth, if that is more than a tenth beside it."""
    blocks = candidate.model.spec.blocks
    if abs(blocks / (base * line.depth) - 1) <= OFF:
        return None
    return f"in whole blocks its depth is ×{blocks / base:.3g} ({blocks} in place of {base})"


def group_json(group: Group, folder: str, result: Result | None) -> dict[str, Any]:
    """One baseline's part of comparison.json; its run is in ``folder``."""
    base = group.plan.baseline_cost
    won = result and gain(
        group, dict(zip(result.ranking["network"], result.ranking["accuracy"], strict=True)), result.judgement.drawn
    )
    return {
        "baseline": group.name,
        "folder": folder,
        "base": {"macs": base.macs, "params": base.params, "resolution": group.resolution},
        "rows": rows_json(group, result),
        "gain": won and {**vars(won), "words": won.words},
        "words": result and result.judgement.words,
    }
