"""A comparison's outcome as JSON."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from scalesearch.candidates.comparison import ComparisonRow
from scalesearch.candidates.grid import Candidate
from scalesearch.ranking.compound_gain import gain
from scalesearch.ranking.ranking import EXTRA, records_json
from scalesearch.ranking.to_baseline import Differences, differences
from scalesearch.report.tables import spent_record

if TYPE_CHECKING:
    from scalesearch.ranking.schedules import Saved
    from scalesearch.search.outputs import Result

from scalesearch.candidates.comparison_rows import BaselineRows

OFF = 0.1
"""Relative difference of a depth in whole blocks from its multiplier that is worth a note."""


def rows_json(group: BaselineRows, result: Result | None, apart: Differences | None = None) -> list[dict[str, Any]]:
    """The rows as plain values, with what was measured of them if they were trained.

    A sweep's also have their ``changes`` and, trained, ``to_baseline``: the difference and its interval.
    """
    measured: dict[str, dict[str, Any]] = {}
    if result is not None:
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
                **spent_record(candidate),
                "network": candidate.model.fingerprint,
                "note": "; ".join(filter(None, (line.note, _in_blocks(line, candidate, group.blocks)))) or None,
                "paper": line.paper and {"macs": line.paper.macs, "top1": line.paper.top1},
                **{key: got.get(key) for key in ("accuracy", "sd", "low", "high", "p_best", "val_accuracy")},
                **{key: got[key] for key in EXTRA if key in got},
                "seeds": got.get("seeds", 0),
            }
        )
        if group.is_sweep:
            own = apart.rows.get(line.label) if apart else None
            found[-1] |= {"changes": dict(line.changes), "to_baseline": own and asdict(own)}
    return found


def _in_blocks(line: ComparisonRow, candidate: Candidate, base: int) -> str | None:
    """What whole blocks make of a depth, if that is more than a tenth beside it."""
    blocks = candidate.model.spec.blocks
    if not base or line.changes or abs(blocks / (base * line.depth) - 1) <= OFF:
        return None
    return f"in whole blocks its depth is ×{blocks / base:.3g} ({blocks} in place of {base})"


def group_json(
    group: BaselineRows, folder: str, result: Result | None, schedule: Saved | None = None
) -> dict[str, Any]:
    """One baseline's part of comparison.json; its run is in ``folder``.

    ``schedule``: what a progressive one saves beside the plain one.
    """
    base = group.plan.baseline_cost
    won = result and gain(
        group,
        dict(zip(result.ranking["network"], result.ranking["accuracy"], strict=True)),
        result.judgement.drawn,
        int(result.ranking["seeds"].max()),
    )
    apart = None
    if result is not None and group.is_sweep:
        judged = result.judgement
        apart = differences(group, judged.drawn, judged.confidence, int(result.ranking["seeds"].max()))
    told = [each.words for each in (result and result.judgement, schedule, apart) if each]
    return {
        "baseline": group.name,
        "folder": folder,
        "base": {"macs": base.macs, "params": base.params, "resolution": group.resolution},
        "rows": rows_json(group, result, apart),
        "gain": won and {**vars(won), "words": won.words},
        "words": " ".join(told) or None,
    }
