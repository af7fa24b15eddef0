"""What candidates cost by the quantity that is equal, in words and in a column."""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from scalesearch.report.units import cost as in_unit
from scalesearch.report.units import duration
from scalesearch.scaling.compound import Coefficients

if TYPE_CHECKING:
    from scalesearch.candidates.grid import Plan
    from scalesearch.run_contents import MatchedFile
    from scalesearch.settings import SearchSettings

UNSURE = 0.5
"""Standard error of measured costs over their tolerance from which on it is said that they are unsure."""
NAMED = 3
"""Pairs that miss the target and are named."""


def matched_summary(plan: Plan, search: SearchSettings, phi: float) -> list[str]:
    """What candidates cost by the matched quantity; of a measured one, where and how well it was measured."""
    tolerance = search.measured_tolerance if plan.measured else search.match_tolerance
    near = [c for c in plan.candidates if c.spent and abs(c.spent.ratio / search.target**phi - 1) <= tolerance]
    spent, macs = [c.spent for c in near if c.spent], sorted(c.ratio for c in near)
    if not spent:
        return []
    equal = sorted(each.ratio for each in spent)
    quantity, file = spent[0].quantity, plan.measured
    base = f"'s {in_unit(file.base, quantity.unit)}" if file else ""
    lines = [
        f"{quantity.words} {equal[0]:.2f}× … {equal[-1]:.2f}× the baseline{base}, median "
        f"{statistics.median(equal):.2f}×; MACs {macs[0]:.2f}× … {macs[-1]:.2f}×"
    ]
    if file is None:
        told = ["  an estimate of a training step's: weights, optimiser state, and what backward needs"]
        return lines + told * (quantity.name == "memory")
    lines += [f"  {told}" for told in measured_in_words(file)]
    by_miss = sorted(file.points, key=lambda p: abs(p.ratio - file.target))
    missed = [f"{Coefficients(p.alpha, p.beta, p.gamma)} ({p.ratio:.2f}×)" for p in by_miss if p.missed]
    if missed:
        more = f", and {len(missed) - NAMED} more" if len(missed) > NAMED else ""
        lines.append(
            f"  {len(missed)} measured pairs do not come within {100 * file.tolerance:g} % of {file.target:.3g}×: "
            f"{', '.join(missed[:NAMED])}{more}"
        )
    far = sum(p.admitted is False and p.value is None for p in file.points)
    if far:
        lines.append(f"  {far} pairs are far from it by the estimate and were not measured")
    return lines


def measured_in_words(file: MatchedFile | None) -> list[str]:
    """Where costs were measured, how long that took, and how sure they are; nothing where none was."""
    if file is None:
        return []
    sure = f"; ±{100 * file.error:.1f} % of each (one standard error)" if file.error else ""
    how_well = ""
    if file.off_median is not None and file.off_worst is not None:
        how_well = f"; measured over estimated: median {file.off_median:.2f}, worst {file.off_worst:.2f}"
    lines = [
        f"on {place_in_words(file)}",
        f"measuring {file.networks} networks took {duration(file.seconds)}{sure}{how_well}",
    ]
    if file.error and file.error > UNSURE * file.tolerance:
        better = "" if file.threads == 1 else "; --match-threads 1 counts processor time, which they do not take"
        lines.append(f"other programs disturb what is measured here{better}")
    return lines


def place_in_words(file: MatchedFile) -> str:
    """Where something was measured: ``cpu: AMD EPYC 7B13, 2 threads, batch 1, fp32``."""
    return f"{file.device}, {file.threads} thread{'s' * (file.threads != 1)}, batch {file.batch}, {file.precision}"


def matched_in_words(row: Mapping[str, Any], match: Mapping[str, Any]) -> str:
    """What a row of `ranking.json` costs by the matched quantity, or the ratio of a count; empty where unknown."""
    value, ratio = row.get("matched"), row.get("matched_ratio")
    if value is None or ratio is None or math.isnan(value):
        return ""
    return in_unit(value, match["unit"]) if match["unit"] else f"{ratio:.2f}×"


def matched_column(ranking: Sequence[Mapping[str, Any]], match: Mapping[str, Any]) -> dict[str, list[str]]:
    """What rows cost by the matched quantity, in few characters: under ``ms`` or ``mJ`` where it has such a unit."""
    cells = [matched_in_words(row, match) for row in ranking]
    short = match["unit"] in ("ms", "mJ")
    heading = match["unit"] if short else match["cost"] if match["unit"] else f"{match['cost']} ×"
    return {heading: [cell.removesuffix(f" {match['unit']}") if short else cell.removesuffix("×") for cell in cells]}
