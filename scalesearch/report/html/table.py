"""A table as the templates take it: headings, cells, and which columns are words."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

from scalesearch.report.formats import Table

Thing = TypeVar("Thing")


@dataclass(frozen=True)
class HtmlColumn(Generic[Thing]):
    """A heading and what stands below it; words are set to the left, numbers to the right."""

    heading: str
    cell: Callable[[Thing], str]
    words: bool = False


@dataclass(frozen=True)
class HtmlRow:
    """A row's cells and its class, which may be empty."""

    cells: tuple[str, ...]
    kind: str = ""


@dataclass(frozen=True)
class HtmlTable:
    """``words`` says of every column whether it holds words."""

    headings: tuple[str, ...]
    words: tuple[bool, ...]
    lines: tuple[HtmlRow, ...]


def table(
    columns: Iterable[HtmlColumn[Thing]], things: Sequence[Thing], kind: Callable[[Thing], str] = lambda _: ""
) -> HtmlTable:
    """One row for each of ``things``; a column that is empty in all of them is left out."""
    filled = [(c, [c.cell(thing) for thing in things]) for c in columns]
    kept = [(c, cells) for c, cells in filled if any(cells)]
    rows = zip(*(cells for _, cells in kept), strict=True)
    return HtmlTable(
        tuple(c.heading for c, _ in kept),
        tuple(c.words for c, _ in kept),
        tuple(HtmlRow(tuple(cells), kind(thing)) for cells, thing in zip(rows, things, strict=True)),
    )


def plain_table(of: Table) -> HtmlTable:
    """A table of the terminal's and of Markdown's as a page has it."""
    return HtmlTable(
        tuple(each.heading for each in of.columns),
        tuple(each.words for each in of.columns),
        tuple(HtmlRow(cells) for cells in of.rows),
    )


def share(value: float | None, digits: int = 1) -> str:
    """An accuracy in per cent; empty where nothing is known."""
    return "" if value is None or math.isnan(value) else f"{100 * value:.{digits}f}"


def between(low: float | None, high: float | None) -> str:
    """An interval in per cent; empty where nothing is known."""
    return f"{share(low)}–{share(high)}" if share(low) else ""
