"""What `bench` does, between its options and what it prints."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.live import Live
from rich.text import Text

from scalesearch.errors import RecipeError
from scalesearch.files import write_text
from scalesearch.image_size import Resolution
from scalesearch.models.catalogue import model_of, open_baseline
from scalesearch.models.protocols import ScaledModel
from scalesearch.report.formats import Column, Page, Table
from scalesearch.report.units import amount, params
from scalesearch.runtime.device import pick_device, pick_precision
from scalesearch.runtime.energy import Energy
from scalesearch.runtime.timing import Timing
from scalesearch.search.provenance import environment
from scalesearch.training.benchmark import bench
from scalesearch.training.benchmark_settings import BenchSettings, Measurement
from scalesearch.validation import parse


def bench_command(
    names: Sequence[str], options: Mapping[str, object], *, resolution: Resolution | None, out: Path | None, form: str
) -> bool:
    """Measure the networks and print the tables; whether any of them ran."""
    page = Page(form)
    settings = parse(BenchSettings, {k: v for k, v in options.items() if v is not None}, RecipeError)
    if settings.threads is not None and settings.threads > (cores := os.cpu_count() or 1):
        raise RecipeError("threads", f"at most this machine's {cores}", settings.threads)
    device = pick_device(settings.device)
    models = open_models(names, resolution)
    progress = Console(stderr=True)
    if progress.is_terminal:  # no spinner: its thread would take time from what is timed
        with Live(console=progress, auto_refresh=False, transient=True) as line:
            rows = bench(models, settings, told=lambda words: line.update(Text(words), refresh=True))
    else:
        rows = bench(models, settings)
    about = _about(settings, device)
    document = about | {"networks": [as_plain(row) for row in rows]}
    show(rows, about, page, document)
    if out is not None:
        write_text(out, json.dumps(document, ensure_ascii=False, indent=2) + "\n")
        page.remarks().print(f"wrote {out}", soft_wrap=True)
    return any(row.ran for row in rows)


def open_models(
    names: Sequence[str], resolution: Resolution | None, channels: int | None = None
) -> dict[str, ScaledModel]:
    """The networks by their own names, or, where two share one, by what they were asked for with."""
    opened: dict[str, ScaledModel] = {}
    for asked in names:
        baseline = open_baseline(asked, resolution=resolution)
        opened[asked] = model_of(baseline.meant_for(resolution, channels).native)
    own = [model.spec.name for model in opened.values()]
    return {asked if own.count(model.spec.name) > 1 else model.spec.name: model for asked, model in opened.items()}


def _about(settings: BenchSettings, device: torch.device) -> dict[str, Any]:
    about = environment(["scalesearch", *sys.argv[1:]], device, {})
    del about["data"]
    if settings.threads is not None:
        about["threads"] = settings.threads
    chosen = {
        "precision": pick_precision(settings.recipe(device).train, device),
        "batch_size": settings.batch_on(device),
        "device": str(device),
    }
    return {"environment": about, "settings": settings.model_dump(mode="json", exclude={"threads"}) | chosen}


def as_plain(row: Measurement) -> dict[str, Any]:
    """A measurement as JSON's values: times in ms, memory in bytes, peak in FLOP/s."""
    plain = asdict(row)
    cost = plain.pop("cost")
    derived = ("images_per_second", "training_images_per_second", "macs_per_second", "share_of_peak")
    return plain | {key: cost[key] for key in ("macs", "params", "activations")} | {k: getattr(row, k) for k in derived}


def show(rows: Sequence[Measurement], about: Mapping[str, Any], page: Page, document: object = None) -> None:
    """Two tables to four, why something is missing in them, and the notes that a reader needs."""
    settings, batch, console = about["settings"], rows[0].batch_size, page.remarks()
    costs = [
        (row.name, str(row.resolution), amount(row.cost.macs), params(row.cost.params), amount(row.cost.activations),
         _amount(row.memory, "B"))
        for row in rows
    ]  # fmt: skip
    speeds = [
        (
            row.name,
            _cell(row.single, row.failures, "single"),
            _cell(row.batch, row.failures, "batch"),
            _rate(row.images_per_second),
            _amount(row.macs_per_second),
            "–" if row.share_of_peak is None else f"{100 * row.share_of_peak:.1f} %",
        )
        for row in rows
    ]
    steps = [
        (row.name, _cell(row.training, row.failures, "training"), _rate(row.training_images_per_second),
         _amount(row.training_memory, "B"))
        for row in rows
    ]  # fmt: skip
    uses = [
        (row.name, "–", "–", "–", "–")
        if row.energy is None
        else (
            row.name,
            _figures(row.energy.watts),
            _figures(row.energy.idle_watts),
            _figures(row.energy.joules_per_image),
            amount(row.energy.images_per_watt_hour),
        )
        for row in rows
    ]
    tables = [
        _table(("", "px", "MACs", "params", "activations", "memory"), costs, map(_record, rows)),
        _table(("inference", "batch 1, ms", f"batch {batch}, ms", "images/s", "MACs/s", "of peak"), speeds),
    ]
    if settings["training"]:
        tables.append(_table(("training", f"step of {batch}, ms", "images/s", "memory"), steps))
    if settings["energy"]:
        tables.append(_table(("energy", "watts", "idle", "joules/image", "images/Wh"), uses))
    if page.is_terminal:
        for table in tables:
            page.show([table])
            console.print()
    else:
        page.show(tables, document, indent=2)
    for row in rows:
        for reason in dict.fromkeys(row.failures.values()):
            kinds = [_KINDS[kind].format(batch) for kind, why in row.failures.items() if why == reason]
            console.print(f"{row.name}: {', '.join(kinds)}: {reason}", style="red", soft_wrap=True)
    for note in _notes(rows, settings, about["environment"]):
        console.print(note, style="dim")


