"""How much accuracy trained networks keep on corrupted images and on other sets, and which keeps more.

All networks saw the same images, so that networks are compared image by image. The intervals are over images: which
weights another seed would have given, they do not know.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from scalesearch.ranking.image_intervals import Interval, paired, share

Floats = NDArray[np.float64]
Right = np.ndarray[Any, np.dtype[np.bool_]]

EVERY = "all corruptions"
"""The mean over the corruptions, each with equal weight, as a row of its own."""


@dataclass(frozen=True, eq=False)
class Measured:
    """Which images each network got right.

    ``clean``: (networks, images) of bool; ``corrupted``: the same images, by corruption and severity; ``domains``:
    (networks, images) by the name of another set.
    """

    networks: tuple[str, ...]
    clean: Right
    corrupted: Mapping[str, Mapping[int, Right]]
    domains: Mapping[str, Right]


@dataclass(frozen=True)
class Robustness:
    """One network under one corruption, or on another set (``severities`` is then empty).

    ``mean`` is over severities. ``relative`` is the mean over the clean accuracy; nan where that is zero.
    """

    network: str
    under: str
    images: int
    clean: Interval
    severities: Mapping[int, Interval]
    mean: Interval
    relative: Interval


@dataclass(frozen=True)
class Difference:
    """A network less the first one, in accuracy: on clean images, under ``under`` (the mean over severities), and
    how much more of its clean accuracy it keeps: the second less the first of these."""

    network: str
    first: str
    under: str
    clean: Interval
    mean: Interval
    retained: Interval


def robustness(measured: Measured, confidence: float = 0.95) -> list[Robustness]:
    """Every network under every corruption, then under all of them together, then on every other set."""
    rows = []
    for under, by_severity in _under(measured).items():
        for i, network in enumerate(measured.networks):
            clean = measured.clean[i].astype(float)
            each = {severity: right[i].astype(float) for severity, right in by_severity.items()}
            mean = np.mean(list(each.values()), axis=0)
            shown = {} if under == EVERY else {s: share(values, confidence) for s, values in each.items()}
            relative = _ratio(mean, clean, confidence, same=True)
            rows.append(
                Robustness(
                    network, under, len(mean), share(clean, confidence), shown, share(mean, confidence), relative
                )
            )
    for name, right in measured.domains.items():
        for i, network in enumerate(measured.networks):
            clean, there = measured.clean[i].astype(float), right[i].astype(float)
            relative = _ratio(there, clean, confidence, same=False)
            rows.append(
                Robustness(network, name, len(there), share(clean, confidence), {}, share(there, confidence), relative)
            )
    return rows


def differences(measured: Measured, confidence: float = 0.95) -> list[Difference]:
    """Every network but the first against the first, in the order of `robustness`."""
    rows = []
    for under, by_severity in _under(measured).items():
        for i in range(1, len(measured.networks)):
            clean = _less_first(measured.clean, i)
            mean = np.mean([_less_first(right, i) for right in by_severity.values()], axis=0)
            stays = paired((mean - clean) / 2, confidence)  # within [−1, 1] again
            doubled = Interval(2 * stays.value, 2 * stays.low, 2 * stays.high)
            values = (paired(clean, confidence), paired(mean, confidence), doubled)
            rows.append(Difference(measured.networks[i], measured.networks[0], under, *values))
    for name, right in measured.domains.items():
        for i in range(1, len(measured.networks)):
            before, there = (paired(_less_first(each, i), confidence) for each in (measured.clean, right))
            names = (measured.networks[i], measured.networks[0], name)
            rows.append(Difference(*names, before, there, _apart(there, before)))
    return rows


def _under(measured: Measured) -> dict[str, Mapping[int, Right]]:
    """The corruptions, and all of them as one: every corruption has the same severities."""
    every: dict[str, Mapping[int, Right]] = dict(measured.corrupted)
    if len(every) > 1:
        joined = [right for by_severity in every.values() for right in by_severity.values()]
        every[EVERY] = dict(enumerate(joined))
    return every


def _less_first(right: Right, i: int) -> Floats:
    return np.asarray(right[i], np.float64) - np.asarray(right[0], np.float64)


def _apart(one: Interval, other: Interval) -> Interval:
    """``one`` less ``other``, of images that have nothing to do with each other; each side's reach by its squares."""
    value = one.value - other.value
    low = math.hypot(one.value - one.low, other.high - other.value)
    high = math.hypot(one.high - one.value, other.value - other.low)
    return Interval(value, value - low, value + high)


def _ratio(values: Floats, clean: Floats, confidence: float, *, same: bool) -> Interval:
    """Mean of ``values`` over that of ``clean``, by the delta method; ``same``: the images are the same ones."""
    below = clean.mean()
    if below == 0:
        return Interval(math.nan, math.nan, math.nan)
    ratio = values.mean() / below
    if same:
        variance = np.square(values - ratio * clean).mean() / len(values)
    else:
        variance = values.var() / len(values) + ratio**2 * clean.var() / len(clean)
    half = stats.norm.ppf((1 + confidence) / 2) * math.sqrt(variance) / below
    return Interval(float(ratio), max(0.0, float(ratio - half)), float(ratio + half))


def in_words(rows: Sequence[Difference], confidence: float) -> list[str]:
    """What the differences say of each network, where one can be told from the first: a sentence each."""
    told = []
    unders = list(dict.fromkeys(row.under for row in rows))
    summed = [EVERY] if EVERY in unders else []
    for row in rows:
        if summed and row.under in unders[: unders.index(EVERY)]:
            continue  # the row of all corruptions says it
        where = {EVERY: "under corruption"}.get(row.under, f"on {row.under}")
        if row.mean.low <= 0 <= row.mean.high:
            told.append(f"{row.network} and {row.first} cannot be told apart {where} at {100 * confidence:g} %.")
            continue
        better = "more" if row.mean.value > 0 else "less"
        if row.retained.low <= 0 <= row.retained.high:
            why = "as on clean images, as far as can be told"
        else:
            loses = f"{abs(100 * row.retained.value):.1f} points {'less' if row.retained.value > 0 else 'more'}"
            why = f"it loses {loses} there than {row.first} does"
            if row.clean.value * row.retained.value < 0 and not row.clean.low <= 0 <= row.clean.high:
                why += f", of a clean accuracy that is {abs(100 * row.clean.value):.1f} points "
                why += "lower to begin with" if row.clean.value < 0 else "higher to begin with"
        told.append(f"{row.network} is {better} accurate than {row.first} {where}: {points(row.mean)} points; {why}.")
    return told


def no_better(rows: Sequence[Robustness], largest: Mapping[str, float]) -> list[str]:
    """Where networks are no better than a constant answer, so that what they differ by says nothing: a sentence each.

    Args:
        largest: by name of another set, the share of its largest class; of the corrupted one under no name.
    """
    told = []
    for under in dict.fromkeys(row.under for row in rows):
        share_of = largest.get(under, largest[""])
        names = [row.network for row in rows if row.under == under and row.mean.low <= share_of]
        if names:
            told.append(
                f"{', '.join(names)}: under {under} no better than naming the largest class always "
                f"({100 * share_of:.1f} %), as far as can be told; smaller losses there say nothing."
            )
    return told


def points(difference: Interval) -> str:
    """A difference in points with its interval: ``+1.2 (0.3…2.1)``."""
    if math.isnan(difference.value):
        return "–"
    value, low, high = (round(100 * each, 1) + 0.0 for each in (difference.value, difference.low, difference.high))
    return f"{value:+.1f} ({low:.1f}…{high:.1f})"  # adding zero makes a minus of −0.0 go
