"""What a trial sees: training images, the minival that ranks, and the val that is opened once at the end."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import chain

import numpy as np
import torch
from torch import Tensor

from scalesearch.data.broken import BrokenImagesError, broken_error, known_broken, note_broken, without
from scalesearch.data.decoded_cache import decode, decoded
from scalesearch.data.pixels import as_array, largest
from scalesearch.data.sources import Part, Source
from scalesearch.errors import DataError
from scalesearch.image_size import Resolution, image_shape, times
from scalesearch.runtime.threads import cores
from scalesearch.settings import DataSettings

RESIDENT = 0.3
"""Share of an accelerator's free memory that the images of all workers on it may take."""


class LazyImages:
    """Images that are decoded whenever they are asked for, (N, C, H, W), by ``workers`` threads."""

    device = torch.device("cpu")

    def __init__(self, part: Part, indices: list[int], size: Resolution, workers: int | None) -> None:
        self.part, self.indices, self.size = part, indices, size
        self.shape = (len(indices), *image_shape(part.view.channels, size))
        self.workers = workers or cores()

    def __getitem__(self, where: slice | Tensor) -> Tensor:
        every = range(len(self.indices))
        chosen = every[where] if isinstance(where, slice) else where.tolist()
        with ThreadPoolExecutor(self.workers) as pool:
            decoded = pool.map(lambda i: decode(self.part, self.indices[i], self.size), chosen)
            return torch.from_numpy(np.stack(list(decoded)))


@dataclass(frozen=True)
class Split:
    """Images (N, C, H, W), uint8, or float32 of the same range, and their labels, int64 (N,), on one device."""

    images: Tensor | LazyImages
    labels: Tensor

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def device(self) -> torch.device | None:
        """Where the images are at hand; None where they have to be decoded first."""
        return self.images.device if isinstance(self.images, Tensor) else None

    def take(self, chosen: Tensor) -> tuple[Tensor, Tensor]:
        """The images and labels at these indices, int64 (B,) on the CPU; they are where the split is."""
        where = chosen.to(self.labels.device, non_blocking=True)
        if isinstance(self.images, LazyImages):
            return self.images[chosen], self.labels[where]
        return self.images.index_select(0, where), self.labels[where]

    def on(self, device: torch.device, beside: int = 1) -> Split:
        """The split on an accelerator, if its free memory allows that to ``beside`` workers; itself otherwise."""
        if device.type != "cuda" or not isinstance(self.images, Tensor) or self.images.device == device:
            return self
        if beside * self.images.nbytes > RESIDENT * torch.cuda.mem_get_info(device)[0]:
            return self
        return Split(self.images.to(device), self.labels.to(device))


@dataclass(frozen=True)
class Images:
    """A source split and decoded at ``size`` pixels; ``val`` is decoded when it is first asked for.

    ``skipped`` holds the training images that were left out since they cannot be decoded: (name, reason).
    """

    source: Source
    size: Resolution
    train: Split
    minival: Split
    settings: DataSettings
    skipped: tuple[tuple[str, str], ...] = ()

    @property
    def num_classes(self) -> int:
        """How many classes the images have."""
        return len(self.source.classes)

    def on(self, device: torch.device, beside: int = 1) -> Images:
        """The same images, those that every trial sees on an accelerator if its memory allows that to all workers."""
        return replace(self, train=self.train.on(device, beside), minival=self.minival.on(device, beside))

    @cached_property
    def val(self) -> Split | None:
        """The validation split, decoded when it is first asked for; None where the source has none."""
        part = self.source.val
        if part is None:
            return None
        return decoded_parts(self.source, "val", [list(range(len(part.labels)))], self.size, self.settings)[0][0]


def load_images(
    source: Source, settings: DataSettings, resolution: Resolution, on_image: Callable[[int], None] | None = None
) -> Images:
    """Split off the minival, decode both parts at ``resolution``, or at the images' own size if that is smaller.

    Raises:
        DataError: a class is too small to be split, or nothing is left of a part.
        BrokenImagesError: images cannot be decoded, and are not to be skipped.
    """
    parts = split_indices(source, settings)
    size = resolution if source.drawn else own_size(source.train, parts[0], resolution)
    (trained, held_out), broken = decoded_parts(source, "train", parts, size, settings, on_image)
    skipped = tuple((source.train.name(index), reason) for index, reason in sorted(broken.items()))
    return Images(source, size, trained, held_out, settings, skipped)


