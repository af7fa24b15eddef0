"""For every channel of a wider network, the channel of the narrower one that it is a copy of.

Channels that are tied (a residual addition, a norm's vectors) are one bundle. Bundles are alike where their channels
come from the same layers and are read by the same ones, in groups of the same number; among alike ones, the wider
network's are copies of the narrower one's in order.
"""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from scalesearch.errors import SurgeryError
from scalesearch.models.surgery.grow.channels import Numbered, Reading, Run

Ints = npt.NDArray[np.int64]

SPREAD = np.int64(-7046029254386353131)
"""An odd factor of a hash; products wrap around."""


@dataclass(frozen=True)
class Matched:
    """``source[n]`` is the narrower network's channel that the wider one's channel n is a copy of."""

    narrow: Run
    wide: Run
    source: Ints

    def elements(self, name: str) -> Ints:
        """For each element of what is called ``name`` in the wider network, its place in the narrower one's."""
        wide, narrow = self.wide.numbered[name], self.narrow.numbered[name]
        return self.source[wide.start : wide.start + wide.count] - narrow.start


def matched(narrow: Run, wide: Run) -> Matched:
    """Match the channels of two runs of a network at two widths.

    Raises:
        SurgeryError: they cannot be matched; the message names the layer.
    """
    _see_same(narrow, wide)
    bundles = [
        _bundles(run, groups) for run, groups in ((narrow, _uneven(narrow, wide)), (wide, _uneven(wide, narrow)))
    ]
    kinds = [_kinds(run, bundle, _uneven(narrow, wide)) for run, bundle in zip((narrow, wide), bundles, strict=True)]
    of_bundle = _assigned(narrow, wide, *bundles, *kinds)
    ranks = [_ranks(bundle) for bundle in bundles]
    place = {(int(b), int(r)): n for n, (b, r) in enumerate(zip(bundles[0], ranks[0], strict=True))}
    found = [place.get((int(of_bundle[b]), int(r)), -1) for b, r in zip(bundles[1], ranks[1], strict=True)]
    source = np.array(found, dtype=np.int64)
    owners = [_owners(run) for run in (narrow, wide)]
    for number, its in enumerate(source):
        if its < 0 or owners[0][its] != owners[1][number]:
            raise SurgeryError(_name(wide, number), "its channels do not go together as in the smaller network")
    return Matched(narrow, wide, source)


def _see_same(narrow: Run, wide: Run) -> None:
    for first, second in zip(narrow.operations, wide.operations, strict=False):
        if first != second:
            raise SurgeryError("forward", f"it runs {second} where the smaller network runs {first}")
    readings = [(each.where, each.what, each.how) for each in wide.readings]
    before = [(each.where, each.what, each.how) for each in narrow.readings]
    for was, reads in zip(before, readings, strict=False):
        if was != reads:
            raise SurgeryError(reads[0], f"{reads[1]} reads other channels than in the smaller network")
    if len(before) != len(readings) or list(narrow.numbered) != list(wide.numbered):
        raise SurgeryError("forward", "other layers run than in the smaller network")


def _uneven(one: Run, other: Run) -> set[int]:
    """Readings whose number of rows (groups) is not the same in both."""
    pairs = enumerate(zip(one.readings, other.readings, strict=True))
    return {place for place, (a, b) in pairs if len(a.numbers) != len(b.numbers)}


def _bundles(run: Run, uneven: set[int]) -> Ints:
    """The bundle that each channel belongs to; where there are more groups, a group's channels stay together."""
    pairs = [(a.numpy(), b.numpy()) for a, b in run.ties]
    for place in uneven:
        reading = run.readings[place]
        rows = np.concatenate([reading.numbers.numpy(), *_outs(reading)], axis=1)
        first = np.repeat(rows[:, :1], rows.shape[1] - 1, axis=1)
        both = (first >= 0) & (rows[:, 1:] >= 0)
        pairs.append((first[both], rows[:, 1:][both]))
    if not pairs:
        return np.arange(run.count)
    a, b = (np.concatenate(side) for side in zip(*pairs, strict=True))
    graph = coo_array((np.ones(len(a), dtype=np.int8), (a, b)), shape=(run.count, run.count))
    labels: Ints = connected_components(graph, directed=False)[1].astype(np.int64)
    return labels


def _outs(reading: Reading) -> list[Ints]:
    return [] if reading.out is None else [reading.out.numpy()]


