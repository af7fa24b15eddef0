"""The closed form for many scalings of one table: every layer is counted once for the channels and pixels it has."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import cache, partial
from typing import Any, NamedTuple, TypeVar

import numpy as np

from scalesearch.image_size import Resolution
from scalesearch.scaling.compound import Widths
from scalesearch.scaling.cost import Conv, block, keeps_input, map_sizes, tally
from scalesearch.scaling.points import Ints
from scalesearch.scaling.spec import ModelSpec, StageSpec

Counts = np.ndarray[Any, Any]
"""Whole numbers: int64 where float64 has all of them, so that ratios come out as Python's; else Python's own."""

EXACT = 2**53
"""Up to here float64 has every whole number."""

Pair = tuple[int, int]
Sizes = tuple[Resolution, Resolution]
Tally = tuple[int, int, int, int]
Either = TypeVar("Either", Pair, Sizes)


class _Layer(NamedTuple):
    """A place in the table: how it is counted, and the channels and pixels, in and out, of every width and size."""

    tally: Callable[[Pair, Sizes], Tally]
    channels: list[Pair]
    pixels: list[Sizes]
    repeated_by: int | None = None


class BatchedCost:
    """What the scalings of ``spec`` cost, as `closed_form` counts them."""

    def __init__(self, spec: ModelSpec, num_classes: int) -> None:
        self._spec, self._num_classes = spec, num_classes
        self._stage, self._block, self._plain = cache(self._resized), cache(self._count_block), cache(self._count_conv)

    def costs(
        self,
        repeats: Sequence[tuple[int, ...]],
        widths: Sequence[Widths],
        pixels: Sequence[Resolution],
        which: tuple[Ints, Ints, Ints],
        fields: int = 4,
    ) -> Counts:
        """The first ``fields`` of `Cost` of N networks, (N, fields).

        Args:
            which: the index of each network's ``repeats``, ``widths`` and ``pixels``, (N,) each.
        """
        if not len(which[0]):
            return np.zeros((0, fields), np.int64)
        blocks = np.array(repeats, np.int64)[which[0]]
        parts: list[tuple[list[Tally], Ints, Ints | int]] = []
        largest = 0
        for layer in self._layers(widths, pixels):
            counts, index = _once_each(layer, which[1], which[2])
            times = 1 if layer.repeated_by is None else blocks[:, layer.repeated_by, None] - 1
            parts.append((counts, index, times))
            largest += max(map(max, counts)) * int(np.max(times))
        total: Counts = np.zeros((len(blocks), fields), np.int64 if largest < EXACT else object)
        for counts, index, times in parts:
            total += np.array(counts, total.dtype)[index, :fields] * times
        return total

    def _layers(self, widths: Sequence[Widths], pixels: Sequence[Resolution]) -> Iterator[_Layer]:
        stages = self._spec.stages
        sizes = [map_sizes(self._spec, resolution) for resolution in pixels]
        wider = [stage.out_channels // stage.channels for stage in stages]
        outputs = [[w.stem, *(c * by for c, by in zip(w.stages, wider, strict=True))] for w in widths]
        stem = partial(self._plain, self._spec.stem.kernel)
        yield _Layer(stem, [(self._spec.stem.inputs, w.stem) for w in widths], [(size[0], size[0]) for size in sizes])
        for i in range(len(stages)):
            into, out = [each[i] for each in outputs], [each[i + 1] for each in outputs]
            before, after = [each[i + 1] for each in sizes], [each[i + 2] for each in sizes]
            count = partial(self._block, i)
            yield _Layer(count, list(zip(into, out, strict=True)), list(zip(before, after, strict=True)))
            yield _Layer(count, list(zip(out, out, strict=True)), list(zip(after, after, strict=True)), i)
        ends = [(each[-1], w.head or 0) for each, w in zip(outputs, widths, strict=True)]
        yield _Layer(partial(self._plain, 1), ends, [(size[-1], size[-1]) for size in sizes])
        yield _Layer(self._count_classifier, [(head or last, 0) for last, head in ends], [(1, 1)] * len(sizes))

    def _count_block(self, number: int, channels: Pair, pixels: Sizes) -> Tally:
        stage = self._stage(number, channels[1])
        return tally(block(stage, channels[0], *pixels), keeps_input=keeps_input(self._spec))

    def _count_conv(self, kernel: int, channels: Pair, pixels: Sizes) -> Tally:
        conv = Conv(*channels, kernel, pixels[1])
        return tally([conv], keeps_input=keeps_input(self._spec))

    def _count_classifier(self, channels: Pair, _: Sizes) -> Tally:
        weights = channels[0] * self._num_classes
        return weights, weights + self._num_classes, self._num_classes, 0

    def _resized(self, number: int, outputs: int) -> StageSpec:
        stage = self._spec.stages[number]
        return stage.model_copy(update={"channels": outputs * stage.channels // stage.out_channels})


def _once_each(layer: _Layer, widths: Ints, pixels: Ints) -> tuple[list[Tally], Ints]:
    """The layer's distinct counts in N networks, and each network's index among them, (N,)."""
    channels, rows = _distinct(layer.channels)
    sizes, columns = _distinct(layer.pixels)
    codes, index = np.unique(rows[widths] * len(sizes) + columns[pixels], return_inverse=True)
    counts = [layer.tally(channels[code // len(sizes)], sizes[code % len(sizes)]) for code in codes.tolist()]
    return counts, index


def _distinct(pairs: Sequence[Either]) -> tuple[list[Either], Ints]:
    """Each pair once, and the index of every one among them."""
    place = {pair: i for i, pair in enumerate(dict.fromkeys(pairs))}
    return list(place), np.array([place[pair] for pair in pairs], np.int64)
