"""A comparison: rows of named multipliers for some baselines, and what its source printed of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Annotated, Any

from pydantic import Field, PositiveFloat, PositiveInt, model_validator

from scalesearch.errors import RecipeError, ScaleSearchError
from scalesearch.image_size import mean_side
from scalesearch.models.protocols import Baseline
from scalesearch.recipe import recipe_folder
from scalesearch.scaling.changes import Value
from scalesearch.scaling.compound import AXES
from scalesearch.settings import Amount
from scalesearch.validation import Strict, parse, read_yaml, shipped_or_path

SINGLE = ("depth", "width", "resolution")
AXIS = dict(zip(SINGLE, AXES, strict=True))
"""Each dimension's coefficient."""


class Printed(Strict):
    """What a source printed of a row: MACs (it calls them FLOPS) and ImageNet top-1 accuracy, per cent."""

    macs: Amount
    top1: PositiveFloat | None = None


class RowSettings(Strict):
    """One network of a comparison, by its multipliers; ``pixels`` is the resolution at the baseline's native size.

    ``dimension`` (depth, width, resolution, compound, …; by default the label) says what is scaled, ``series`` which
    curve of a figure it belongs to.
    """

    label: Annotated[str, Field(min_length=1)]
    dimension: str | None = None
    series: str | None = None
    depth: PositiveFloat = 1.0
    width: PositiveFloat = 1.0
    resolution: PositiveFloat = 1.0
    pixels: PositiveInt | None = None
    paper: Printed | None = None
    note: str | None = None

    @model_validator(mode="after")
    def _one_resolution(self) -> RowSettings:
        if self.pixels is not None and self.resolution != 1:
            raise ValueError("either resolution or pixels")
        return self


class Comparison(Strict):
    """Rows by baseline; one without rows of its own takes those of ``any``, and so does whatever else a user names.

    In place of rows, ``sweep`` has values by field of the baseline's table (`candidates.sweep`).
    """

    title: str
    source: str | None = None
    about: str | None = None
    baselines: dict[str, tuple[RowSettings, ...] | None] = Field(default_factory=dict)
    any: tuple[RowSettings, ...] = ()
    sweep: dict[str, Annotated[tuple[Value, ...], Field(min_length=1)]] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _rows_or_a_sweep(self) -> Comparison:
        if self.sweep and (self.any or any(self.baselines.values())):
            raise ValueError("either rows or a sweep")
        return self

    @model_validator(mode="after")
    def _labels_differ(self) -> Comparison:
        for rows in (self.any, *self.baselines.values()):
            labels = [row.label for row in rows or ()]
            twice = next((label for label in labels if labels.count(label) > 1), None)
            if twice:
                raise ValueError(f"every label once (there are two rows {twice!r})")
        return self


@dataclass(frozen=True)
class ComparisonRow:
    """A row for one baseline: its multipliers, and what is known of it before it is built.

    ``changes`` are those of the baseline's table that come before the multipliers.
    """

    label: str
    dimension: str
    depth: float
    width: float
    resolution: float
    series: str | None = None
    paper: Printed | None = None
    note: str | None = None
    changes: Mapping[str, Value] = field(default_factory=dict, hash=False)

    @property
    def grows(self) -> bool:
        """Whether it is not the baseline."""
        return bool(self.changes) or (self.depth, self.width, self.resolution) != (1, 1, 1)


def comparison_names() -> list[str]:
    """The shipped comparisons, sorted."""
    return sorted(path.stem for path in (recipe_folder() / "compare").glob("*.yaml"))


def load_comparison(name: str) -> Comparison:
    """A shipped comparison by name, or a file by path.

    Raises:
        ScaleSearchError: there is none.
        RecipeError: a key breaks its rule.
    """
    path = shipped_or_path(name, recipe_folder() / "compare", "comparison")
    return parse(Comparison, read_yaml(path, RecipeError), RecipeError)


def lines_of(comparison: Comparison, name: str, baseline: Baseline) -> list[ComparisonRow]:
    """The comparison's rows for ``baseline``, which it may know by ``name``.

    Raises:
        ScaleSearchError: it has none for it.
    """
    rows = comparison.baselines.get(name) or comparison.any
    if not rows:
        raise ScaleSearchError(
            f"{comparison.title} has rows for {', '.join(comparison.baselines)} alone, none under `any`"
        )
    return [
        ComparisonRow(
            row.label,
            row.dimension or row.label,
            row.depth,
            row.width,
            round(row.pixels / mean_side(baseline.native.resolution), 6) if row.pixels else row.resolution,
            row.series,
            row.paper,
            row.note,
        )
        for row in rows
    ]


def scalable(lines: Sequence[ComparisonRow], fixed: Mapping[str, str]) -> list[ComparisonRow]:
    """The rows without what the network cannot scale, and without those of which that leaves the baseline.

    Args:
        fixed: of `Baseline`, reasons by coefficient.
    """
    ones: dict[str, Any] = {name: 1.0 for name, axis in AXIS.items() if axis in fixed}
    kept = [(line, replace(line, **ones)) for line in lines]
    return [less for line, less in kept if less.grows or not line.grows]
