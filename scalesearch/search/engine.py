"""What every place where workers live has in common: their deaths, their events, their replacement."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from types import TracebackType
from typing import Generic, Protocol, Self, TypeVar

from scalesearch.errors import RunError
from scalesearch.search.work import Event


@dataclass(frozen=True)
class EngineSettings:
    """Where a run's trials are kept and trained: ``storage`` is None for a file in the run's folder.

    ``engine`` is processes, on ``devices``, or ray, at ``address`` (None: a Ray of the search's own).
    """

    storage: str | None = None
    study: str | None = None
    devices: tuple[str, ...] = ()
    engine: str = "processes"
    address: str | None = None


DEATHS_IN_A_ROW = 3
"""So often may each worker die before it has begun a trial. (One that dies in a trial is that trial's matter.)"""


@dataclass(frozen=True)
class Died:
    """A worker process ended while it held a trial, or without having been told to."""

    owner: str | None
    reason: str
    overdue: bool = False


Handler = Callable[[int, "Event | Died"], None]


class Workers(Protocol):
    """Where a search's trials are trained. As a context manager it holds its workers, and ends them when it is left."""

    def __enter__(self) -> Self: ...
    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None: ...
    @property
    def owners(self) -> set[str]:
        """Under which names its workers hold trials; once it has been left, of those only that are surely gone."""
        ...

    @property
    def busy(self) -> bool:
        """Whether one of them has begun a trial, and has not said how it ended."""
        ...

    def attend(self, handle: Handler, timeout: float) -> None:
        """Hand on what the workers say for ``timeout`` seconds at most, and replace those that died."""
        ...

    def kill(self, owner: str | None) -> None:
        """End a worker that no longer shows itself."""
        ...


@dataclass(kw_only=True)
class WorkerHandle:
    """What a pool knows of one worker: its name, since when it has had its trial, and why it ends."""

    owner: str | None = None
    since: float | None = None
    began: bool = False
    said: str | None = None
    overdue: bool = False

    def notice(self, event: Event) -> bool:
        """Remember what an event tells of the worker; False when it tells nothing of a trial.

        Raises:
            RunError: the worker cannot work where it is.
        """
        if event.kind == "unfit":
            raise RunError(str(event.values[0]))
        if event.kind == "broken":
            self.said = str(event.values[0])
            return False
        if event.kind == "ready":
            self.owner = event.values[0]
        elif event.kind == "started":
            self.since, self.began = time.monotonic(), True
        elif event.kind != "step":
            self.since = None
        return True

    def is_over(self, trial_seconds: float | None) -> bool:
        """Whether its trial has just exceeded its time; said once."""
        late = bool(trial_seconds and self.since and time.monotonic() - self.since > trial_seconds)
        told, self.overdue = self.overdue, self.overdue or late
        return late and not told

    def died(self, otherwise: str, trial_seconds: float | None) -> Died:
        """Its end, and why: the time limit, what it said itself, or ``otherwise``."""
        limit = f"it took longer than {(trial_seconds or 0) / 60:g} minutes"
        return Died(self.owner, limit if self.overdue else self.said or otherwise, self.overdue)


@dataclass
class CrashCounter:
    """Counts the workers that died before they had begun a trial, since one last began."""

    count: int = 0

    def add(self, worker: WorkerHandle, reason: str, workers: int) -> None:
        """Raises RunError once each of ``workers`` has died `DEATHS_IN_A_ROW` times."""
        self.count += not worker.began
        if self.count >= DEATHS_IN_A_ROW * workers:
            raise RunError(f"workers die again and again before they begin a trial; the last one: {reason}")


H = TypeVar("H", bound=WorkerHandle)


class WorkerGroup(Generic[H]):
    """What processes and actors have in common: who holds what, what they say, and the count of the dead."""

    def __init__(self, trial_seconds: float | None) -> None:
        self._trial_seconds = trial_seconds
        self._handles: list[H] = []
        self._deaths = CrashCounter()

    @property
    def owners(self) -> set[str]:
        """Under which names its workers hold trials; once it has been left, of those only that are surely gone."""
        return {worker.owner for worker in self._handles if worker.owner}

    @property
    def busy(self) -> bool:
        """Whether one of them has begun a trial, and has not said how it ended."""
        return any(worker.since for worker in self._handles)

    def kill(self, owner: str | None) -> None:
        """End a worker that no longer shows itself, so that what it has of its machine is given back."""
        for worker in self._handles:
            if owner and worker.owner == owner:
                worker.said = "it no longer showed itself"
                self._kill(worker)

    def _hear(self, number: int, event: Event, handle: Handler) -> None:
        """Remember what a worker says, and hand it on."""
        if event.kind == "started":
            self._deaths.count = 0
        if self._handles[number].notice(event):
            handle(number, event)

    def _replace_dead(self, number: int, reason: str, handle: Handler) -> None:
        """Hand on that a worker has died, and start another in its place."""
        worker = self._handles[number]
        death = worker.died(reason, self._trial_seconds)
        handle(number, death)
        self._deaths.add(worker, death.reason, len(self._handles))
        self._handles[number] = self._another(worker)

    def _kill(self, worker: H) -> None:
        raise NotImplementedError

    def _another(self, worker: H) -> H:
        raise NotImplementedError
