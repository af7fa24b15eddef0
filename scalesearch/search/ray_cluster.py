"""`--engine ray`: the workers are actors of a Ray cluster, which take their trials from the same ledger as processes.

Ray starts them, one per GPU (or one per CPU, where there is no GPU), carries what they say, and tells at once when one
dies. Everything else is the ledger's: Ray is told to repeat and restart nothing (``max_restarts=0``), a dead actor's
trial is settled like that of a dead process, and a new actor takes its place, on any node that has room. So a search
may begin with processes and go on with actors, or the other way round.
"""

from __future__ import annotations

import importlib
import logging
import os
import re
import socket
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

from scalesearch.errors import RunError, ScaleSearchError
from scalesearch.search.engine import Handler, WorkerGroup, WorkerHandle
from scalesearch.search.ledger.leases import host_of, is_gone
from scalesearch.search.work import Event, Terms
from scalesearch.search.worker import Worker

if TYPE_CHECKING:
    from typing import Self

QUIET = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_enable_metrics_collection": "0",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
    "RAY_DEDUP_LOGS_SKIP_REGEX": ".*",  # lines of its own log that reach the search's output in spite of log_to_driver
}
"""What Ray reads from the environment: it is to report nothing, and to say only what went wrong."""

STORE = 80 * 2**20
"""Bytes of a local Ray's object store, about the least it accepts: nothing large goes through it."""

STEP_SECONDS = 0.1
"""Seconds between an actor's answers that tell of steps alone."""

SILENT_SECONDS = 5.0
"""Seconds after which an actor answers that there is nothing to tell."""

SHUTDOWN_SECONDS = 10.0
"""Seconds that the actors are given to end."""


def load_ray(load: Callable[[str], Any] = importlib.import_module) -> Any:
    """Ray's module, made quiet.

    Raises:
        RunError: it is not installed.
    """
    for name, value in QUIET.items():
        os.environ.setdefault(name, value)
    try:
        return load("ray")
    except ImportError as failure:
        raise RunError("--engine ray: Ray is not installed: pip install 'scalesearch[ray]'") from failure


class RayWorkerActor:
    """The actor: one thread trains, calls of `hear` fetch what it says.

    Events stay until the search has said that it heard them, so that an answer that is lost on its way loses none.
    """

    def __init__(self, terms: Terms, home: str) -> None:
        """``home``: where the search runs; where that folder exists, relative paths mean the same here."""
        self._events: list[Event] = []
        self._forgotten = self._given = 0
        self._over = False
        self._news = threading.Condition()
        with suppress(OSError):
            os.chdir(home)
        threading.Thread(target=self._work, args=(terms,), name="worker", daemon=True).start()

    def hear(self, heard: int) -> list[Event]:
        """What was said after the first ``heard`` events; after `SILENT_SECONDS` seconds, that there was nothing."""
        with self._news:
            del self._events[: max(0, heard - self._forgotten)]
            self._forgotten, self._given = max(heard, self._forgotten), 0
            self._news.wait_for(lambda: self._events or self._over, SILENT_SECONDS)
            if self._over and not self._events:  # its last words have been heard
                os._exit(1)
            self._news.wait_for(lambda: any(event.kind != "step" for event in self._events), STEP_SECONDS)
            self._given = len(self._events)
            return list(self._events)

    def end(self) -> None:
        """End this process, so that Ray's word for it means that it exists no more."""
        os._exit(0)

    def _work(self, terms: Terms) -> None:
        try:
            worker = Worker(_on_this_node(terms), self._tell)
            while True:
                if not worker.work_once():
                    time.sleep(0.3)
        except ScaleSearchError as failure:
            self._tell(Event("unfit", values=(f"{failure} (on {socket.gethostname()})",)))
        except Exception as failure:  # the device, or a mistake of ours: the search is told, and starts another actor
            self._tell(Event("broken", values=(f"{type(failure).__name__}: {failure}",)))
        with self._news:
            self._over = True
            self._news.notify_all()

    def _tell(self, event: Event) -> None:
        with self._news:
            if event.kind == "step" and len(self._events) > self._given and self._events[-1].kind == "step":
                self._events[-1] = event  # the newest is enough
            else:
                self._events.append(event)
            self._news.notify_all()


def _on_this_node(terms: Terms) -> Terms:
    """Checkpoints go into the run's folder where this node has it, else into its own cache."""
    from scalesearch.files import cache_folder

    return terms if terms.folder.is_dir() else replace(terms, folder=cache_folder() / "studies" / terms.study)


@dataclass(kw_only=True)
class _Actor(WorkerHandle):
    """One actor, the call that waits for its next events, and how many have been heard."""

    actor: Any
    call: Any
    heard: int = 0


