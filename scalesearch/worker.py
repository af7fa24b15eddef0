"""One worker: it takes trials from a ledger, trains them, and tells the ledger what they measured.

Whatever a trial needs is in the ledger, so that a worker is the same thing in the search's own process, in a process
beside it, and on another node.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
import yaml

from scalesearch.baselines import baseline_of
from scalesearch.baselines.protocols import Baseline, ScaledModel
from scalesearch.checkpoints import Checkpoints
from scalesearch.data.images import Images, load_images
from scalesearch.data.sources import open_source
from scalesearch.device import check_graphs, is_lost, pick_device, release_memory, threads_each
from scalesearch.errors import (
    DataError,
    DroppedError,
    GraphError,
    LeaseLostError,
    RunError,
    ScaleSearchError,
    TrialError,
)
from scalesearch.errors import RecipeError as BadRecipe
from scalesearch.recipe import Recipe
from scalesearch.scaling import Coefficients
from scalesearch.specs import parse_spec
from scalesearch.study.leases import Heartbeat, me
from scalesearch.study.ledger import Claim, Ledger
from scalesearch.study.pruning import IntervalPruner
from scalesearch.train import train
from scalesearch.trainer import Trainer
from scalesearch.trials import Outcome
from scalesearch.validation import parse
from scalesearch.weights import Weights

KEEP_WEIGHTS = 8
"""How many of the best candidates keep their weights while the search goes on; others are trained again if needed."""


@dataclass(frozen=True)
class Terms:
    """Where a worker finds its work and what it works with; plain values, to be sent to another process.

    ``data`` is where the images are on this node, if elsewhere than the recipe says; ``folder`` holds checkpoints and
    weights; ``threads`` are torch's, for several workers on one machine; ``beside`` is how many share the device.
    """

    storage: Path | str
    study: str
    folder: Path
    device: str
    threads: int | None = None
    data: str | None = None
    beside: int = 1

    def dealt(self, devices: Sequence[str], count: int) -> list[Terms]:
        """The terms of each of ``count`` workers of this machine, dealt out to the devices in turn."""
        threads, beside = threads_each(count), math.ceil(count / len(devices))
        return [replace(self, device=devices[i % len(devices)], threads=threads, beside=beside) for i in range(count)]


@dataclass(frozen=True)
class Event:
    """What a worker says: ``kind`` is ready, started, step, finished, dropped, failed, lost, or broken."""

    kind: str
    key: tuple[str, int] = ("", 0)
    values: tuple[Any, ...] = ()


class BrokenDeviceError(Exception):
    """The device answers nothing but errors from here on; only a new process helps."""


@dataclass(frozen=True)
class Work:
    """What the trials of a study have in common, as its ledger has it."""

    recipe: Recipe
    baseline: Baseline
    dropout: float | None

    @classmethod
    def of(cls, ledger: Ledger, data: str | None = None) -> Work:
        """Read it from the ledger.

        Raises:
            RunError: no search has begun there yet.
            BaselineError: the network is not there, or is another one on this node.
        """
        plain, native = ledger.noted("recipe"), ledger.noted("baseline")
        if plain is None or native is None:
            raise RunError(f"{ledger} holds no search yet; `scalesearch grid` starts one")
        recipe = parse(Recipe, plain, BadRecipe)
        if data:
            recipe = recipe.model_copy(update={"data": recipe.data.model_copy(update={"source": data})})
        baseline = baseline_of(parse_spec(yaml.safe_load(native)), recipe.rounding)
        return cls.from_recipe(
            recipe, baseline.at(resolution=recipe.resolution, stochastic_depth=recipe.train.stochastic_depth)
        )

    @classmethod
    def from_recipe(cls, recipe: Recipe, baseline: Baseline) -> Work:
        dropout = recipe.train.dropout if recipe.train.dropout is not None else baseline.dropout_at(recipe.phi)
        return cls(recipe, baseline, dropout)

    def model(self, coefficients: Coefficients) -> ScaledModel:
        """The candidate's network."""
        return self.baseline.scaled(coefficients.at(self.recipe.phi), dropout=self.dropout)

    def note(self, ledger: Ledger, native: str, fingerprint: str) -> None:
        """Write it into the ledger, for workers elsewhere."""
        for key, value in (
            ("recipe", self.recipe.model_dump(mode="json")),
            ("baseline", native),
            ("data", fingerprint),
        ):
            if ledger.noted(key) != value:
                ledger.note(key, value)


