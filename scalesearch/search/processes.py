"""The worker processes of this machine: started, heard, and replaced when they die."""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from multiprocessing.context import ForkServerProcess
from types import ModuleType, TracebackType
from typing import TYPE_CHECKING

from scalesearch.errors import RunError, ScaleSearchError
from scalesearch.search.engine import Handler, WorkerGroup, WorkerHandle

if TYPE_CHECKING:
    from scalesearch.search.work import Terms


def warm_up() -> None:
    """Start loading torch for the workers now, while the search is being planned."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["scalesearch.search.worker"])
    threading.Thread(target=_ensure_server, daemon=True).start()


def _ensure_server() -> None:
    from multiprocessing import forkserver

    forkserver.ensure_running()


@dataclass(kw_only=True)
class ProcessHandle(WorkerHandle):
    """One process."""

    terms: Terms
    process: ForkServerProcess
    connection: Connection


class ProcessPool(WorkerGroup[ProcessHandle]):
    """One process for each of ``terms``. As a context manager it ends them all when it is left."""

    def __init__(self, terms: Sequence[Terms], trial_seconds: float | None = None) -> None:
        super().__init__(trial_seconds)
        self.terms = terms

    def __enter__(self) -> ProcessPool:
        self._handles = [_start(terms) for terms in self.terms]
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        for worker in self._handles:
            worker.process.kill()  # between trials there is nothing to lose, within one its checkpoint is on the disk
        for worker in self._handles:
            worker.process.join()
            worker.connection.close()

    def attend(self, handle: Handler, timeout: float) -> None:
        """Hand on what the workers say for ``timeout`` seconds at most, and replace those that died.

        Raises:
            RunError: workers cannot work here, or die again and again.
        """
        ends: list[Connection | int] = [worker.connection for worker in self._handles if not worker.connection.closed]
        wait([*ends, *(worker.process.sentinel for worker in self._handles)], timeout)
        for number, worker in enumerate(self._handles):
            self._listen(number, worker, handle)
            if worker.is_over(self._trial_seconds):
                worker.process.kill()
                worker.process.join()
            if not worker.process.is_alive():
                self._listen(number, worker, handle)  # its last words
                worker.process.join()
                worker.connection.close()
                self._replace_dead(number, _reason(worker.process.exitcode or 0), handle)

    def _listen(self, number: int, worker: ProcessHandle, handle: Handler) -> None:
        try:
            while worker.connection.poll():
                self._hear(number, worker.connection.recv(), handle)
        except (EOFError, OSError):
            return

    def _kill(self, worker: ProcessHandle) -> None:
        worker.process.kill()

    def _another(self, worker: ProcessHandle) -> ProcessHandle:
        return _start(worker.terms)


def _reason(code: int) -> str:
    if code >= 0:
        return f"its worker ended with code {code}"
    name = signal.Signals(-code).name if -code in set(signal.Signals) else str(-code)
    hint = " (the kernel does that when memory ends)" if name == "SIGKILL" else ""
    return f"its worker was ended by {name}{hint}"


def _start(terms: Terms) -> ProcessHandle:
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["scalesearch.search.worker"])
    mine, theirs = context.Pipe()
    process = context.Process(target=_main, args=(terms, theirs), name="scalesearch worker")
    with _without_main():
        process.start()
    theirs.close()
    return ProcessHandle(terms=terms, process=process, connection=mine)


@contextmanager
def _without_main() -> Iterator[None]:
    """Have a new process not run the main script again, as Python would: a worker needs nothing of it, and a script
    that calls `scalesearch.Search` would begin another search in it."""
    main = sys.modules["__main__"]
    sys.modules["__main__"] = ModuleType("__main__")
    try:
        yield
    finally:
        sys.modules["__main__"] = main


def _main(terms: Terms, connection: Connection) -> None:
    """A worker process: trial after trial, until it is ended or the search's process is gone."""
    from scalesearch.search.work import BrokenDeviceError, Event
    from scalesearch.search.worker import Worker

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


class InProcessEngine:
    """No processes: trials are trained by the caller, one after the other."""

    busy = False

    def __init__(self, terms: Terms) -> None:
        self.terms = terms
        self.owners: set[str] = set()

    def __enter__(self) -> InProcessEngine:
        return self

    def __exit__(self, *_: object) -> None:
        return

    def attend(self, handle: Handler, timeout: float) -> None:
        """Do one trial, or wait ``timeout`` seconds for one.

        Raises:
            RunError: the device answers no more.
        """
        from scalesearch.search.work import BrokenDeviceError

        if not self.owners:
            self._open(handle)
        try:
            if not self._worker.work_once():
                time.sleep(timeout)
        except BrokenDeviceError as failure:
            raise RunError(f"the device failed: {failure}; the same command goes on in a new process") from failure

    def _open(self, handle: Handler) -> None:
        from scalesearch.search.worker import Worker

        self._worker = Worker(self.terms, lambda event: handle(0, event))
        self.owners = {self._worker.me}

    def kill(self, owner: str | None) -> None:
        """Nothing: what does not show itself is not here."""
