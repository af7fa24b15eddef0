"""What `quantize` does, between its options and what it prints."""

from __future__ import annotations

import json
import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

from rich.console import Console
from rich.live import Live
from rich.text import Text

from scalesearch.errors import RecipeError
from scalesearch.files import write_text
from scalesearch.image_size import Resolution
from scalesearch.report.formats import Column, Page, Table
from scalesearch.report.units import duration
from scalesearch.runtime.device import device_name
from scalesearch.runtime.threads import cores
from scalesearch.search.provenance import environment
from scalesearch.training.int8_files import BATCH, CPU, QuantizeSettings, Task, tasks_of
from scalesearch.training.quantize import BLAMED, SAME, SLIGHT, Quantized, as_plain, price, quantize
from scalesearch.training.trained import OnImages, on_images, open_network
from scalesearch.training.trained_files import all_trained_files
from scalesearch.validation import parse

RESULT, TABLE = "quantize.json", "quantize.md"


def quantize_command(
    specs: Sequence[str],
    weights: Sequence[Path],
    options: Mapping[str, object],
    *,
    recipe: str | None,
    overrides: Mapping[str, object],
    resolution: Resolution | None,
    out: Path,
    dry_run: bool,
    form: str,
) -> None:
    """Quantise the networks, print the table, and write it beside the files.

    Raises:
        ScaleSearchError: whatever the user can mend, before anything long begins wherever that can be known.
    """
    page = Page(form)
    settings = parse(QuantizeSettings, dict(options), RecipeError)
    if settings.threads is not None and settings.threads > cores():
        raise RecipeError("--threads", f"at most this machine's {cores()}", settings.threads)
    for key in overrides:
        if not key.startswith("data.") and key != "augment.eval_crop":
            raise RecipeError("--set", "a key of data, or augment.eval_crop, as nothing is trained here", key)
    networks = _networks(specs, weights, recipe, overrides, resolution)
    tasks = tasks_of(networks, settings)
    console = page.remarks()
    seconds = price(tasks, settings)  # weights that do not fit are told here
    for task in tasks:
        console.print(_headline(task, settings), soft_wrap=True)
        for words in filter(None, [task.source.note, *task.seen]):
            console.print(words, soft_wrap=True)
    console.print(f"about {duration(seconds)} beside exporting and decoding (from a timed forward pass)")
    if dry_run:
        if not page.is_terminal:
            page.show([_plan(tasks, seconds)], {"seconds": seconds, "networks": [_planned(each) for each in tasks]})
        return
    progress = Console(stderr=True)
    if progress.is_terminal:  # no spinner: its thread would take time from what is timed
        with Live(console=progress, auto_refresh=False, transient=True) as line:
            done = quantize(tasks, settings, out, lambda words: line.update(Text(words), refresh=True))
    else:
        done = quantize(tasks, settings, out)
    about = environment(["scalesearch", *sys.argv[1:]], CPU, {})
    del about["data"]
    document = {
        "environment": about | {"onnxruntime_threads": settings.threads or "its own choice"},
        "settings": settings.model_dump(mode="json"),
        "networks": [as_plain(each) for each in done],
    }
    notes = _notes(done, settings)
    page.show([table_of(done, notes, brief=page.is_terminal)], document, indent=2)
    for each in done:
        for words in _told(each):
            console.print(words, soft_wrap=True)
        verdict = f"{each.task.label}: {_verdict(each)}"
        console.print(verdict, style="bold red" if each.lossy or each.same < SAME else "", soft_wrap=True)
    write_text(out / RESULT, json.dumps(document, ensure_ascii=False, indent=2) + "\n")
    whole = table_of(done, notes, brief=False)
    write_text(out / TABLE, whole.markdown() + "\n" + "\n".join(f"- {note}" for note in whole.notes) + "\n")
    folders = ", ".join(each.task.label for each in done)
    console.print(f"wrote   {out}/{RESULT} · {TABLE}; float.onnx and int8.onnx in {out}/: {folders}", soft_wrap=True)


def _networks(
    specs: Sequence[str],
    weights: Sequence[Path],
    recipe: str | None,
    overrides: Mapping[str, object],
    resolution: Resolution | None,
) -> list[OnImages]:
    """Each network with its weights and its images: folders have their own, the others take those given, in order."""
    files = all_trained_files(specs, weights)
    return [on_images(open_network(each, resolution), recipe, overrides) for each in files]


def _planned(task: Task) -> dict[str, object]:
    trained = task.trained
    return {
        "network": task.label,
        "weights": str(trained.network.weights),
        "resolution": trained.model.resolution,
        "eval_crop": trained.recipe.augment.eval_crop,
        "source": trained.recipe.data.source,
        "calibration_images": task.calibration,
        "images": task.validation,
        "split": task.split,
    }


def _plan(tasks: Sequence[Task], seconds: float) -> Table:
    """What would be done, a row for each network."""
    records = [_planned(task) for task in tasks]
    cells = [[str(value) for value in record.values()] for record in records]
    words = ("network", "weights", "source", "split")
    return Table.of(list(records[0]), cells, records, words=words, notes=[f"about {duration(seconds)}"])


def _headline(task: Task, settings: QuantizeSettings) -> str:
    trained = task.trained
    held_out = "val"
    if task.split != "val":
        held_out = "the minival (there is no val), which other programs' trainings may have seen,"
    few = "" if task.calibration == settings.calibration_images else " (all there are)"
    return (
        f"{task.label} · {trained.network.weights} · {trained.model.resolution} px, "
        f"crop {trained.recipe.augment.eval_crop:g} (recipe {trained.recipe_file}) · {task.source.title}: "
        f"{task.calibration:,} training images{few} calibrate, "
        f"{task.validation:,} of {held_out} measure"
    )


