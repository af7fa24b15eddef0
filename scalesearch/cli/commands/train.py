"""What `train` does, between its options and what it prints: one network, on one device or by a team."""

from __future__ import annotations

import json
import os
import sys
from contextlib import ExitStack
from dataclasses import asdict, replace
from typing import Any

import torch
from rich.console import Console

from scalesearch.candidates.start import see_grown
from scalesearch.data.about import described, doubts
from scalesearch.data.images import load_images
from scalesearch.errors import RunError
from scalesearch.files import write_whole
from scalesearch.models.fvcore_count import counted
from scalesearch.models.weights import fitted
from scalesearch.report.units import duration
from scalesearch.run_files import read_result
from scalesearch.run_folder import RunFolder
from scalesearch.runtime.team import ALONE, Team, place_in
from scalesearch.runtime.torchrun import connect, launch, membership
from scalesearch.scaling.spec_files import dump_spec
from scalesearch.search.provenance import environment
from scalesearch.training.checkpoints import Checkpoints
from scalesearch.training.single import Job, TrainRequest, job_of
from scalesearch.training.train import NullListener, train
from scalesearch.training.trained_file import OUTCOME, SPEC, WEIGHTS
from scalesearch.training.trainer import Trainer
from scalesearch.trials import packed


def train_command(wish: TrainRequest, *, processes: int, as_json: bool) -> None:
    """Train the network and print what came out; with several processes, have torchrun do this in each of them.

    Raises:
        ScaleSearchError: whatever the user can mend; what ended a process, in one line.
    """
    place = place_in(os.environ)
    try:
        if place is None and processes > 1:
            last = Team(processes - 1, processes, processes - 1, wish.sync_batchnorm)
            job_of(wish, last)  # mistakes are told here, once
            launch(processes)
            return
        team = replace(place or ALONE, sync_batchnorm=wish.sync_batchnorm)
        with membership(team):
            job = job_of(wish, team)
            connect(team, job.device)
            _take_part(job, team, as_json=as_json)
    except KeyboardInterrupt:
        Console(stderr=True).print("\nstopped: the same command goes on from the newest checkpoint", soft_wrap=True)
        raise


def _take_part(job: Job, team: Team, *, as_json: bool) -> None:
    console = Console(highlight=False, markup=False, soft_wrap=True, quiet=as_json or not team.leads)
    with ExitStack() as stack:
        if team.leads:
            stack.enter_context(RunFolder(job.folder)).adopt(job.recipe, job.settings)
        console.print(_headline(job, team), *job.tuned, sep="\n")
        done = team.first(lambda: _kept(job)) or _trained(job, team, console)
        if not team.leads:
            return
        if as_json:
            print(json.dumps(done, ensure_ascii=False))
        console.print(_summary(done))
        console.print(f"wrote   {job.folder}/{WEIGHTS} · {OUTCOME} · {SPEC} · recipe.yaml")


def _kept(job: Job) -> dict[str, Any] | None:
    """The outcome of this very training, if it was finished before."""
    file = job.folder / OUTCOME
    if not file.is_file() or not (job.folder / WEIGHTS).is_file():
        return None
    return read_result(job.folder, OUTCOME)


def _trained(job: Job, team: Team, console: Console) -> dict[str, Any]:
    recipe = job.recipe
    side = recipe.data.cache_resolution or job.model.resolution
    images = team.in_turn(lambda: load_images(job.source, recipe.data, side))
    if team.leads:
        for words in [described(job.source), *filter(None, [job.source.note]), *doubts(images)]:
            console.print(words, soft_wrap=True)
    if recipe.train.from_weights is not None and team.leads:
        console.print(fitted(recipe.train.from_weights, job.model, images.num_classes).words)
    if team.leads:
        see_grown([job.model], recipe, images.num_classes, console.print)
    images = images.on(job.device)
    checkpoints = Checkpoints(job.folder / "checkpoints")
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
        "classes": images.num_classes,
        "class_names": list(images.source.classes),
        "train": len(images.train),
        "minival": len(images.minival),
        "val": validation and len(validation),
    }
    done = {
        "network": job.model.spec.name,
        "resolution": job.model.resolution,
        "val_accuracy": val and val.accuracy,
        "val_correct": val and packed(val.correct),
        **outcome.to_json(),
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


def _write(job: Job, trainer: Trainer, done: dict[str, Any]) -> None:
    """The outcome last: where it is, the rest is too."""
    weights = {name: value.cpu() for name, value in trainer.result.state_dict().items()}
    try:
        write_whole(job.folder / WEIGHTS, lambda file: torch.save(weights, file))
    except (OSError, RuntimeError) as failure:
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


class _Lines(NullListener):
    """A line whenever the minival has been measured."""

    def __init__(self, console: Console) -> None:
        self.console = console

    def evaluated(self, step: int, accuracy: float, loss: float, steps: int) -> None:
        self.console.print(
            f"step {step:>{len(str(steps))}} of {steps}   minival {100 * accuracy:5.1f} %, loss {loss:.3f}"
        )
