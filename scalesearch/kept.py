"""What was measured once on this machine, and need not be measured again."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import TypeVar

from scalesearch.data.cache import cache_folder
from scalesearch.errors import RunError
from scalesearch.folder import write_text

V = TypeVar("V", str, float)


def kept(name: str, keys: Mapping[str, str], measure: Callable[[list[str]], Mapping[str, V]]) -> dict[str, V]:
    """The values of ``keys``' names, those that are not known under their keys measured in one go.

    Kept in ``NAME.json`` in the cache; where that cannot be written, they will be measured again.
    """
    file = cache_folder() / f"{name}.json"
    try:
        known: dict[str, V] = json.loads(file.read_text())
    except (OSError, ValueError):
        known = {}
    if new := [each for each, key in keys.items() if key not in known]:
        known |= {keys[each]: value for each, value in measure(new).items()}
        with suppress(RunError):
            write_text(file, json.dumps(known, indent=0))
    return {each: known[key] for each, key in keys.items()}