def table_of(done: Sequence[Quantized], notes: Sequence[str], *, brief: bool) -> Table:
    """A row for each network; ``brief`` puts float and INT8 into one column, for 80 columns of a terminal."""
    names = Column("", [each.task.label for each in done], words=True, folds=True)
    sizes = [[f"{size / 1e6:.2f}" for size in (each.plain_bytes, each.int8_bytes)] for each in done]
    accuracies = [[f"{100 * value:.1f}" for value in (each.plain, each.int8)] for each in done]
    times = [[_milliseconds(timing.median_ms) for timing in each.latency] for each in done]
    apart = Column("difference", [_difference(each) for each in done])
    same = Column("same %", [f"{100 * each.same:.1f}" for each in done])
    pairs = {"MB": sizes, "acc %": accuracies, "ms": times}
    if brief:
        columns = {name: [Column(name, [" → ".join(pair) for pair in cells])] for name, cells in pairs.items()}
    else:
        columns = {
            name: [Column(f"{what} {name}", [pair[i] for pair in cells]) for i, what in enumerate(("float", "INT8"))]
            for name, cells in pairs.items()
        }
    every = [names, *columns["MB"], *columns["acc %"], apart, same, *columns["ms"]]
    return Table(every, map(_record, done), notes)


def _milliseconds(value: float) -> str:
    return f"{value:.2f}" if value < 10 else f"{value:.1f}"


def _difference(each: Quantized) -> str:
    value, low, high = (100 * v for v in (each.difference.value, each.difference.low, each.difference.high))
    return f"{value:.1f} ({low:.1f}…{high:.1f})"


def _record(each: Quantized) -> dict[str, object]:
    """A line of values: timings as their medians, lists in words."""
    record: dict[str, object] = {}
    for key, value in as_plain(each).items():
        if isinstance(value, Mapping):
            record[key] = value["median_ms"] if "median_ms" in value else " ".join(f"{k}:{v}" for k, v in value.items())
        else:
            record[key] = " ".join(value) if isinstance(value, list) else value
    return record


def _notes(done: Sequence[Quantized], settings: QuantizeSettings) -> list[str]:
    from importlib.metadata import version

    threads = f"{settings.threads} thread{'s' * (settings.threads != 1)}" if settings.threads else "its own threads"
    splits = Counter(f"{each.images:,} images of {each.task.split}" for each in done)
    return [
        f"accuracy: top-1 on {', '.join(splits)}, both files run by onnxruntime {version('onnxruntime')}; difference: "
        "INT8 less float in points, on the same images, with its 95 % interval; same: both say the same class",
        f"ms: batch 1 on this machine ({device_name(CPU)}, {threads}), the files in turns; a phone's are others",
        f"INT8: static, weights int8 per channel, activations uint8, ranges by {settings.method}",
    ]


def _told(each: Quantized) -> list[str]:
    """What a reader of the row has to know."""
    label, ops = each.task.label, each.operators
    bits = "7 bits" if ops.reduce_range else "8 bits"
    differ = f"{each.agreement.difference:.1e} in a logit, of up to {each.agreement.largest:.2g}"
    in_float = _counted(ops.in_float) or "nothing"
    words = [
        f"{label}: float.onnx and PyTorch ({100 * each.eager:.1f} %) differ by at most {differ}; {bits}: {each.why}",
        f"{label}: in INT8 here {_counted(ops.in_int8)}; in float {in_float}"
        + (f"; --keep-float names {_some(ops.kept)}" if ops.kept else ""),
    ]
    if ops.idle:
        words.append(
            f"{label}: --keep-float changes nothing of {_some(ops.idle)}: onnxruntime computes them in INT8 all the "
            "same, as their neighbours are, or has no INT8 form of them"
        )
    words.insert(0, f"{label}: {each.task.trained.normalisation.words}")
    if each.weights:
        words.insert(0, f"{label}: {each.weights}")
    if each.int8_bytes >= each.plain_bytes:
        words.append(f"{label}: the INT8 file is no smaller: the network is so small that scales outweigh its weights")
    return words


def _some(layers: Sequence[str]) -> str:
    more = f" and {len(layers) - 3} more" if len(layers) > 3 else ""
    return ", ".join(layers[:3]) + more


def _counted(kinds: Mapping[str, int]) -> str:
    return ", ".join(f"{count} {kind}" for kind, count in kinds.items())


def _verdict(each: Quantized) -> str:
    """What the interval says of a loss, and which layers to look at where there is reason to."""
    difference, slight = each.difference, 100 * SLIGHT
    interval = f"95 %: {100 * difference.low:.1f}…{100 * difference.high:.1f}"
    if each.lossy:
        words = f"lost {-100 * difference.value:.1f} points ({interval})"
    elif each.sound:
        words = f"no more than {slight:g} point is lost ({interval})"
    else:
        words = f"{each.images:,} images cannot tell whether more than {slight:g} point is lost ({interval})"
    if each.same < SAME:
        words += f"; of {100 * (1 - each.same):.0f} % of the images INT8 says another class"
    if each.blamed:
        first = ", ".join(f"{part} {100 * share:.0f} %" for part, share in each.blamed[:3])
        images = min(each.task.calibration, BLAMED * BATCH)
        words += (
            f"; INT8 in one part alone changes the class of so many of {images} calibration images: {first}; "
            "try another --method, or --keep-float"
        )
    elif each.lossy or each.same < SAME:
        words += "; no part of it alone does so; try another --method"
    return words
