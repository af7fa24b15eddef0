"""Where images come from: a folder, a torchvision set by name, or the embedded procedural set."""

from __future__ import annotations

import hashlib
import inspect
import os
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from PIL import Image

from scalesearch.data.folders import scan, skipped_words, splits_of
from scalesearch.data.pixels import AS_EVER, View
from scalesearch.errors import DataError
from scalesearch.settings import MAX_PIXELS, DataSettings

Image.MAX_IMAGE_PIXELS = None  # how large an image may be is data.max_pixels' to say

EMBEDDED_NOTE = "embedded images check the machinery; they are no evidence about any task"


@dataclass(frozen=True)
class Part:
    """Labelled images that are not decoded yet.

    ``load(i, size)`` gives the i-th as it is, at its own size, or at ``size`` pixels where it is drawn to order;
    ``name(i)`` says what to call it; ``header(i)`` opens it without decoding it, where that can be done. ``view`` is
    how it becomes an array.
    """

    labels: tuple[int, ...]
    load: Callable[[int, int], Image.Image]
    name: Callable[[int], str]
    header: Callable[[int], Image.Image] | None = None
    view: View = AS_EVER


@dataclass(frozen=True)
class Source:
    """A data set before decoding. ``val`` is None where the set has none of its own; ``drawn`` images have any size.

    ``fingerprint`` says which images these are, on any machine; ``cache_key`` also changes when a file is touched.
    """

    title: str
    classes: tuple[str, ...]
    fingerprint: str
    train: Part
    val: Part | None
    note: str | None = None
    drawn: bool = False
    cache_key: str = ""

    def __post_init__(self) -> None:
        if not self.cache_key:
            object.__setattr__(self, "cache_key", self.fingerprint)


def folder(root: Path, max_pixels: int = MAX_PIXELS) -> Source:
    """An ImageFolder: ``root/train/<class>/…`` and ``root/val/<class>/…``, or ``root/<class>/…`` alone.

    Args:
        root: the folder.
        max_pixels: an image with more of them is not decoded.

    Raises:
        DataError: the folder is missing, holds no images, or its two parts differ in classes.
    """
    if not root.is_dir():
        raise DataError(f"no folder {root}: --data folder:PATH wants one folder of images per class below PATH")
    train_folder, held_out = splits_of(root)
    train = scan(train_folder or root)
    val = scan(held_out) if held_out is not None else None
    if val is not None and held_out is not None and val.classes != train.classes:
        odd = sorted(set(train.classes) ^ set(val.classes))
        names = f"{(train_folder or root).name}/ and {held_out.name}/"
        raise DataError(f"{root}: {names} differ in classes: {', '.join(odd[:5])}")
    skipped = train.skipped + (val.skipped if val else ())
    fingerprint, cache_key = _digests(train.files + (val.files if val else ()), root)
    return Source(
        title=root.name or root.resolve().name,
        classes=train.classes,
        fingerprint=fingerprint,
        cache_key=cache_key,
        train=_files(train.files, max_pixels),
        val=_files(val.files, max_pixels) if val else None,
        note=skipped_words(skipped),
    )


def _files(files: Sequence[tuple[str, int]], max_pixels: int) -> Part:
    def load(i: int, size: int) -> Image.Image:
        with Image.open(files[i][0]) as image:
            if image.width * image.height > max_pixels:
                raise DataError(
                    f"it has {image.width:,} × {image.height:,} pixels, and data.max_pixels is {max_pixels:,}"
                )
            image.load()
            return image

    def header(i: int) -> Image.Image:
        with Image.open(files[i][0]) as image:
            return image

    return Part(tuple(label for _, label in files), load, lambda i: files[i][0], header)


def torchvision_set(name: str, root: Path, *, download: bool) -> Source:
    """A classification set of `torchvision.datasets` by its class name, its own test or val split as ``val``.

    Raises:
        DataError: there is no such set, it is not on the disk and cannot be downloaded, or it has no labels.
    """
    import torchvision.datasets

    factory = getattr(torchvision.datasets, name, None)
    if not inspect.isclass(factory):
        raise DataError(f"torchvision has no data set {name!r}")
    known = inspect.signature(factory).parameters
    options: dict[str, Any] = {"root": str(root)} if "root" in known else {}
    if "download" in known or any(p.kind is p.VAR_KEYWORD for p in known.values()):
        options["download"] = download

    def opened(choices: Sequence[dict[str, Any]]) -> Any:
        """The set under the first of these spellings that it understands."""
        for choice in choices[:-1]:
            try:
                return factory(**options, **choice)
            except ValueError:
                continue
        return factory(**options, **choices[-1])

    try:
        if "train" in known:
            parts = [opened([{"train": True}]), opened([{"train": False}])]
        elif "split" in known:
            spellings = [("train", "trainval", "balanced"), ("val", "valid", "test", "balanced")]
            parts = [opened([{"split": word} for word in words]) for words in spellings]
        else:
            parts = [opened([{}])]
    except Exception as failure:
        raise DataError(
            f"cannot open torchvision's {name} under {root}: {failure}. Where there is internet, "
            f"--data torchvision:{name}:{root} downloads it."
        ) from failure
    labels = [_labels(part, name) for part in parts]
    classes = tuple(str(c) for c in getattr(parts[0], "classes", range(max(labels[0]) + 1)))
    digest, touched = _told_apart(name, labels, parts, root)
    lazy = [_indexed(part, name, part_labels) for part, part_labels in zip(parts, labels, strict=True)]
    return Source(name.lower(), classes, digest, lazy[0], lazy[1] if len(lazy) > 1 else None, cache_key=touched)


