"""Decode once: a source's images as one uint8 array, kept on the disk for the next run."""

from __future__ import annotations

import hashlib
import os
import tempfile
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import numpy as np

from scalesearch.data.broken import BrokenImagesError
from scalesearch.data.pixels import DTYPES, Array, as_array, fitted
from scalesearch.data.sources import Part
from scalesearch.errors import DataError
from scalesearch.files import cache_folder
from scalesearch.image_size import Resolution, height_width, image_shape
from scalesearch.runtime.threads import cores

VERSION = 2
"""Of how images are decoded: raise it when the same files would give other pixels."""


def decoded(
    part: Part,
    indices: Sequence[int],
    size: Resolution,
    key: str,
    on_image: Callable[[int], None] | None = None,
    *,
    most: int | None = None,
) -> Array:
    """The chosen images as the part has them seen, (N, C, H, W): from the cache if it has them, else decoded and kept.

    Args:
        key: identifies the source and the part; together with the indices and the size it names the cache file.
        on_image: called now and then with the number of images decoded so far.
        most: bytes that the whole cache may take; files go in the order of their last use, this one never.

    Raises:
        BrokenImagesError: images cannot be decoded; all of them are in it.
    """
    digest = hashlib.sha256(repr((VERSION, key + part.view.key, size, list(indices))).encode()).hexdigest()[:24]
    path = cache_folder() / f"{digest}.npy"
    with suppress(OSError, ValueError, EOFError):
        found: Array = np.load(path, mmap_mode="c")
        _used(path)
        return found
    shape, dtype = (len(indices), *image_shape(part.view.channels, size)), DTYPES[part.view.bits]
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=path.parent, suffix=".part")
        os.close(handle)
    except OSError:
        return _fill(np.empty(shape, dtype), part, indices, size, on_image)
    unfinished = Path(name)
    try:
        array: Array = np.lib.format.open_memmap(unfinished, "w+", dtype, shape)
        _reserve(unfinished)
        _fill(array, part, indices, size, on_image)
        array.flush()  # type: ignore[attr-defined]
        unfinished.replace(path)
        _bound(path, most)
    except OSError:  # no room for a cache: this run keeps its images in memory
        return _fill(np.empty(shape, dtype), part, indices, size, on_image)
    finally:
        unfinished.unlink(missing_ok=True)
    return np.load(path, mmap_mode="c")  # type: ignore[no-any-return]


def _used(path: Path) -> None:
    """Note when a file was last used: its time of change says so, since few disks keep that of the last reading."""
    with suppress(OSError):
        os.utime(path)


def _bound(newest: Path, most: int | None) -> None:
    """Delete what was not used for longest until the rest takes ``most`` bytes. Processes that read it still can."""
    if most is None:
        return
    files = {path: path.stat() for path in newest.parent.glob("*.npy") if path.exists()}
    excess = sum(file.st_size for file in files.values()) - most
    for path in sorted(files, key=lambda p: files[p].st_mtime_ns):
        if excess <= 0:
            return
        if path != newest:
            path.unlink(missing_ok=True)
            excess -= files[path].st_size


def _reserve(path: Path) -> None:
    """Take a mapped file's room on the disk now: one that finds none while it is written kills its process."""
    for stale in path.parent.glob("*.part"):  # of processes that were killed
        if time.time() - stale.stat().st_mtime > 24 * 3600:
            stale.unlink(missing_ok=True)
    if hasattr(os, "posix_fallocate"):
        with path.open("rb+") as file:
            os.posix_fallocate(file.fileno(), 0, path.stat().st_size)


def decode(part: Part, index: int, size: Resolution) -> Array:
    """One image as the part has it seen, (C, H, W).

    Raises:
        DataError: it cannot be decoded; the message names it.
    """
    try:
        return fitted(as_array(part.load(index, max(height_width(size))), part.view), size, part.view.crop)
    except Exception as failure:  # decoders raise whatever they like on a broken file
        raise DataError(f"cannot decode {part.name(index)}: {failure}") from failure


def _fill(
    array: Array, part: Part, indices: Sequence[int], size: Resolution, on_image: Callable[[int], None] | None
) -> Array:
    broken: dict[int, str] = {}

    def one(position: int) -> None:
        try:
            array[position] = decode(part, indices[position], size)
        except DataError as failure:
            broken[indices[position]] = str(failure.__cause__ or failure)

    if indices:
        one(0)  # on its own: a source that is drawn on demand is drawn once
    with ThreadPoolExecutor(cores()) as pool:
        for position, _ in enumerate(pool.map(one, range(1, len(indices)))):
            if on_image and position % 64 == 63:
                on_image(position + 2)
    if broken:
        raise BrokenImagesError(f"cannot decode {part.name(min(broken))}: {broken[min(broken)]}", broken)
    return array
