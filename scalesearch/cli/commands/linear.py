"""What `linear` does, between its options and what it prints: networks' features judged by logistic regression."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from scalesearch.data.about import described, doubts
from scalesearch.data.broken import SKIPPED, listed
from scalesearch.data.images import Images, load_images, split_indices
from scalesearch.data.sources import Source, open_source
from scalesearch.errors import RecipeError, RunError
from scalesearch.image_size import Resolution, area
from scalesearch.models.protocols import ScaledModel
from scalesearch.models.weights_file import write_weights
from scalesearch.ranking.image_intervals import Interval, mean_of_classes, paired_difference, share
from scalesearch.recipe import Recipe, dump_recipe, merged
from scalesearch.report.formats import Column, Page, Table
from scalesearch.report.units import amount, duration, params
from scalesearch.run_files import read_result
from scalesearch.run_folder import RunFolder, digest, file_digest, flat, slug, without_defaults
from scalesearch.runtime.device import pick_device
from scalesearch.scaling.spec_files import dump_spec
from scalesearch.search.provenance import environment
from scalesearch.settings import AugmentSettings
from scalesearch.training.inputs import settled
from scalesearch.training.linear import FEATURES, Judged, LinearSettings, Probe, judge, open_probe
from scalesearch.training.trained import TrainedNetwork, fixed_channels, open_network
from scalesearch.training.trained_files import (
    FITTED,
    RECIPE,
    SPEC,
    WEIGHTS,
    about_classes,
    about_weights,
    all_trained_files,
    weights_in,
)
from scalesearch.trials import packed, unpacked
from scalesearch.validation import parse

WORDY = ("correct", "weights")
"""Keys of an outcome that are no cell of a table."""


@dataclass(frozen=True)
class LinearRequest:
    """What the command line asks for: networks, weights of those that are no folders, settings by dotted key."""

    specs: Sequence[str]
    weights: Sequence[Path]
    options: Mapping[str, object]
    resolution: Resolution | None = None
    out: Path | None = None
    confidence: float = 0.95


@dataclass(frozen=True)
class Job:
    """Everything that is open before the first image is decoded."""

    settings: LinearSettings
    models: dict[str, tuple[ScaledModel, Path]]
    source: Source
    device: torch.device
    counts: tuple[int, int, int]
    folder: Path
    seen: tuple[str, ...] = ()

    @property
    def images(self) -> int:
        """How many images every network sees."""
        return sum(self.counts)

    def kept(self, name: str) -> dict[str, Any]:
        """Everything that changes a network's result, by dotted key."""
        model, weights = self.models[name]
        plain = self.settings.model_dump(mode="json", exclude={"device", "batch_size"})
        for key in ("source", "cache", "cache_size", "workers", "on_error"):
            plain["data"].pop(key)
        plain["data"]["fingerprint"] = self.source.fingerprint
        plain["data"] = without_defaults(plain["data"])
        return flat(plain) | {"network": model.fingerprint, "weights": file_digest(weights)}


def linear_command(wish: LinearRequest, *, dry_run: bool, form: str) -> None:
    """Fit every network's classifier, write the networks, and print how they compare; or the price of it.

    Raises:
        ScaleSearchError: whatever the user can mend.
    """
    page = Page(form)
    if not 0.5 < wish.confidence < 1:
        raise RecipeError("--confidence", "a probability above 0.5 and below 1", wish.confidence)
    job = job_of(wish)
    told = page.remarks() if dry_run or page.is_terminal else Console(stderr=True, highlight=False, markup=False)
    told.print(f"{job.source.title} · {job.device}\n{described(job.source)}", soft_wrap=True)
    for words in filter(None, [job.source.note, *job.seen]):
        told.print(words, soft_wrap=True)
    if dry_run:
        _price(job, page)
        return
    try:
        done = {name: _outcome(job, name, told) for name in job.models}
    except KeyboardInterrupt:
        Console(stderr=True).print(
            "\nstopped: the same command goes on; features that were finished are kept", soft_wrap=True
        )
        raise
    _show(done, job, page, wish.confidence)


def job_of(wish: LinearRequest) -> Job:
    """Open networks, files and images; nothing is decoded or computed.

    Raises:
        ScaleSearchError: whatever of it the user can mend.
    """
    settings = parse(LinearSettings, merged({}, wish.options), RecipeError)
    files = all_trained_files(wish.specs, wish.weights, "--from-weights")
    device = pick_device(settings.device)
    opened = [open_network(each, wish.resolution) for each in files]
    fixed = {each.name: channels for each in opened if (channels := fixed_channels(each)) is not None}
    if len(set(fixed.values())) > 1:
        several = ", ".join(f"{name} {channels}" for name, channels in fixed.items())
        raise RecipeError("SPEC", "networks that take as many channels, since all see the same images", several)
    name, own = next(iter(fixed.items()), (opened[0].name, None))
    seen = settled(settings.data, open_source(settings.data), name, own, opened[0].model.resolution)
    opened = [open_network(each, wish.resolution, seen.data.channels) for each in files]
    settings, source = settings.model_copy(update={"data": seen.data}), seen.source
    counts = tuple(len(part) for part in split_indices(source, settings.data))
    val = len(source.val.labels) if source.val is not None else 0
    plain = settings.model_dump(mode="json")
    plain["data"] = without_defaults(plain["data"])
    told = {"settings": plain, "images": source.fingerprint, "px": wish.resolution}
    folder = wish.out or Path("results") / f"linear-{slug(source.title)}-{digest(told)}"
    return Job(settings, _named(opened), source, device, (counts[0], counts[1], val), folder, seen.words)


