"""What a run looks like: tables for the terminal and Markdown. MACs are multiply-adds throughout."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from scalesearch.candidates.quantities import QUANTITIES, idle_words
from scalesearch.image_size import Resolution
from scalesearch.report.formats import Column, Table
from scalesearch.report.matched_words import matched_column, matched_summary
from scalesearch.report.units import HEADINGS, amount, interval, params, percent, to_first
from scalesearch.report.units import cost as in_unit
from scalesearch.scaling.compound import AXES, PAPER, Coefficients
from scalesearch.scaling.cost import map_sizes

if TYPE_CHECKING:
    import pandas as pd

    from scalesearch.candidates.grid import Candidate, Plan
    from scalesearch.candidates.quantities import Spent
    from scalesearch.models.checks import Trial
    from scalesearch.models.surgery.network import Network
    from scalesearch.scaling.cost import Cost
    from scalesearch.scaling.spec import ModelSpec
    from scalesearch.scaling.spec_files import Spec
    from scalesearch.settings import SearchSettings

WORDS = ("depth·width·px", "", "operator")
"""Columns of words; the others are numbers."""


def _triple(c: Coefficients) -> str:
    return f"{c.alpha:.4g} {c.beta:.4g} {c.gamma:.4g}"


def plan_table(candidates: Sequence[Candidate]) -> Table:
    """The candidates before training: nominal growth beside measured cost, and who shares a network."""
    spent = next((c.spent for c in candidates if c.spent), None)
    middle = ("growth",) if spent is None else ()
    headings = ("α", "β", "γ", *middle, "depth·width·px", "MACs", "ratio", "params", *_spent_headings(spent), "")
    notes = [f"  {_triple(c.coefficients)} is also {', '.join(map(_triple, c.also))}" for c in candidates if c.also]
    rows = [_plan_row(candidate, spent) for candidate in candidates]
    return Table.of(headings, rows, map(_plan_record, candidates), words=WORDS, notes=notes)


def _spent_headings(spent: Spent | None) -> tuple[str, ...]:
    """Of what candidates were matched by; a counted quantity other than memory has a column already, or needs none."""
    if spent is None:
        return ()
    return (spent.quantity.name, "× base") if spent.quantity.unit else (f"{spent.quantity.name} × base",)


def _plan_record(candidate: Candidate) -> dict[str, object]:
    return {
        **asdict(candidate.coefficients),
        "growth": candidate.growth,
        "shape": candidate.model.shape,
        "resolution": candidate.model.resolution,
        **asdict(candidate.cost),
        "ratio": candidate.ratio,
        **spent_record(candidate),
        "also": "; ".join(map(_triple, candidate.also)),
        "network": candidate.model.fingerprint,
    }


def spent_record(candidate: Candidate) -> dict[str, object]:
    """What it costs by the matched quantity, where that is not MACs."""
    spent = candidate.spent
    if spent is None:
        return {}
    return {"matched_cost": spent.quantity.name, "matched": spent.value, "matched_ratio": spent.ratio}


def _plan_row(candidate: Candidate, matched: Spent | None) -> tuple[str, ...]:
    c, cost = candidate.coefficients, candidate.cost
    spent: tuple[str, ...] = ()
    if matched is not None:
        own = candidate.spent
        spent = ("",) * len(_spent_headings(matched)) if own is None else (f"{own.ratio:.2f}×",)
        if own is not None and matched.quantity.unit:
            spent = (in_unit(own.value, matched.quantity.unit), *spent)
    return (
        f"{c.alpha:.4g}",
        f"{c.beta:.4g}",
        f"{c.gamma:.4g}",
        *([f"{candidate.growth:.2f}"] if matched is None else []),
        candidate.model.shape,
        amount(cost.macs),
        f"{candidate.ratio:.2f}×",
        params(cost.params),
        *spent,
        "← paper" if PAPER in (c, *candidate.also) else "",
    )


def plan_summary(plan: Plan, search: SearchSettings, phi: float) -> str:
    """What the grid came to, in words."""
    networks, merged = len(plan.candidates), sum(len(c.also) for c in plan.candidates)
    ratios = sorted(c.ratio for c in plan.candidates for _ in range(1 + len(c.also)))  # of points, not networks
    beside = f" (and {plan.by_hand} named by hand)" if plan.by_hand else ""
    if search.match == "macs":
        grid = f"{plan.points} pairs solved for equal cost"
    elif search.match != "nominal":
        grid = f"{plan.points} pairs solved for equal {QUANTITIES[search.match].words}"
    else:
        grid = f"{plan.points} points with |αβ²γ² − {search.target:g}| ≤ {search.tolerance:g}"
    lines = [f"{grid}{beside} → {networks} networks"]
    lines += [f"  {name} stays 1: {reason}" for name, reason in plan.fixed.items()]
    if merged:
        points = "point realises" if merged == 1 else "points realise"
        lines.append(f"  {merged} {points} a network that another point realises too")
    if idle := idle_words(search):
        lines.append(f"  note: {idle}")
    if search.match not in ("nominal", "macs"):
        return "\n".join([*lines, *matched_summary(plan, search, phi)])
    lines.append(
        f"measured cost {ratios[0]:.2f}× … {ratios[-1]:.2f}× the baseline, median {statistics.median(ratios):.2f}×"
    )
    if search.match == "nominal":
        goal = search.target**phi
        near = sum(abs(ratio / goal - 1) <= 0.05 for ratio in ratios)
        lines.append(f"  {near} point{'s' * (near != 1)} cost {goal:.3g}× ± 5 %: nominal growth is not real cost.")
        lines.append("  To compare at equal cost, add --match macs.")
    return "\n".join(lines)


def ranking_table(
    ranking: Sequence[Mapping[str, Any]],
    metric: str = "accuracy",
    *,
    match: Mapping[str, Any] | None = None,
    brief: bool = True,
) -> Table:
    """The result, best first, of `ranking.json`'s values as `metric_columns.as_ranked` has them: minival accuracy in
    per cent ± its standard deviation over seeds, and the interval of its difference to the first's, in points, or, in
    runs of older versions, its own. What no row has is left out.

    Args:
        metric: what it is ranked by.
        match: of `ranking.json`, by what candidates were made equal.
        brief: for 80 columns of a terminal: without what stands beside that.
    """
    acc = HEADINGS[metric]
    columns = {
        "#": [f"{row['rank']}{'*' if row.get('front') else ' '}" for row in ranking],
        "": [row.get("label") or "" for row in ranking],
        **{sign: [f"{row[name]:.4g}" for row in ranking] for sign, name in zip("αβγ", AXES, strict=True)},
        "depth·width·px": [row["shape"] for row in ranking],
        "MACs": [amount(row["macs"]) for row in ranking],
        "ratio": [] if match else [f"{row['ratio']:.2f}×" for row in ranking],
        **(matched_column(ranking, match) if match else {}),
        f"{acc} %": [percent(row["accuracy"], row["sd"]) for row in ranking],
        **({} if brief else _beside(ranking)),
        "to first": [to_first(row, brief=True) for row in ranking],
        "interval": [] if any(map(to_first, ranking)) else [interval(row) for row in ranking],
        "P": ["" if row.get("p_best") is None else f"{row['p_best']:.2f}" for row in ranking],
        "val %": ["" if row["val_accuracy"] is None else f"{100 * row['val_accuracy']:.1f}" for row in ranking],
    }
    spare = () if match else ("MACs",)  # the ratio says it too
    shown = [
        Column(heading, cells, heading in WORDS, spare=heading in spare)
        for heading, cells in columns.items()
        if any(cells)
    ]
    notes = [f"  #{row['rank']} is also {row['also']}" for row in ranking if row["also"]]
    return Table(shown, ranking, notes)


def _beside(ranking: Sequence[Mapping[str, Any]]) -> dict[str, list[str]]:
    """Columns of what is known beside the metric that ranks: top-1 where another does, and top-5."""
    keys = {"top-1 %": "top1", "top-5 %": "top5"}
    return {
        heading: ["" if row.get(key) is None else f"{100 * row[key]:.1f}" for row in ranking]
        for heading, key in keys.items()
    }


def architectures_table(ranking: Sequence[Mapping[str, Any]], metric: str = "accuracy") -> Table:
    """The result of a search for a baseline, best first, of `ranking.json`'s values: as `ranking_table`, with the
    measured and the expected rewards (per cent) in the place of multipliers. What no row has is left out."""
    columns = {
        "#": [f"{row['rank']}{'*' if row.get('front') else ' '}" for row in ranking],
        "": [row.get("label") or "" for row in ranking],
        "MACs": [amount(row["macs"]) for row in ranking],
        "params": [amount(row["params"]) for row in ranking],
        f"{HEADINGS[metric]} %": [percent(row["accuracy"], row["sd"]) for row in ranking],
        "reward": [f"{100 * row['reward']:.1f}" for row in ranking],
        "exp.": [f"{100 * row['score']:.1f}" for row in ranking],
        "to first": [to_first(row, brief=True) for row in ranking],
        "P": ["" if row.get("p_best") is None else f"{row['p_best']:.2f}" for row in ranking],
        "val %": ["" if row["val_accuracy"] is None else f"{100 * row['val_accuracy']:.1f}" for row in ranking],
    }
    shown = [Column(heading, cells, heading in WORDS) for heading, cells in columns.items() if any(cells)]
    return Table(shown, ranking)


def ranking_markdown(ranking: pd.DataFrame, title: str, notes: Iterable[str], metric: str = "accuracy") -> str:
    """The ranking as a Markdown table, with the notes a reader needs a year later."""
    acc = {"balanced_accuracy": "bal. acc.", "macro_f1": "macro F1"}.get(metric, "acc.")
    beside = {"top1": "minival acc. %", "top5": "minival top-5 %"}
    more = [key for key in beside if key in ranking]
    headings = (
        "#", "α", "β", "γ", "growth", "depth·width·px", "MACs", "ratio", "params", f"minival {acc} %",
        *(beside[key] for key in more), "to the first", "interval", "P(best)", f"val {acc} %", "same network",
    )  # fmt: skip
    records = [{str(key): value for key, value in row.items()} for row in ranking.to_dict("records")]
    rows = [
        [
            str(row["rank"]),
            *(f"{row[name]:.4g}" for name in (*AXES, "growth")),
            str(row["shape"]),
            f"{row['macs']:,}",
            f"{row['ratio']:.3f}",
            f"{row['params']:,}",
            percent(row["accuracy"], row["sd"]),
            *("" if math.isnan(row[key]) else f"{100 * row[key]:.1f}" for key in more),
            to_first(row),
            interval(row),
            f"{row['p_best']:.3f}",
            "" if math.isnan(row["val_accuracy"]) else f"{100 * row['val_accuracy']:.2f}",
            str(row["also"]),
        ]
        for row in records
    ]
    return markdown_page(title, notes, Table.of(headings, rows))


def markdown_page(title: str, notes: Iterable[str], table: Table) -> str:
    """A table as a page of its own, the notes above it."""
    return "\n".join([f"# {title}", "", *(f"- {note}" for note in notes), "", table.markdown(aligned=False)])


def verified_table(
    verified: Mapping[str, Any], ranking: Sequence[Mapping[str, Any]], metric: str = "accuracy"
) -> Table:
    """Of `verify.json`'s networks, in the order of the short schedule: accuracy, or the metric that they are ranked by,
    and place on both schedules."""
    acc = HEADINGS[metric]
    short = {row["network"]: row for row in ranking}
    longest = sorted((each["long"] for each in verified["networks"]), reverse=True)
    rows, records = [], []
    for place, each in enumerate(sorted(verified["networks"], key=lambda n: -n["short"]), start=1):
        row, later = short[each["network"]], 1 + longest.index(each["long"])
        percents = [f"{100 * each[schedule]:.1f}" for schedule in ("short", "long")]
        rows.append([*(f"{row[name]:.4g}" for name in AXES), str(place), percents[0], str(later), percents[1]])
        records.append({name: row[name] for name in AXES} | each | {"short_rank": place, "long_rank": later})
    headings = ("α", "β", "γ", "#", f"{acc} %", f"# ×{verified['longer']:g}", f"{acc} % ×{verified['longer']:g}")
    return Table.of(headings, rows, records)


def spec_table(rows: Sequence[tuple[str, Spec, Cost]], base: Cost, title: str | None = None) -> Table:
    """Scaled networks side by side: multipliers, layers, cost and growth over the baseline."""
    headings = ("", "depth", "width", "resolution", "d·w²·r²", "blocks", "MACs", "ratio", "params")
    cells, records = [], []
    for label, spec, cost in rows:
        m = spec.origin
        nominal = m and m.depth * m.width**2 * m.resolution**2
        cells.append(
            [
                label,
                f"×{m.depth:.2f}" if m else "",
                f"×{m.width:.2f}" if m else "",
                f"{spec.resolution} px",
                f"{nominal:.1f}" if nominal else "",
                str(spec.blocks),
                amount(cost.macs),
                f"{cost.macs / base.macs:.3g}×",
                params(cost.params),
            ]
        )
        scaled = {"depth": m and m.depth, "width": m and m.width, "resolution": m and m.resolution, "growth": nominal}
        sizes = {"pixels": spec.resolution, "blocks": spec.blocks} | asdict(cost) | {"ratio": cost.macs / base.macs}
        records.append({"label": label, "network": spec.name} | scaled | sizes)
    return Table.of(headings, cells, records, words=WORDS, title=title)


def baselines_table(specs: Mapping[str, tuple[ModelSpec, Cost]]) -> Table:
    """Networks by name: size and cost."""
    rows = [
        [name, str(spec.resolution), str(spec.blocks), amount(cost.macs), params(cost.params)]
        for name, (spec, cost) in specs.items()
    ]
    records = [
        {"name": name, "resolution": spec.resolution, "blocks": spec.blocks} | asdict(cost)
        for name, (spec, cost) in specs.items()
    ]
    return Table.of(("", "px", "blocks", "MACs", "params"), rows, records, words=WORDS)


def stage_table(spec: ModelSpec, cost: Cost) -> Table:
    """A network as the paper's Table 1 shows it: each row's input side, output channels and layers."""
    headings = ("stage", "operator", "kernel", "stride", "input", "channels", "layers")
    sizes = map_sizes(spec, spec.resolution)[1:]
    found: list[tuple[str, int | None, int | None, Resolution, int | None, int]] = []
    found.append(("conv", spec.stem.kernel, spec.stem.stride, spec.resolution, spec.stem.channels, 1))
    for stage, size in zip(spec.stages, sizes, strict=False):
        expand = f"{stage.expand:g}" if stage.op in ("mbconv", "fused_mbconv", "inverted_residual") else ""
        operator = stage.op + expand + (f" se {stage.se:g}" if stage.se else "")
        found.append((operator, stage.kernel, stage.stride, size, stage.out_channels, stage.repeats))
    head = ("conv, " if spec.head.channels else "") + "pool, linear"
    found.append((head, 1 if spec.head.channels else None, None, sizes[-1], spec.head.channels or None, 1))
    records = [dict(zip(headings, (i, *row), strict=True)) for i, row in enumerate(found, start=1)]
    rows = [["" if value is None else str(value) for value in record.values()] for record in records]
    for row in rows:
        row[4] += " px"
    total = f"{cost.macs:,} MACs · {cost.params:,} parameters · {spec.blocks} blocks · {spec.resolution} px"
    return Table.of(headings, rows, records, words=WORDS, notes=[total])


def stages_table(network: Network) -> Table:
    """The stages that surgery repeats: where they are, what they are made of, and what they hand on."""
    calls, rows = {call.name: call for call in network.found.calls}, []
    for stage in network.stages:
        first = calls[stage.paths[-1]].outputs[0][0]
        shape = [int(size) for size in first.shape]
        channels, sides = (shape[1], shape[2:]) if len(shape) < 4 or shape[1] != shape[2] else (shape[-1], shape[1:3])
        rows.append([stage.name, stage.kind, str(len(stage.blocks)), str(channels), "×".join(map(str, sides))])
    return Table.of(("stage", "block", "blocks", "channels", "positions"), rows, words=WORDS)


def check_table(trials: Sequence[Trial]) -> Table:
    """A network at several multipliers: what it comes to, or why it was refused."""
    base = next((trial.cost for trial in trials if trial.cost), None)
    rows, records, notes = [], [], []
    for trial in trials:
        m, cost = trial.multipliers, trial.cost
        head = [f"×{m.depth:.4g}", f"×{m.width:.4g}", f"×{m.resolution:.4g}"]
        ratio = cost.macs / base.macs if cost and base else None
        if cost is None:
            rows.append([*head, "", "", "", "", "", "✗"])
            notes.append(f"  {' '.join(head)}: {trial.refused}")
        else:
            cells = [str(trial.resolution), str(trial.blocks), amount(cost.macs), f"{ratio:.2f}×"]
            rows.append([*head, *cells, params(cost.params), "✓"])
        size = {"pixels": trial.resolution, "blocks": trial.blocks, "macs": cost and cost.macs, "ratio": ratio}
        records.append(asdict(m) | size | {"params": cost and cost.params, "refused": trial.refused})
    headings = ("depth", "width", "resolution", "px", "blocks", "MACs", "ratio", "params", "")
    return Table.of(headings, rows, records, words=WORDS, notes=notes)
