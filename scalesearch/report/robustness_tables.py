"""The tables of `scalesearch robustness`: accuracy by severity, other sets, and what networks differ by."""

from __future__ import annotations

import math
from collections.abc import Sequence

from scalesearch.ranking.image_intervals import Interval
from scalesearch.ranking.robustness import EVERY, Difference, Robustness, points
from scalesearch.report.formats import Column, Table


def robustness_tables(
    rows: Sequence[Robustness], differences: Sequence[Difference], severities: Sequence[int]
) -> list[Table]:
    """A table of the corruptions, one of other sets and one of differences, those that have rows."""
    corrupted = [row for row in rows if row.severities or row.under == EVERY]
    others = [row for row in rows if row not in corrupted]
    tables = []
    if corrupted:
        cells = [
            [row.under, row.network, _percent(row.clean)]
            + [_percent(row.severities[s]) if s in row.severities else "" for s in severities]
            + [_percent(row.mean), _share(row.relative)]
            for row in corrupted
        ]
        headings = ["corruption", "network", "clean", *map(str, severities), "mean", "kept"]
        tables.append(_table(headings, cells, "Accuracy in per cent, by severity", [record(r) for r in corrupted]))
    if others:
        cells = [
            [row.under, row.network, f"{row.images:,}", _percent(row.clean), _with_ends(row.mean), _share(row.relative)]
            for row in others
        ]
        headings = ["domain", "network", "images", "clean", "accuracy", "kept"]
        tables.append(_table(headings, cells, "Accuracy in per cent on other sets", [record(r) for r in others]))
    if differences:
        first_rows = {d.network: ["clean images", d.network, points(d.clean), ""] for d in differences}
        cells = [*first_rows.values(), *([d.under, d.network, points(d.mean), points(d.retained)] for d in differences)]
        headings = ["on", "network", "to the first", "beyond clean"]
        first = differences[0].first
        records = [difference_record(d) for d in differences]
        tables.append(_table(headings, cells, f"Differences to {first}, points of accuracy", records))
    return tables


def _table(
    headings: Sequence[str], cells: Sequence[Sequence[str]], title: str, records: Sequence[dict[str, object]]
) -> Table:
    columns = zip(headings, zip(*cells, strict=True), strict=True)
    return Table(
        [Column(name, each, words=i < 2, folds=i < 2) for i, (name, each) in enumerate(columns)], records, title=title
    )


def record(row: Robustness) -> dict[str, object]:
    """One line of plain values; severities that were not measured are None."""
    return {
        "under": row.under,
        "network": row.network,
        "images": row.images,
        **_ends("clean", row.clean),
        **{f"severity_{s}": row.severities[s].value if s in row.severities else None for s in range(1, 6)},
        **_ends("mean", row.mean),
        **_ends("relative", row.relative),
    }


def difference_record(row: Difference) -> dict[str, object]:
    """One line of plain values."""
    return {
        "under": row.under,
        "network": row.network,
        "first": row.first,
        **_ends("clean", row.clean),
        **_ends("mean", row.mean),
        **_ends("retained", row.retained),
    }


def _ends(name: str, value: Interval) -> dict[str, object]:
    known = not math.isnan(value.value)
    return {
        name: value.value if known else None,
        f"{name}_low": value.low if known else None,
        f"{name}_high": value.high if known else None,
    }


def _percent(value: Interval) -> str:
    return f"{100 * value.value:.1f}"


def _with_ends(value: Interval) -> str:
    return f"{100 * value.value:.1f} ({100 * value.low:.1f}–{100 * value.high:.1f})"


def _share(value: Interval) -> str:
    return "–" if math.isnan(value.value) else f"{value.value:.2f}"