def _named(opened: Sequence[TrainedNetwork]) -> dict[str, tuple[ScaledModel, Path]]:
    """The networks by their names; those of one name by that and their file's.

    Raises:
        RecipeError: a network is asked for twice with the same file.
    """
    names = [slug(network.name) for network in opened]
    full = [
        name if names.count(name) == 1 else slug(f"{name}-{network.weights.parent.name}-{network.weights.stem}")
        for name, network in zip(names, opened, strict=True)
    ]
    if len(set(full)) < len(full):
        twice = next(name for name in full if full.count(name) > 1)
        raise RecipeError("SPEC", "each network and file once", twice)
    return {name: (network.model, network.weights) for name, network in zip(full, opened, strict=True)}


def _opened(job: Job, name: str) -> Probe:
    model, weights = job.models[name]
    return open_probe(model, weights, len(job.source.classes), job.settings, job.device, job.source)


def _price(job: Job, page: Page) -> None:
    rows, records, notes, total = [], [], [], 0.0
    for name in job.models:
        probe = _opened(job, name)
        width, each = probe.head.width, probe.seconds_an_image()
        seconds, cost = each * job.images, probe.model.cost(probe.classes)
        rows.append((name, str(probe.model.resolution), amount(cost.macs), str(width), duration(seconds)))
        records.append(
            {
                "network": name, "resolution": probe.model.resolution, "macs": cost.macs, "features": width,
                "images": job.images, "seconds": seconds,
            }
        )  # fmt: skip
        total += seconds
        notes += [probe.loaded.words, probe.normalisation.words]
    notes += [
        f"about {duration(total)} of features, from batches of {job.settings.batch_size}; decoding the images and "
        "the regressions come on top, and are not foreseen"
    ]
    headings = ("", "px", "MACs", "features", f"of {job.images:,} images")
    cells = zip(headings, zip(*rows, strict=True), strict=True)
    columns = [Column(head, column, words=i == 0, folds=i == 0) for i, (head, column) in enumerate(cells)]
    page.show([Table(columns, records, notes)], records, indent=2)


def _outcome(job: Job, name: str, told: Console) -> dict[str, Any]:
    """A network's outcome, from its folder if it is there."""
    place = job.folder / name
    with RunFolder(place) as folder:
        folder.claim(job.kept(name))
        if (place / FITTED).is_file() and weights_in(place) is not None:
            told.print(f"{name}: done before", soft_wrap=True)
            return read_result(place, FITTED)
        probe = _opened(job, name)
        told.print(f"{name} · {probe.model.resolution} px", soft_wrap=True)
        told.print(probe.loaded.words, probe.normalisation.words, sep="\n", soft_wrap=True)
        price = probe.seconds_an_image() * job.images
        told.print(f"about {duration(price)} of features, and the regression", soft_wrap=True)
        images = load_images(job.source, job.settings.data, probe.decoded_at)
        for words in doubts(images):
            told.print(words, soft_wrap=True)
        if images.skipped:
            folder.write(SKIPPED, listed(images.skipped))
        if area(images.size) < area(probe.decoded_at):
            told.print(f"images of {images.size} px are enlarged to {probe.decoded_at}", soft_wrap=True)
        with _progress(job.images) as (computed, doing):
            judged = judge(probe, images, computed, doing, place)
        done = _as_plain(job, name, probe, images, judged)
        recipe = _recipe(job, probe)
        about = about_weights(probe.model.spec, recipe, job.source.classes)
        try:
            write_weights(place / WEIGHTS, probe.network.state_dict(), about)
        except (OSError, RuntimeError, ValueError) as failure:
            raise RunError(f"cannot write {place / WEIGHTS}: {str(failure).partition(chr(10))[0]}") from failure
        folder.write(SPEC, dump_spec(probe.model.spec))
        folder.write(RECIPE, dump_recipe(recipe))
        for feature in FEATURES:
            (place / feature).unlink(missing_ok=True)
        folder.write(FITTED, json.dumps(done, indent=1, ensure_ascii=False) + "\n")
        told.print(f"wrote   {place}/{WEIGHTS} · {FITTED} · {SPEC}", soft_wrap=True)
        return done


def _recipe(job: Job, probe: Probe) -> Recipe:
    """How the network sees images, for whatever measures it afterwards; it was trained by no schedule."""
    normal = {"mean": probe.normalisation.mean, "std": probe.normalisation.std}
    return Recipe(
        name="linear",
        baseline=SPEC,
        resolution=probe.model.resolution,
        data=job.settings.data.model_copy(update=normal),
        augment=AugmentSettings(eval_crop=job.settings.eval_crop),
    )


