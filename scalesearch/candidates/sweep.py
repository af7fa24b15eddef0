"""A sweep: the baseline's table with one or several fields at the values named, every combination a row."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from itertools import product

from scalesearch.candidates.comparison import ComparisonRow
from scalesearch.errors import RecipeError, ScaleSearchError, ScalingError
from scalesearch.models.protocols import Baseline
from scalesearch.models.spec_baseline import SpecBaseline
from scalesearch.scaling.changes import Value, label_of, left_as_they_are, no_table, place_of, same_network
from scalesearch.scaling.compound import Multipliers

Sweep = Mapping[str, tuple[Value, ...]]
"""Values by the field that takes them, as `scaling.changes` names fields."""

MOST_ROWS = 1000
"""Combinations beyond which a sweep is taken for a slip."""

BETWEEN = " · "


@dataclass(frozen=True)
class SweptRows:
    """The rows of a sweep, the baseline's first, and what is to be said of all of them."""

    lines: tuple[ComparisonRow, ...]
    remarks: tuple[str, ...]


def read_sweep(assignments: Sequence[str]) -> Sweep:
    """``["spec.stages.se=0,0.25"]`` as values by field.

    Raises:
        ScaleSearchError: one of them is not ``FIELD=V1,V2``, names no field, or a field or a value stands twice.
    """
    sweep: dict[str, tuple[Value, ...]] = {}
    for text in assignments:
        path, equals, values = (part.strip() for part in text.partition("="))
        if not equals or not all(each.strip() for each in values.split(",")):
            raise RecipeError("--sweep", "FIELD=V1,V2,… such as spec.stages.se=0,0.125,0.25", text)
        if path in sweep:
            raise ScaleSearchError(f"--sweep {path}: it stands twice; put its values into one list")
        sweep[path] = tuple(_read(each.strip()) for each in values.split(","))
    check_sweep(sweep)
    return sweep


def check_sweep(sweep: Sweep) -> None:
    """See to it that every path is a field's, every value stands once, and the rows are not too many.

    Raises:
        ScaleSearchError: that is not so.
    """
    for path, values in sweep.items():
        if path.partition(".")[0] in ("train", "augment", "data", "search", "rounding", "run"):
            raise ScaleSearchError(
                f"--sweep {path}: a sweep changes the network's table (spec.stages.se, …); all rows are trained by one "
                f"recipe: run the comparison once for each value, with --set {path}=…"
            )
        place_of(path)
        if twice := [each for i, each in enumerate(values) if each in values[:i]]:
            raise ScaleSearchError(f"--sweep {path}: the value {twice[0]} stands twice")
    count = math.prod(map(len, sweep.values()))
    if count > MOST_ROWS:
        raise ScaleSearchError(f"--sweep: {_counted(sweep)}, more than {MOST_ROWS:,}")


def _read(text: str) -> Value:
    words = {"none": None, "true": True, "false": False}
    if text in words:
        return words[text]
    for number in (int, float):
        with suppress(ValueError):
            return number(text)
    return text


def swept(baseline: Baseline, sweep: Sweep) -> SweptRows:
    """The baseline as it is, then every other network that the combinations of the values make, the last field fastest.

    A combination that gives the baseline is the baseline's row; of several that give one network the first is its row.

    Raises:
        ScaleSearchError: a value breaks its field's rule, or nothing changes the network.
        BaselineError: the baseline has no table.
    """
    if not isinstance(baseline, SpecBaseline):
        raise no_table(str(baseline.identity.get("module", baseline.name)), next(iter(sweep)))
    places, unchanged = [place_of(path) for path in sweep], same_network(baseline.native)
    names: dict[object, list[str]] = {unchanged: []}
    lines: dict[object, ComparisonRow] = {}
    spared: dict[str, None] = {}
    for values in product(*sweep.values()):
        changes = dict(zip(sweep, values, strict=True))
        labels = [label_of(place, value) for place, value in zip(places, values, strict=True)]
        label, series = BETWEEN.join(labels), BETWEEN.join(labels[:-1]) or None
        network = same_network(_changed(baseline, changes, label).native)
        names.setdefault(network, []).append(label)
        spared |= dict.fromkeys(left_as_they_are(baseline.native, changes))
        lines.setdefault(network, ComparisonRow(label, places[-1].short, 1.0, 1.0, 1.0, series, changes=changes))
    own = names.pop(unchanged)
    lines.pop(unchanged, None)
    if not lines:
        raise ScaleSearchError(f"--sweep: no value of {' or '.join(sweep)} changes {baseline.name}: nothing to compare")
    first = f"{own[0]} (baseline)" if own else "baseline"
    rows = [ComparisonRow(first, "baseline", 1.0, 1.0, 1.0, note=_same(own[1:]))]
    rows += [replace(line, note=_same(names[network][1:])) for network, line in lines.items()]
    told = [f"{_counted(sweep)}: {len(rows)} networks with the baseline"] if len(sweep) > 1 else []
    return SweptRows(tuple(rows), (*told, *spared))


def _changed(baseline: SpecBaseline, changes: Mapping[str, Value], label: str) -> SpecBaseline:
    """The baseline with the changes, of which something is left at its resolution."""
    made = baseline.changed(changes)
    try:
        made.scaled(Multipliers(1, 1, 1))
    except ScalingError as failure:
        raise ScalingError(f"--sweep: {label}: {failure}") from failure
    return made


def _same(others: Sequence[str]) -> str | None:
    return f"the same network as {', '.join(others)}" if others else None


def _counted(sweep: Sweep) -> str:
    """``4 values of spec.stages.se × 3 of spec.stages.kernel, 12 combinations``."""
    counts = " × ".join(f"{len(values)} of {path}" for path, values in sweep.items()).replace(" of ", " values of ", 1)
    return f"{counts}, {math.prod(map(len, sweep.values())):,} combinations"
