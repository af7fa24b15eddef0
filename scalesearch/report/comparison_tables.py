"""A comparison for the eye: its rows beside what their source printed, and what of that does not follow."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from scalesearch.candidates.comparison import AXIS
from scalesearch.candidates.comparison_rows import IMAGENET, BaselineRows
from scalesearch.candidates.last_map import step_in_last_maps
from scalesearch.candidates.quantities import QUANTITIES
from scalesearch.models.catalogue import open_baseline
from scalesearch.report.formats import Column, Table
from scalesearch.report.units import HEADINGS, amount, cost, interval, params, percent, pixels, to_baseline
from scalesearch.scaling.compound import Multipliers, Rounding

REPRODUCED = 0.05
"""A printed cost counts as reproduced within this share of it."""

ROUNDED = 0.05e9
"""A printed cost counts as reproduced within so many MACs, which rounding may have taken away."""


def _columns(rows: Sequence[Mapping[str, Any]], metric: str) -> list[tuple[str, list[str]]]:
    """Headings and cells; what no row has is left out, and of a sweep's multipliers what all rows share."""
    scaled = {
        "depth": [f"×{row['depth']:.3g}" for row in rows],
        "width": [f"×{row['width']:.3g}" for row in rows],
        "px": [pixels(row["pixels"]) for row in rows],
    }
    columns = [
        ("", [row["label"] for row in rows]),
        *[(name, cells) for name, cells in scaled.items() if not _is_sweep(rows) or len(set(cells)) > 1],
        ("MACs", [amount(row["macs"]) for row in rows]),
        ("ratio", [f"{row['ratio']:.2f}×" for row in rows]),
        ("params", [params(row["params"]) for row in rows]),
    ]
    if any(row.get("matched") for row in rows):
        name = next(row["matched_cost"] for row in rows if row.get("matched"))
        unit = QUANTITIES[name].unit
        columns += [(name, [cost(row["matched"], unit) if row.get("matched") else "" for row in rows])] if unit else []
        ratios = [f"{row['matched_ratio']:.2f}×" if row.get("matched") else "" for row in rows]
        columns.append(("× base" if unit else f"{name} × base", ratios))
    if any(row["paper"] for row in rows):
        columns += [
            ("paper", [amount(row["paper"]["macs"]) if row["paper"] else "" for row in rows]),
            ("top-1", [f"{row['paper']['top1']:.1f}" if (row["paper"] or {}).get("top1") else "" for row in rows]),
        ]
    if any(row["accuracy"] is not None for row in rows):
        compared = [to_baseline(row.get("to_baseline")) for row in rows]
        columns += [
            (f"{HEADINGS[metric]} %", [_accuracy(row) for row in rows]),
            ("to baseline", compared) if any(compared) else ("interval", [interval(row) for row in rows]),
            ("P", ["" if row["p_best"] is None else f"{row['p_best']:.2f}" for row in rows]),
        ]
        if any(row["val_accuracy"] is not None for row in rows):
            columns.append(
                ("val %", ["" if row["val_accuracy"] is None else f"{100 * row['val_accuracy']:.1f}" for row in rows])
            )
    return columns


def _is_sweep(rows: Sequence[Mapping[str, Any]]) -> bool:
    return any(row.get("changes") for row in rows)


def _accuracy(row: Mapping[str, Any]) -> str:
    return "" if row["accuracy"] is None else percent(row["accuracy"], math.nan if row["sd"] is None else row["sd"])


def comparison_table(
    rows: Sequence[Mapping[str, Any]], baseline: str = "", title: str | None = None, metric: str = "accuracy"
) -> Table:
    """The rows of one baseline, ranked by ``metric``; ``paper`` and ``top-1`` are what the source printed."""
    columns = [
        Column(heading, cells, heading == "", heading == "" and _is_sweep(rows), spare=heading == "params")
        for heading, cells in _columns(rows, metric)
    ]
    notes = [f"  {row['label']}: {row['note']}" for row in rows if row["note"]]
    fields = list(dict.fromkeys(path for row in rows for path in row.get("changes") or {}))
    return Table(columns, (_record(baseline, row, fields) for row in rows), notes, title)


