"""One worker: it takes trials from a ledger, trains them, and tells the ledger what they measured.

Whatever a trial needs is in the ledger, so that a worker is the same thing in the search's own process, in a process
beside it, and on another node.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from functools import cached_property
from statistics import fmean
from typing import Any

import torch

from scalesearch.data.images import Images, load_images
from scalesearch.data.sources import open_source
from scalesearch.errors import (
    DataError,
    DroppedError,
    GraphError,
    LeaseLostError,
    ScaleSearchError,
    TrialError,
)
from scalesearch.models.fvcore_count import counted
from scalesearch.ranking.class_metrics import Measure, is_known, measure_of, seen
from scalesearch.ranking.pruning import IntervalPruner
from scalesearch.runtime.device import check_graphs, is_lost, pick_device, release_memory
from scalesearch.search.ledger.leases import Heartbeat, me
from scalesearch.search.ledger.ledger import Claim, Ledger
from scalesearch.search.weights_store import Weights
from scalesearch.search.work import BrokenDeviceError, Event, Terms, Work
from scalesearch.training.checkpoints import Checkpoints
from scalesearch.training.class_scores import ClassScores
from scalesearch.training.train import train
from scalesearch.training.trained_files import about_weights
from scalesearch.training.trainer import Trainer
from scalesearch.trials import Outcome, accuracies_by_network

KEEP_WEIGHTS = 8
"""How many of the best candidates keep their weights while the search goes on; others are trained again if needed."""


class Worker:
    """Takes trials and trains them, one at a time, on one device."""

    def __init__(
        self,
        terms: Terms,
        tell: Callable[[Event], None],
        *,
        train: Callable[..., tuple[Outcome, Trainer]] = train,
        is_lost: Callable[[torch.device], bool] = is_lost,
    ) -> None:
        """Open everything that the trials will need.

        Args:
            tell: hears what the worker does.
            train: how a trial is trained.
            is_lost: whether a device answers nothing but errors from here on.

        Raises:
            ScaleSearchError: the ledger, the images, the network or the device is not what it has to be here.
        """
        self.terms, self.tell, self.me = terms, tell, me()
        self._training, self._is_lost = train, is_lost
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
        """The images of the search, on this worker's device; loaded when first asked for.

        Raises:
            DataError: they are not those that the search began with.
        """
        recipe = self.work.recipe
        source, wanted = open_source(recipe.data), self.ledger.noted("data")
        if source.fingerprint != wanted:
            raise DataError(
                f"the images at {recipe.data.source} are not those of the study (fingerprint {source.fingerprint}, "
                f"not {wanted}); --data names the right ones on this node"
            )
        images = load_images(
            source, recipe.data, recipe.data.cache_resolution or self.work.resolved.baseline.resolution
        )
        return images.on(self.device, self.terms.beside)

    @cached_property
    def measure(self) -> Measure | None:
        """What the objective sees trials by."""
        return measure_of(self.work.recipe.objective, self.images.minival.labels.cpu().numpy())

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
            self.ledger.drop(claim, {"curve": dropped.args[0], "by_class": dropped.args[1]})
            checkpoints.clear()
            self.tell(Event("dropped", claim.task.key, (claim.number,)))
            return
        except Exception as failure:  # whatever it was, it is this trial's reason and not the end of the night
            reason = str(failure) if isinstance(failure, TrialError) else f"{type(failure).__name__}: {failure}"
            if not isinstance(failure, TrialError) and ("CUDA error" in reason or self._is_lost(self.device)):
                raise BrokenDeviceError(reason) from failure
            if isinstance(failure, ScaleSearchError) and not isinstance(failure, TrialError):
                raise
            self.ledger.fail(claim, reason)
            self.tell(Event("failed", claim.task.key, (reason,)))
            if isinstance(failure, GraphError):  # CUDA does not recover from a recording that was broken off
                raise BrokenDeviceError(reason) from failure
            return
        self.ledger.complete(claim, outcome["accuracy"], outcome)
        checkpoints.clear()
        if self._wanted():
            about = about_weights(self.work.model(claim.task).spec, self.work.recipe, self.images.source.classes)
            self.weights.keep(*claim.task.key, trainer.result, self._leaders(), about)
        self.tell(Event("finished", claim.task.key, (claim.number,)))

    def _train(self, claim: Claim, heart: Heartbeat, checkpoints: Checkpoints) -> tuple[dict[str, Any], Trainer]:
        model = self.work.model(claim.task)
        count = counted(model, self.images.num_classes)
        outcome, trainer = self._training(
            model,
            self.images,
            self.work.recipe,
            seed=claim.task.seed,
            device=self.device,
            listener=_ProgressForwarder(self, claim, heart),
            checkpoints=checkpoints,
        )
        return outcome.to_json() | {"count": asdict(count)}, trainer

    def _leaders(self) -> list[str]:
        """The networks that are ahead by mean accuracy, or by what the objective has in its place."""
        records = self.ledger.records()
        if self.measure is not None:
            records = seen([r for r in records if r.state == "complete" and is_known(r)], self.measure)
        accuracies = accuracies_by_network(records)
        means = {name: fmean(seeds.values()) for name, seeds in accuracies.items()}
        best = sorted(means, key=lambda name: -means[name])
        return best[: max(KEEP_WEIGHTS, 2 * self._wanted())]

    def _wanted(self) -> int:
        """How many candidates' weights the end of the search will ask for."""
        recipe = self.work.recipe
        return max(recipe.run.keep_weights, recipe.top if self.images.source.val is not None else 0)


class _ProgressForwarder:
    """Hears how a trial goes, tells the search, and ends the trial when it has been given to another."""

    def __init__(self, worker: Worker, claim: Claim, heart: Heartbeat) -> None:
        self.worker, self.claim, self.heart = worker, claim, heart
        self.curve: list[tuple[int, float, float]] = []
        self.by_class: list[tuple[int, float, float, float]] = []

    def step(self, step: int, steps: int, loss: float, images_per_second: float) -> None:
        self.heart.check()
        self.worker.tell(Event("step", self.claim.task.key, (step, steps, loss, images_per_second)))

    def classes(self, step: int, scores: ClassScores) -> None:
        self.by_class.append((step, *scores))
        if self.worker.measure is not None:
            self.worker.ledger.tell_classes(self.claim, self.by_class)

    def evaluated(self, step: int, accuracy: float, loss: float, steps: int) -> None:
        self.curve.append((step, accuracy, loss))
        self.worker.ledger.report(self.claim, step, accuracy)
        if self.worker.work.recipe.exhaustive or step == steps:
            return
        measure = self.worker.measure
        pruner = IntervalPruner.of_schedule(
            steps,
            images=len(self.worker.images.minival) if measure is None else measure.worth,
            metric="accuracy" if measure is None else measure.metric,
        )
        if self.worker.ledger.should_drop(self.claim, pruner):
            raise DroppedError(self.curve, self.by_class)
