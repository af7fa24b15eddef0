"""One run from recipe to ranking: plan, claim and train every trial, validate the best, write what was found."""

from __future__ import annotations

import json
import math
import pickle
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import pandas as pd
import torch

from scalesearch.data import Images, load_images
from scalesearch.data.images import Split
from scalesearch.environment import environment
from scalesearch.errors import RunError, TrialError
from scalesearch.folder import RunFolder
from scalesearch.grid import Candidate
from scalesearch.prepare import Prepared
from scalesearch.ranking import rank, trials_frame
from scalesearch.results import candidates_frame, publish
from scalesearch.specs import dump_spec
from scalesearch.study import Claim, Ledger, Task
from scalesearch.train import Outcome, train
from scalesearch.trainer import Trainer

KEEP_WEIGHTS = 8
"""How many of the best candidates keep their weights while the search goes on; others are trained again if needed."""


class Watcher(Protocol):
    """Told what happens; the terminal's bars and a log's plain lines are two of them."""

    def decoding(self, done: int, total: int) -> None: ...
    def search_started(self, prepared: Prepared, done: Sequence[Task], total: int) -> None: ...
    def trial_started(self, candidate: Candidate, seed: int) -> None: ...
    def trial_step(self, step: int, steps: int, loss: float, images_per_second: float) -> None: ...
    def trial_finished(self, candidate: Candidate, outcome: Outcome, ranking: pd.DataFrame) -> None: ...
    def trial_failed(self, candidate: Candidate, reason: str) -> None: ...
    def validating(self, candidate: Candidate, seed: int) -> None: ...


@dataclass(frozen=True)
class Result:
    """A finished search: `ranking.rank`'s frame, and `ranking.trials_frame`'s."""

    ranking: pd.DataFrame
    trials: pd.DataFrame


def run(prepared: Prepared, folder: RunFolder, watcher: Watcher, command: Sequence[str]) -> Result:
    """Do what is left of the search in ``folder`` (already held by this process).

    Raises:
        RunError: the folder has other settings or cannot be written, or no trial could be completed.
    """
    recipe, source = prepared.recipe, prepared.source
    folder.adopt(recipe, prepared.settings)
    folder.write("baseline.yaml", dump_spec(prepared.baseline.native))
    folder.write("candidates.csv", candidates_frame(prepared.plan).to_csv(index=False, lineterminator="\n"))
    ledger = Ledger(folder.path / "study.journal", folder.path.name)
    images = load_images(
        source,
        recipe.data,
        recipe.data.cache_resolution or prepared.baseline.resolution,
        lambda done: watcher.decoding(done, prepared.train_images),
    )
    session = _Session(prepared, folder, ledger, images, watcher)
    if session.left():
        _sign(prepared, folder, command)
    session.train_all()
    ranking, trials = session.ranking(), session.trials()
    if ranking.empty:
        raise RunError(f"no trial finished; the last one failed with: {trials['reason'].dropna().iloc[-1]}")
    publish(prepared, folder, trials, ranking)  # before the validation, which may find images that cannot be read
    ranking = session.validate_best()
    publish(prepared, folder, trials, ranking)
    shutil.rmtree(session.weights, ignore_errors=True)  # they served the validation
    return Result(ranking, trials)


def _sign(prepared: Prepared, folder: RunFolder, command: Sequence[str]) -> None:
    """Add this session to the list of those that made the run."""
    source = prepared.source
    data = {
        "title": source.title,
        "fingerprint": source.fingerprint,
        "train": prepared.train_images,
        "minival": prepared.minival_images,
    }
    kept = folder.path / "environment.json"
    before = json.loads(kept.read_text()) if kept.exists() else []
    sessions = [*before, environment(command, prepared.device, data)]
    folder.write(kept.name, json.dumps(sessions, indent=1, ensure_ascii=False) + "\n")