_KINDS = {
    "build": "building it",
    "single": "batch 1",
    "batch": "batch {}",
    "training": "training",
    "energy": "energy is not measured",
}


def _notes(rows: Sequence[Measurement], settings: Mapping[str, Any], where: Mapping[str, Any]) -> list[str]:
    cuda = settings["device"].startswith("cuda")
    layout = "channels last" if settings["channels_last"] else "contiguous"
    mode = "compiled" if settings["compile"] else "eager"
    count = f"{where['threads']} thread{'s' * (where['threads'] != 1)}"
    machine = where["device"] if cuda else f"{where['device']}, {count}"
    notes = [
        f"{machine} · {settings['precision']} · {layout} · {mode} · torch {where['torch']}",
        "MACs are multiply-adds of convolutions and linear layers, activations their outputs, both per image",
    ]
    if any(row.ran for row in rows):
        notes.append(
            f"ms: median over {settings['rounds']} rounds in which the networks take turns (10th–90th percentile of "
            "all calls); images are on the device, weights are fresh"
        )
    peak = next((row.matrix_peak for row in rows if row.share_of_peak is not None), None)
    if peak is not None:
        notes.append(
            f"of peak: 2 FLOPs per MAC, of the fastest {settings['precision']} matrix product measured here, "
            f"{amount(peak, 'FLOP/s')}"
        )
    if any(row.memory is not None for row in rows):
        kept = "the allocator's peak" if cuda else "weights, images and what lives between operations, no scratch space"
        notes.append(f"memory at batch {rows[0].batch_size}: {kept}")
    elif any(row.batch is not None for row in rows):
        notes.append("memory is measured on CUDA, and on a CPU unless the network is compiled")
    counted = next((row.energy.counter for row in rows if row.energy is not None), None)
    if counted:
        notes.append(
            f"energy of inference at batch {rows[0].batch_size} over {settings['energy_seconds']:g} s each, by "
            f"{counted}; idle power is in it"
        )
    if settings["training"]:
        notes.append("training: forward, backward and update by SGD with momentum; its memory only on CUDA")
    return notes


def _table(
    headings: Sequence[str], rows: Sequence[Sequence[str]], records: Iterable[Mapping[str, object]] = ()
) -> Table:
    """Numbers keep their line; a long name folds."""
    cells = zip(headings, zip(*rows, strict=True), strict=True)
    return Table([Column(name, each, words=i == 0, folds=i == 0) for i, (name, each) in enumerate(cells)], records)


def _record(row: Measurement) -> dict[str, object]:
    """A measurement as one line of values: those of a timing under its name, failures in words."""
    record: dict[str, object] = {}
    for key, value in as_plain(row).items():
        if key == "energy":
            record |= {f"energy_{what.name}": value and value[what.name] for what in fields(Energy)}
        elif key in _KINDS:
            record |= {f"{key}_{what.name}": value and value[what.name] for what in fields(Timing)}
        else:
            record[key] = "; ".join(f"{k}: {why}" for k, why in value.items()) if isinstance(value, dict) else value
    return record


def _cell(timing: Timing | None, failures: Mapping[str, str], kind: str) -> str:
    if timing is not None:
        return f"{_figures(timing.median_ms)} ({_figures(timing.p10_ms)}–{_figures(timing.p90_ms)})"
    reason = failures.get("build", failures.get(kind))
    if reason is None:
        return "–"
    return reason if reason == "out of memory" else "failed"


def _figures(value: float) -> str:
    """Three of them, no power of ten: 0.123, 1.23, 12.3, 123, 1234."""
    return f"{value:.3g}" if value < 1000 else f"{value:.0f}"


def _rate(value: float | None) -> str:
    return "–" if value is None else _figures(value)


def _amount(value: float | None, unit: str = "") -> str:
    return "–" if value is None else amount(value, unit)
