"""Leases: a trial's worker shows that it is alive, and others notice when it no longer is."""

from __future__ import annotations

import os
import socket
import threading
import time
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from scalesearch.errors import LeaseLostError, RunError

if TYPE_CHECKING:
    from scalesearch.search.ledger.ledger import Claim, Ledger
    from scalesearch.trials import Record

BEATS = 4
"""Renewals per lease."""

LOOK_EVERY = 1.0
"""Seconds between looks at the leases and at what is left."""


def me() -> str:
    """Names this process so that another of the same machine can see whether it still exists."""
    return f"{_machine()} {os.getpid()} {_started(os.getpid())}"


def is_gone(owner: str | None) -> bool:
    """Whether ``owner`` was a process of this machine that exists no more; False when that cannot be known."""
    machine, _, process = (owner or "").rpartition(" ")[0].rpartition(" ")
    if machine != _machine() or not process.isdigit():
        return False
    return _started(int(process)) != (owner or "").rpartition(" ")[2]


def host_of(owner: str) -> str:
    """The name of the host that ``owner`` is a process of."""
    return owner.partition("/")[0]


def _machine() -> str:
    """The host, this boot of it, and the namespace that process numbers count in."""
    try:
        boot, names = Path("/proc/sys/kernel/random/boot_id").read_text()[:8], Path("/proc/self/ns/pid").readlink()
    except OSError:  # not known: nothing is then said about any other process
        return f"{socket.gethostname()}/{os.getpid()}"
    return f"{socket.gethostname()}/{boot}/{names}"


def _started(process: int) -> str:
    """The process's start in clock ticks since boot, which tells it from a later one of the same number."""
    try:
        fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return "none"
    return "none" if fields[0] == "Z" else fields[19]


class Heartbeat:
    """Renews a claim's lease from a thread of its own, until it is stopped.

    ``lost`` turns true when the trial was given to another; the training loop looks at it between steps.
    """

    def __init__(self, ledger: Ledger, claim: Claim, lease_seconds: float) -> None:
        self._ledger, self._claim, self._interval = ledger, claim, lease_seconds / BEATS
        self._stop = threading.Event()
        self.lost = False
        self._thread = threading.Thread(target=self._run, name="heartbeat", daemon=True)

    def __enter__(self) -> Heartbeat:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def check(self) -> None:
        """Raises LeaseLostError if the trial was given to another."""
        if self.lost:
            raise LeaseLostError(f"trial {self._claim.number} was given to another worker")

    def _run(self) -> None:
        beat = 0
        while not self._stop.wait(self._interval):
            beat += 1
            try:
                self._ledger.beat(self._claim, beat)
            except LeaseLostError:
                self.lost = True
                return
            except RunError:
                continue  # the ledger cannot be written: the trial's end will say so, if it still cannot


class Watch:
    """Notices leases that are no longer renewed.

    It compares what it sees with what it saw before, by this process's monotonic clock alone, and counts no more than
    one renewal's time between two looks, so that a looker that was itself frozen blames nobody for it.
    """

    def __init__(self, lease_seconds: float) -> None:
        self._lease, self._looked = lease_seconds, time.monotonic()
        self._age: dict[int, tuple[object, float]] = {}

    def expired(self, records: Iterable[Record]) -> list[tuple[Record, str]]:
        """The running trials whose worker is gone or has not renewed its lease in time, and what is the matter."""
        now = time.monotonic()
        passed, self._looked = min(now - self._looked, self._lease / BEATS), now
        ages: dict[int, tuple[object, float]] = {}
        late: list[tuple[Record, str]] = []
        for record in records:
            if record.state != "running":
                continue
            sign = (record.owner, record.beat)
            before, age = self._age.get(record.number, (None, 0.0))
            ages[record.number] = (sign, age + passed if before == sign else 0.0)
            if is_gone(record.owner):
                late.append((record, "its worker is gone"))
            elif ages[record.number][1] > self._lease:
                late.append((record, f"its worker has not shown itself for {self._lease:g} s"))
        self._age = ages
        return late
