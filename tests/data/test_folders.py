"""Folders as people have them: splits by any usual name, what is hidden passed over, a wrong level refused."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from scalesearch.data.decoded_cache import decode
from scalesearch.data.images import load_images
from scalesearch.data.pixels import as_array
from scalesearch.data.sources import folder, open_source
from scalesearch.errors import DataError
from scalesearch.settings import DataSettings
from tests.support.small import make_folder

CLASSES = {"cat": 3, "dog": 4}


@pytest.mark.parametrize("train", ["train", "Train", "training", "TRN"])
@pytest.mark.parametrize("held_out", ["val", "Val", "valid", "validation", "test", "dev"])
def test_a_split_is_known_by_its_usual_names(train: str, held_out: str, tmp_path: Path) -> None:
    make_folder(tmp_path, CLASSES, split=train)
    make_folder(tmp_path, {"cat": 1, "dog": 1}, split=held_out)
    source = folder(tmp_path)
    assert source.classes == ("cat", "dog")
    assert len(source.train.labels) == 7
    assert source.val is not None
    assert source.val.labels == (0, 1)


def test_of_val_and_test_val_is_taken(tmp_path: Path) -> None:
    for split, count in (("train", 3), ("test", 2), ("val", 1)):
        make_folder(tmp_path, {"a": count, "b": count}, split=split)
    val = folder(tmp_path).val
    assert val is not None
    assert len(val.labels) == 2


def test_held_out_folders_alone_are_no_classes(tmp_path: Path) -> None:
    make_folder(tmp_path, CLASSES, split="test")
    make_folder(tmp_path, CLASSES, split="val")
    with pytest.raises(DataError, match="those are splits, not classes"):
        folder(tmp_path)


@pytest.mark.parametrize("junk", [".ipynb_checkpoints", "__MACOSX", ".git"])
def test_hidden_folders_are_no_classes_and_hold_no_images(junk: str, tmp_path: Path) -> None:
    make_folder(tmp_path, CLASSES)
    for place in (tmp_path / "train" / junk, tmp_path / "train" / "cat" / junk):
        place.mkdir()
        Image.new("RGB", (8, 8)).save(place / "copy.jpg")
    source = folder(tmp_path)
    assert source.classes == ("cat", "dog")
    assert len(source.train.labels) == 7
    assert source.note is not None
    assert junk in source.note


@pytest.mark.parametrize("junk", ["._0.jpg", ".DS_Store", "Thumbs.db", "desktop.ini", "notes.txt"])
def test_files_that_are_no_images_are_counted_and_named(junk: str, tmp_path: Path) -> None:
    make_folder(tmp_path, CLASSES)
    (tmp_path / "train" / "cat" / junk).write_bytes(b"\0")
    source = folder(tmp_path)
    assert len(source.train.labels) == 7
    assert source.note is not None
    assert source.note.startswith("1 hidden files or folders")
    assert junk in source.note


def test_a_clean_folder_has_nothing_to_say_and_keeps_its_fingerprint(tmp_path: Path) -> None:
    make_folder(tmp_path, CLASSES)
    clean = folder(tmp_path)
    assert clean.note is None
    (tmp_path / "train" / ".DS_Store").write_bytes(b"\0")
    assert folder(tmp_path).fingerprint == clean.fingerprint


@pytest.mark.parametrize("level", ["dataset/train", "a/b/train"])
def test_a_wrong_level_is_refused_with_what_was_found(level: str, tmp_path: Path) -> None:
    make_folder(tmp_path / level, CLASSES, split=None)
    with pytest.raises(DataError, match=r"one class folder, \w+"):
        folder(tmp_path)


def test_the_right_level_is_suggested(tmp_path: Path) -> None:
    make_folder(tmp_path / "pets", CLASSES, split=None)
    with pytest.raises(DataError, match=r"it holds cat, dog: a class needs another. Is it .*pets that was meant\?"):
        folder(tmp_path)


@pytest.mark.parametrize("ending", [".jfif", ".JPG", ".webp", ".tif", ".TIFF", ".bmp", ".png"])
def test_images_of_many_endings_are_found(ending: str, tmp_path: Path) -> None:
    make_folder(tmp_path, CLASSES)
    kind = {".jfif": "JPEG", ".jpg": "JPEG", ".tif": "TIFF", ".tiff": "TIFF"}.get(ending.lower())
    Image.new("RGB", (8, 8), (10, 200, 30)).save(tmp_path / "train" / "cat" / f"z{ending}", format=kind)
    assert len(folder(tmp_path).train.labels) == 8


def test_a_link_to_a_folder_above_is_followed_once(tmp_path: Path) -> None:
    make_folder(tmp_path, CLASSES)
    (tmp_path / "train" / "cat" / "loop").symlink_to(tmp_path / "train" / "cat", target_is_directory=True)
    assert len(folder(tmp_path).train.labels) == 7


def test_a_name_that_is_no_utf_8_is_read(tmp_path: Path) -> None:
    make_folder(tmp_path, CLASSES)
    name = os.fsencode(tmp_path / "train" / "cat") + b"/\xff.jpg"
    (tmp_path / "train" / "cat" / "0.jpg").rename(os.fsdecode(name))
    assert len(folder(tmp_path).train.labels) == 7


def test_sixteen_bits_keep_their_upper_eight(tmp_path: Path) -> None:
    """Pillow alone would make everything above 255 white."""
    make_folder(tmp_path, CLASSES)
    values = np.array([[0, 255, 256], [32768, 40000, 65535]], np.uint16).repeat(8, 0).repeat(8, 1)
    Image.fromarray(values).save(tmp_path / "train" / "cat" / "zz.png")
    part = folder(tmp_path).train
    place = next(i for i in range(len(part.labels)) if part.name(i).endswith("zz.png"))
    pixels = as_array(part.load(place, 0))
    assert pixels[..., 0].tolist() == (values >> 8).tolist()
    assert (pixels[..., 0] == pixels[..., 2]).all()


@pytest.mark.parametrize("mode", ["I", "I;16"])
def test_integers_in_sixteen_bits_are_scaled_alike(mode: str) -> None:
    values = np.array([[0, 511], [512, 65535]], np.int32 if mode == "I" else np.uint16)
    assert as_array(Image.fromarray(values))[..., 1].tolist() == [[0, 1], [2, 255]]


@pytest.mark.parametrize(("array", "said"), [
    (np.array([[0, 70000]], np.int32), "not in 16 bits"),
    (np.array([[0.0, 0.5]], np.float32), "floating-point"),
])  # fmt: skip
def test_values_of_no_known_range_are_refused_by_file(array: np.ndarray, said: str, tmp_path: Path) -> None:
    make_folder(tmp_path, CLASSES)
    Image.fromarray(array.repeat(8, 0).repeat(8, 1)).save(tmp_path / "train" / "cat" / "odd.tif")
    part = folder(tmp_path).train
    place = next(i for i in range(len(part.labels)) if part.name(i).endswith("odd.tif"))
    with pytest.raises(DataError, match=f"odd.tif: .*{said}"):
        decode(part, place, 8)


@pytest.mark.parametrize("mode", ["L", "LA", "P", "1", "CMYK", "RGBA", "YCbCr"])
def test_eight_bit_modes_are_pillows(mode: str) -> None:
    image = Image.linear_gradient("L").convert(mode)
    assert np.array_equal(as_array(image), np.asarray(image.convert("RGB")))


def test_folders_that_torchvision_lists_are_told_apart_by_their_files(tmp_path: Path) -> None:
    """As --data folder: is; the labels alone are those of any two folders of the same shape."""
    found = []
    for name, level in (("dark", 10), ("bright", 200)):
        for label in ("a", "b"):
            (tmp_path / name / label).mkdir(parents=True)
            for i in range(4):
                Image.new("RGB", (16, 16), (level, i, 0)).save(tmp_path / name / label / f"{i}.png")
        settings = DataSettings(source=f"torchvision:ImageFolder:{tmp_path / name}", minival=0.5)
        found.append(open_source(settings))
        assert float(load_images(found[-1], settings, 16).train.take(torch.arange(4))[0][:, 0].float().mean()) == level
    assert found[0].cache_key != found[1].cache_key
    again = open_source(DataSettings(source=f"torchvision:ImageFolder:{tmp_path / 'dark'}"))
    assert (again.fingerprint, again.cache_key) == (found[0].fingerprint, found[0].cache_key)
