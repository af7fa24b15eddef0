"""What a run looks like: tables for the terminal and Markdown. MACs are multiply-adds throughout."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from scalesearch.listing import Listing
from scalesearch.scaling import PAPER, Coefficients

if TYPE_CHECKING:
    import pandas as pd

    from scalesearch.checking import Trial
    from scalesearch.cost import Cost
    from scalesearch.grid import Candidate, Plan
    from scalesearch.recipe import SearchSettings
    from scalesearch.spec import ModelSpec
    from scalesearch.specs import Spec
    from scalesearch.surgery import Network

LEFT = ("depth·width·px", "", "operator")
"""Columns of words; the others are numbers."""

MANY_ROWS = 1000


def amount(value: float, unit: str = "") -> str:
    """Three figures and a prefix: 385,814,752 is ``386 M``, 3.6e9 bytes ``3.60 GB``."""
    for limit, prefix in ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k")):
        if abs(value) >= limit * 0.9995:
            scaled = value / limit
            return f"{scaled:.{max(0, 2 - int(math.log10(abs(scaled)) + 1e-9))}f} {prefix}{unit}"
    return f"{value:.0f} {unit}".rstrip()


def params(value: float) -> str:
    return f"{value / 1e6:.1f} M"


def duration(seconds: float) -> str:
    """``1:02:03`` or ``2:03``."""
    whole = round(seconds)
    hours, rest = divmod(whole, 3600)
    return f"{hours}:{rest // 60:02}:{rest % 60:02}" if hours else f"{rest // 60}:{rest % 60:02}"


def percent(mean: float, sd: float) -> str:
    """An accuracy in per cent with its standard deviation over seeds, where there are several."""
    return f"{100 * mean:.1f}" + ("" if math.isnan(sd) else f" ± {100 * sd:.1f}")


def _table(*columns: str) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 1, 0, 0), header_style="bold")
    for column in columns:
        table.add_column(column, justify="left" if column in LEFT else "right", no_wrap=True)
    return table


def _triple(c: Coefficients) -> str:
    return f"{c.alpha:.4g} {c.beta:.4g} {c.gamma:.4g}"


def plan_table(candidates: Sequence[Candidate]) -> RenderableType:
    """The candidates before training: nominal growth beside measured cost, and who shares a network."""
    headings = ("α", "β", "γ", "growth", "depth·width·px", "MACs", "ratio", "params", "")
    rows = [_plan_row(candidate) for candidate in candidates]
    notes = [f"  {_triple(c.coefficients)} is also {', '.join(map(_triple, c.also))}" for c in candidates if c.also]
    if len(rows) > MANY_ROWS:
        return Listing(headings, rows, notes, LEFT)
    table = _table(*headings)
    for row in rows:
        table.add_row(*row)
    return Group(table, *(Text(note, style="dim") for note in notes))


def _plan_row(candidate: Candidate) -> tuple[str, ...]:
    c, cost = candidate.coefficients, candidate.cost
    return (
        f"{c.alpha:.4g}",
        f"{c.beta:.4g}",
        f"{c.gamma:.4g}",
        f"{candidate.growth:.2f}",
        candidate.model.shape,
        amount(cost.macs),
        f"{candidate.ratio:.2f}×",
        params(cost.params),
        "← paper" if PAPER in (c, *candidate.also) else "",
    )


def plan_summary(plan: Plan, search: SearchSettings, phi: float) -> str:
    """What the grid came to, in words."""
    networks, merged = len(plan.candidates), sum(len(c.also) for c in plan.candidates)
    ratios = sorted(c.ratio for c in plan.candidates for _ in range(1 + len(c.also)))  # of points, not networks
    beside = f" (and {plan.by_hand} named by hand)" if plan.by_hand else ""
    if search.match == "macs":
        grid = f"{plan.points} pairs solved for equal cost"
    else:
        grid = f"{plan.points} points with |αβ²γ² − {search.target:g}| ≤ {search.tolerance:g}"
    lines = [f"{grid}{beside} → {networks} networks"]
    lines += [f"  {name} stays 1: {reason}" for name, reason in plan.fixed.items()]
    if merged:
        lines.append(f"  {merged} points realise a network that another point realises too")
    lines.append(
        f"measured cost {ratios[0]:.2f}× … {ratios[-1]:.2f}× the baseline, median {statistics.median(ratios):.2f}×"
    )
    if search.match == "nominal":
        goal = search.target**phi
        near = sum(abs(ratio / goal - 1) <= 0.05 for ratio in ratios)
        lines.append(f"  {near} point{'s' * (near != 1)} cost {goal:.3g}× ± 5 %: nominal growth is not real cost.")
        lines.append("  To compare at equal cost, add --match macs.")
    return "\n".join(lines)


def ranking_table(ranking: pd.DataFrame) -> RenderableType:
    """The result, best first. Accuracy is the minival's, in per cent, ± its standard deviation over seeds."""
    validated = bool(ranking["val_accuracy"].notna().any())
    table = _table("#", "α", "β", "γ", "depth·width·px", "MACs", "ratio", "acc %", "interval", "P")
    if validated:
        table.add_column("val %", justify="right")
    rows = ranking.to_dict("records")
    for row in rows:
        cells = [
            f"{row['rank']}{'*' if row['front'] else ' '}",
            *(f"{row[name]:.4g}" for name in ("alpha", "beta", "gamma")),
            str(row["shape"]),
            amount(row["macs"]),
            f"{row['ratio']:.2f}×",
            percent(row["accuracy"], row["sd"]),
            f"{100 * row['low']:.1f}–{100 * row['high']:.1f}",
            f"{row['p_best']:.2f}",
        ]
        if validated:
            cells.append("" if math.isnan(row["val_accuracy"]) else f"{100 * row['val_accuracy']:.1f}")
        table.add_row(*cells)
    notes = [Text(f"  #{row['rank']} is also {row['also']}", style="dim") for row in rows if row["also"]]
    return Group(table, *notes)


