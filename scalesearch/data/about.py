"""What is said of a set of images before anything trains on them."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress

import numpy as np
import torch

from scalesearch.data.broken import SKIPPED
from scalesearch.data.images import Images, Split
from scalesearch.data.sources import Source

PROBES = 64
"""Images whose size is looked at."""

LOOKED_THROUGH = 2**31
"""Bytes of decoded images up to which they are held against each other."""

NAMED = 3
"""How many classes or images are named."""


def described(source: Source) -> str:
    """Classes, images per class, sizes and the validation split, as far as that is known without decoding."""
    counts = Counter(source.train.labels)
    least, most = min(counts.values()), max(counts.values())
    each = f"{least:,}" if least == most else f"{least:,} to {most:,}"
    words = f"{len(source.classes)} classes ({_listed(source.classes)}), {each} images in each"
    if sides := _sides(source):
        words += f" of {sides} px a side"
    held = f"{len(source.val.labels):,} for validation" if source.val is not None else "none for validation"
    return f"images: {words}; {held}"


def _sides(source: Source) -> str:
    if source.train.header is None:
        return ""
    every, sides = range(len(source.train.labels)), list[int]()
    for index in every[:: max(1, len(every) // PROBES)][:PROBES]:
        with suppress(Exception):  # it is told when it is to be decoded
            sides += source.train.header(index).size
    sides.sort()
    if not sides:
        return ""
    return str(sides[0]) if sides[0] == sides[-1] else f"{sides[0]:,} to {sides[-1]:,}"


def doubts(images: Images) -> list[str]:
    """What of the decoded images makes an accuracy doubtful: images that tell nothing, or that are there twice."""
    splits = {"train": images.train, "minival": images.minival}
    count = len(images.skipped)
    skipped = [f"left out: {count} image{'s' * (count != 1)} that cannot be decoded, see {SKIPPED}"] if count else []
    arrays = [split.images for split in splits.values() if isinstance(split.images, torch.Tensor)]
    if len(arrays) < len(splits):
        return [*skipped, "repeated images were not looked for: they are decoded anew whenever they are needed"]
    if sum(array.nbytes for array in arrays) > LOOKED_THROUGH:
        return [*skipped, "repeated images were not looked for: there are too many"]
    seen = {name: _looked_at(split) for name, split in splits.items()}
    return skipped + [words for words in (_plain(images, seen), _two_faced(images, seen), _shared(seen)) if words]


Seen = list[tuple[bytes, int, bool]]
"""Of each image: a digest of its pixels, its label, and whether it is of one colour throughout."""


def _looked_at(split: Split) -> Seen:
    found = []
    for image, label in zip(np.asarray(split.images), split.labels.tolist(), strict=True):
        flat = image.reshape(image.shape[0], -1)
        plain = bool((flat == flat[:, :1]).all())
        found.append((hashlib.blake2b(image.tobytes(), digest_size=12).digest(), label, plain))
    return found


def _plain(images: Images, seen: dict[str, Seen]) -> str:
    counts = Counter(label for each in seen.values() for _, label, plain in each if plain)
    if not counts:
        return ""
    classes = [f"{images.source.classes[label]} {count}" for label, count in counts.most_common(NAMED)]
    return f"{counts.total()} images are of one colour throughout, and tell nothing: {', '.join(classes)}"


def _two_faced(images: Images, seen: dict[str, Seen]) -> str:
    labels: dict[bytes, set[int]] = {}
    counts: Counter[bytes] = Counter()
    for digest, label, _ in (one for each in seen.values() for one in each):
        labels.setdefault(digest, set()).add(label)
        counts[digest] += 1
    several = {digest: found for digest, found in labels.items() if len(found) > 1}
    if not several:
        return ""
    total = sum(counts[digest] for digest in several)
    names = [images.source.classes[label] for label in sorted(next(iter(several.values())))]
    return f"{total} images are the same in several classes ({_listed(names)}): they cannot be told apart"


def _shared(seen: dict[str, Seen]) -> str:
    trained = {digest for digest, _, _ in seen["train"]}
    both = sum(digest in trained for digest, _, _ in seen["minival"])
    if not both:
        return ""
    share = both / len(seen["minival"])
    return f"{both} images of the minival ({share:.0%}) are trained on too: its accuracy flatters"


def _listed(names: Sequence[str]) -> str:
    shown = [name if len(name) <= 24 else f"{name[:21]}…" for name in names[:NAMED]]
    return ", ".join(shown) + (", …" if len(names) > NAMED else "")
