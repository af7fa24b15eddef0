"""Images to measure trained networks on: those that training did not see, or as many of them as are wanted."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from scalesearch.data.broken import without
from scalesearch.data.images import Split, decoded_parts, own_size, part_of, split_indices
from scalesearch.data.pixels import as_array
from scalesearch.data.sources import Source
from scalesearch.errors import DataError, RecipeError
from scalesearch.image_size import Resolution
from scalesearch.settings import DataSettings

SPLITS = ("auto", "val", "minival", "all")


@dataclass(frozen=True)
class HeldOut:
    """Decoded images, which of the source's they are, and their size in pixels.

    ``kind`` is val, minival or all; ``indices`` are those of the images in the part of the source that they are from.
    """

    source: Source
    kind: str
    split: Split
    indices: tuple[int, ...]
    size: Resolution
    left_out: int

    def __len__(self) -> int:
        return len(self.indices)


def chosen(
    source: Source, settings: DataSettings, kind: str, most: int | None = None, seed: int = 0
) -> tuple[int, ...]:
    """Indices of the images of ``kind``, which is none of auto; at most ``most``, of every class in turn.

    Raises:
        DataError: the source has no validation split, or none of its images is of a class that is to be there.
    """
    part = source.val if kind == "val" else source.train
    if part is None:
        raise DataError(f"{source.title} has no validation images: --split minival or all")
    every = split_indices(source, settings)[1] if kind == "minival" else list(range(len(part.labels)))
    if most is None or most >= len(every):
        return tuple(every)
    if most < len(source.classes):
        raise DataError(f"--images {most} leaves some of {len(source.classes)} classes without an image")
    random, by_class = np.random.default_rng(seed), defaultdict(list)
    for place in random.permutation(len(every)):
        by_class[part.labels[every[place]]].append(every[place])
    longest = max(map(len, by_class.values()))
    turns = [members[i] for i in range(longest) for _, members in sorted(by_class.items()) if i < len(members)]
    return tuple(sorted(turns[:most]))


def kind_of(source: Source, wanted: str) -> str:
    """What auto is: the validation images where there are some, else the minival.

    Raises:
        RecipeError: there is no such split.
    """
    if wanted not in SPLITS:
        raise RecipeError("--split", f"{', '.join(SPLITS[:-1])} or {SPLITS[-1]}", wanted)
    if wanted != "auto":
        return wanted
    return "val" if source.val is not None else "minival"


def readable(source: Source, kind: str, indices: Sequence[int]) -> Iterator[int]:
    """Those of the `chosen` images that can be decoded, in their order, each tried when it is asked for."""
    part = part_of(source, kind)
    for index in indices:
        try:
            as_array(part.load(index, 0), part.view)
        except Exception:  # all that are broken are told together, when all are decoded
            continue
        yield index


def held_out(
    source: Source,
    settings: DataSettings,
    resolution: Resolution,
    kind: str,
    indices: Sequence[int],
    on_image: Callable[[int], None] | None = None,
) -> HeldOut:
    """Decode the `chosen` images at ``resolution`` pixels, or at their own size if that is smaller.

    Raises:
        DataError: images cannot be decoded, and are not to be skipped; or none is left.
    """
    part = part_of(source, kind)
    size = resolution if source.drawn else own_size(part, list(indices), resolution)
    name = "val" if kind == "val" else "train"
    (split,), broken = decoded_parts(source, name, [list(indices)], size, settings, on_image)
    left = tuple(without(indices, broken))
    return HeldOut(source, kind, split, left, size, len(indices) - len(left))
