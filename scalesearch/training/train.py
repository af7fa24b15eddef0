"""One trial: a network, images, a schedule and a seed become an `Outcome`."""

from __future__ import annotations

import math
from contextlib import nullcontext
from copy import deepcopy
from dataclasses import replace
from typing import Any, Protocol, cast

import torch
from torch import Tensor

from scalesearch.candidates.start import start_of
from scalesearch.data.batches import TrainBatches
from scalesearch.data.images import Images
from scalesearch.errors import DivergedError, OutOfMemoryError
from scalesearch.image_size import Resolution
from scalesearch.models.protocols import ScaledModel
from scalesearch.recipe import Recipe
from scalesearch.runtime.device import DEVICE_MEMORY, Clock, MemoryMeter, is_out_of_memory, release_memory, reset_peak
from scalesearch.runtime.memory import SavedTensors
from scalesearch.runtime.seeding import generator_states, restore_generators, seed_all, seed_of
from scalesearch.runtime.team import ALONE, Team
from scalesearch.settings import TrainSettings
from scalesearch.training.checkpoints import Checkpoints, Due
from scalesearch.training.class_scores import ClassScores, by_class, scores_of
from scalesearch.training.class_weights import balanced
from scalesearch.training.eval_sizes import measured_at
from scalesearch.training.legs import Leg, legs
from scalesearch.training.memory_estimate import state_bytes
from scalesearch.training.optim import learning_rate_factor
from scalesearch.training.progressive import Stage, stages
from scalesearch.training.readings import Readings
from scalesearch.training.trainer import Evaluation, Trainer
from scalesearch.trials import Outcome, packed, packed_classes

REPORT_EVERY = 10
"""Steps between looks at the loss; each look waits for the device."""


class Listener(Protocol):
    """Told how a trial goes; it ends the trial by raising."""

    def step(self, step: int, steps: int, loss: float, images_per_second: float) -> None:
        """An update was made; ``loss`` in nats."""

    def evaluated(self, step: int, accuracy: float, loss: float, steps: int) -> None:
        """The minival was measured after a step: accuracy in [0, 1], loss in nats."""

    def classes(self, step: int, scores: ClassScores) -> None:
        """What that evaluation, which is told next, says of classes that count alike."""


class NullListener:
    """A listener that does not listen."""

    def step(self, step: int, steps: int, loss: float, images_per_second: float) -> None:
        """An update was made; ``loss`` in nats."""

    def evaluated(self, step: int, accuracy: float, loss: float, steps: int) -> None:
        """The minival was measured after a step: accuracy in [0, 1], loss in nats."""

    def classes(self, step: int, scores: ClassScores) -> None:
        """What that evaluation, which is told next, says of classes that count alike."""


def evaluation_steps(settings: TrainSettings, steps: int) -> list[int]:
    """After which of the schedule's steps the minival is measured; the last is the end."""
    evaluations = min(settings.evaluations, steps)
    return [math.ceil(steps * (i + 1) / evaluations) for i in range(evaluations)]


def total_steps(settings: TrainSettings, steps_per_epoch: int) -> int:
    """Length of the schedule in updates."""
    return settings.steps or max(1, round((settings.epochs or 0) * steps_per_epoch))


def train(
    candidate: ScaledModel,
    images: Images,
    recipe: Recipe,
    *,
    seed: int,
    device: torch.device,
    listener: Listener | None = None,
    checkpoints: Checkpoints | None = None,
    team: Team = ALONE,
    meter: MemoryMeter = DEVICE_MEMORY,
) -> tuple[Outcome, Trainer]:
    """Train ``candidate`` from scratch, or on from its newest checkpoint; the outcome, and the network in its trainer.

    Everything random comes from ``seed``: on the CPU, two calls give bit-equal accuracies, interrupted or not. When
    memory ends, the micro-batch is halved and gradients are accumulated, so that the batch the optimiser sees stays
    the same. A team's processes all call this; one that alone would take another turn ends instead, and rank 0's
    checkpoints are everybody's.

    Raises:
        DivergedError: the loss is no longer finite.
        OutOfMemoryError: memory ends even at a micro-batch of one, or in a team.
    """
    micro_batch = math.ceil(min(recipe.train.batch_size, len(images.train)) / team.world)
    trial: _Trial | None
    while True:
        try:
            trial = _Trial(candidate, images, recipe, seed, device, checkpoints, micro_batch, team, meter)
            return trial.run(listener or NullListener())
        except (RuntimeError, MemoryError) as failure:
            if not is_out_of_memory(failure):
                raise
            reason = str(failure).partition("\n")[0]
        trial = None
        release_memory(device)
        if team.world > 1:
            raise OutOfMemoryError(
                f"memory of {device} ended at {micro_batch} images a step: lower --batch-size, or share it among more "
                f"processes ({reason})"
            )
        if micro_batch == 1:
            raise OutOfMemoryError(f"memory of {device} ended at a micro-batch of one image: {reason}")
        micro_batch = math.ceil(micro_batch / 2)