class RayCluster(WorkerGroup[_Actor]):
    """Ray actors in the place of `pool.Pool`'s processes."""

    def __init__(
        self,
        ray: Any,
        terms: Terms,
        *,
        address: str | None = None,
        workers: int | None = None,
        most: int = 2**31,
        trial_seconds: float | None = None,
    ) -> None:
        """Nothing is started yet.

        Args:
            ray: its module (`load_ray`).
            terms: ``device`` is auto, cpu or cuda; on a CPU each worker has one thread.
            address: of a cluster, auto or HOST:PORT; None: a Ray on this machine that ends with the pool.
            workers: how many; None: as many as the cluster has GPUs, or CPUs if it has no GPU. What has no room yet
                waits for it.
            most: no more than these, by default either.
        """
        super().__init__(trial_seconds)
        where = terms.storage.absolute() if isinstance(terms.storage, Path) else terms.storage
        self._terms = replace(terms, storage=where, folder=terms.folder.absolute())
        self._ray, self._address, self._wanted, self._most = ray, address, workers, most

    def __enter__(self) -> Self:
        """Connect, or start a Ray of its own, and ask it for the actors.

        Raises:
            RunError: no cluster answers, it has several hosts and the ledger is a file, or nothing to train on.
        """
        try:
            self._connect()
            self._check_hosts()
            self._handles = [self._start() for _ in range(self._count())]
        except BaseException:
            self._ray.shutdown()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            ends = [(worker, worker.actor.end.remote()) for worker in self._handles if worker.owner]
            deadline = time.monotonic() + SHUTDOWN_SECONDS
            gone = [worker for worker, end in ends if self._has_ended(worker, end, deadline)]
            for worker in self._handles:
                if worker not in gone:
                    self._kill(worker)  # what it may still hold is the lease's
            self._handles = gone
        finally:
            self._ray.shutdown()

    def attend(self, handle: Handler, timeout: float) -> None:
        """Hand on what the workers say for ``timeout`` seconds at most, and replace those that died.

        Raises:
            RunError: workers cannot work there, or die again and again.
        """
        numbers = {worker.call: number for number, worker in enumerate(self._handles)}
        self._ray.wait(list(numbers), num_returns=1, timeout=timeout)
        for call in self._ray.wait(list(numbers), num_returns=len(numbers), timeout=0)[0]:
            self._listen(numbers[call], handle)
        for worker in self._handles:
            if worker.is_over(self._trial_seconds):
                self._kill(worker)

    def _connect(self) -> None:
        options: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.CRITICAL}
        if self._address is None:
            cpus = max(os.cpu_count() or 1, self._wanted or 0)
            options |= {"num_cpus": cpus, "include_dashboard": False, "object_store_memory": STORE}
        elif self._address != "auto":
            host, _, port = self._address.rpartition(":")
            try:
                socket.create_connection((host, int(port)), timeout=10).close()
            except (OSError, OverflowError) as failure:
                raise RunError(f"--address {self._address}: nothing answers there ({failure})") from failure
        try:
            self._ray.init(address=self._address or "local", **options)
        except (ConnectionError, RuntimeError, ValueError, self._ray.exceptions.RayError) as failure:
            raise RunError(f"--engine ray: {_line(failure)}") from failure

    def _check_hosts(self) -> None:
        hosts = {node["NodeManagerAddress"] for node in self._ray.nodes() if node["Alive"]}
        if len(hosts) > 1 and isinstance(self._terms.storage, Path):
            raise RunError(
                f"the Ray cluster has {len(hosts)} hosts, and a ledger in a file is for one: --storage keeps it on a "
                "server"
            )

    def _count(self) -> int:
        """How many workers, and (in terms and options) on what each of them trains."""
        gpus, cpus = (int(self._ray.cluster_resources().get(kind, 0)) for kind in ("GPU", "CPU"))
        if self._terms.device.startswith("cuda") or (self._terms.device == "auto" and gpus):
            kind, most, self._options = "GPU", gpus, {"num_gpus": 1, "num_cpus": 0}
            self._terms = replace(self._terms, device="cuda")
        else:
            kind, most, self._options = "CPU", cpus, {"num_cpus": 1}
            self._terms = replace(self._terms, device="cpu", threads=1)
        if not most:
            raise RunError(f"the Ray cluster has no {kind} to train on")
        return min(self._wanted or most, self._most)

    def _start(self) -> _Actor:
        remote = self._ray.remote(RayWorkerActor).options(
            max_restarts=0, max_task_retries=0, max_concurrency=4, scheduling_strategy="SPREAD", **self._options
        )
        actor = remote.remote(self._terms, str(Path.cwd()))
        return _Actor(actor=actor, call=actor.hear.remote(0))

    def _listen(self, number: int, handle: Handler) -> None:
        worker, errors = self._handles[number], self._ray.exceptions
        try:
            events = self._ray.get(worker.call)
        except errors.ActorUnavailableError:  # the network: it may be there again; if not, its lease ends
            time.sleep(STEP_SECONDS)
            worker.call = worker.actor.hear.remote(worker.heard)
            return
        except errors.RayError as failure:
            self._kill(worker)  # if it was a call that failed and not the actor
            self._replace_dead(number, _reason(failure), handle)
            return
        worker.heard += len(events)
        worker.call = worker.actor.hear.remote(worker.heard)
        for event in events:
            self._hear(number, event, handle)
        if isinstance(self._terms.storage, Path) and worker.owner and host_of(worker.owner) != socket.gethostname():
            raise RunError(
                f"{host_of(worker.owner)} has joined the Ray cluster, and a ledger in a file is for one host"
            )

    def _has_ended(self, worker: _Actor, end: Any, deadline: float) -> bool:
        errors = self._ray.exceptions
        try:
            self._ray.get(end, timeout=max(0.0, deadline - time.monotonic()))
        except errors.ActorDiedError:
            return True
        except errors.RayError:
            return is_gone(worker.owner)
        return False

    def _another(self, worker: _Actor) -> _Actor:
        return self._start()

    def _kill(self, worker: _Actor) -> None:
        with suppress(ValueError, self._ray.exceptions.RayError):
            self._ray.kill(worker.actor)


def _reason(failure: BaseException) -> str:
    """Ray's many lines in a few words."""
    told = _line(failure)
    if "node has died" in told or "node was terminated" in told:
        return "its Ray node died"
    if "low on memory" in told:
        return "Ray ended its worker because the node's memory ended"
    detail = re.search(r"Worker exit detail: (.*?)(?:\.\s|$)", told)
    return f"its worker ended ({detail[1] if detail else told})"


def _line(failure: BaseException) -> str:
    return " ".join(str(failure).split())
