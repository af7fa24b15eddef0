"""The ledger in a file: Optuna's journal, made to survive kill -9 and a full disk at any byte."""

from __future__ import annotations

import errno
import fcntl
import os
import time
from pathlib import Path
from typing import Any

from optuna.storages.journal import JournalFileBackend, JournalFileOpenLock

JOURNAL = "study.journal"
"""The file's name in a run's folder."""


class _KernelLock(JournalFileOpenLock):
    """A lock that ends with its process. Optuna's own locks are files, which a killed process leaves behind for
    the next one to wait out (30 seconds)."""

    PATIENCE = 120.0
    """Seconds; only a process that is frozen in mid-write holds the lock for longer than milliseconds."""

    def __init__(self, path: str) -> None:
        super().__init__(path)
        self._descriptor = os.open(path, os.O_CREAT | os.O_RDWR, 0o644)

    def acquire(self) -> bool:
        deadline, pause = time.monotonic() + self.PATIENCE, 0.0005
        while True:
            try:
                fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as failure:
                if time.monotonic() > deadline:
                    reason = f"another process has held its lock for {self.PATIENCE:.0f} s (is one frozen?)"
                    raise TimeoutError(errno.ETIMEDOUT, reason) from failure
                time.sleep(pause)
                pause = min(0.01, 1.5 * pause)
            else:
                return True

    def release(self) -> None:
        fcntl.flock(self._descriptor, fcntl.LOCK_UN)


class Journal(JournalFileBackend):
    """Optuna's journal, which cannot be read any more once something follows a half-written line (a crash or a full
    disk in mid-write). Here such a line is cut off before the next one is written."""

    def __init__(self, path: Path) -> None:
        self._path, self._kernel_lock = path, _KernelLock(str(path.with_name(f".{path.name}.lock")))
        super().__init__(str(path), lock_obj=self._kernel_lock)
        self._kernel_lock.acquire()
        try:
            self._mend()
        finally:
            self._kernel_lock.release()

    def append_logs(self, logs: list[dict[str, Any]]) -> None:
        """Append whole lines under the kernel's lock (Optuna's interface).

        Raises:
            OSError: the file cannot be written.
        """
        self._kernel_lock.acquire()
        try:
            self._mend()
        finally:
            self._kernel_lock.release()
        super().append_logs(logs)

    def _mend(self) -> None:
        with self._path.open("rb+") as file:
            end = file.seek(0, os.SEEK_END)
            file.seek(max(0, end - 1))
            if end and file.read(1) != b"\n":
                file.seek(0)
                file.truncate(file.read().rfind(b"\n") + 1)