class _Trial:
    """One attempt at a trial: from the seed on, or from its newest checkpoint."""

    def __init__(
        self,
        candidate: ScaledModel,
        images: Images,
        recipe: Recipe,
        seed: int,
        device: torch.device,
        checkpoints: Checkpoints | None,
        micro_batch: int,
        team: Team,
        meter: MemoryMeter,
    ) -> None:
        self.micro_batch, self.team, self.meter = micro_batch, team, meter
        seed_all(seed)
        self.images, self.settings, self.pace, self.device = images, recipe.train, recipe.run, device
        self.held = meter.held(device)  # by others, and by the images
        self.trainer = Trainer(start_of(candidate, recipe), images.num_classes, recipe, device, team)
        if self.settings.class_weights == "balanced":
            self.trainer.weigh_classes(balanced(images.train.labels.cpu(), images.num_classes))
        if not team.leads:  # the same network, but dropout of its own
            seed_all(seed_of(seed, team.rank))
        per_epoch = len(images.train) // min(self.settings.batch_size, len(images.train))
        self.steps = total_steps(self.settings, per_epoch)
        self.stages = self._stages(recipe, candidate.resolution)
        self.batches = TrainBatches(
            images.train,
            recipe.augment,
            candidate.resolution,
            batch_size=self.settings.batch_size,
            seed=seed,
            device=device,
            team=team,
            views=[stage.views(recipe.augment) for stage in self.stages],
            classes=images.num_classes,
        )
        self.readings = Readings(self.trainer, self.batches) if self.settings.readings else None
        self.legs = legs(self.settings, self.steps)
        self.in_all = sum(leg.steps for leg in self.legs)
        self.length = self.steps  # of the schedule that sets the learning rate
        branches = [leg for leg in self.legs if leg.branch]
        self.evaluate_at = {  # what a branch measures is not measured on the way
            step
            for step in evaluation_steps(self.settings, self.steps)
            if not any(leg.start < step <= leg.stop for leg in branches)
        }
        self.schedule = torch.optim.lr_scheduler.LambdaLR(self.trainer.optimizer, self._learning_rate)
        self.checkpoints, self.stage = checkpoints, cast(Stage | None, None)
        self.head_only = self.steps if self.settings.freeze else round(self.settings.head_only_epochs * per_epoch)
        self.frozen = False
        self.step, self.resumed, self.memory = 0, 0, 0
        self.curve: list[tuple[int, float, float]] = []
        self.shorter: list[dict[str, Any]] = []
        self.by_class: list[tuple[int, float, float, float]] = []
        self.train_loss, self.last = math.nan, cast(Evaluation | None, None)
        self.before = self.training = 0.0  # seconds of earlier attempts, and of training without evaluations

    def _stages(self, recipe: Recipe, resolution: Resolution) -> list[Stage]:
        """The schedule's, at sizes at which the network runs."""
        found = stages(recipe, resolution, self.steps)
        if len(found) == 1:
            return found
        return [replace(stage, resolution=self.trainer.nearest_size(stage.resolution)) for stage in found]

    def _enter_stage(self) -> bool:
        """What a stage of the schedule sets for the steps to come; whether this step is the first of one here."""
        stage = next(each for each in reversed(self.stages) if each.start <= self.step)
        entered = stage is not self.stage
        if entered and len(self.stages) > 1:
            self.trainer.enter(stage.dropout)
        self.stage = stage
        frozen = self.step < self.head_only
        if frozen != self.frozen:
            self.trainer.freeze_features(frozen)
            self.frozen = frozen
        return entered

    def run(self, listener: Listener) -> tuple[Outcome, Trainer]:
        device, generators = self.device, self._resume()
        for at, *scores in self.by_class:
            listener.classes(at, (scores[0], scores[1], scores[2]))
        for point in self.curve:
            listener.evaluated(*point, self.steps)
        self.whole, self.lap, due = Clock(device), Clock(device), Due(self.pace, self.team, REPORT_EVERY)
        self._go_on()
        if generators is not None:
            restore_generators(generators, device)
        for leg in self.legs:
            if leg.branch and leg not in self._branched:
                self._branch(leg, listener)
            elif not leg.branch and self.step < leg.stop:
                self._train(leg, listener, due)
        if self.last is None:
            raise RuntimeError("a trial ends with an evaluation")
        outcome = Outcome(
            accuracy=self.curve[-1][1],
            loss=self.curve[-1][2],
            train_loss=self.train_loss,
            curve=tuple(self.curve),
            correct=packed(self.last.correct),
            seconds=self.before + self.whole.seconds(),
            images_per_second=self.in_all * self.batches.batch_size / self.training,
            memory=self.memory,
            micro_batch=self.micro_batch,
            resumed=self.resumed,
            readings=tuple(self.readings.taken) if self.readings else (),
            shorter=tuple(self.shorter),
            sizes=tuple(self._sizes()),
            predicted=packed_classes(self.last.predicted),
            by_class=tuple(self.by_class),
            top5=self.last.top5,
        )
        return outcome, self.trainer

    def _sizes(self) -> list[dict[str, Any]]:
        """The trained network at other image sizes, and at its own, where the recipe asks for that."""
        factors = self.settings.eval_resolutions
        if not factors:
            return []
        every = tuple(sorted({1.0, *factors}))
        return measured_at(self.trainer, self.images, every, self.trainer.resolution)

    @property
    def _branched(self) -> list[Leg]:
        """The branches that are trained."""
        known = {each["steps"] for each in self.shorter}
        return [leg for leg in self.legs if leg.branch and leg.length in known]

    def _branch(self, leg: Leg, listener: Listener) -> None:
        """Train a shorter schedule's cooldown, and come back."""
        trunk = deepcopy({**self._progress(), "generators": generator_states(self.device)})
        self._train(leg, listener, None)
        found = self._evaluate(leg.length, listener)
        told = {"accuracy": found.accuracy, "loss": found.loss, "correct": packed(found.correct), **by_class(found)}
        self.shorter.append({"steps": leg.length, **told})
        self._set_progress(trunk)
        restore_generators(trunk["generators"], self.device)
        self.step = leg.start
        self._go_on()

    def _train(self, leg: Leg, listener: Listener, due: Due | None) -> None:
        """The steps of a leg; on the trunk (``due``) with evaluations and checkpoints."""
        self.length = leg.length
        evaluate_at = {step for step in self.evaluate_at if step > self.step} if due else set()
        for batch, labels in self.batches.take(leg.stop, start=self.step):
            loss = self._update(batch, labels)
            if self.step % REPORT_EVERY == 0 or self.step == leg.stop:
                self.train_loss = self._finite(self.team.mean(loss))
                done = self.step + sum(each.steps for each in self._branched)
                speed = done * self.batches.batch_size / (self.training + self.lap.seconds())
                listener.step(done, self.in_all, self.train_loss, speed)
            if self.step in evaluate_at:
                self._evaluate(self.step, listener)
                if self.readings:
                    self.readings.take(self.step, self.images.minival)
                self._go_on()
            if due and self.checkpoints and self.step < self.steps and due(self.step):
                self.training += self.lap.seconds()
                self._note_memory()
                state = self._state(self.whole.seconds())
                if self.team.leads:
                    self.checkpoints.save(self.step, state)
                self.lap.restart()

    def _evaluate(self, step: int, listener: Listener) -> Evaluation:
        """The minival, as the network stands, a point of the curve; the time it takes is none of training's."""
        self.training += self.lap.seconds()
        self._note_memory()
        self.last = found = self.trainer.evaluate(self.images.minival)
        scores = scores_of(found, self.images.minival)
        self.curve.append((step, found.accuracy, found.loss))
        self.by_class.append((step, *scores))
        listener.classes(step, scores)
        listener.evaluated(step, found.accuracy, found.loss, self.steps)
        return found

    def _go_on(self) -> None:
        """Training begins again: its memory and its time are measured from here."""
        reset_peak(self.device)
        self.lap.restart()

    def _update(self, batch: Tensor, labels: Tensor) -> Tensor:
        """One step of the schedule; the batch's loss, still on the device."""
        trainer = self.trainer
        watched = self._enter_stage() and (self.memory == 0 or len(self.stages) > 1) and self.device.type != "cuda"
        measured = SavedTensors(trainer.model) if watched else None
        with measured or nullcontext():
            loss = trainer.step(batch, labels, self.micro_batch)
        if measured is not None:
            averaged = trainer.average is not None
            kept = state_bytes(trainer.model, trainer.optimizer, averaged=averaged)
            self.memory = max(self.memory, measured.bytes + kept)
        self.schedule.step()
        if self.readings:
            self.readings.update()
        self.step += 1
        return loss

    def _note_memory(self) -> None:
        """What this trial's training took at most on its device, without the images that stay there."""
        own = self.meter.peak(self.device) - self.held - self.trainer.kept_views
        self.memory = max(self.memory, own)

    def _state(self, seconds: float) -> dict[str, Any]:
        generators = self.team.everyones(generator_states(self.device))
        return {
            "step": self.step,
            "steps": self.steps,
            "resumed": self.resumed,
            "memory": self.memory,
            "curve": [list(point) for point in self.curve],
            "by_class": [list(point) for point in self.by_class],
            "micro_batch": self.micro_batch,
            "seconds": self.before + seconds,
            "training": self.training,
            "shorter": self.shorter,
            "generators": generators[0],
            "generators_of_others": generators[1:],
            **self._progress(),
        }

    def _progress(self) -> dict[str, Any]:
        """What training has come to: a branch begins with it, and so does what follows the branch."""
        return {
            "readings": self.readings and self.readings.state(),
            "schedule": self.schedule.state_dict(),
            **self.trainer.state(),
        }

    def _set_progress(self, state: dict[str, Any]) -> None:
        self.trainer.restore(state)
        self.schedule.load_state_dict(state["schedule"])
        if self.readings and state.get("readings"):
            self.readings.restore(state["readings"])

    def _resume(self) -> dict[str, Any] | None:
        """Go on from the newest checkpoint, if there is one; the generators' states, to be restored before a step."""
        state = self.team.first(self._newest)
        if state is None or state["steps"] != self.steps:
            return None
        self._set_progress(state)
        self.shorter = list(state.get("shorter", []))
        self.step, self.resumed, self.memory = state["step"], state["resumed"] + 1, state["memory"]
        self.curve = [(step, accuracy, loss) for step, accuracy, loss in state["curve"]]
        self.by_class = [(at, one, other, loss) for at, one, other, loss in state.get("by_class", [])]
        self.micro_batch = min(self.micro_batch, state["micro_batch"])
        self.before, self.training = state["seconds"], state["training"]
        generators: list[dict[str, Any]] = [state["generators"], *state.get("generators_of_others", [])]
        return generators[self.team.rank]

    def _newest(self) -> dict[str, Any] | None:
        if self.checkpoints is None:
            return None
        return self.checkpoints.newest(self.device if self.team.world == 1 else "cpu")

    def _learning_rate(self, step: int) -> float:
        return learning_rate_factor(step, self.length, self.batches.steps_per_epoch, self.settings)

    def _finite(self, loss: float) -> float:
        if not math.isfinite(loss):
            raise DivergedError(
                f"the loss is {loss} at step {self.step} of {self.steps}: lower train.learning_rate, or warm up longer"
            )
        return loss
