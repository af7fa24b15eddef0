"""What `check` does, between its options and what it prints."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from scalesearch.errors import RecipeError
from scalesearch.image_size import Resolution
from scalesearch.models.checks import Check, check, depth_words, output_words, resolution_words, width_words
from scalesearch.report.formats import Page
from scalesearch.report.tables import check_table, stages_table
from scalesearch.report.units import amount, params
from scalesearch.scaling.compound import Rounding
from scalesearch.validation import parse


def check_command(
    name: str, *, resolution: Resolution | None, rounding: Mapping[str, object], account: bool, form: str
) -> bool:
    """Print what of a network can be scaled, and whether every proof holds; whether it did."""
    page = Page(form)
    given = {key: value for key, value in rounding.items() if value is not None}
    done = check(name, parse(Rounding, given, RecipeError), resolution=resolution)
    console = page.remarks()
    network, base = done.network, done.trials[0].cost
    cost = f" · {params(base.params)} params · {amount(base.macs)} MACs" if base else ""
    versions = ", ".join(f"{key} {value}" for key, value in done.versions.items())
    console.print(f"{name}{f' ({versions})' if versions else ''} · {network.resolution} px{cost}", style="bold")
    console.print(f"  depth       {depth_words(network)}", soft_wrap=True)
    for single, reason in network.unrepeatable.items():
        console.print(f"              {single} stays: {reason}", soft_wrap=True)
    console.print(f"  width       {width_words(network)}", soft_wrap=True)
    console.print(f"  resolution  {resolution_words(network)}", soft_wrap=True)
    if outputs := output_words(network):
        console.print(f"  output      {outputs}", soft_wrap=True)
    console.print(f"  start       {network.starts}", soft_wrap=True)
    console.print(f"  growth law  {done.law}   (ideal 1, 2, 2)")
    console.print("  identity    ✓ scaled by 1 it computes the same, bit for bit\n")
    if network.stages:
        console.print(stages_table(network), "", sep="\n")
    page.show([check_table(done.trials)], _as_json(done))
    if done.holds:
        console.print("✓ runs forward and backward, with the channels and the MACs accounted for", style="dim")
    if account:
        console.print("", str(network.scaled(1.2, 1.1).account), sep="\n", soft_wrap=True)
    return done.holds


def _as_json(done: Check) -> dict[str, Any]:
    network = done.network
    return {
        "name": done.name,
        "versions": done.versions,
        "resolution": network.resolution,
        "resolution_multiple": network.multiple,
        "stages": [{"name": s.name, "kind": s.kind, "blocks": len(s.blocks)} for s in network.stages],
        "unrepeatable": network.unrepeatable,
        "free_widths": network.free,
        "fixed_widths": dict(network.fixed_widths),
        "law": None if done.law is None else asdict(done.law),
        "trials": [asdict(trial) for trial in done.trials],
        "holds": done.holds,
    }