def comparison_tables(plain: Mapping[str, Any]) -> list[Table]:
    """A table for each baseline, of `comparison.json`'s values."""
    metric = plain.get("metric") or "accuracy"
    return [
        comparison_table(
            group["rows"], group["baseline"], f"{group['baseline']}, {pixels(group['base']['resolution'])} px", metric
        )
        for group in plain["groups"]
    ]


def _record(baseline: str, row: Mapping[str, Any], fields: Sequence[str]) -> dict[str, Any]:
    """A row's values; ``fields`` are those that the rows change, empty where this one does not."""
    paper = row["paper"] or {}
    printed = {"paper_macs": paper.get("macs"), "paper_top1": paper.get("top1")}
    nested = ("paper", "changes", "to_baseline")
    apart = row.get("to_baseline") or {}
    swept = {f"to_baseline_{key}": apart.get(key) for key in ("value", "low", "high")} if "to_baseline" in row else {}
    plain = {key: value for key, value in row.items() if key not in nested}
    return {"baseline": baseline} | plain | printed | {path: row["changes"].get(path) for path in fields} | swept


def remarks(group: BaselineRows) -> list[str]:
    """What the network cannot scale; a step in the rows' last maps; which printed costs do not follow from the rows'
    multipliers, and from what else.

    Nothing of the last where the baseline is not as its source has it: at another size, or for other classes.
    """
    found = [
        f"{name} stays ×1, and what scales it alone is left out: {group.plan.fixed[axis]}"
        for name, axis in AXIS.items()
        if axis in group.plan.fixed
    ]
    step = step_in_last_maps(group.plan.candidates, group.resolution)
    found += [*group.remarks, *([step] if step else [])]
    if not group.as_printed:
        return found
    candidates = group.candidates
    printed = {x.label: x.paper.macs for x in group.lines if x.paper}
    missed = [x for x in group.lines if x.paper and not _near(candidates[x.label].cost.macs, x.paper.macs)]
    for line in missed:
        macs = candidates[line.label].cost.macs
        fits = [other.label for other in missed if other is not line and _near(macs, printed[other.label], 0.02)]
        reasons = [f"it is what the row {label} prints: are the two swapped?" for label in fits]
        reasons += _kept_ends(group, line.label)
        told = f" ({'; '.join(reasons)})" if reasons else ""
        found.append(f"≠ {line.label}: {amount(macs)} MACs, not the printed {amount(printed[line.label])}{told}")
    return found


def _near(macs: float, printed: float, tolerance: float = REPRODUCED) -> bool:
    return abs(macs - printed) <= max(tolerance * printed, ROUNDED)


def _kept_ends(group: BaselineRows, label: str) -> list[str]:
    """The count if stem and head keep their width, and the outer stages their depth."""
    line = next(x for x in group.lines if x.label == label)
    if ":" in group.name or (line.depth == line.width == 1):
        return []
    kept = open_baseline(group.name, Rounding(fix_stem_head=True)).at(resolution=group.resolution)
    macs = kept.scaled(Multipliers(line.depth, line.width, line.resolution)).cost(IMAGENET).macs
    return [f"{amount(macs)} if stem, head and the outer stages' depth stay as they are"]


def comparison_markdown(plain: Mapping[str, Any]) -> str:
    """The whole comparison, of `comparison.json`'s values, as Markdown."""
    lines = [f"# {plain['title']}", ""]
    lines += [text + "\n" for text in (plain["about"], plain["source"] and f"Source: {plain['source']}.") if text]
    for group in plain["groups"]:
        lines += [f"## {group['baseline']}, {pixels(group['base']['resolution'])} px", ""]
        lines.append(
            comparison_table(group["rows"], metric=plain.get("metric") or "accuracy").markdown(aligned=False).rstrip()
        )
        notes = [f"{row['label']}: {row['note']}" for row in group["rows"] if row["note"]]
        said = [*notes, (group["gain"] or {}).get("words"), group["words"]]
        lines += ["", *(f"- {text}" for text in said if text), ""]
    lines += [f"- {note}" for note in plain["notes"]]
    return "\n".join(lines) + "\n"