def _as_plain(job: Job, name: str, probe: Probe, images: Images, judged: Judged) -> dict[str, Any]:
    cost = probe.model.cost(probe.classes)
    data = {
        "title": job.source.title,
        "fingerprint": job.source.fingerprint,
        **about_classes(job.source.classes),
        "fitted": judged.trained_on,
        "chosen_on": judged.chosen_on,
        "measured_on": judged.measured_on,
        "measured": len(judged.labels),
    }
    fit = judged.fit
    return {
        "network": name,
        "resolution": probe.model.resolution,
        "macs": cost.macs,
        "params": cost.params,
        "features": judged.features,
        "accuracy": float(judged.correct.mean()),
        "correct": packed(torch.from_numpy(judged.correct)),
        "right_of_class": judged.of_classes(judged.correct).tolist(),
        "images_of_class": judged.of_classes().tolist(),
        "penalty": fit.penalty,
        "chosen_accuracy": fit.chosen.accuracy,
        "tried": [asdict(each) for each in fit.tried],
        "at_the_end": fit.at_the_end,
        "converged": fit.converged,
        "feature_seconds": judged.feature_seconds,
        "fit_seconds": judged.fit_seconds,
        "normalisation": {"mean": probe.normalisation.mean, "std": probe.normalisation.std},
        "weights": probe.loaded.words,
        "environment": environment(["scalesearch", *sys.argv[1:]], job.device, data),
    }


@contextmanager
def _progress(images: int) -> Iterator[tuple[Callable[[int], None], Callable[[str], None]]]:
    """A bar on a terminal, nothing elsewhere: what counts images, and what says how the regression goes."""
    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.completed:,} of {task.total:,} images"))
    with Progress(
        *columns, TimeRemainingColumn(), console=console, transient=True, disable=not console.is_terminal
    ) as bar:
        task = bar.add_task("features", total=images)
        yield lambda count: bar.advance(task, count), lambda words: bar.update(task, description=words)


def _show(done: Mapping[str, Mapping[str, Any]], job: Job, page: Page, confidence: float) -> None:
    """The networks, best first, each with what the validation images leave open."""
    ranked = sorted(done.values(), key=lambda each: -each["accuracy"])
    first = ranked[0]
    rows, records = [], []
    for each in ranked:
        right = _right(each)
        accuracy = share(right, confidence)
        classes = mean_of_classes(np.array(each["right_of_class"]), np.array(each["images_of_class"]), confidence)
        gap = paired_difference(right, _right(first), confidence) if each is not first else None
        rows.append(
            (each["network"], str(each["resolution"]), amount(each["macs"]), params(each["params"]), _percent(accuracy),
             _percent(classes), "" if gap is None else _points(gap))
        )  # fmt: skip
        told = {key: value for key, value in each.items() if not isinstance(value, list | dict) and key not in WORDY}
        extra = {"accuracy": accuracy, "per_class": classes, "gap": gap}
        bounds = {
            f"{key}_{end}": None if value is None else getattr(value, end)
            for key, value in extra.items()
            for end in ("low", "high")
        }
        records.append(told | {"per_class": classes.value, "gap": gap and gap.value} | bounds)
    headings = (
        "",
        "px",
        "MACs",
        "params",
        f"{first['environment']['data']['measured_on']} %",
        "per class %",
        "to first",
    )
    cells = zip(headings, zip(*rows, strict=True), strict=True)
    columns = [Column(head, column, words=i == 0, folds=i == 0) for i, (head, column) in enumerate(cells)]
    page.show([Table(columns, records, list(_notes(ranked, confidence)))], records, indent=2)


def _right(each: Mapping[str, Any]) -> Any:
    return unpacked(each["correct"], each["environment"]["data"]["measured"])


def _percent(share: Interval) -> str:
    return f"{100 * share.value:.1f} ({100 * share.low:.1f}–{100 * share.high:.1f})"


def _points(gap: Interval) -> str:
    return f"{100 * gap.value:.1f} ({100 * gap.low:.1f}…{100 * gap.high:.1f})"


def _notes(ranked: Sequence[Mapping[str, Any]], confidence: float) -> Iterator[str]:
    data = ranked[0]["environment"]["data"]
    yield (
        f"logistic regression on {data['fitted']:,} images, its penalty chosen on {data['chosen_on']:,} of them, "
        f"measured on {data['measured']:,} others ({data['measured_on']})"
    )
    yield (
        f"{100 * confidence:g} % intervals of the images alone (Agresti and Coull; per class, bootstrap; to first, "
        "paired over the images): another split of the training images, or other weights, are not in them"
    )
    for each in ranked:
        if not each["converged"]:
            yield f"{each['network']}: the last fit had not converged after its most iterations"
        if each["at_the_end"]:
            yield f"{each['network']}: no penalty beyond {each['penalty']:.3g} was tried, and it is the best"