def split_indices(source: Source, settings: DataSettings) -> tuple[list[int], list[int]]:
    """Indices of the training images and of the minival: stratified, seeded, disjoint, in a fixed order.

    ``limit`` counts the training images; the minival keeps its full size, since it decides the ranking.
    """
    by_class: dict[int, list[int]] = defaultdict(list)
    for index, label in enumerate(source.train.labels):
        by_class[label].append(index)
    random = np.random.default_rng(settings.split_seed)
    train: list[list[int]] = []
    minival: list[int] = []
    for label, name in enumerate(source.classes):
        members = by_class[label]
        if len(members) < 2:
            raise DataError(
                f"class {name!r} has {len(members)} image{'s' * (len(members) != 1)}: ranking holds out part of every "
                "class, so each needs at least 2"
            )
        order = [members[i] for i in random.permutation(len(members))]
        held = min(len(members) - 1, max(1, round(settings.minival * len(members))))
        minival += order[:held]
        train.append(order[held:])
    if settings.limit is None:
        return sorted(chain.from_iterable(train)), sorted(minival)
    if settings.limit < len(source.classes):
        raise DataError(f"data.limit of {settings.limit} leaves some of {len(source.classes)} classes without an image")
    # round-robin over the classes, so that a limit keeps them balanced
    longest = max(len(members) for members in train)
    turns = [members[i] for i in range(longest) for members in train if i < len(members)]
    return sorted(turns[: settings.limit]), sorted(minival)


def own_size(part: Part, indices: Sequence[int], wanted: Resolution) -> Resolution:
    """``wanted``, or as much of it as the largest among a few of the images has: decoding above it would only blur."""
    probes = indices[:: max(1, len(indices) // 32)]
    shares = []
    for index in probes:
        with suppress(Exception):  # all that are broken are told together, when all are decoded
            image = part.load(index, 0)
            _ = as_array(image, part.view)
            shares.append(largest(image.height, image.width, wanted, part.view.crop))
    share = max(shares, default=0)
    return wanted if share >= 1 else times(wanted, share)


def decoded_parts(
    source: Source,
    name: str,
    parts: Sequence[list[int]],
    size: Resolution,
    settings: DataSettings,
    on_image: Callable[[int], None] | None = None,
) -> tuple[list[Split], dict[int, str]]:
    """The parts decoded, and what of them was left out, by index, with the reason.

    What is broken in one part is told with what is broken in the others.
    """
    key = f"{source.cache_key}-{name}-{settings.max_pixels}"
    broken = known_broken(key) if settings.on_error == "skip" else {}
    while True:
        found: dict[int, str] = {}
        splits, failure = [], None
        for indices in parts:
            left = without(indices, broken)
            if not left:
                raise DataError(f"none of the {len(indices):,} images of a part of {source.title} can be decoded")
            try:
                splits.append(_split(source, name, left, size, settings, on_image))
            except BrokenImagesError as caught:
                found |= caught.reasons
                failure = caught
        if failure is None:
            every = {index for indices in parts for index in indices}
            return splits, {index: reason for index, reason in broken.items() if index in every}
        if settings.on_error == "refuse":
            of = part_of(source, name)
            total = sum(len(indices) for indices in parts)
            raise broken_error(found, {index: of.name(index) for index in found}, total) from failure
        broken |= found
        note_broken(key, broken)


def part_of(source: Source, name: str) -> Part:
    """The validation images where the name is val and there are some, else the training images."""
    return source.val if name == "val" and source.val else source.train


def _split(
    source: Source,
    name: str,
    indices: list[int],
    size: Resolution,
    settings: DataSettings,
    on_image: Callable[[int], None] | None = None,
) -> Split:
    part = part_of(source, name)
    labels = torch.tensor([part.labels[i] for i in indices])
    if not settings.cache:
        return Split(LazyImages(part, indices, size, settings.workers), labels)
    key = f"{source.cache_key}-{name}"
    return Split(torch.from_numpy(decoded(part, indices, size, key, on_image, most=settings.cache_size)), labels)
