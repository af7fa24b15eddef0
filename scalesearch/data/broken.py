"""Images that cannot be decoded: all of them told at once, and remembered where they are to be left out."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from contextlib import suppress

from scalesearch.errors import DataError, RunError
from scalesearch.files import cache_folder, write_text

SHOWN = 3
"""How many are named in the message; the file that it names has all."""


SKIPPED = "skipped-images.txt"
"""In a run's folder: the images that were left out, a line each."""


def listed(skipped: Sequence[tuple[str, str]]) -> str:
    """Names and reasons, a line each."""
    return "".join(f"{name}\t{reason}\n" for name, reason in skipped)


class BrokenImagesError(DataError):
    """Some images of a part cannot be decoded: ``reasons`` says why, by their index in the part."""

    def __init__(self, message: str, reasons: Mapping[int, str]) -> None:
        super().__init__(message)
        self.reasons = dict(reasons)


def broken_error(reasons: Mapping[int, str], names: Mapping[int, str], of: int) -> BrokenImagesError:
    """What is said of them: how many, the first few, and where the whole list is, if there are more."""
    chosen = sorted(reasons)
    told = "; ".join(f"{names[i]}: {_line(reasons[i])}" for i in chosen[:SHOWN])
    if len(chosen) == 1:
        return BrokenImagesError(f"cannot decode {told}", reasons)
    rest = ""
    if len(chosen) > SHOWN:
        file = cache_folder() / "broken-images.txt"
        lines = [f"{names[i]}\t{_line(reasons[i])}\n" for i in chosen]
        with suppress(RunError):
            write_text(file, "".join(lines).encode("utf-8", "replace").decode())
            rest = f"; all are listed in {file}"
    hint = "data.on_error=skip leaves them out"
    return BrokenImagesError(f"cannot decode {len(chosen)} of {of:,} images: {told}{rest} ({hint})", reasons)


def _line(text: str) -> str:
    return " ".join(text.split())[:160]


def known_broken(key: str) -> dict[int, str]:
    """What was found broken before, by index; ``key`` names the source's files as they are, and the part."""
    try:
        known = json.loads((cache_folder() / f"broken-{key}.json").read_text())
        return {int(index): str(reason) for index, reason in known.items()}
    except (OSError, ValueError, AttributeError):
        return {}


def note_broken(key: str, reasons: Mapping[int, str]) -> None:
    """Remember what was found broken; without a cache it is found again."""
    with suppress(RunError):
        write_text(cache_folder() / f"broken-{key}.json", json.dumps(dict(reasons)))


def without(indices: Sequence[int], broken: Mapping[int, str]) -> list[int]:
    """The indices that are left."""
    return [index for index in indices if index not in broken]
