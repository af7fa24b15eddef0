"""What `compare` is asked for: which rows, and at which equal cost."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import cast

from scalesearch.candidates.quantities import QUANTITIES
from scalesearch.candidates.sweep import Sweep
from scalesearch.errors import ScaleSearchError
from scalesearch.search.start import PlaceRequest
from scalesearch.settings import Match


@dataclass(frozen=True)
class CompareRequest:
    """What the command line asks for, beside the recipe's keys; ``cost`` and ``target`` are what ``match`` or
    ``match_macs`` comes to."""

    comparison: str | None
    baselines: tuple[str, ...]
    recipe: str | None
    overrides: Mapping[str, object]
    match_macs: str | None = None
    match: str | None = None
    tolerance: float | None = None
    own: Path | None = None
    out: Path | None = None
    place: PlaceRequest = field(default_factory=PlaceRequest)
    sweep: Sweep = field(default_factory=dict)
    target: float | None = None
    cost: Match = "macs"

    @property
    def words(self) -> str:
        """What is equal."""
        return QUANTITIES[self.cost].words

    @property
    def as_written(self) -> str:
        """As `comparison.json` has it: ``rows``, ``4x`` of MACs, ``4x latency``."""
        if not self.target:
            return "rows"
        return f"{self.target:g}x" + (f" {self.words}" if self.cost != "macs" else "")


def match_of(wish: CompareRequest, *, sweep: bool) -> tuple[Match, float | None]:
    """What is equal, and how many times the baseline's: of ``--match latency=2x`` or ``--match-macs 2x``.

    Raises:
        ScaleSearchError: both are given, or it is no cost or no growth.
    """
    if wish.match is None:
        return "macs", growth_of(wish.match_macs, sweep=sweep)
    if wish.match_macs is not None:
        raise ScaleSearchError("--match and --match-macs: give one of them")
    name, equals, ratio = (part.strip() for part in wish.match.partition("="))
    if name not in QUANTITIES or not equals:
        raise ScaleSearchError(f"--match: expected {', '.join(QUANTITIES)} with =2x behind it, got {wish.match!r}")
    return cast(Match, name), growth_of(ratio, sweep=sweep, option="--match")


def growth_of(text: str | None, *, sweep: bool = False, option: str = "--match-macs") -> float | None:
    """``4x``, ``4×`` or ``4``: how many times the baseline's MACs.

    Args:
        sweep: whether it is a sweep's, whose rows may also cost what the baseline costs, or less.

    Raises:
        ScaleSearchError: it is not a number above 1, or of a sweep above 0.
    """
    if text is None:
        return None
    found = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*[x×]?\s*", text)
    if not found or float(found[1]) <= (0 if sweep else 1):
        what = "a ratio above 0, such as 1x" if sweep else "a growth above 1, such as 4x"
        raise ScaleSearchError(f"{option}: expected {what}, got {text!r}")
    return float(found[1])
