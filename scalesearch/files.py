"""Files that are never half written, the cache folder, and what was measured once and is remembered there."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO, TypeVar

from scalesearch.errors import RunError


def write_text(target: Path, text: str) -> Path:
    """Write a whole file or nothing.

    Raises:
        RunError: the disk is full, or the folder cannot be written.
    """
    try:
        return write_whole(target, lambda file: file.write(text.encode()))
    except OSError as failure:
        raise RunError(f"cannot write {target}: {failure.strerror}") from failure


def write_whole(target: Path, write: Callable[[BinaryIO], object]) -> Path:
    """Have ``write`` fill a new file, and put it in ``target``'s place once all of it is on the disk.

    A reader, or a crash, sees the old content or the new, never a part.

    Raises:
        OSError: it cannot be written; whatever ``write`` raises. The old content stays.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name}.")
    try:
        with os.fdopen(handle, "wb") as file:
            write(file)
            file.flush()
            os.fsync(file.fileno())
        Path(name).chmod(0o644)
        Path(name).replace(target)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise
    return target


def cache_folder() -> Path:
    """``$SCALESEARCH_CACHE``, else ``scalesearch`` in the user's cache folder."""
    if chosen := os.environ.get("SCALESEARCH_CACHE"):
        return Path(chosen)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "scalesearch"


V = TypeVar("V")
"""A value that JSON can hold."""


def kept_one(name: str, key: str, measure: Callable[[], V]) -> V:
    """The value of ``key``, measured if it is not known; kept as `kept` does."""
    return kept(name, {"": key}, lambda _: {"": measure()})[""]


def kept(name: str, keys: Mapping[str, str], measure: Callable[[list[str]], Mapping[str, V]]) -> dict[str, V]:
    """The values of ``keys``' names, those that are not known under their keys measured in one go.

    Kept in ``NAME.json`` in the cache; where that cannot be written, they will be measured again.
    """
    file = cache_folder() / f"{name}.json"
    known: dict[str, V] = {}
    with suppress(OSError, ValueError):
        found = json.loads(file.read_text())
        known = found if isinstance(found, dict) else {}
    if new := [each for each, key in keys.items() if key not in known]:
        known |= {keys[each]: value for each, value in measure(new).items()}
        with suppress(RunError):
            write_text(file, json.dumps(known, indent=0))
    return {each: known[key] for each, key in keys.items()}
