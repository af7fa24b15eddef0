"""The ledger: every trial of a run in an Optuna study, one per candidate and seed. The only file that imports optuna.

What is promised, on the file in the run's folder, while one process holds that folder (`scalesearch.folder`):

- a (candidate, seed) is enqueued once, claimed by one worker at a time, and completed once;
- a trial whose worker was killed at any moment waits again when the folder is next opened;
- a record torn by a crash or a full disk is cut off before anything is written after it.
"""

from __future__ import annotations

import fcntl
import logging
import os
import warnings
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import optuna
from optuna.distributions import FloatDistribution, IntDistribution
from optuna.exceptions import ExperimentalWarning, UpdateFinishedTrialError
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend, JournalFileOpenLock
from optuna.trial import FrozenTrial, TrialState, create_trial

from scalesearch.errors import RunError
from scalesearch.scaling import Coefficients

FORMAT = 1
"""Of what is written into the study; a reader refuses a newer one."""

optuna.logging.set_verbosity(logging.WARNING)


@dataclass(frozen=True)
class Task:
    """One trial to do: a candidate, named by its network's fingerprint, and a seed."""

    coefficients: Coefficients
    fingerprint: str
    seed: int

    @property
    def key(self) -> tuple[str, int]:
        return self.fingerprint, self.seed


@dataclass(frozen=True)
class Record:
    """One trial as the ledger has it; ``outcome`` is there when it is complete, ``reason`` when it failed."""

    number: int
    task: Task
    state: str
    outcome: Mapping[str, Any] | None
    reason: str | None


@dataclass(frozen=True)
class Claim:
    """A trial that this worker has taken."""

    trial_id: int
    task: Task


class _KernelLock(JournalFileOpenLock):
    """A lock that ends with its process. Optuna's own locks are files, which a killed process leaves behind for
    the next one to wait out (30 seconds)."""

    def __init__(self, path: str) -> None:
        super().__init__(path)
        self._descriptor = os.open(path, os.O_CREAT | os.O_RDWR, 0o644)

    def acquire(self) -> bool:
        fcntl.flock(self._descriptor, fcntl.LOCK_EX)
        return True

    def release(self) -> None:
        fcntl.flock(self._descriptor, fcntl.LOCK_UN)


class _Journal(JournalFileBackend):
    """Optuna's journal, which cannot be read any more once something follows a half-written line (a crash or a full
    disk in mid-write). Here such a line is cut off before the next one is written."""

    def __init__(self, path: Path) -> None:
        self._path, self._kernel_lock = path, _KernelLock(str(path.with_name(f".{path.name}.lock")))
        super().__init__(str(path), lock_obj=self._kernel_lock)
        self._mend()

    def append_logs(self, logs: list[dict[str, Any]]) -> None:
        self._mend()
        super().append_logs(logs)

    def _mend(self) -> None:
        self._kernel_lock.acquire()
        try:
            with self._path.open("rb+") as file:
                end = file.seek(0, os.SEEK_END)
                file.seek(max(0, end - 1))
                if end and file.read(1) != b"\n":
                    file.seek(0)
                    file.truncate(file.read().rfind(b"\n") + 1)
        finally:
            self._kernel_lock.release()