def _told_apart(name: str, labels: list[tuple[int, ...]], parts: Sequence[Any], root: Path) -> tuple[str, str]:
    """Fingerprint and cache key: a published set is known by its labels; one that lists a folder's files, by these."""
    listed = [getattr(part, "samples", None) or [] for part in parts]
    if not all(isinstance(files, list) and files and isinstance(files[0], tuple) for files in listed):
        digest = hashlib.sha256(repr((name, labels)).encode()).hexdigest()[:16]
        return digest, digest
    return _digests([(str(sample[0]), int(sample[1])) for files in listed for sample in files], root)


def _digests(files: Iterable[tuple[str, int]], root: Path) -> tuple[str, str]:
    """Of images below a folder, with their labels: what tells them from others on any machine, and what also changes
    when one is touched.

    Raises:
        DataError: one cannot be read.
    """
    digest, touched = hashlib.sha256(), hashlib.sha256()
    for name, label in files:
        path = Path(name)
        try:
            found = path.stat()
        except OSError as failure:
            raise DataError(f"cannot read {path}: {failure.strerror}") from failure
        digest.update(os.fsencode(os.path.relpath(path, root)) + f"\0{label}\0{found.st_size}\n".encode())
        touched.update(str(found.st_mtime_ns).encode())
    return digest.hexdigest()[:16], digest.hexdigest()[:16] + touched.hexdigest()[:16]


def _labels(dataset: Any, name: str) -> tuple[int, ...]:
    for attribute in ("targets", "labels", "_labels"):
        if hasattr(dataset, attribute):
            found = getattr(dataset, attribute)
            break
    else:
        found = None
    try:
        if found is None:
            samples = getattr(dataset, "_samples", None) or [dataset[i] for i in range(len(dataset))]
            found = [sample[1] for sample in samples]
        return tuple(int(label) for label in found)
    except (TypeError, ValueError, IndexError, RuntimeError) as failure:
        raise DataError(f"torchvision's {name} is no classification set: its items have no class label") from failure


def _indexed(dataset: Any, name: str, labels: tuple[int, ...]) -> Part:
    return Part(labels, lambda i, size: dataset[i][0], lambda i: f"{name}[{i}]")


def embedded() -> Source:
    """The procedural set of `scalesearch.data.embedded`, drawn at whatever size is asked for."""
    from scalesearch.data import embedded as procedural

    def part(split: str) -> Part:
        def load(i: int, size: int) -> Image.Image:
            return Image.fromarray(procedural.draw(split, size)[i])

        return Part(procedural.labels(split), load, lambda i: f"embedded {split} {i}")

    title, version = "embedded", f"embedded-v{procedural.VERSION}"
    return Source(title, procedural.CLASSES, version, part("train"), part("val"), EMBEDDED_NOTE, drawn=True)


def seen_as(source: Source, view: View) -> Source:
    """The source with its images as such arrays."""
    train, val = (part and replace(part, view=view) for part in (source.train, source.val))
    assert train is not None
    return replace(source, train=train, val=val)


def view_of(settings: DataSettings) -> View:
    """How a recipe has images seen: in colour and with 8 bits, where it says nothing."""
    return View(settings.channels or 3, settings.bits or 8, settings.crop)


def open_source(settings: DataSettings) -> Source:
    """The source that ``settings.source`` names, seen as they say; its images are listed, not decoded.

    Raises:
        DataError: the name is not understood, or the images are not there.
    """
    return seen_as(_opened(settings), view_of(settings))


def _opened(settings: DataSettings) -> Source:
    """The source that ``settings.source`` names.

    Raises:
        DataError: the name is not understood, or the images are not there.
    """
    kind, _, rest = settings.source.partition(":")
    if kind == "embedded" and not rest:
        return embedded()
    if kind == "folder" and rest:
        return folder(Path(rest).expanduser(), settings.max_pixels)
    if kind in ("cifar10", "cifar100") and rest:
        return torchvision_set(kind.upper(), Path(rest).expanduser(), download=False)
    if kind == "torchvision" and rest:
        name, _, root = rest.partition(":")
        return torchvision_set(name, Path(root or "~/.cache/scalesearch/torchvision").expanduser(), download=True)
    raise DataError(
        f"data {settings.source!r} is not understood: use embedded, folder:PATH, cifar10:PATH, cifar100:PATH "
        "or torchvision:NAME[:PATH]"
    )
