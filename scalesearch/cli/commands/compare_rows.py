"""A baseline's rows of a comparison: as they are named, or brought to one cost."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING

from scalesearch.candidates.comparison import Comparison, ComparisonRow, lines_of, scalable
from scalesearch.candidates.counted_cost import CountMemory
from scalesearch.candidates.pricing import Counted, Pricing
from scalesearch.candidates.quantities import QUANTITIES
from scalesearch.candidates.resolve import resolve_baseline
from scalesearch.candidates.strategies import at_equal_cost, matched
from scalesearch.candidates.sweep import swept
from scalesearch.cli.commands.compare_request import CompareRequest
from scalesearch.cli.commands.scale import best_of
from scalesearch.errors import ScaleSearchError
from scalesearch.recipe import Recipe
from scalesearch.report.matched_words import measured_in_words
from scalesearch.run_contents import MatchedFile
from scalesearch.run_folder import slug
from scalesearch.scaling.compound import Coefficients, Multipliers

if TYPE_CHECKING:
    from rich.console import Console

TOLERANCE, MEASURED_TOLERANCE = 0.02, 0.05
"""Relative misses of a counted cost and of a measured one, where none is given."""


def memory_of(recipe: Recipe) -> CountMemory:
    """Bytes of a training step as the recipe makes it."""
    from scalesearch.search import measuring

    return measuring.memory_of(recipe)


def rows_of(
    wish: CompareRequest, comparison: Comparison, name: str, recipe: Recipe, num_classes: int, console: Console
) -> tuple[list[ComparisonRow], tuple[str, ...], MatchedFile | None]:
    """A baseline's rows, what is to be said of all of them, and what they were measured to cost."""
    resolved = resolve_baseline(recipe.model_copy(update={"baseline": name, "phi": 1.0}))
    baseline = resolved.baseline
    remarks_: tuple[str, ...] = ()
    swept_rows: Sequence[ComparisonRow] = ()
    if comparison.sweep:
        rows = swept(baseline, comparison.sweep)
        swept_rows, remarks_ = rows.lines, rows.remarks
        if not wish.target:
            return list(swept_rows), remarks_, None
    elif not wish.target:
        return scalable(lines_of(comparison, name, baseline), baseline.fixed), (), None
    target, own = wish.target, {} if comparison.sweep else _own(wish)
    quantity = QUANTITIES[wish.cost]
    tolerance = wish.tolerance or (MEASURED_TOLERANCE if quantity.measured else TOLERANCE)

    def make(pricing: Pricing) -> list[ComparisonRow]:
        if comparison.sweep:
            return at_equal_cost(baseline, swept_rows, target, num_classes, tolerance, pricing)
        return matched(baseline, target, num_classes, tolerance, own, pricing)

    if not quantity.measured:
        memory = memory_of(recipe) if wish.cost == "memory" else None
        base = baseline.scaled(Multipliers(1, 1, 1)).cost(num_classes)
        return make(Counted(wish.cost, base, memory)), remarks_, None
    from scalesearch.search.measuring import measure_rows

    search = recipe.search.model_copy(update={"match": wish.cost, "measured_tolerance": tolerance})
    found = measure_rows(
        recipe.model_copy(update={"search": search}),
        resolved,
        num_classes,
        target,
        make,
        told=lambda words: console.print(words, style="dim"),
        folder=wish.out and wish.out / slug(baseline.name),
        asked_too={"sweep": dict(comparison.sweep), "own": {label: asdict(c) for label, c in own.items()}},
    )
    return list(found.lines), (*remarks_, *measured_in_words(found.file)), found.file


def _own(wish: CompareRequest) -> dict[str, Coefficients]:
    """The winner of the run that ``--from`` names, by its label."""
    if not wish.own:
        return {}
    winner = best_of(wish.own, fitted=False)
    if winner.growth() <= 1:
        raise ScaleSearchError(f"--from {wish.own}: its winner, {winner}, does not grow")
    return {f"compound ({wish.own.name})": winner}
