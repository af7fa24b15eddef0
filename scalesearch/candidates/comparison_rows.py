"""Rows in place of a grid: each baseline's are a run of their own, trained and kept as a grid's candidates are."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from scalesearch.baselines.protocols import Baseline
from scalesearch.candidates.comparison import SINGLE, Line
from scalesearch.candidates.grid import Candidate, Plan
from scalesearch.errors import ScaleSearchError
from scalesearch.recipe import Recipe, Row
from scalesearch.scaling import Coefficients, Multipliers

if TYPE_CHECKING:
    from scalesearch.search import Result

CONFIDENCE = 0.95
COMPOUND = "compound"
IMAGENET = 1000
"""Classes of what papers print."""
OFF = 0.1
"""Relative difference of a depth in whole blocks from its multiplier that is worth a note."""


@dataclass(frozen=True)
class Group:
    """One baseline's rows and the networks they come to, by label.

    ``blocks`` are the baseline's; ``as_printed`` is it at its native size and for ImageNet's classes.
    """

    name: str
    lines: Sequence[Line]
    plan: Plan
    resolution: int
    blocks: int
    as_printed: bool

    @property
    def candidates(self) -> dict[str, Candidate]:
        points = {point: c for c in self.plan.candidates for point in (c.coefficients, *c.also)}
        return {x.label: points[Coefficients(x.depth, x.width, x.resolution)] for x in self.lines}


def group_of(name: str, lines: Sequence[Line], made: Plan, baseline: Baseline, num_classes: int) -> Group:
    """The rows ``lines``, planned as ``made``."""
    as_printed = baseline.resolution == baseline.native.resolution and num_classes == IMAGENET
    blocks = baseline.scaled(Multipliers(1, 1, 1)).spec.blocks
    return Group(name, lines, made, baseline.resolution, blocks, as_printed)


def with_rows(recipe: Recipe, name: str, lines: Sequence[Line]) -> Recipe:
    """The recipe that trains a baseline's rows in place of a grid.

    Raises:
        ScaleSearchError: the recipe bounds what a candidate may cost, or ranks by more than accuracy.
    """
    bounds = [key for key, value in recipe.search if key.startswith("target_") and value is not None]
    if bounds:
        raise ScaleSearchError(f"a comparison's rows are all trained: leave search.{bounds[0]} out")
    if recipe.objective != "accuracy":
        raise ScaleSearchError("a comparison ranks by accuracy: leave objective out")
    rows = tuple(Row(label=x.label, depth=x.depth, width=x.width, resolution=x.resolution) for x in lines)
    search = recipe.search.model_copy(update={"rows": rows, "also": ()})
    return recipe.model_copy(update={"baseline": name, "phi": 1.0, "search": search})


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


def gain(group: Group, accuracies: Mapping[str, float], drawn: Mapping[str, Any], seeds: int) -> Gain | None:
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
    if not base or abs(blocks / (base * line.depth) - 1) <= OFF:
        return None
    return f"in whole blocks its depth is ×{blocks / base:.3g} ({blocks} in place of {base})"


def group_json(group: Group, folder: str, result: Result | None) -> dict[str, Any]:
    """One baseline's part of comparison.json; its run is in ``folder``."""
    base = group.plan.baseline_cost
    won = result and gain(
        group,
        dict(zip(result.ranking["network"], result.ranking["accuracy"], strict=True)),
        result.judgement.drawn,
        int(result.ranking["seeds"].max()),
    )
    return {
        "baseline": group.name,
        "folder": folder,
        "base": {"macs": base.macs, "params": base.params, "resolution": group.resolution},
        "rows": rows_json(group, result),
        "gain": won and {**vars(won), "words": won.words},
        "words": result and result.judgement.words,
    }
