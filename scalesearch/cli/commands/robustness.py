"""What `robustness` does, between its options and what it prints."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any

import numpy as np
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from scalesearch.data.corruptions import PUBLISHED
from scalesearch.errors import RunError
from scalesearch.image_size import area, as_resolution, mean_side
from scalesearch.ranking.robustness import Measured, differences, in_words, no_better, robustness
from scalesearch.report.figures.canvas import drawing
from scalesearch.report.figures.files import save
from scalesearch.report.figures.robustness import severity_curve
from scalesearch.report.formats import Page, comma_separated, titled
from scalesearch.report.robustness_tables import difference_record, record, robustness_tables
from scalesearch.report.units import duration
from scalesearch.run_files import read_result
from scalesearch.run_folder import RunFolder
from scalesearch.search.provenance import environment
from scalesearch.search.robustness_job import RobustnessJob, RobustnessRequest, robustness_job
from scalesearch.training.robustness import measure, seconds_an_image
from scalesearch.training.trained import ready
from scalesearch.training.trainer import Trainer
from scalesearch.trials import packed, unpacked

RESULT = "robustness.json"
LINES_APART = 60.0
"""Seconds between two lines of progress in a log."""


def robustness_command(wish: RobustnessRequest, *, dry_run: bool, form: str) -> None:
    """Measure the networks, or say what that would take; write and print the tables.

    Raises:
        ScaleSearchError: whatever the user can mend.
    """
    page = Page(form)
    console = page.remarks()
    job = robustness_job(wish)
    source, precision = job.clean.source, job.recipe.train.precision
    about = f"{source.title} · corrupted at {job.side} px · {job.device} {precision} · recipe {job.recipe.name}"
    console.print(about, soft_wrap=True)
    trainers = []
    for network, normalisation in zip(job.networks, job.normalisations, strict=True):
        trainer, loaded = ready(network, len(source.classes), job.recipe, job.device, normalisation)
        trainers.append(trainer)
        console.print(f"{network.name} · {network.model.resolution} px · {loaded.words}", soft_wrap=True)
    for words in job.remarks:
        console.print(words, soft_wrap=True)
    if dry_run:
        console.print(_price(job, trainers), soft_wrap=True)
        return
    with RunFolder(job.folder) as folder:
        folder.adopt(job.recipe, job.settings)
        if (job.folder / RESULT).is_file():
            console.print("measured before, shown again", soft_wrap=True)
        else:
            console.print(_price(job, trainers), soft_wrap=True)
            folder.write(RESULT, json.dumps(_measured(job, trainers), indent=1, ensure_ascii=False) + "\n")
        _show(job, folder, page, wish.confidence)


def _price(job: RobustnessJob, trainers: Sequence[Trainer]) -> str:
    """How many images there are, and what they take, from a few of them."""
    took, counts = 0.0, []
    for each in job.sets:
        few = job.decoded(each, job.recipe.train.batch_size)
        took += len(each.indices) * seconds_an_image(trainers, few, each.conditions, job.corruptor(few))
        counts.append(f"{each.name} {len(each.indices):,} images".strip())
    return (
        f"{' · '.join(counts)} · {len(job.clean.conditions)} conditions, {len(trainers)} "
        f"network{'s' * (len(trainers) != 1)} · about {duration(took)} and the decoding (from one batch)"
    )


def _measured(job: RobustnessJob, trainers: Sequence[Trainer]) -> dict[str, Any]:
    """Which images of every set each network gets right under each condition, as plain values."""
    found, start, done = [], time.perf_counter(), 0
    try:
        with _progress(sum(len(each.indices) for each in job.sets)) as told:
            for each in job.sets:
                images = job.decoded(each)
                corruptor = job.corruptor(images)
                right, changed = measure(
                    trainers, images, each.conditions, corruptor, told=partial(_on_top, told, done)
                )
                done += len(each.indices)
                found.append(
                    {
                        "name": each.name,
                        "title": each.source.title,
                        "fingerprint": each.source.fingerprint,
                        "split": each.kind,
                        "classes": list(each.source.classes),
                        "images": len(images),
                        "left_out": images.left_out,
                        "largest_class": int(images.split.labels.bincount().max()) / len(images),
                        "px": images.size,
                        "conditions": [
                            {
                                "corruption": c.corruption,
                                "severity": c.severity,
                                "level": corruptor.level(c),
                                "changed": differs,
                            }
                            for c, differs in zip(each.conditions, changed.tolist(), strict=True)
                        ],
                        "right": [[packed(of) for of in network] for network in right],
                    }
                )
    except KeyboardInterrupt:
        Console(stderr=True).print("\nstopped: nothing was kept; the same command begins anew", soft_wrap=True)
        raise
    return {
        "networks": [
            {"name": n.name, "px": n.model.resolution, "weights": n.weights.name, "layers": n.model.fingerprint}
            for n in job.networks
        ],
        "sets": found,
        "seconds": round(time.perf_counter() - start, 1),
        "environment": environment(["scalesearch", *sys.argv[1:]], job.device, {}),
    }


Told = Callable[[int], None]


def _on_top(told: Told, before: int, done: int) -> None:
    told(before + done)


@contextmanager
def _progress(total: int) -> Iterator[Told]:
    """Says how many images are done: a bar on a terminal, a line a minute in a log."""
    console = Console(stderr=True, highlight=False)
    if console.is_terminal:
        columns = (BarColumn(), TextColumn("{task.completed:,} of {task.total:,} images"), TimeRemainingColumn())
        with Progress(*columns, console=console, transient=True) as bars:
            task = bars.add_task("", total=total)
            yield lambda done: bars.update(task, completed=done)
        return
    last = time.perf_counter()

    def line(done: int) -> None:
        nonlocal last
        if time.perf_counter() - last >= LINES_APART:
            last = time.perf_counter()
            console.print(f"{done:,} of {total:,} images", soft_wrap=True)

    yield line


def as_measured(found: dict[str, Any]) -> Measured:
    """What `robustness.json` holds, as arrays."""
    clean, *domains = found["sets"]
    every = {
        (c["corruption"], c["severity"]): np.stack(
            [unpacked(network[place], clean["images"]) for network in clean["right"]]
        )
        for place, c in enumerate(clean["conditions"])
    }
    corruptions = dict.fromkeys(corruption for corruption, _ in every if corruption)
    return Measured(
        tuple(network["name"] for network in found["networks"]),
        every[(None, 0)],
        {name: {s: right for (other, s), right in every.items() if other == name} for name in corruptions},
        {
            each["name"]: np.stack([unpacked(network[0], each["images"]) for network in each["right"]])
            for each in domains
        },
    )


def _show(job: RobustnessJob, folder: RunFolder, page: Page, confidence: float) -> None:
    """Tables to the folder and to stdout, a figure of each corruption to the folder."""
    found = read_result(job.folder, RESULT)
    try:
        measured = as_measured(found)
        clean = found["sets"][0]
        largest = {each["name"]: each["largest_class"] for each in found["sets"]}
        levels = {(c["corruption"], c["severity"]): c["level"] for c in clean["conditions"]}
    except (KeyError, TypeError, ValueError, IndexError) as failure:
        raise RunError(f"cannot read {job.folder / RESULT}: delete it, and it is measured anew") from failure
    rows, apart = robustness(measured, confidence), differences(measured, confidence)
    tables = robustness_tables(rows, apart, job.settings["severities"])
    words = [*in_words(apart, confidence), *no_better(rows, largest)]
    notes = _notes(job, found, confidence)
    folder.write("robustness.csv", comma_separated(tables))
    folder.write("robustness.md", "\n".join([*map(titled, tables), *(f"{line}\n" for line in (*words, *notes))]))
    about = f"{clean['images']:,} images of {clean['title']}"
    with drawing():
        for corruption in measured.corrupted:
            own = [row for row in rows if row.under == corruption]
            ticks = {s: _level(corruption, levels[corruption, s]) for s in job.settings["severities"]}
            save(severity_curve(own, ticks, about), job.folder / "figures")
    document = {
        "networks": found["networks"],
        "sets": [{key: value for key, value in each.items() if key != "right"} for each in found["sets"]],
        "confidence": confidence,
        "accuracies": [record(row) for row in rows],
        "differences": [difference_record(row) for row in apart],
        "words": words,
        "environment": found["environment"],
    }
    console = page.remarks()
    if page.is_terminal:
        for table in tables:
            console.print()
            page.show([table])
        console.print()
    else:
        page.show(tables, document, indent=1)
    for line in words:
        console.print(line)
    for line in notes:
        console.print(line, style="dim")
    console.print(f"wrote   {job.folder}/{RESULT} · robustness.csv · robustness.md · figures/", soft_wrap=True)


def _level(corruption: str, level: float) -> str:
    """What a severity comes to, for a figure's axis."""
    forms = {
        "gaussian_noise": "σ {:g}",
        "gaussian_blur": "σ {:.2g} px",
        "jpeg_compression": "quality {:g}",
        "brightness": "+{:g}",
        "contrast": "×{:g}",
    }
    return forms[corruption].format(level)


