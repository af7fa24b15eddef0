"""A comparison's folder: `comparison.json` at its root, validated here, and one ordinary run per baseline."""

from __future__ import annotations

from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field

from scalesearch.image_size import InputSize
from scalesearch.ranking.metric_columns import comparison_as_ranked
from scalesearch.run_files import read_json, validated

FILE = "comparison.json"


class _Part(BaseModel):
    """Frozen; keys that a later version adds are let through."""

    model_config = ConfigDict(frozen=True)


class Base(_Part):
    """The baseline as it is."""

    macs: int
    params: int
    resolution: InputSize


class PaperResult(_Part):
    """What the paper reports for a row, on its own data."""

    macs: float
    top1: float | None = None


class Apart(_Part):
    """A row's accuracy less the baseline's, and its interval."""

    value: float
    low: float
    high: float


class FinishedRow(_Part):
    """A network of the comparison: how it was scaled, what it costs, and what was measured, if it was."""

    label: str
    dimension: str
    series: str | None = None
    depth: float
    width: float
    resolution: float
    pixels: InputSize
    macs: int
    ratio: float
    params: int
    network: str | None = None
    note: str | None = None
    paper: PaperResult | None = None
    accuracy: float | None = None
    sd: float | None = None
    low: float | None = None
    high: float | None = None
    p_best: float | None = None
    seeds: int = 0
    val_accuracy: float | None = None
    top1: float | None = None
    top5: float | None = None
    changes: dict[str, bool | int | float | str | None] = Field(default_factory=dict)
    to_baseline: Apart | None = None
    matched_cost: str | None = None
    matched: float | None = None
    matched_ratio: float | None = None


class FinishedGain(_Part):
    """By how much the compound row is more accurate than the best single-dimension one."""

    value: float
    low: float
    high: float
    compound: str
    single: str
    confidence: float
    words: str


class FinishedGroup(_Part):
    """The rows of one baseline, and the folder of the run that trained them."""

    baseline: str
    folder: str
    base: Base
    rows: tuple[FinishedRow, ...]
    gain: FinishedGain | None = None
    words: str | None = None

    @property
    def measured(self) -> tuple[FinishedRow, ...]:
        """The rows that were trained."""
        return tuple(row for row in self.rows if row.accuracy is not None)

    @property
    def best(self) -> FinishedRow | None:
        """The most accurate row; None where nothing was trained."""
        return max(self.measured, key=lambda row: row.accuracy or 0, default=None)


class FinishedComparison(_Part):
    """A whole comparison; ``match``: ``rows`` (each at its own cost), or ``4x`` (all at that times the baseline's
    MACs), or ``4x latency`` (at that times another cost of its); ``metric``: what rows have as accuracy; top-1 is then
    ``top1``."""

    title: str
    source: str | None = None
    about: str | None = None
    match: str
    metric: str = "accuracy"
    notes: tuple[str, ...]
    groups: tuple[FinishedGroup, ...]


def is_comparison(path: Path) -> bool:
    """Whether the folder is that of a comparison."""
    return (path / FILE).is_file()


def read_comparison(path: Path) -> FinishedComparison:
    """The comparison in a folder.

    Raises:
        RunError: `comparison.json` cannot be read, or a field of it breaks its rule; the message names it.
    """
    found = read_json(path / FILE, f"{path} is no comparison's folder")
    validated(FinishedComparison, found, path / FILE)
    return validated(FinishedComparison, comparison_as_ranked(found), path / FILE)
