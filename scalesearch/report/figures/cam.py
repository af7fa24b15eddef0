"""The figure of `scalesearch cam`: a row for each image, a column for each network, as in Fig. 7 of Tan & Le (2019)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor
from torch.nn import functional

from scalesearch.errors import RunError
from scalesearch.models.class_activation import Maps

OPACITY = 0.5
GREY = (0.299, 0.587, 0.114)
"""Shares of red, green and blue: below the colours of a map the image has none of its own."""
RIGHT, WRONG = "#15803d", "#b91c1c"
CELL, MARGIN, HEAD = 1.5, 0.24, 0.5
"""Inches: a picture's side, the words below it, and the words above a column and below the figure."""

Pixels = np.ndarray[Any, np.dtype[np.floating[Any]]]


@dataclass(frozen=True)
class MapColumn:
    """A network: what is said of it, line by line, and its maps of the images."""

    words: Sequence[str]
    maps: Maps


def cam_figure(
    images: Tensor,
    labels: Sequence[int],
    classes: Sequence[str],
    columns: Sequence[MapColumn],
    title: str,
    folder: Path,
) -> list[Path]:
    """Write ``cam.png`` and ``cam.svg`` into ``folder``.

    Args:
        images: uint8 (N, 3, H, W); the networks saw the same part of them, at sizes of their own.
        labels: the images' true classes, N indices of ``classes``.

    Raises:
        RunError: they cannot be written.
    """
    import matplotlib as mpl
    from matplotlib.figure import Figure

    pictures = images.permute(0, 2, 3, 1).numpy() / 255
    faded = (pictures @ np.array(GREY))[..., None]
    heats = [_heat(column.maps, (images.shape[-2], images.shape[-1])) for column in columns]
    wide, high = 1 + len(columns), len(labels)
    figure = Figure(figsize=(wide * CELL, high * (CELL + MARGIN) + 2 * HEAD), layout="constrained")
    grid = figure.subplots(high, wide, squeeze=False)
    for row, label in enumerate(labels):
        _picture(grid[row, 0], pictures[row], _short(classes[label]), "black")
        for place, column, heat in zip(grid[row, 1:], columns, heats, strict=True):
            said = int(column.maps.predicted[row])
            sign, color = ("✓", RIGHT) if said == label else ("✗", WRONG)
            words = f"{_short(classes[said])}\n{sign} {100 * column.maps.probability[row]:.0f} %"
            _picture(place, (1 - OPACITY) * faded[row] + OPACITY * heat[row], words, color)
    grid[0, 0].set_title("image", fontsize=7)
    for place, column in zip(grid[0, 1:], columns, strict=True):
        place.set_title("\n".join(column.words), fontsize=7)
    figure.suptitle(title, fontsize=9)
    figure.supxlabel("colours: from a map's own lowest value (blue) to its highest (red)", fontsize=7, color="#4b5563")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with mpl.rc_context(
            {"svg.hashsalt": "scalesearch", "text.parse_math": False}
        ):  # the same figure is the same file
            figure.savefig(folder / "cam.png", dpi=140, metadata={"Software": None})
            figure.savefig(folder / "cam.svg", metadata={"Date": None})
    except OSError as failure:
        raise RunError(f"cannot write {folder}: {failure.strerror}") from failure
    return [folder / "cam.png", folder / "cam.svg"]


def _picture(place: Any, pixels: Pixels, words: str, color: str) -> None:
    place.imshow(pixels.clip(0, 1), interpolation="nearest")
    place.set_xlabel(words, fontsize=6, color=color, labelpad=2)
    place.set(xticks=[], yticks=[])
    place.spines[:].set_visible(False)


def _heat(maps: Maps, size: tuple[int, int]) -> Pixels:
    """Every map in colours at the images' size, (N, H, W, 3), from its own lowest value to its highest."""
    from matplotlib import colormaps

    values = functional.interpolate(maps.values[:, None], size=size, mode="bilinear", align_corners=False)[:, 0]
    low, high = values.amin((1, 2), keepdim=True), values.amax((1, 2), keepdim=True)
    shares = (values - low) / (high - low).clamp(min=1e-12)
    heat: Pixels = colormaps["turbo"](shares.numpy())[..., :3]
    return heat


def _short(name: str, most: int = 26) -> str:
    return name if len(name) <= most else name[: most - 1] + "…"
