"""The trials of one run, claimed and told through Optuna's storage."""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import optuna
from optuna.exceptions import ExperimentalWarning, UpdateFinishedTrialError
from optuna.pruners import BasePruner
from optuna.trial import FrozenTrial, TrialState

from scalesearch.errors import LeaseLostError, RunError, UnreachableError
from scalesearch.search.ledger.forms import in_pieces, record_of, state_of, task_of, waiting, whole
from scalesearch.search.ledger.storages import UNREACHABLE, open_storage, said
from scalesearch.search.ledger.urls import masked
from scalesearch.trials import Record, Task

FORMAT = 2
"""Of what is written into the study; a reader refuses a newer one. 1 had no owners, attempts or withdrawn trials."""

PATIENCE = 300.0
"""Seconds that a database may take to come back."""

T = TypeVar("T")


@dataclass(frozen=True)
class Claim:
    """A trial that this worker has taken."""

    trial_id: int
    number: int
    task: Task
    owner: str
    attempt: int = 1


class Ledger:
    """The trials of one run, in an Optuna study."""

    def __init__(self, where: Path | str, name: str, *, create: bool = True, patience: float = PATIENCE) -> None:
        """Open the study, in the file at a path or the database at a URL, or create it.

        Raises:
            RunError: it cannot be read or written, is not there (and ``create`` is false), or a newer version wrote it.
        """
        self._where, self._patience = where, patience if isinstance(where, str) else 0.0
        self._tasks: dict[int, Task] = {}
        self._seen: list[tuple[str, int]] = []
        self._numbers: dict[tuple[str, int], list[int]] = {}
        self._first = 0
        try:
            self._storage = open_storage(where)
            self._study = self._open(name, create=create)
            written = self._study.user_attrs.get("format")
            if written is None:
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore", ExperimentalWarning)
                    self._study.set_metric_names(["minival accuracy"])
            if written is None or written < FORMAT:
                self._study.set_user_attr("format", FORMAT)
        except OSError as failure:
            raise RunError(f"cannot write the study {self}: {failure.strerror}") from failure
        except UNREACHABLE as failure:
            raise UnreachableError(f"cannot reach {self}: {said(failure)}") from failure
        except (ValueError, KeyError) as failure:
            raise RunError(f"the study {self} cannot be read: {failure}; move it away to start afresh") from failure
        if written is not None and written > FORMAT:
            raise RunError(
                f"the study {self} was written by a newer scalesearch (format {written}): upgrade to open it"
            )

    @classmethod
    def there(cls, where: Path | str, name: str) -> Ledger:
        """Open a study that was there a moment ago: while its server does not answer, wait.

        Raises:
            RunError: it is not there, or the server has not answered for five minutes.
        """
        deadline = time.monotonic() + PATIENCE
        while True:
            try:
                return cls(where, name, create=False)
            except UnreachableError:
                if time.monotonic() > deadline:
                    raise
            time.sleep(1)

    def __str__(self) -> str:
        return masked(self._where)

    @property
    def name(self) -> str:
        """The study's."""
        return self._study.study_name

    def _open(self, name: str, *, create: bool) -> optuna.Study:
        names = [study.study_name for study in self._storage.get_all_studies()]
        if isinstance(self._where, Path):
            name = (names or [name])[0]  # a folder may have been renamed since its study was made
        if not create and name not in names:
            known = f"it has {', '.join(sorted(names))}" if names else "it has none"
            raise RunError(f"no study {name!r} in {self}: {known}")
        if name in names:  # reading writes nothing
            return optuna.load_study(storage=self._storage, study_name=name)
        return optuna.create_study(storage=self._storage, study_name=name, direction="maximize", load_if_exists=True)

    def want(self, tasks: Iterable[Task], *, also_dropped: bool = False) -> None:
        """Make these the tasks of the run: missing and failed ones are enqueued, in order; waiting others withdrawn.

        ``also_dropped``: those that were dropped are enqueued again.
        """
        wanted = {task.key: task for task in tasks}
        settled: set[tuple[str, int]] = set()
        for trial in self._trials():
            key, state = self._task(trial).key, state_of(trial)
            if state == "waiting" and key not in wanted:
                self._finish(trial._trial_id, "withdrawn", None)
            elif state in ("waiting", "running", "complete") or (state == "dropped" and not also_dropped):
                settled.add(key)
        self._add([(task, 1) for key, task in wanted.items() if key not in settled])

    def claim(self, owner: str) -> Claim | None:
        """Take the first trial that may be taken; None when there is none.

        Of a task's trials only the oldest unfinished one may be taken, and none once one is complete: so however often
        a task was enqueued, at most one trial of it runs at a time and at most one is completed.
        """
        trials = self._trials()
        for trial in trials[len(self._seen) :]:
            self._seen.append(self._task(trial).key)
            self._numbers.setdefault(self._seen[-1], []).append(trial.number)
        while self._first < len(trials) and trials[self._first].state.is_finished():
            self._first += 1  # finished trials stay so
        for number in range(self._first, len(trials)):
            trial = trials[number]
            if trial.state != TrialState.WAITING or not self._is_next(trial, trials):
                continue
            claim = Claim(trial._trial_id, number, self._task(trial), owner, trial.user_attrs.get("attempt", 1))
            if not self._take(claim.trial_id):
                continue
            try:
                self._owned(claim, partial(self._attribute, claim.trial_id, "owner", owner))
            except LeaseLostError:
                continue
            return claim
        return None

    def _is_next(self, trial: FrozenTrial, trials: list[FrozenTrial]) -> bool:
        """Whether it is its task's oldest unfinished trial, and the task is not done."""
        same = [trials[number] for number in self._numbers[self._seen[trial.number]]]
        return not any(
            s.state == TrialState.COMPLETE or (s.number < trial.number and not s.state.is_finished()) for s in same
        )

    def _take(self, trial_id: int) -> bool:
        try:
            return self._patiently(lambda: self._storage.set_trial_state_values(trial_id, TrialState.RUNNING))
        except UpdateFinishedTrialError:  # another took it, and is done already
            return False

    def beat(self, claim: Claim, beat: int) -> None:
        """Renew the lease.

        Raises:
            LeaseLostError: the trial was given to another.
        """
        self._owned(claim, lambda: self._attribute(claim.trial_id, "beat", beat))

    def report(self, claim: Claim, step: int, accuracy: float) -> None:
        """Record the accuracy at a step of a trial that goes on.

        Raises:
            LeaseLostError: the trial was given to another.
        """
        self._owned(claim, lambda: self._storage.set_trial_intermediate_value(claim.trial_id, step, accuracy))

    def tell_classes(self, claim: Claim, by_class: Sequence[Sequence[float]]) -> None:
        """Record what the trial's evaluations say of classes that count alike, for whoever drops by that.

        Raises:
            LeaseLostError: the trial was given to another.
        """
        self._owned(claim, lambda: self._attribute(claim.trial_id, "by_class", [list(each) for each in by_class]))

    def complete(self, claim: Claim, accuracy: float, outcome: Mapping[str, Any]) -> None:
        """Record the outcome. The trial counts from the last write on: a crash before it leaves it unfinished.

        Raises:
            LeaseLostError: the trial was given to another, whose outcome counts.
        """
        self._tell(claim, outcome, TrialState.COMPLETE, [accuracy])

    def drop(self, claim: Claim, outcome: Mapping[str, Any]) -> None:
        """Record that the trial was ended early because its candidate had fallen behind.

        Raises:
            LeaseLostError: the trial was given to another.
        """
        self._tell(claim, outcome, TrialState.PRUNED, None)

    def should_drop(self, claim: Claim, pruner: BasePruner) -> bool:
        """Whether ``pruner`` would end this trial, from what it and the others have reported."""
        trial = self._patiently(lambda: self._storage.get_trial(claim.trial_id))
        return self._patiently(lambda: pruner.prune(self._study, trial))

    def _tell(self, claim: Claim, outcome: Mapping[str, Any], state: TrialState, values: list[float] | None) -> None:
        reported = self._owned(claim, lambda: self._storage.get_trial(claim.trial_id)).intermediate_values
        for step, value, _ in outcome["curve"]:
            if step not in reported:
                self.report(claim, step, value)
        for key, value in in_pieces("outcome", dict(outcome)).items():
            self._owned(claim, partial(self._attribute, claim.trial_id, key, value))
        self._owned(claim, lambda: self._storage.set_trial_state_values(claim.trial_id, state, values), told=state)

    def fail(self, claim: Claim, reason: str) -> None:
        """Record why a trial failed; it is not tried again until `want` is called.

        Raises:
            LeaseLostError: the trial was given to another.
        """
        self._owned(claim, lambda: self._attribute(claim.trial_id, "reason", reason))
        self._owned(
            claim, lambda: self._storage.set_trial_state_values(claim.trial_id, TrialState.FAIL), told=TrialState.FAIL
        )

    def lose(self, record: Record, reason: str, *, repeat: bool = True) -> bool:
        """End a running trial whose worker is gone, or took too long; False when it ended otherwise meanwhile."""
        return self._finish(self._id(record), "lost" if repeat else "reason", reason)

    def repeat_lost(self, retries: int, records: Iterable[Record] | None = None) -> int:
        """Enqueue again the tasks whose last trial was lost, each ``retries`` times at most; how many these were.

        Two processes that do so at once enqueue a task twice, which is harmless (see `claim`).

        Args:
            records: every trial, if they were just read.
        """
        last: dict[tuple[str, int], Record] = {}
        for record in self.records() if records is None else records:
            before = last.get(record.task.key)
            if before is None or before.state in ("lost", "failed", "withdrawn"):
                last[record.task.key] = record
        again = [(r.task, r.attempt + 1) for r in last.values() if r.state == "lost" and r.attempt <= retries]
        self._add(again)
        return len(again)

    def release(self, records: Iterable[Record]) -> int:
        """Let running trials wait again. Only for those whose worker is known to exist no more."""
        count = 0
        for trial_id in [self._id(record) for record in records if record.state == "running"]:
            with suppress(UpdateFinishedTrialError):
                self._patiently(partial(self._attribute, trial_id, "owner", None))
                self._patiently(partial(self._storage.set_trial_state_values, trial_id, TrialState.WAITING))
                count += 1
        return count

    def records(self) -> list[Record]:
        """Every trial, oldest first."""
        return [record_of(trial, self._task(trial)) for trial in self._trials()]

    def held_by(self, owners: Collection[str]) -> list[Record]:
        """The running trials that these workers hold."""
        return [record for record in self.records() if record.state == "running" and record.owner in owners]

    def note(self, key: str, value: Any) -> None:
        """Keep a value with the study."""
        for name, part in in_pieces(key, value).items():
            self._patiently(partial(self._study.set_user_attr, name, part))

    def noted(self, key: str) -> Any:
        """The value kept under ``key``, or None."""
        return whole(self._patiently(lambda: self._study.user_attrs), key)

    def _trials(self) -> list[FrozenTrial]:
        return self._patiently(lambda: self._study.get_trials(deepcopy=False))

    def _add(self, tasks: list[tuple[Task, int]]) -> None:
        if tasks:
            axes = self.noted("axes") or {}
            self._patiently(lambda: self._study.add_trials([waiting(task, attempt, axes) for task, attempt in tasks]))

    def _finish(self, trial_id: int, how: str, reason: str | None) -> bool:
        try:
            self._patiently(lambda: self._attribute(trial_id, how, reason or how))
            self._patiently(lambda: self._storage.set_trial_state_values(trial_id, TrialState.FAIL))
        except UpdateFinishedTrialError:
            return False
        return True

    def _attribute(self, trial_id: int, key: str, value: Any) -> None:
        self._storage.set_trial_user_attr(trial_id, key, value)

    def _owned(self, claim: Claim, write: Callable[[], T], *, told: TrialState | None = None) -> T:
        """Write to a trial that this worker holds. A state that an earlier, interrupted try already told is told."""
        try:
            return self._patiently(write)
        except UpdateFinishedTrialError as failure:
            now = self._patiently(lambda: self._storage.get_trial(claim.trial_id))
            if told is not None and now.state == told and now.user_attrs.get("owner") == claim.owner:
                return True  # type: ignore[return-value]
            raise LeaseLostError(f"trial {claim.number} was given to another worker") from failure

    def _patiently(self, do: Callable[[], T]) -> T:
        """Do it, again and again while a database does not answer.

        Raises:
            RunError: the file cannot be written, or the database has not answered for five minutes.
        """
        deadline, pause = time.monotonic() + self._patience, 0.1
        while True:
            try:
                return do()
            except UpdateFinishedTrialError:
                raise
            except OSError as failure:
                raise RunError(
                    f"cannot write the study {self}: {failure.strerror}; what was finished before is kept"
                ) from failure
            except UNREACHABLE as failure:
                if time.monotonic() > deadline:
                    raise RunError(
                        f"{self} has not answered for {self._patience:.0f} s: {said(failure)}; "
                        "what was finished before is kept"
                    ) from failure
            time.sleep(pause)
            pause = min(5.0, 2 * pause)

    def _id(self, record: Record) -> int:
        return self._patiently(
            lambda: self._storage.get_trial_id_from_study_id_trial_number(self._study._study_id, record.number)
        )

    def _task(self, trial: FrozenTrial) -> Task:
        """The trial's task, which never changes."""
        found = self._tasks.get(trial._trial_id)
        if found is None:
            found = self._tasks[trial._trial_id] = task_of(trial)
        return found
