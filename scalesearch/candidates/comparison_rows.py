"""Rows in place of a grid: each baseline's are a run of their own, trained and kept as a grid's candidates are."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from scalesearch.candidates.comparison import ComparisonRow
from scalesearch.candidates.grid import Candidate, Plan
from scalesearch.errors import ScaleSearchError
from scalesearch.image_size import Resolution, same_ratio
from scalesearch.models.protocols import Baseline
from scalesearch.recipe import Recipe
from scalesearch.scaling.compound import Multipliers
from scalesearch.settings import Match, Row

COMPOUND = "compound"
IMAGENET = 1000
"""Classes of what papers print."""


@dataclass(frozen=True)
class BaselineRows:
    """One baseline's rows and the networks they come to, by label.

    ``blocks`` are the baseline's; ``as_printed`` is it at its native size and for ImageNet's classes; ``remarks`` are
    those of a sweep.
    """

    name: str
    lines: Sequence[ComparisonRow]
    plan: Plan
    resolution: Resolution
    blocks: int
    as_printed: bool
    remarks: tuple[str, ...] = ()

    @property
    def is_sweep(self) -> bool:
        """Whether rows differ from the baseline in their tables."""
        return any(line.changes for line in self.lines)

    @property
    def candidates(self) -> dict[str, Candidate]:
        """Each row's candidate, by the row's label; rows that realise one network share it."""
        found = {label: c for c in self.plan.candidates for label in c.labels}
        return {x.label: found[x.label] for x in self.lines}


def group_of(
    name: str,
    lines: Sequence[ComparisonRow],
    made: Plan,
    baseline: Baseline,
    num_classes: int,
    remarks: tuple[str, ...] = (),
) -> BaselineRows:
    """The rows ``lines``, planned as ``made``."""
    native = baseline.resolution == baseline.native.resolution and same_ratio(baseline.resolution, 1)
    as_printed = native and num_classes == IMAGENET
    blocks = baseline.scaled(Multipliers(1, 1, 1)).spec.blocks
    return BaselineRows(name, lines, made, baseline.resolution, blocks, as_printed, remarks)


def with_rows(recipe: Recipe, name: str, lines: Sequence[ComparisonRow], match: Match = "macs") -> Recipe:
    """The recipe that trains a baseline's rows in place of a grid.

    Args:
        match: in what rows are equal, if in anything.

    Raises:
        ScaleSearchError: the recipe bounds what a candidate may cost, or ranks by what it costs.
    """
    bounds = [key for key, value in recipe.search if key.startswith("target_") and value is not None]
    if bounds:
        raise ScaleSearchError(f"a comparison's rows are all trained: leave search.{bounds[0]} out")
    if recipe.objective == "acc_macs":
        raise ScaleSearchError("a comparison ranks by accuracy, balanced_accuracy or macro_f1: leave acc_macs out")
    rows = tuple(
        Row(label=x.label, depth=x.depth, width=x.width, resolution=x.resolution, changes=dict(x.changes))
        for x in lines
    )
    search = recipe.search.model_copy(update={"rows": rows, "also": ()})
    if match != "macs":
        search = search.model_copy(update={"match": match})
    return recipe.model_copy(update={"baseline": name, "phi": 1.0, "search": search})
