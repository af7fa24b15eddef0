"""Where images come from: a folder, a torchvision set by name, or the embedded procedural set."""

from __future__ import annotations

import hashlib
import inspect
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch.nn import functional

from scalesearch.data.folders import scan, skipped_words, splits_of
from scalesearch.errors import DataError
from scalesearch.settings import MAX_PIXELS, DataSettings

Image.MAX_IMAGE_PIXELS = None  # how large an image may be is data.max_pixels' to say

EMBEDDED_NOTE = "embedded images check the machinery; they are no evidence about any task"


@dataclass(frozen=True)
class Part:
    """Labelled images that are not decoded yet.

    ``load(i, size)`` gives the i-th as RGB, at its own size, or at ``size`` pixels where it is drawn to order;
    ``name(i)`` says what to call it; ``size(i)`` its width and height in pixels, None where that cannot be read.
    """

    labels: tuple[int, ...]
    load: Callable[[int, int], Image.Image]
    name: Callable[[int], str]
    size: Callable[[int], tuple[int, int] | None] | None = None


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
    digest, touched = hashlib.sha256(), hashlib.sha256()
    for name, label in train.files + (val.files if val else ()):
        path = Path(name)
        try:
            found = path.stat()
        except OSError as failure:
            raise DataError(f"cannot read {path}: {failure.strerror}") from failure
        digest.update(os.fsencode(path.relative_to(root)) + f"\0{label}\0{found.st_size}\n".encode())
        touched.update(str(found.st_mtime_ns).encode())
    return Source(
        title=root.name or root.resolve().name,
        classes=train.classes,
        fingerprint=digest.hexdigest()[:16],
        cache_key=digest.hexdigest()[:16] + touched.hexdigest()[:16],
        train=_files(train.files, max_pixels),
        val=_files(val.files, max_pixels) if val else None,
        note=skipped_words(skipped),
    )


def as_rgb(image: Image.Image) -> Image.Image:
    """Any image with three channels of eight bits; sixteen bits are scaled, the upper eight are kept.

    Pillow's own conversion would turn everything above 255 white.

    Raises:
        DataError: its values have no known range.
    """
    if image.mode.startswith("I"):
        values = np.asarray(image).astype(np.int64)
        if values.min() < 0 or values.max() > 2**16 - 1:
            raise DataError(f"its values (mode {image.mode}) go from {values.min()} to {values.max()}, not in 16 bits")
        return Image.fromarray((values >> 8).astype(np.uint8)).convert("RGB")
    if image.mode == "F":
        raise DataError("its values are floating-point numbers (mode F) of no known range: save it with 8 or 16 bits")
    return image.convert("RGB")


def _files(files: Sequence[tuple[str, int]], max_pixels: int) -> Part:
    def load(i: int, size: int) -> Image.Image:
        with Image.open(files[i][0]) as image:
            if image.width * image.height > max_pixels:
                raise DataError(
                    f"it has {image.width:,} × {image.height:,} pixels, and data.max_pixels is {max_pixels:,}"
                )
            if image.mode != "RGB":
                return as_rgb(image)
            image.load()  # as it is: converting would copy it
            return image

    def size(i: int) -> tuple[int, int] | None:
        try:
            with Image.open(files[i][0]) as image:
                return image.size
        except Exception:  # it is told when it is to be decoded
            return None

    return Part(tuple(label for _, label in files), load, lambda i: files[i][0], size)


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
    digest = hashlib.sha256(repr((name, labels)).encode()).hexdigest()[:16]
    lazy = [_indexed(part, name, part_labels) for part, part_labels in zip(parts, labels, strict=True)]
    return Source(name.lower(), classes, digest, lazy[0], lazy[1] if len(lazy) > 1 else None)


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
    return Part(labels, lambda i, size: dataset[i][0].convert("RGB"), lambda i: f"{name}[{i}]")


def embedded() -> Source:
    """The procedural set of `scalesearch.data.embedded`, drawn at whatever size is asked for."""
    from scalesearch.data import embedded as procedural

    def part(split: str) -> Part:
        def load(i: int, size: int) -> Image.Image:
            return Image.fromarray(procedural.draw(split, size)[i])

        return Part(procedural.labels(split), load, lambda i: f"embedded {split} {i}")

    title, version = "embedded", f"embedded-v{procedural.VERSION}"
    return Source(title, procedural.CLASSES, version, part("train"), part("val"), EMBEDDED_NOTE, drawn=True)


def pixels(image: Image.Image, size: int) -> np.ndarray[Any, np.dtype[np.uint8]]:
    """The central square of an RGB image, resized to ``size`` with anti-aliasing: uint8 (3, size, size).

    torchvision's CenterCrop, and PyTorch's bicubic kernel: Pillow's, but for a grey level here and there, and faster.
    """
    side = min(image.size)
    left, top = round((image.width - side) / 2), round((image.height - side) / 2)
    square = np.array(image)[top : top + side, left : left + side]
    if side == size:
        return square.transpose(2, 0, 1)
    # Copied by NumPy: torch's copies would start threads of their own in each of the threads that decode.
    whole = torch.from_numpy(np.ascontiguousarray(square)).permute(2, 0, 1)[None]
    return functional.interpolate(whole, size=(size, size), mode="bicubic", antialias=True)[0].numpy()


def open_source(settings: DataSettings) -> Source:
    """The source that ``settings.source`` names; its images are listed, not decoded.

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
