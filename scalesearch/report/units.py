"""Numbers with their units, as tables and pages print them."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from scalesearch.image_size import as_resolution

HEADINGS = {"accuracy": "acc", "balanced_accuracy": "bal. acc", "macro_f1": "F1"}
"""Of columns, by what a run is ranked by; in per cent."""

METRIC = {"accuracy": "top-1 accuracy", "balanced_accuracy": "balanced accuracy", "macro_f1": "macro F1"}
"""The same in words."""


def amount(value: float, unit: str = "") -> str:
    """Three figures and a prefix: 385,814,752 is ``386 M``, 3.6e9 bytes ``3.60 GB``."""
    for limit, prefix in ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k")):
        if abs(value) >= limit * 0.9995:
            scaled = value / limit
            return f"{scaled:.{max(0, 2 - int(math.log10(abs(scaled)) + 1e-9))}f} {prefix}{unit}"
    return f"{value:.0f} {unit}".rstrip()


def cost(value: float, unit: str) -> str:
    """A cost in its unit: ``10.3 ms``, ``1.20 GB``, ``5.29 M``."""
    return f"{value:.3g} {unit}" if unit in ("ms", "mJ") else amount(value, unit)


def params(value: float) -> str:
    """Parameters in millions: ``5.3 M``; of so few that this would be 0.0, ``8.21 k``."""
    return f"{value / 1e6:.1f} M" if value >= 5e4 else amount(value)


def duration(seconds: float) -> str:
    """``1:02:03`` or ``2:03``."""
    whole = round(seconds)
    hours, rest = divmod(whole, 3600)
    return f"{hours}:{rest // 60:02}:{rest % 60:02}" if hours else f"{rest // 60}:{rest % 60:02}"


def since(seconds: float) -> str:
    """How long ago, in one unit: ``40 s``, ``5 min``, ``3 h``, ``12 d``."""
    for size, unit, most in ((1, "s", 60), (60, "min", 60), (3600, "h", 48)):
        if seconds < size * most:
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds / 86400:.0f} d"


def percent(mean: float, sd: float | None) -> str:
    """An accuracy in per cent with its standard deviation over seeds, where there are several."""
    return f"{100 * mean:.1f}" + ("" if sd is None or math.isnan(sd) else f" ± {100 * sd:.1f}")


def interval(row: Mapping[str, Any]) -> str:
    """A row's interval in per cent: ``49.7–61.0``; empty where there is none."""
    return "" if row.get("low") is None else f"{100 * row['low']:.1f}–{100 * row['high']:.1f}"


def to_first(row: Mapping[str, Any], *, brief: bool = False) -> str:
    """A row's difference to the first in points, with that difference's interval: ``-0.8 (-1.9…0.3)``, or ``brief``
    the interval alone; empty for the first itself, and where it is not known."""
    gap = row.get("gap")
    if gap is None or math.isnan(gap) or row.get("rank") == 1:
        return ""
    if brief:
        return "…".join(f"{100 * end:.{0 if abs(end) > 0.0995 else 1}f}" for end in (row["gap_low"], row["gap_high"]))
    return f"{100 * gap:.1f} ({100 * row['gap_low']:.1f}…{100 * row['gap_high']:.1f})"


def to_baseline(difference: Mapping[str, float] | None) -> str:
    """A difference to the baseline in points, with its interval: ``-0.8 (-1.9…0.3)``; empty where there is none."""
    if difference is None:
        return ""
    value, low, high = (100 * difference[key] for key in ("value", "low", "high"))
    return f"{value:+.1f} ({low:.1f}…{high:.1f})"


def pixels(size: object) -> str:
    """The size of images as it is printed, from a result's file: ``224``, ``64×192``."""
    return str(as_resolution(size))
