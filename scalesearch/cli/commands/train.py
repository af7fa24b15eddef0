"""What `train` does, between its options and what it prints: one network, on one device or by a team."""

from __future__ import annotations

import json
import os
import sys
from contextlib import ExitStack
from dataclasses import asdict, replace
from typing import Any

from rich.console import Console

from scalesearch.candidates.start import see_grown
from scalesearch.cli.notify import Ended
from scalesearch.data.about import described, doubts
from scalesearch.data.broken import SKIPPED, listed
from scalesearch.data.images import Images, load_images
from scalesearch.errors import RunError
from scalesearch.models.fvcore_count import counted
from scalesearch.models.weights import fitted
from scalesearch.models.weights_file import write_weights
from scalesearch.ranking.class_metrics import base_rate
from scalesearch.ranking.confusions import confusion
from scalesearch.ranking.image_intervals import share
from scalesearch.report.units import amount, duration, params
from scalesearch.run_files import read_result
from scalesearch.run_folder import RunFolder
from scalesearch.runtime.device import is_out_of_memory, release_memory
from scalesearch.runtime.team import ALONE, Team, place_in
from scalesearch.runtime.torchrun import connect, launch, membership
from scalesearch.scaling.spec_files import dump_spec
from scalesearch.search.estimate import is_long, training_seconds
from scalesearch.search.provenance import environment
from scalesearch.training.checkpoints import Checkpoints
from scalesearch.training.single import Job, TrainRequest, job_of
from scalesearch.training.train import NullListener, train
from scalesearch.training.trained_files import OUTCOME, SPEC, WEIGHTS, about_classes, about_weights, weights_in
from scalesearch.training.trainer import Evaluation, Trainer
from scalesearch.trials import Outcome, packed, unpacked_classes

SHOWN, WORST = 12, 5
"""Classes up to which all are printed; of more, how many of the least and the most accurate."""


def train_command(wish: TrainRequest, ended: Ended, *, processes: int, as_json: bool, dry_run: bool = False) -> None:
    """Train the network and print what came out; with several processes, have torchrun do this in each of them. With
    ``dry_run``, print what would be trained and how long that takes, and stop.

    Raises:
        ScaleSearchError: whatever the user can mend; what ended a process, in one line.
    """
    place = place_in(os.environ)
    try:
        if place is None and processes > 1:
            last = Team(processes - 1, processes, processes - 1, wish.sync_batchnorm)
            job = job_of(wish, last)  # mistakes are told here, once
            ended.run = job.folder
            if dry_run:
                _foresee(job, last, as_json=as_json)
            else:
                launch(processes)
            return
        team = replace(place or ALONE, sync_batchnorm=wish.sync_batchnorm)
        with membership(team):
            job = job_of(wish, team)
            ended.run = job.folder
            if dry_run:
                _foresee(job, team, as_json=as_json)
                return
            connect(team, job.device)
            _take_part(job, team, as_json=as_json)
    except KeyboardInterrupt:
        Console(stderr=True).print(f"\nstopped: {_left(ended)}", soft_wrap=True)
        raise


def _left(ended: Ended) -> str:
    """What is there to go on from."""
    if ended.run is None or Checkpoints(ended.run / "checkpoints").is_empty:
        return "no checkpoint was written yet (run.checkpoint_minutes says how often), and the same command begins anew"
    return "the same command goes on from the newest checkpoint"


def _take_part(job: Job, team: Team, *, as_json: bool) -> None:
    console = _console(quiet=as_json or not team.leads)
    with ExitStack() as stack:
        begins: list[str] = []
        if team.leads:
            folder = stack.enter_context(RunFolder(job.folder))
            begins = [] if _kept(job) else _start(job)  # a mistake in it leaves the folder to other settings
            folder.adopt(job.recipe, job.settings)
        console.print(_headline(job, team), *job.tuned, *begins, sep="\n")
        done = team.first(lambda: _kept(job)) or _trained(job, team, console)
        if not team.leads:
            return
        if as_json:
            print(json.dumps(done, ensure_ascii=False))
        console.print(_summary(done))
        for words in _classes(done):
            console.print(words)
        console.print(f"wrote   {weights_in(job.folder)} · {OUTCOME} · {SPEC} · recipe.yaml")


def _console(*, quiet: bool = False) -> Console:
    return Console(highlight=False, markup=False, soft_wrap=True, quiet=quiet)