def _notes(job: RobustnessJob, found: dict[str, Any], confidence: float) -> list[str]:
    """What a reader of the tables needs to know."""
    clean, notes = found["sets"][0], []
    if job.clean.conditions[1:]:
        levels = PUBLISHED[job.settings["levels"]]
        seen = round(job.settings["eval_crop"] * mean_side(as_resolution(clean["px"])))
        notes.append(
            f"severities as published for {levels.title} (Hendrycks & Dietterich 2019), gaussian_blur in its extra set"
        )
        if seen != levels.side:
            notes.append(
                f"published for {levels.side} px, and these images have {seen}: the blur's σ is scaled by "
                f"{seen}/{levels.side}; noise is per pixel and JPEG in blocks of 8 px, "
                f"{'coarser' if seen < levels.side else 'finer'} here than there (--size corrupts them at another size)"
            )
        idle = [
            f"{c['corruption']} {c['severity']}" for c in clean["conditions"] if c["corruption"] and not c["changed"]
        ]
        if idle:
            notes.append(f"too weak at this size to change any image: {', '.join(idle)}")
    own = as_resolution(clean["px"])
    if area(own) < area(job.side):
        notes.append(f"images were corrupted at {own} px, their own size, not at {job.side}")
    notes += [
        f"{each['left_out']} images that cannot be decoded were left out" for each in found["sets"] if each["left_out"]
    ]
    notes.append("kept: accuracy as a share of the clean one; mean: over the severities")
    if len(job.networks) > 1:
        notes.append(
            f"to the first: points of accuracy more than {job.networks[0].name} has on the same images; beyond clean: "
            "that, less what it is on clean images. Another seed would have given other weights"
        )
    notes.append(f"{clean['images']:,} images; intervals at {100 * confidence:g} % are over images, each by itself")
    return notes
