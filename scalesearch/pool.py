"""The worker processes of this machine: started, heard, and replaced when they die."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from multiprocessing.context import ForkServerProcess
from types import TracebackType
from typing import TYPE_CHECKING, Generic, Protocol, Self, TypeVar

from scalesearch.errors import RunError, ScaleSearchError

if TYPE_CHECKING:
    from scalesearch.worker import Event, Terms

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


def warm_up() -> None:
    """Start loading torch for the workers now, while the search is being planned."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["scalesearch.worker"])
    threading.Thread(target=_ensure_server, daemon=True).start()


def _ensure_server() -> None:
    from multiprocessing import forkserver

    forkserver.ensure_running()


@dataclass(kw_only=True)
class Hand:
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
class Deaths:
    """Counts the workers that died before they had begun a trial, since one last began."""

    count: int = 0

    def add(self, hand: Hand, reason: str, workers: int) -> None:
        """Raises RunError once each of ``workers`` has died `DEATHS_IN_A_ROW` times."""
        self.count += not hand.began
        if self.count >= DEATHS_IN_A_ROW * workers:
            raise RunError(f"workers die again and again before they begin a trial; the last one: {reason}")


@dataclass(kw_only=True)
class _Process(Hand):
    """One process."""

    terms: Terms
    process: ForkServerProcess
    connection: Connection


H = TypeVar("H", bound=Hand)


class Crew(Generic[H]):
    """What processes and actors have in common: who holds what, what they say, and the count of the dead."""

    def __init__(self, trial_seconds: float | None) -> None:
        self._trial_seconds = trial_seconds
        self._hands: list[H] = []
        self._deaths = Deaths()

    @property
    def owners(self) -> set[str]:
        """Under which names its workers hold trials; once it has been left, of those only that are surely gone."""
        return {hand.owner for hand in self._hands if hand.owner}

    @property
    def busy(self) -> bool:
        """Whether one of them has begun a trial, and has not said how it ended."""
        return any(hand.since for hand in self._hands)

    def kill(self, owner: str | None) -> None:
        """End a worker that no longer shows itself, so that what it has of its machine is given back."""
        for hand in self._hands:
            if owner and hand.owner == owner:
                hand.said = "it no longer showed itself"
                self._kill(hand)

    def _hear(self, number: int, event: Event, handle: Handler) -> None:
        """Remember what a worker says, and hand it on."""
        if event.kind == "started":
            self._deaths.count = 0
        if self._hands[number].notice(event):
            handle(number, event)

    def _bury(self, number: int, reason: str, handle: Handler) -> None:
        """Hand on that a worker has died, and start another in its place."""
        hand = self._hands[number]
        death = hand.died(reason, self._trial_seconds)
        handle(number, death)
        self._deaths.add(hand, death.reason, len(self._hands))
        self._hands[number] = self._another(hand)

    def _kill(self, hand: H) -> None:
        raise NotImplementedError

    def _another(self, hand: H) -> H:
        raise NotImplementedError


class Pool(Crew[_Process]):
    """One process for each of ``terms``. As a context manager it ends them all when it is left."""

    def __init__(self, terms: Sequence[Terms], trial_seconds: float | None = None) -> None:
        super().__init__(trial_seconds)
        self.terms = terms

    def __enter__(self) -> Pool:
        self._hands = [_start(terms) for terms in self.terms]
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        for hand in self._hands:
            hand.process.kill()  # between trials there is nothing to lose, within one its checkpoint is on the disk
        for hand in self._hands:
            hand.process.join()
            hand.connection.close()

    def attend(self, handle: Handler, timeout: float) -> None:
        """Hand on what the workers say for ``timeout`` seconds at most, and replace those that died.

        Raises:
            RunError: workers cannot work here, or die again and again.
        """
        ends: list[Connection | int] = [hand.connection for hand in self._hands if not hand.connection.closed]
        wait([*ends, *(hand.process.sentinel for hand in self._hands)], timeout)
        for number, hand in enumerate(self._hands):
            self._listen(number, hand, handle)
            if hand.is_over(self._trial_seconds):
                hand.process.kill()
                hand.process.join()
            if not hand.process.is_alive():
                self._listen(number, hand, handle)  # its last words
                hand.process.join()
                hand.connection.close()
                self._bury(number, _reason(hand.process.exitcode or 0), handle)

    def _listen(self, number: int, hand: _Process, handle: Handler) -> None:
        try:
            while hand.connection.poll():
                self._hear(number, hand.connection.recv(), handle)
        except (EOFError, OSError):
            return

    def _kill(self, hand: _Process) -> None:
        hand.process.kill()

    def _another(self, hand: _Process) -> _Process:
        return _start(hand.terms)


def _reason(code: int) -> str:
    if code >= 0:
        return f"its worker ended with code {code}"
    name = signal.Signals(-code).name if -code in set(signal.Signals) else str(-code)
    hint = " (the kernel does that when memory ends)" if name == "SIGKILL" else ""
    return f"its worker was ended by {name}{hint}"


def _start(terms: Terms) -> _Process:
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["scalesearch.worker"])
    mine, theirs = context.Pipe()
    process = context.Process(target=_main, args=(terms, theirs), name="scalesearch worker")
    process.start()
    theirs.close()
    return _Process(terms=terms, process=process, connection=mine)


def _main(terms: Terms, connection: Connection) -> None:
    """A worker process: trial after trial, until it is ended or the search's process is gone."""
    from scalesearch.worker import BrokenDeviceError, Event, Worker

    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the search, which then ends its workers
    threading.Thread(target=_end_with_parent, daemon=True).start()
    try:
        worker = Worker(terms, connection.send)
        while True:
            if not worker.work_once():
                time.sleep(0.3)
    except BrokenDeviceError as failure:
        connection.send(Event("broken", values=(str(failure),)))
    except ScaleSearchError as failure:
        connection.send(Event("unfit", values=(str(failure),)))
    except (BrokenPipeError, ConnectionError):
        return


def _end_with_parent() -> None:
    """A worker whose search was killed would go on unseen."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
    os._exit(1)


class Here:
    """No processes: trials are trained by the caller, one after the other."""

    busy = False

    def __init__(self, terms: Terms) -> None:
        self.terms = terms
        self.owners: set[str] = set()

    def __enter__(self) -> Here:
        return self

    def __exit__(self, *_: object) -> None:
        return

    def attend(self, handle: Handler, timeout: float) -> None:
        """Do one trial, or wait ``timeout`` seconds for one.

        Raises:
            RunError: the device answers no more.
        """
        from scalesearch.worker import BrokenDeviceError

        if not self.owners:
            self._open(handle)
        try:
            if not self._worker.work_once():
                time.sleep(timeout)
        except BrokenDeviceError as failure:
            raise RunError(f"the device failed: {failure}; the same command goes on in a new process") from failure

    def _open(self, handle: Handler) -> None:
        from scalesearch.worker import Worker

        self._worker = Worker(self.terms, lambda event: handle(0, event))
        self.owners = {self._worker.me}

    def kill(self, owner: str | None) -> None:
        """Nothing: what does not show itself is not here."""