def _foresee(job: Job, team: Team, *, as_json: bool) -> None:
    """A dry run: everything that opening the files tells, and the price."""
    console = _console(quiet=as_json)
    cost, done = job.model.cost(len(job.source.classes)), _kept(job) is not None
    console.print(_headline(job, team), *job.tuned, *([] if done else _start(job)), sep="\n")
    console.print(f"{amount(cost.macs)} multiply-adds, {params(cost.params)} parameters")
    _say_images(job, console)
    seconds = None if done or team.world > 1 else _seconds(job)
    if done:
        console.print(f"{job.folder} holds this training, finished: nothing would be trained")
    elif team.world > 1:
        console.print("how long several processes take is not foreseen")
    elif seconds is None:
        console.print(
            f"it does not fit on {job.device} with {job.recipe.train.batch_size} images a step, and would split its "
            "batches: how long that takes is not foreseen"
        )
    else:
        console.print(_price(seconds))
    if as_json:
        told = {
            "network": job.model.spec.name, "resolution": job.model.resolution, "macs": cost.macs,
            "params": cost.params, "seconds": seconds, "finished": done, "folder": str(job.folder),
        }  # fmt: skip
        print(json.dumps(told, ensure_ascii=False))


def _price(seconds: float) -> str:
    return f"about {duration(seconds)} (from a few steps)"


def _seconds(job: Job) -> float | None:
    """How long the training takes, by steps of it; None where they do not fit on the device."""
    try:
        return training_seconds(job)
    except (RuntimeError, MemoryError) as failure:
        if not is_out_of_memory(failure):
            raise
        return None
    finally:
        release_memory(job.device)


def _start(job: Job) -> list[str]:
    """What the training begins with, where that is somebody's weights.

    Raises:
        ScaleSearchError: they do not fit, or the network cannot be grown from them.
    """
    words, classes, weights = list[str](), len(job.source.classes), job.recipe.train.from_weights
    if weights is not None:
        words.append(fitted(weights, job.model, classes).words)
    see_grown([job.model], job.recipe, classes, words.append)
    return words


def _say_images(job: Job, console: Console, images: Images | None = None) -> None:
    """What is known of the images, decoded or not."""
    for words in [described(job.source), *filter(None, [job.source.note]), *(doubts(images) if images else ())]:
        console.print(words)


def _kept(job: Job) -> dict[str, Any] | None:
    """The outcome of this very training, if it was finished before."""
    file = job.folder / OUTCOME
    if not file.is_file() or weights_in(job.folder) is None:
        return None
    return read_result(job.folder, OUTCOME)


def _trained(job: Job, team: Team, console: Console) -> dict[str, Any]:
    recipe = job.recipe
    side = recipe.data.cache_resolution or job.model.resolution
    images = team.in_turn(lambda: load_images(job.source, recipe.data, side))
    checkpoints = Checkpoints(job.folder / "checkpoints")
    if team.leads:
        _say_images(job, console, images)
        if images.skipped:
            RunFolder(job.folder).write(SKIPPED, listed(images.skipped))
    if team.world == 1 and is_long(job) and checkpoints.is_empty and (seconds := _seconds(job)) is not None:
        console.print(_price(seconds))
    images = images.on(job.device)
    count = counted(job.model, images.num_classes)
    outcome, trainer = train(
        job.model,
        images,
        recipe,
        seed=job.seed,
        device=job.device,
        listener=_Lines(console),
        checkpoints=checkpoints,
        team=team,
    )
    validation = team.in_turn(lambda: images.val)
    val = None if validation is None else trainer.evaluate(validation)
    data = {
        "title": job.source.title,
        "fingerprint": job.source.fingerprint,
        **about_classes(images.source.classes),
        "train": len(images.train),
        "minival": len(images.minival),
        "val": validation and len(validation),
    }
    done = {
        "network": job.model.spec.name,
        "resolution": job.model.resolution,
        "val_accuracy": val and val.accuracy,
        "val_correct": val and packed(val.correct),
        "val_top5": val and val.top5,
        **outcome.to_json(),
        "per_class": _per_class(images, outcome, val),
        "count": asdict(count),
        "seed": job.seed,
        "processes": team.world,
        "sync_batchnorm": team.sync_batchnorm,
        "environment": environment(["scalesearch", *sys.argv[1:]], job.device, data),
    }
    if team.leads:
        _write(job, trainer, done)
        checkpoints.clear()
    return done


