"""Work that is done before it is asked for."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import suppress
from queue import Full, Queue
from typing import TypeVar

T = TypeVar("T")

AHEAD = 3
"""Items that may be ready and unused."""


def ahead(items: Iterator[T], depth: int = AHEAD) -> Iterator[T]:
    """``items``, made by a thread up to ``depth`` of them ahead; what is raised while one is made is raised here.

    When the iteration is left early, the thread ends after the item it is at.
    """
    ready: Queue[tuple[T | None, BaseException | None]] = Queue(depth)
    left = threading.Event()

    def put(item: T | None, failure: BaseException | None) -> bool:
        while not left.is_set():
            with suppress(Full):
                ready.put((item, failure), timeout=0.1)
                return True
        return False

    def make() -> None:
        try:
            for item in items:
                if not put(item, None):
                    return
        except BaseException as failure:
            put(None, failure)
        else:
            put(None, StopIteration())

    thread = threading.Thread(target=make, name="ahead", daemon=True)
    thread.start()
    try:
        while True:
            item, failure = ready.get()
            if isinstance(failure, StopIteration):
                return
            if failure is not None:
                raise failure
            yield item  # type: ignore[misc]
    finally:
        left.set()
        thread.join()