class Ledger:
    """The trials of one run, in an Optuna journal file."""

    def __init__(self, path: Path, name: str) -> None:
        """Open the study in the file ``path``, or create it.

        Raises:
            RunError: the file cannot be read or written, or a newer version wrote it.
        """
        self._path = path
        try:
            self._storage = JournalStorage(_Journal(path))
            present = [study.study_name for study in self._storage.get_all_studies()]
            self._study = optuna.create_study(  # a folder may have been renamed since its study was made
                storage=self._storage, study_name=(present or [name])[0], direction="maximize", load_if_exists=True
            )
            written = self._study.user_attrs.get("format")
            if written is None:
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore", ExperimentalWarning)
                    self._study.set_metric_names(["minival accuracy"])
                self._study.set_user_attr("format", FORMAT)
        except OSError as failure:
            raise RunError(f"cannot write the study {path}: {failure.strerror}") from failure
        except (ValueError, KeyError) as failure:
            raise RunError(f"the study {path} cannot be read: {failure}; move it away to start afresh") from failure
        if written is not None and written > FORMAT:
            raise RunError(
                f"the study {path} was written by a newer scalesearch (format {written}): upgrade to open it"
            )

    def enqueue(self, tasks: Iterable[Task]) -> None:
        """Add the tasks that are not in the ledger yet, in order; failed ones are tried again."""
        known = {r.task.key for r in self.records() if r.state != "failed"}
        with self._writing():
            self._study.add_trials([_waiting(task) for task in tasks if task.key not in known])

    def release_abandoned(self) -> int:
        """Let trials whose worker died wait again. Only for the process that holds the run's folder."""
        running = self._study.get_trials(deepcopy=False, states=(TrialState.RUNNING,))
        with self._writing():
            for trial in running:
                self._storage.set_trial_state_values(trial._trial_id, TrialState.WAITING)
        return len(running)

    def claim(self, allowed: set[tuple[str, int]]) -> Claim | None:
        """Take the first waiting trial among ``allowed``; None when none is left. A trial is given to one taker."""
        for trial in self._study.get_trials(deepcopy=False, states=(TrialState.WAITING,)):
            task = _task(trial)
            if task.key not in allowed:
                continue
            with self._writing(), suppress(UpdateFinishedTrialError):  # another took it, and may be done already
                if self._storage.set_trial_state_values(trial._trial_id, TrialState.RUNNING):
                    return Claim(trial._trial_id, task)
        return None

    def complete(self, claim: Claim, accuracy: float, outcome: Mapping[str, Any]) -> None:
        """Record the outcome. The trial counts from the last write on: a crash before it leaves it unfinished."""
        with self._writing():
            for step, value, _ in outcome["curve"]:
                self._storage.set_trial_intermediate_value(claim.trial_id, step, value)
            self._storage.set_trial_user_attr(claim.trial_id, "outcome", dict(outcome))
            self._storage.set_trial_state_values(claim.trial_id, TrialState.COMPLETE, [accuracy])

    def fail(self, claim: Claim, reason: str) -> None:
        """Record why a trial failed."""
        with self._writing():
            self._storage.set_trial_user_attr(claim.trial_id, "reason", reason)
            self._storage.set_trial_state_values(claim.trial_id, TrialState.FAIL)

    def records(self) -> list[Record]:
        """Every trial, oldest first."""
        return [_record(trial) for trial in self._study.get_trials(deepcopy=False)]

    def note(self, key: str, value: Any) -> None:
        """Keep a value with the study."""
        with self._writing():
            self._study.set_user_attr(key, value)

    def noted(self, key: str) -> Any:
        """The value kept under ``key``, or None."""
        return self._study.user_attrs.get(key)

    @contextmanager
    def _writing(self) -> Iterator[None]:
        try:
            yield
        except OSError as failure:
            raise RunError(
                f"cannot write the study {self._path}: {failure.strerror}; what was finished before is kept"
            ) from failure


def _waiting(task: Task) -> FrozenTrial:
    values = asdict(task.coefficients)
    return create_trial(
        state=TrialState.WAITING,
        params={**values, "seed": task.seed},
        distributions={
            **{name: FloatDistribution(0.01, 100.0) for name in values},
            "seed": IntDistribution(0, 2**31 - 1),
        },
        user_attrs={"network": task.fingerprint},
    )


def _task(trial: FrozenTrial) -> Task:
    p = trial.params
    return Task(Coefficients(p["alpha"], p["beta"], p["gamma"]), trial.user_attrs["network"], p["seed"])


_STATES = {
    TrialState.WAITING: "waiting",
    TrialState.RUNNING: "running",
    TrialState.COMPLETE: "complete",
    TrialState.FAIL: "failed",
    TrialState.PRUNED: "failed",
}


def _record(trial: FrozenTrial) -> Record:
    outcome, reason = trial.user_attrs.get("outcome"), trial.user_attrs.get("reason")
    state = _STATES[trial.state]
    return Record(trial.number, _task(trial), state, outcome if state == "complete" else None, reason)
