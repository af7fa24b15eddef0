"""The C library's memory on a CPU: what one step frees, the next one takes again."""

from __future__ import annotations

import ctypes
import sys
from functools import cache

M_TRIM_THRESHOLD, M_MMAP_MAX = -1, -4
"""glibc's numbers for `mallopt`: what may lie free at the heap's end, and how many blocks may come from elsewhere."""
WITHOUT_LIMIT = -1


@cache
def keep_freed() -> bool:
    """From here on this process keeps the memory that it frees, until `give_back`; False where it cannot be told to.

    By default glibc returns large blocks, and what is free at the end of its heap, to the kernel, and gets them back as
    fresh, zeroed pages: a step of training, which frees all that it made, then spends an eighth to a third of its time
    on page faults (results/benchmarks/allocator.md). The main thread's large blocks are what gains: other threads have
    heaps of 64 MB. Other C libraries have no such call.
    """
    library = _glibc()
    if library is None:
        return False
    return bool(library.mallopt(M_MMAP_MAX, 0) and library.mallopt(M_TRIM_THRESHOLD, WITHOUT_LIMIT))


def give_back() -> None:
    """Return to the kernel what is free now."""
    if (library := _glibc()) is not None:
        library.malloc_trim(0)


@cache
def _glibc() -> ctypes.CDLL | None:
    if not sys.platform.startswith("linux"):
        return None
    library = ctypes.CDLL(None)
    return library if hasattr(library, "gnu_get_libc_version") else None
