"""What is found of a folder's images before any is decoded, and what is said of it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from scalesearch.data.kinds import Found, channel_words, looked_at, ratio_words
from scalesearch.data.pixels import View
from scalesearch.data.sources import embedded, folder
from scalesearch.image_size import Rectangle


def _save(root: Path, mode: str, names: str, size: tuple[int, int] = (30, 20), suffix: str = "png") -> None:
    for label in ("cat", "dog"):
        (root / label).mkdir(parents=True, exist_ok=True)
        for name in names:
            if mode == "I;16":
                Image.fromarray(np.full(size[::-1], 4000, np.uint16)).save(root / label / f"{name}.{suffix}")
            else:
                Image.new(mode, size).save(root / label / f"{name}.{suffix}")


def _found(root: Path) -> Found:
    return looked_at(folder(root))


@pytest.mark.parametrize(
    ("mode", "suffix", "channels", "bits"),
    [("L", "png", 1, 8), ("L", "jpg", 1, 8), ("I;16", "png", 1, 16), ("I;16", "tif", 1, 16), ("1", "png", 1, 8),
     ("RGB", "tif", 3, 8), ("P", "png", 3, 8), ("RGBA", "png", 3, 8), ("LA", "png", 1, 8)],
)  # fmt: skip
def test_channels_and_bits_are_those_of_the_files(
    mode: str, suffix: str, channels: int, bits: int, tmp_path: Path
) -> None:
    _save(tmp_path, mode, "ab", suffix=suffix)
    assert (_found(tmp_path).channels, _found(tmp_path).bits) == (channels, bits)


def test_a_mixed_folder_is_told_in_one_line_with_counts(tmp_path: Path) -> None:
    for mode, names in (("L", "ab"), ("I;16", "c"), ("RGB", "def"), ("RGBA", "g")):
        _save(tmp_path, mode, names)
    found = _found(tmp_path)
    assert (found.channels, found.bits) == (3, 8)
    assert channel_words(found, View()) == (
        "6 in colour, 4 greyscale, 2 greyscale of 16 bits, 2 in colour with alpha: networks see 3 channels of 8 bits; "
        "of grey images three equal ones; alpha is left out (--set data.channels=4 keeps it); the upper 8 of 16 bits "
        "are kept (--set data.bits=16 keeps all)"
    )
    assert "images without alpha count as opaque" in (channel_words(found, View(4)) or "")
    assert "colours become greys" in (channel_words(found, View(1, 16)) or "")


def test_nothing_is_said_of_colour_that_stays_colour(tmp_path: Path) -> None:
    _save(tmp_path, "RGB", "abc")
    assert channel_words(_found(tmp_path), View()) is None


def test_images_of_another_ratio_are_counted(tmp_path: Path) -> None:
    _save(tmp_path, "RGB", "ab", (128, 32))
    _save(tmp_path, "RGB", "c", (32, 32))
    found = _found(tmp_path)
    words = ratio_words(found, 64, "centre") or ""
    assert words.startswith(
        "4 of 6 images are not of the network's ratio, width to height 1.00, but 4.00: their centre is seen, 25 % of "
        "each on average"
    )
    assert (ratio_words(found, 64, "squash") or "").endswith("but 4.00: they are squashed to it")
    assert (ratio_words(found, 64, "pad") or "").endswith("but 4.00: they are fitted in, the rest is black")
    assert (ratio_words(found, Rectangle(32, 128), "centre") or "").startswith("2 of 6 images")


def test_one_pixel_more_is_no_other_ratio(tmp_path: Path) -> None:
    _save(tmp_path, "RGB", "ab", (224, 225))
    assert ratio_words(_found(tmp_path), 64, "centre") is None


def test_images_that_are_drawn_are_squares_in_colour_and_not_drawn_to_find_out() -> None:
    found = looked_at(embedded())
    assert channel_words(found, View()) is None and ratio_words(found, 48, "centre") is None
    assert (ratio_words(found, Rectangle(16, 48), "centre") or "").startswith("3,000 of 3,000 images are not")