def _kinds(run: Run, bundles: Ints, uneven: set[int]) -> Ints:
    """For each bundle a number that is equal where layers and readers are."""
    kinds = np.zeros(int(bundles.max()) + 1 if len(bundles) else 0, dtype=np.int64)
    for each in run.numbered.values():
        np.add.at(kinds, bundles[each.start : each.start + each.count], _hash(each.name))
    for place, reading in enumerate(run.readings):
        for end, numbers in (("in", reading.numbers.numpy()), *(("out", out) for out in _outs(reading))):
            row = np.arange(len(numbers))[:, None]
            colour = np.broadcast_to(0 if place in uneven else row, numbers.shape)
            if reading.how == "order" and end == "in":
                colour = np.arange(numbers.size).reshape(numbers.shape)
            with np.errstate(over="ignore"):
                hashed = _mix(colour.astype(np.int64) + _hash(f"{place} {end}"))
            there = numbers >= 0
            np.add.at(kinds, bundles[numbers[there]], hashed[there])
    return kinds


def _hash(text: str) -> np.int64:
    return np.int64((zlib.crc32(text.encode()) << 30) + zlib.adler32(text.encode()))


def _mix(values: Ints) -> Ints:
    values = values * SPREAD
    mixed: Ints = (values ^ (values >> np.int64(29))) * SPREAD
    return mixed


def _assigned(narrow: Run, wide: Run, bundles: Ints, wider: Ints, kinds: Ints, wider_kinds: Ints) -> Ints:
    """For each bundle of the wider network one of the narrower's."""
    first, first_wide = _firsts(bundles), _firsts(wider)
    of_kind: dict[int, list[int]] = {}
    for bundle in np.argsort(first):
        of_kind.setdefault(int(kinds[bundle]), []).append(int(bundle))
    wide_of_kind: dict[int, list[int]] = {}
    for bundle in np.argsort(first_wide):
        wide_of_kind.setdefault(int(wider_kinds[bundle]), []).append(int(bundle))
    result = np.full(len(wider_kinds), -1, dtype=np.int64)
    kept = {n for each in wide.numbered.values() if each.kept for n in wider[each.start : each.start + each.count]}
    for kind, there in wide_of_kind.items():
        here, name = of_kind.get(kind, []), _name(wide, int(first_wide[there[0]]))
        if not here:
            raise SurgeryError(name, "no channels of the smaller network go the same way")
        if len(there) < len(here):
            raise SurgeryError(
                name, f"it would keep {len(there)} of {len(here)} channels: a network that grows keeps all"
            )
        if len(there) > len(here) and not kept.isdisjoint(there):
            held = next(each.name for each in wide.numbered.values() if each.kept and _within(each, wider, there))
            raise SurgeryError(
                held, f"it goes by the order of {len(here)} channels, of which there would be {len(there)}"
            )
        for at, bundle in enumerate(there):
            result[bundle] = here[at * len(here) // len(there)]
    lost = set(of_kind) - set(wide_of_kind)
    if lost:
        raise SurgeryError(_name(narrow, int(first[of_kind[lost.pop()][0]])), "some of its channels would be lost")
    return result


def _within(each: Numbered, bundles: Ints, there: Sequence[int]) -> bool:
    return bool(np.isin(bundles[each.start : each.start + each.count], there).any())


def _firsts(bundles: Ints) -> Ints:
    """The first channel of each bundle."""
    first = np.full(int(bundles.max()) + 1 if len(bundles) else 0, len(bundles), dtype=np.int64)
    np.minimum.at(first, bundles, np.arange(len(bundles)))
    return first


def _ranks(bundles: Ints) -> Ints:
    """The place of each channel in its bundle."""
    order = np.argsort(bundles, kind="stable")
    starts = np.searchsorted(bundles[order], bundles[order])
    ranks = np.empty(len(bundles), dtype=np.int64)
    ranks[order] = np.arange(len(bundles)) - starts
    return ranks


def _owners(run: Run) -> Ints:
    """For each channel, which of the numbered it is of."""
    return np.repeat(np.arange(len(run.numbered)), [each.count for each in run.numbered.values()])


def _name(run: Run, number: int) -> str:
    each: Any = next(e for e in run.numbered.values() if e.start <= number < e.start + e.count)
    return str(each.name).removeprefix("outputs of ").removesuffix(".weight")
