"""What is said of images before training: what they are, what is broken, what is there twice."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from scalesearch.data.about import described, doubts
from scalesearch.data.broken import BrokenImagesError
from scalesearch.data.images import load_images
from scalesearch.data.sources import folder, open_source
from scalesearch.errors import DataError, RecipeError
from scalesearch.recipe import load_recipe
from scalesearch.settings import DataSettings
from tests.support.small import Cli, make_folder


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SCALESEARCH_CACHE", str(tmp_path / "cache"))


def _noise(path: Path, seed: int, side: int = 24) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    values = np.random.default_rng(seed).integers(0, 256, (side, side, 3), np.uint8)
    Image.fromarray(values).save(path)


def _set(root: Path, each: int = 10) -> Path:
    for label, name in enumerate(("cat", "dog")):
        for i in range(each):
            _noise(root / "train" / name / f"{i}.png", 100 * label + i)
        _noise(root / "val" / name / "0.png", 900 + label)
    return root


def _settings(root: Path, **changes: object) -> DataSettings:
    return DataSettings.model_validate({"source": f"folder:{root}", "minival": 0.3, **changes})


def _load(root: Path, **changes: object):  # type: ignore[no-untyped-def]
    settings = _settings(root, **changes)
    return load_images(open_source(settings), settings, 16)


def test_classes_counts_and_sizes(tmp_path: Path) -> None:
    root = _set(tmp_path / "set")
    _noise(root / "train" / "dog" / "large.png", 5, side=60)
    words = described(folder(root))
    assert words == "images: 2 classes (cat, dog), 10 to 11 images in each of 24 to 60 px a side; 2 for validation"


def test_every_broken_file_is_told_at_once(tmp_path: Path) -> None:
    root = _set(tmp_path / "set")
    for name in ("cat/3.png", "cat/4.png", "dog/5.png", "dog/6.png"):
        path = root / "train" / name
        path.write_bytes(path.read_bytes()[:60])
    (root / "train" / "dog" / "7.png").write_text("no image")
    with pytest.raises(BrokenImagesError, match="cannot decode 5 of 20 images") as caught:
        _load(root)
    assert len(caught.value.reasons) == 5
    listed = (tmp_path / "cache" / "broken-images.txt").read_text()
    assert all(name in listed for name in ("cat/3.png", "cat/4.png", "dog/5.png", "dog/6.png", "dog/7.png"))
    assert str(caught.value).count("\n") == 0


def test_broken_files_are_left_out_where_that_is_asked_for(tmp_path: Path) -> None:
    root = _set(tmp_path / "set")
    whole = _load(root)
    for name in ("cat/3.png", "dog/5.png"):
        (root / "train" / name).write_bytes(b"broken")
    images = _load(root, on_error="skip")
    assert len(images.train) + len(images.minival) == len(whole.train) + len(whole.minival) - 2
    assert sorted(Path(name).name for name, _ in images.skipped) == ["3.png", "5.png"]
    assert doubts(images)[0] == "left out: 2 images that cannot be decoded, see skipped-images.txt"
    again = _load(root, on_error="skip")  # from what is remembered
    assert again.skipped == images.skipped
    assert (again.train.labels == images.train.labels).all()


def test_broken_validation_images_are_left_out_too(tmp_path: Path) -> None:
    root = _set(tmp_path / "set")
    (root / "val" / "dog" / "0.png").write_bytes(b"broken")
    assert len(_load(root, on_error="skip").val) == 1
    with pytest.raises(DataError, match="cannot decode"):
        _ = _load(root).val


def test_a_part_without_an_image_that_can_be_decoded_is_refused(tmp_path: Path) -> None:
    root = make_folder(tmp_path / "set", {"a": 3, "b": 3})
    for path in (root / "train").rglob("*.*"):
        path.write_bytes(b"broken")
    with pytest.raises(DataError, match="none of the"):
        _load(root, on_error="skip")


def test_skipping_needs_a_look_before_training() -> None:
    with pytest.raises(RecipeError, match="on_error"):
        load_recipe("quick", {"data.on_error": "skip", "data.cache": False})


def test_an_image_of_too_many_pixels_is_broken_and_the_bound_is_an_option(tmp_path: Path) -> None:
    root = _set(tmp_path / "set")
    _noise(root / "train" / "cat" / "huge.png", 1, side=300)
    with pytest.raises(DataError, match=r"300 × 300 pixels, and data.max_pixels is 80,000"):
        _load(root, max_pixels=80_000)
    assert len(_load(root, max_pixels=80_000, on_error="skip").skipped) == 1
    assert _load(root, max_pixels="90k").skipped == ()


def test_images_of_one_colour_are_told(tmp_path: Path) -> None:
    root = _set(tmp_path / "set")
    for i in range(3):
        Image.new("RGB", (24, 24), (255, 255, 255 - i)).save(root / "train" / "dog" / f"white{i}.png")
    assert "3 images are of one colour throughout, and tell nothing: dog 3" in doubts(_load(root))


def test_the_same_image_in_two_classes_is_told(tmp_path: Path) -> None:
    root = _set(tmp_path / "set")
    for i in range(4):
        _noise(root / "train" / "dog" / f"cat{i}.png", i)  # the cats' own
    assert any("8 images are the same in several classes (cat, dog)" in words for words in doubts(_load(root)))


def test_images_of_the_minival_that_are_trained_on_are_told(tmp_path: Path) -> None:
    root = _set(tmp_path / "set", each=10)
    for name in ("cat", "dog"):
        for i in range(10):
            (root / "train" / name / f"copy{i}.png").write_bytes((root / "train" / name / f"{i}.png").read_bytes())
    told = [words for words in doubts(_load(root)) if "trained on too" in words]
    assert len(told) == 1
    assert doubts(_load(_set(tmp_path / "clean"))) == []


def test_a_search_says_all_of_this_before_it_trains(cli: Cli, tmp_path: Path) -> None:
    root = _set(tmp_path / "pets")
    Image.new("RGB", (24, 24)).save(root / "train" / "dog" / "black.png")
    (root / "train" / "cat" / "3.png").write_bytes(b"broken")
    common = ("grid", "--baseline", "tiny.yaml", "--data", f"folder:{root}", "--resolution", "24", "--steps", "2",
              "--step", "0.5", "--device", "cpu", "--workers", "0", "--out", "run")  # fmt: skip
    refused = cli(*common)
    assert refused.returncode == 2
    assert "3.png" in refused.stderr
    done = cli(*common, "--set", "data.on_error=skip")
    assert done.returncode == 0, done.stderr
    said = " ".join((done.stdout + done.stderr).split())  # lines are folded at 80 columns
    assert "images: 2 classes (cat, dog), 10 to 11 images in each of 24 px a side; 2 for validation" in said
    assert "left out: 1 image that cannot be decoded, see skipped-images.txt" in said
    assert "1 images are of one colour throughout" in said
    assert "3.png" in (tmp_path / "run" / "skipped-images.txt").read_text()