class Worker:
    """Takes trials and trains them, one at a time, on one device."""

    def __init__(self, terms: Terms, tell: Callable[[Event], None]) -> None:
        """Open everything that the trials will need.

        Raises:
            ScaleSearchError: the ledger, the images, the network or the device is not what it has to be here.
        """
        self.terms, self.tell, self.me = terms, tell, me()
        if terms.threads:
            torch.set_num_threads(terms.threads)
        self.device = pick_device(terms.device)
        self.ledger = Ledger.there(terms.storage, terms.study)
        self.work = Work.of(self.ledger, terms.data)
        check_graphs(self.work.recipe, self.device)
        self.weights = Weights(terms.folder / "weights")
        tell(Event("ready", values=(self.me,)))

    @cached_property
    def images(self) -> Images:
        recipe = self.work.recipe
        source, wanted = open_source(recipe.data), self.ledger.noted("data")
        if source.fingerprint != wanted:
            raise DataError(
                f"the images at {recipe.data.source} are not those of the study (fingerprint {source.fingerprint}, "
                f"not {wanted}); --data names the right ones on this node"
            )
        images = load_images(source, recipe.data, recipe.data.cache_resolution or self.work.baseline.resolution)
        return images.on(self.device, self.terms.beside)

    def work_once(self) -> bool:
        """Do one trial; False when none is waiting.

        Raises:
            ScaleSearchError: nothing can be done here, whatever the trial.
            BrokenDeviceError: this process is of no more use.
        """
        _ = self.images
        claim = self.ledger.claim(self.me)
        if claim is None:
            return False
        self.tell(Event("started", claim.task.key))
        try:
            with Heartbeat(self.ledger, claim, self.work.recipe.run.lease_seconds) as heart:
                self._do(claim, heart)
        except LeaseLostError as lost:
            self.tell(Event("lost", claim.task.key, (str(lost),)))
        finally:
            release_memory(self.device)  # a network and its hooks hold each other
        return True

    def _do(self, claim: Claim, heart: Heartbeat) -> None:
        checkpoints = Checkpoints(self.terms.folder / "checkpoints" / "{}-seed{}".format(*claim.task.key))
        try:
            outcome, trainer = self._train(claim, heart, checkpoints)
        except LeaseLostError:
            raise
        except DroppedError as dropped:
            self.ledger.drop(claim, {"curve": dropped.args[0]})
            checkpoints.clear()
            self.tell(Event("dropped", claim.task.key, (claim.number,)))
            return
        except Exception as failure:  # whatever it was, it is this trial's reason and not the end of the night
            reason = str(failure) if isinstance(failure, TrialError) else f"{type(failure).__name__}: {failure}"
            if not isinstance(failure, TrialError) and ("CUDA error" in reason or is_lost(self.device)):
                raise BrokenDeviceError(reason) from failure
            if isinstance(failure, ScaleSearchError) and not isinstance(failure, TrialError):
                raise
            self.ledger.fail(claim, reason)
            self.tell(Event("failed", claim.task.key, (reason,)))
            if isinstance(failure, GraphError):  # CUDA does not recover from a recording that was broken off
                raise BrokenDeviceError(reason) from failure
            return
        self.ledger.complete(claim, outcome.accuracy, outcome.to_json())
        checkpoints.clear()
        if self._wanted():
            self.weights.keep(*claim.task.key, trainer.result, self._leaders())
        self.tell(Event("finished", claim.task.key, (claim.number,)))

    def _train(self, claim: Claim, heart: Heartbeat, checkpoints: Checkpoints) -> tuple[Outcome, Trainer]:
        model = self.work.model(claim.task.coefficients)
        if model.fingerprint != claim.task.fingerprint:
            raise RunError(
                f"{claim.task.coefficients} is network {model.fingerprint} here and {claim.task.fingerprint} in the "
                "study: the versions of the packages it comes from differ"
            )
        return train(
            model,
            self.images,
            self.work.recipe,
            seed=claim.task.seed,
            device=self.device,
            listener=_Ears(self, claim, heart),
            checkpoints=checkpoints,
        )

    def _leaders(self) -> list[str]:
        """The networks that are ahead by mean accuracy."""
        found: dict[str, list[float]] = defaultdict(list)
        for record in self.ledger.records():
            if record.state == "complete" and record.outcome:
                found[record.task.fingerprint].append(float(record.outcome["accuracy"]))
        best = sorted(found, key=lambda name: -math.fsum(found[name]) / len(found[name]))
        return best[: max(KEEP_WEIGHTS, 2 * self._wanted())]

    def _wanted(self) -> int:
        """How many candidates' weights the end of the search will ask for."""
        recipe = self.work.recipe
        return max(recipe.run.keep_weights, recipe.top if self.images.source.val is not None else 0)


class _Ears:
    """Hears how a trial goes, tells the search, and ends the trial when it has been given to another."""

    def __init__(self, worker: Worker, claim: Claim, heart: Heartbeat) -> None:
        self.worker, self.claim, self.heart = worker, claim, heart
        self.curve: list[tuple[int, float, float]] = []

    def step(self, step: int, steps: int, loss: float, images_per_second: float) -> None:
        self.heart.check()
        self.worker.tell(Event("step", self.claim.task.key, (step, steps, loss, images_per_second)))

    def evaluated(self, step: int, accuracy: float, loss: float, steps: int) -> None:
        self.curve.append((step, accuracy, loss))
        self.worker.ledger.report(self.claim, step, accuracy)
        if self.worker.work.recipe.exhaustive or step == steps:
            return
        pruner = IntervalPruner.of_schedule(steps, images=len(self.worker.images.minival))
        if self.worker.ledger.should_drop(self.claim, pruner):
            raise DroppedError(self.curve)