def _per_class(images: Images, outcome: Outcome, val: Evaluation | None) -> dict[str, Any]:
    """How often each class is right, on the validation split where there is one, else on the minival."""
    names = images.source.classes
    if val is not None and images.val is not None:
        labels, predicted, top5 = images.val.labels.cpu().numpy(), val.predicted.numpy(), val.top5
    else:
        labels, top5 = images.minival.labels.cpu().numpy(), outcome.top5
        predicted = unpacked_classes(outcome.predicted, len(labels))
    found, base, whole = (
        confusion(labels, [predicted], len(names), top5=[top5]),
        base_rate("accuracy", labels),
        share(predicted == labels),
    )
    return {
        "split": "minival" if val is None else "val",
        "accuracy": whole.value,
        "low": whole.low,
        "high": whole.high,
        "balanced_accuracy": found.balanced_accuracy,
        "macro_f1": found.macro_f1,
        "top5": found.top5,
        "base_rate": base.share,
        "base_class": names[base.label],
        "classes": [{"class": name} | asdict(own) for name, own in zip(names, found.classes, strict=True)],
        "confused": [{"class": names[a], "taken_for": names[b], "images": n} for a, b, n in found.confused],
    }


def _write(job: Job, trainer: Trainer, done: dict[str, Any]) -> None:
    """The outcome last: where it is, the rest is too."""
    about = about_weights(job.model.spec, job.recipe, job.source.classes)
    try:
        write_weights(job.folder / WEIGHTS, trainer.result.state_dict(), about)
    except (OSError, RuntimeError, ValueError) as failure:
        raise RunError(f"cannot write {job.folder / WEIGHTS}: {str(failure).partition(chr(10))[0]}") from failure
    folder = RunFolder(job.folder)
    folder.write(SPEC, dump_spec(job.model.spec))
    folder.write(OUTCOME, json.dumps(done, indent=1, ensure_ascii=False) + "\n")


def _headline(job: Job, team: Team) -> str:
    each = f"{min(job.recipe.train.batch_size, job.train_images) // team.world} images a step"
    where = f"{job.device.type if team.world > 1 else job.device} {job.recipe.train.precision}"
    shared = f"{team.world} processes on {where}, {each} each" if team.world > 1 else f"{where}, {each}"
    return f"{job.model.spec.name} · {job.model.resolution} px · {job.source.title} · {shared}"


def _summary(done: dict[str, Any]) -> str:
    data, val = done["environment"]["data"], done["val_accuracy"]
    words = f"minival {100 * done['accuracy']:.1f} % of {data['minival']:,} images"
    if val is not None:
        words += f" · val {100 * val:.1f} % of {data['val']:,}"
    return f"{words} · {duration(done['seconds'])} · {done['images_per_second']:.0f} images/s"


def _classes(done: dict[str, Any]) -> list[str]:
    """The summary class by class: all of a few classes, the worst and the best of many."""
    found = done.get("per_class")
    if not isinstance(found, dict):  # of an older version
        return []
    split, top5 = found["split"], found["top5"]
    words = (
        f"{split}: balanced accuracy {100 * found['balanced_accuracy']:.1f} %, macro F1 {100 * found['macro_f1']:.1f} %"
    )
    told = [words + ("" if top5 is None else f", top-5 {100 * top5:.1f} %")]
    measured = [each for each in found["classes"] if each["images"]]
    ranked = sorted(measured, key=lambda each: (each["accuracy"], each["class"]))
    if len(ranked) <= SHOWN:
        told.append("  " + ", ".join(map(_class, ranked)))
    else:
        told += [f"  least often right: {', '.join(map(_class, ranked[:WORST]))}"]
        told += [f"  most often right: {', '.join(map(_class, ranked[: -WORST - 1 : -1]))}"]
    if found["low"] <= found["base_rate"]:
        told.append(
            f"not above the base rate at 95 %: {100 * found['low']:.1f} to {100 * found['high']:.1f} % right, and "
            f"{100 * found['base_rate']:.3g} % of the {split} is {found['base_class']!r}"
        )
    return told


def _class(each: dict[str, Any]) -> str:
    return f"{each['class']} {100 * each['accuracy']:.0f} % of {each['images']:,}"


class _Lines(NullListener):
    """A line whenever the minival has been measured."""

    def __init__(self, console: Console) -> None:
        self.console = console

    def evaluated(self, step: int, accuracy: float, loss: float, steps: int) -> None:
        self.console.print(
            f"step {step:>{len(str(steps))}} of {steps}   minival {100 * accuracy:5.1f} %, loss {loss:.3f}"
        )