class _Session:
    """The trials of one run that this process does."""

    def __init__(self, prepared: Prepared, folder: RunFolder, ledger: Ledger, images: Images, watcher: Watcher) -> None:
        self.prepared, self.ledger, self.images, self.watcher = prepared, ledger, images, watcher
        self.by_network = {c.model.fingerprint: c for c in prepared.plan.candidates}
        self.weights = folder.path / "weights"

    def ranking(self, val: dict[str, float] | None = None) -> pd.DataFrame:
        memory = {name: self.prepared.memory(c.cost) for name, c in self.by_network.items()}
        return rank(self.prepared.plan.candidates, self.trials(), memory=memory, val=val)

    def trials(self) -> pd.DataFrame:
        """The trials that this recipe asks for; a run's ledger may hold more seeds."""
        wanted = {task.key for task in self.prepared.tasks}
        return trials_frame(r for r in self.ledger.records() if r.task.key in wanted)

    def train_all(self) -> None:
        """Claim and train until nothing waits. A failed trial is recorded and the next one starts."""
        tasks = self.prepared.tasks
        self.ledger.release_abandoned()
        self.ledger.enqueue(tasks)
        wanted, done = {task.key for task in tasks}, self._complete()
        self.watcher.search_started(self.prepared, [t for t in tasks if t.key in done], len(tasks))
        try:
            while claim := self.ledger.claim(wanted):
                self._do(claim)
        except BaseException:
            self.ledger.release_abandoned()
            raise

    def left(self) -> int:
        """How many trials are not complete yet."""
        return len({task.key for task in self.prepared.tasks} - self._complete())

    def _complete(self) -> set[tuple[str, int]]:
        return {record.task.key for record in self.ledger.records() if record.state == "complete"}

    def _do(self, claim: Claim) -> None:
        candidate, seed = self.by_network[claim.task.fingerprint], claim.task.seed
        self.watcher.trial_started(candidate, seed)
        try:
            outcome, trainer = self._train(candidate, seed)
        except Exception as failure:  # whatever it was, it is this trial's reason and not the end of the night
            reason = str(failure) if isinstance(failure, TrialError) else f"{type(failure).__name__}: {failure}"
            self.ledger.fail(claim, reason)
            self.watcher.trial_failed(candidate, reason)
            if "CUDA error" in reason:  # the driver answers nothing but errors from here on
                raise RunError(f"the device failed: {reason}; the same command goes on in a new process") from failure
            return
        self.ledger.complete(claim, outcome.accuracy, outcome.to_json())
        ranking = self.ranking()
        self._keep(trainer, claim.task, ranking)
        self.watcher.trial_finished(candidate, outcome, ranking)

    def _train(self, candidate: Candidate, seed: int) -> tuple[Outcome, Trainer]:
        return train(
            candidate.model,
            self.images,
            self.prepared.recipe,
            seed=seed,
            device=self.prepared.device,
            on_step=self.watcher.trial_step,
        )

    def _weights_file(self, network: str, seed: int) -> Path:
        return self.weights / f"{network}-seed{seed}.pt"

    def _keep(self, trainer: Trainer, task: Task, ranking: pd.DataFrame) -> None:
        """Keep a leader's weights for the validation, and drop those of candidates that fell behind."""
        leaders = set(ranking["network"].head(max(KEEP_WEIGHTS, 2 * self.prepared.recipe.top)))
        if self.images.source.val is None or not self.prepared.recipe.top:
            return
        try:
            self.weights.mkdir(exist_ok=True)
            for file in self.weights.iterdir():
                if file.name.split("-")[0] not in leaders:
                    file.unlink()
            if task.fingerprint in leaders:
                unfinished = self.weights / "unfinished"
                torch.save(trainer.result.state_dict(), unfinished)
                unfinished.replace(self._weights_file(*task.key))
        except (OSError, RuntimeError):
            self._weights_file(*task.key).unlink(missing_ok=True)  # no room: it can be trained again

    def validate_best(self) -> pd.DataFrame:
        """The final ranking, with the best candidates measured on the validation split, which nothing else opens."""
        ranking = self.ranking()
        accuracies: dict[str, float] = {}
        top = self.prepared.recipe.top
        if top and (val := self.images.val) is not None:
            complete = self._complete()
            for network in ranking["network"].head(top):
                keys = [task.key for task in self.prepared.tasks if task.fingerprint == network]
                measured = [self._validate(*key, val) for key in keys if key in complete]
                accuracies[network] = math.fsum(measured) / len(measured)
        return self.ranking(accuracies)

    def _validate(self, network: str, seed: int, val: Split) -> float:
        key = f"val {network} {seed}"
        known = self.ledger.noted(key)
        if known is not None:
            return float(known)
        candidate, recipe = self.by_network[network], self.prepared.recipe
        self.watcher.validating(candidate, seed)
        trainer = Trainer(candidate.model, self.images.num_classes, recipe, self.prepared.device)
        try:
            kept = torch.load(self._weights_file(network, seed), map_location=self.prepared.device, weights_only=True)
            trainer.result.load_state_dict(kept)
        except (OSError, RuntimeError, EOFError, pickle.UnpicklingError):
            trainer = self._train(candidate, seed)[1]  # its weights were not kept: the same seed gives them again
        accuracy, _ = trainer.evaluate(val)
        self.ledger.note(key, accuracy)
        return accuracy