def ranking_markdown(ranking: pd.DataFrame, title: str, notes: Iterable[str]) -> str:
    """The ranking as a Markdown table, with the notes a reader needs a year later."""
    head = (
        "# | α | β | γ | growth | depth·width·px | MACs | ratio | params | minival acc. % | interval | P(best) | "
        "val acc. % | same network"
    )
    lines = [f"# {title}", "", *(f"- {note}" for note in notes), "", f"| {head} |", "|" + "--|" * (head.count("|") + 1)]
    for row in ranking.to_dict("records"):
        val = "" if math.isnan(row["val_accuracy"]) else f"{100 * row['val_accuracy']:.2f}"
        cells = [
            str(row["rank"]),
            *(f"{row[name]:.4g}" for name in ("alpha", "beta", "gamma", "growth")),
            str(row["shape"]),
            f"{row['macs']:,}",
            f"{row['ratio']:.3f}",
            f"{row['params']:,}",
            percent(row["accuracy"], row["sd"]),
            f"{100 * row['low']:.1f}–{100 * row['high']:.1f}",
            f"{row['p_best']:.3f}",
            val,
            str(row["also"]),
        ]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def spec_table(rows: Sequence[tuple[str, Spec, Cost]], base: Cost) -> RenderableType:
    """Scaled networks side by side: multipliers, layers, cost and growth over the baseline."""
    table = _table("", "depth", "width", "resolution", "d·w²·r²", "blocks", "MACs", "ratio", "params")
    for label, spec, cost in rows:
        origin = spec.origin
        table.add_row(
            label,
            f"×{origin.depth:.2f}" if origin else "",
            f"×{origin.width:.2f}" if origin else "",
            f"{spec.resolution} px",
            f"{origin.depth * origin.width**2 * origin.resolution**2:.1f}" if origin else "",
            str(spec.blocks),
            amount(cost.macs),
            f"{cost.macs / base.macs:.3g}×",
            params(cost.params),
        )
    return table


def stage_table(spec: ModelSpec, cost: Cost) -> RenderableType:
    """A network as the paper's Table 1 shows it: each row's input side, output channels and layers."""
    table = _table("stage", "operator", "kernel", "stride", "input", "channels", "layers")
    size = spec.resolution
    table.add_row("1", "conv", str(spec.stem.kernel), str(spec.stem.stride), f"{size} px", str(spec.stem.channels), "1")
    size = math.ceil(size / spec.stem.stride / (2 if spec.stem.pool else 1))
    for number, stage in enumerate(spec.stages, start=2):
        expand = f"{stage.expand:g}" if stage.op in ("mbconv", "fused_mbconv", "inverted_residual") else ""
        table.add_row(
            str(number),
            stage.op + expand + (f" se {stage.se:g}" if stage.se else ""),
            str(stage.kernel),
            str(stage.stride),
            f"{size} px",
            str(stage.out_channels),
            str(stage.repeats),
        )
        size = math.ceil(size / stage.stride)
    head = ("conv, " if spec.head.channels else "") + "pool, linear"
    channels = str(spec.head.channels) if spec.head.channels else ""
    table.add_row(str(len(spec.stages) + 2), head, "1" if channels else "", "", f"{size} px", channels, "1")
    total = f"{cost.macs:,} MACs · {cost.params:,} parameters · {spec.blocks} blocks · {spec.resolution} px"
    return Group(table, Text(total, style="dim"))


def stages_table(network: Network) -> RenderableType:
    """The stages that surgery repeats: where they are, what they are made of, and what they hand on."""
    table = _table("stage", "block", "blocks", "channels", "positions")
    calls = {call.name: call for call in network.found.calls}
    for stage in network.stages:
        first = calls[stage.paths[-1]].outputs[0][0]
        shape = [int(size) for size in first.shape]
        channels, sides = (shape[1], shape[2:]) if len(shape) < 4 or shape[1] != shape[2] else (shape[-1], shape[1:3])
        table.add_row(stage.name, stage.kind, str(len(stage.blocks)), str(channels), "×".join(map(str, sides)))
    return table


def check_table(trials: Sequence[Trial]) -> RenderableType:
    """A network at several multipliers: what it comes to, or why it was refused."""
    table = _table("depth", "width", "resolution", "px", "blocks", "MACs", "ratio", "params", "")
    base = next((trial.cost for trial in trials if trial.cost), None)
    notes: list[Text] = []
    for trial in trials:
        m = trial.multipliers
        head = [f"×{m.depth:.4g}", f"×{m.width:.4g}", f"×{m.resolution:.4g}"]
        if trial.cost is None or base is None:
            table.add_row(*head, "", "", "", "", "", "✗")
            notes.append(Text(f"  {' '.join(head)}: {trial.refused}", style="red"))
            continue
        cost = trial.cost
        cells = [str(trial.resolution), str(trial.blocks), amount(cost.macs), f"{cost.macs / base.macs:.2f}×"]
        table.add_row(*head, *cells, params(cost.params), "✓")
    return Group(table, *notes)
