"""A folder of images as people have it: which subfolder is a split, which a class, which file is none of either."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from scalesearch.errors import DataError

EXTENSIONS = (
    ".jpg", ".jpeg", ".jfif", ".png", ".ppm", ".bmp", ".pgm", ".tif", ".tiff", ".webp",
)  # fmt: skip
"""Of files that are images, in lower case."""

TRAIN = ("train", "training", "trn")
HELD_OUT = ("val", "valid", "validation", "dev", "eval", "test", "testing")
"""Names of split folders, in any case; of several held-out ones the first of these is taken."""

NO_IMAGES = ("__macosx", "thumbs.db", "desktop.ini", "lost+found")
"""What systems leave in folders, beside names that begin with a dot."""


@dataclass(frozen=True)
class Scanned:
    """Image files with their classes' numbers, the classes, and what was passed over."""

    files: tuple[tuple[str, int], ...]
    classes: tuple[str, ...]
    skipped: tuple[str, ...] = ()


def is_hidden(name: str) -> bool:
    """Whether a system or an editor made it, and no person put it there as an image or a class."""
    return name.startswith(".") or name.lower() in NO_IMAGES


def splits_of(root: Path) -> tuple[Path | None, Path | None]:
    """The folders of training and of held-out images in ``root``; None where there is none of that name."""
    folders = {path.name.lower(): path for path in _subfolders(root)}
    train = next((folders[name] for name in TRAIN if name in folders), None)
    held_out = next((folders[name] for name in HELD_OUT if name in folders), None)
    if train is None and held_out is not None and all(name in HELD_OUT for name in folders):
        raise DataError(f"{root} holds {', '.join(sorted(folders))} and no train/: those are splits, not classes")
    return train, held_out if train is not None else None


def _subfolders(folder: Path) -> list[Path]:
    try:
        return sorted(path for path in folder.iterdir() if path.is_dir() and not is_hidden(path.name))
    except OSError as failure:
        raise DataError(f"cannot read {folder}: {failure.strerror}") from failure


def scan(root: Path) -> Scanned:
    """The images below ``root``, one folder per class, in the order of classes, folders and names.

    Raises:
        DataError: there are no class folders, only one, or one without images.
    """
    folders = _subfolders(root)
    if not folders:
        raise DataError(f"{root} holds no class folders: one folder of images per class is expected")
    if len(folders) == 1:
        inside = [path.name for path in _subfolders(folders[0])]
        below = f"; it holds {', '.join(inside[:3])}{' …' * (len(inside) > 3)}" if inside else ""
        hint = f" Is it {folders[0]} that was meant?" if len(inside) > 1 else ""
        raise DataError(f"{root} holds one class folder, {folders[0].name}{below}: a class needs another.{hint}")
    files: list[tuple[str, int]] = []
    skipped: list[str] = [path.name for path in sorted(root.iterdir()) if is_hidden(path.name)]
    empty: list[str] = []
    for label, folder in enumerate(folders):
        before = len(files)
        for name in _walk(folder, skipped):
            files.append((name, label))
        if len(files) == before:
            empty.append(folder.name)
    if empty:
        raise DataError(f"{root}: no images in the class folder{'s' * (len(empty) > 1)} {', '.join(empty[:5])}")
    return Scanned(tuple(files), tuple(path.name for path in folders), tuple(skipped))


def _walk(folder: Path, skipped: list[str]) -> list[str]:
    """Image files below ``folder``; a link back to a folder above it is followed once."""
    found: list[str] = []
    seen: set[tuple[int, int]] = set()
    for here, inside, names in sorted(_entered(folder, seen)):
        skipped += [name for name in inside if is_hidden(name)]
        for name in sorted(names):
            if is_hidden(name) or not name.lower().endswith(EXTENSIONS):
                skipped.append(name)
            else:
                found.append(os.path.join(here, name))  # noqa: PTH118 - a hundred thousand of them
    return found


def _entered(folder: Path, seen: set[tuple[int, int]]) -> list[tuple[str, list[str], list[str]]]:
    walked = []
    for here, inside, names in os.walk(folder, followlinks=True):
        status = os.stat(here)  # noqa: PTH116
        if (status.st_dev, status.st_ino) in seen:
            inside[:] = []
            continue
        seen.add((status.st_dev, status.st_ino))
        walked.append((here, list(inside), names))
        inside[:] = [name for name in inside if not is_hidden(name)]
    return walked


def skipped_words(skipped: tuple[str, ...]) -> str | None:
    """What was passed over, counted, the first few by name; None where nothing was."""
    if not skipped:
        return None
    names = list(dict.fromkeys(skipped))
    shown = ", ".join(names[:3]) + (", …" if len(names) > 3 else "")
    shown = shown.encode("utf-8", "replace").decode()
    return f"{len(skipped)} hidden files or folders, or files that are no images, were skipped: {shown}"
