"""Decode once: a source's images as one uint8 array, kept on the disk for the next run."""

from __future__ import annotations

import hashlib
import os
import tempfile
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np

from scalesearch.data.sources import Part, pixels
from scalesearch.errors import DataError

Array = np.ndarray[Any, np.dtype[np.uint8]]


def cache_folder() -> Path:
    """``$SCALESEARCH_CACHE``, else ``scalesearch`` in the user's cache folder."""
    if chosen := os.environ.get("SCALESEARCH_CACHE"):
        return Path(chosen)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "scalesearch"


def decoded(
    part: Part, indices: Sequence[int], size: int, key: str, on_image: Callable[[int], None] | None = None
) -> Array:
    """The chosen images as uint8 (N, 3, size, size): from the cache if it has them, else decoded and added to it.

    Args:
        key: identifies the source and the part; together with the indices and the size it names the cache file.
        on_image: called now and then with the number of images decoded so far.

    Raises:
        DataError: an image cannot be decoded; the message names the file.
    """
    digest = hashlib.sha256(repr((key, size, list(indices))).encode()).hexdigest()[:24]
    path = cache_folder() / f"{digest}.npy"
    try:
        return np.load(path, mmap_mode="c")  # type: ignore[no-any-return]
    except (OSError, ValueError, EOFError):
        pass
    shape = (len(indices), 3, size, size)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=path.parent, suffix=".part")
        os.close(handle)
    except OSError:
        return _fill(np.empty(shape, np.uint8), part, indices, size, on_image)
    unfinished = Path(name)
    try:
        array: Array = np.lib.format.open_memmap(unfinished, "w+", np.uint8, shape)
        _fill(array, part, indices, size, on_image)
        array.flush()  # type: ignore[attr-defined]
        unfinished.replace(path)
    except OSError:  # no room for a cache: this run keeps its images in memory
        return _fill(np.empty(shape, np.uint8), part, indices, size, on_image)
    finally:
        unfinished.unlink(missing_ok=True)
    return np.load(path, mmap_mode="c")  # type: ignore[no-any-return]


def _fill(array: Array, part: Part, indices: Sequence[int], size: int, on_image: Callable[[int], None] | None) -> Array:
    def one(position: int) -> None:
        index = indices[position]
        try:
            array[position] = pixels(part.load(index, size), size)
        except (OSError, SyntaxError, ValueError) as failure:
            raise DataError(f"cannot decode {part.name(index)}: {failure}") from failure

    with ThreadPoolExecutor(os.cpu_count() or 1) as pool:
        for position, _ in enumerate(pool.map(one, range(len(indices)))):
            if on_image and position % 64 == 63:
                on_image(position + 1)
    return array
