"""Images: where they come from, how they are split and kept, and what is said of broken ones."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision.transforms import v2

from scalesearch.data import embedded as procedural
from scalesearch.data.decoded_cache import decoded
from scalesearch.data.images import load_images, split_indices
from scalesearch.data.pixels import as_array, fitted
from scalesearch.data.sources import Part, folder, open_source
from scalesearch.errors import DataError
from scalesearch.files import cache_folder
from scalesearch.settings import DataSettings
from tests.support.small import make_folder


def test_the_minival_is_stratified_seeded_and_apart_from_training() -> None:
    source = open_source(DataSettings())
    train, minival = split_indices(source, DataSettings())
    assert not set(train) & set(minival)
    assert len(train) + len(minival) == len(source.train.labels)
    per_class = np.bincount([source.train.labels[i] for i in minival])
    assert set(per_class.tolist()) == {25}
    assert split_indices(source, DataSettings()) == (train, minival)
    assert split_indices(source, DataSettings(split_seed=1))[1] != minival


def test_a_limit_keeps_classes_balanced_and_the_minival_whole() -> None:
    source = open_source(DataSettings())
    whole = split_indices(source, DataSettings())[1]
    train, minival = split_indices(source, DataSettings(limit=30))
    counts = np.bincount([source.train.labels[i] for i in train], minlength=len(source.classes))
    assert len(train) == 30
    assert counts.max() - counts.min() <= 1
    assert minival == whole


def test_a_folder_with_train_and_val(tmp_path: Path) -> None:
    make_folder(tmp_path, {"cat": 6, "dog": 5})
    make_folder(tmp_path, {"cat": 2, "dog": 3}, split="val")
    images = load_images(folder(tmp_path), DataSettings(minival=0.2), 16)
    assert (len(images.train), len(images.minival), images.num_classes) == (9, 2, 2)
    assert images.train.images.shape == (9, 3, 16, 16)
    assert isinstance(images.train.images, torch.Tensor) and images.train.images.dtype == torch.uint8
    assert images.val is not None and images.val.labels.tolist() == [0, 0, 1, 1, 1]
    reds = images.train.images[images.train.labels == 0].float().mean((0, 2, 3))
    assert reds.argmax() == 0  # the first class is red


def test_without_a_cache_the_same_images_are_decoded_as_they_are_needed(tmp_path: Path) -> None:
    make_folder(tmp_path, {"cat": 6, "dog": 5})
    kept = load_images(folder(tmp_path), DataSettings(), 16).train
    lazy = load_images(folder(tmp_path), DataSettings(cache=False), 16).train
    assert not isinstance(lazy.images, torch.Tensor)
    assert torch.equal(lazy.images[2:5], kept.images[2:5])
    assert torch.equal(lazy.images[7:8][0], kept.images[7:8][0])


def test_a_set_without_splits_is_taken_by_name() -> None:
    source = open_source(DataSettings(source="torchvision:FakeData"))
    assert (len(source.train.labels), source.val) == (1000, None)


def test_cifar10_is_read_from_its_own_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import pickle

    import torchvision

    root = tmp_path / "cifar-10-batches-py"
    root.mkdir()
    random = np.random.default_rng(0)
    names = [*(f"data_batch_{i}" for i in range(1, 6)), "test_batch"]
    for name in names:
        batch = {"data": random.integers(0, 256, (20, 3072), dtype=np.uint8), "labels": [i % 10 for i in range(20)]}
        (root / name).write_bytes(pickle.dumps(batch))
    (root / "batches.meta").write_bytes(pickle.dumps({"label_names": [f"class {i}" for i in range(10)]}))
    with pytest.raises(DataError, match="cannot open torchvision's CIFAR10"):  # the checksums are not CIFAR's
        open_source(DataSettings(source=f"cifar10:{tmp_path}"))
    monkeypatch.setattr(torchvision.datasets.cifar, "check_integrity", lambda *_: True)
    images = load_images(open_source(DataSettings(source=f"cifar10:{tmp_path}")), DataSettings(), 64)
    assert (len(images.train), len(images.minival), images.size) == (90, 10, 32)
    assert images.val is not None and len(images.val) == 20


def test_a_limit_below_the_number_of_classes_is_told() -> None:
    with pytest.raises(DataError, match="leaves some of 12 classes without an image"):
        split_indices(open_source(DataSettings()), DataSettings(limit=5))


def test_one_folder_of_classes_is_split_and_has_no_val(tmp_path: Path) -> None:
    make_folder(tmp_path, {"cat": 4, "dog": 4}, split=None)
    images = load_images(folder(tmp_path), DataSettings(), 16)
    assert (len(images.train), len(images.minival), images.val) == (6, 2, None)


def test_images_are_never_kept_above_their_own_size(tmp_path: Path) -> None:
    make_folder(tmp_path, {"cat": 3, "dog": 3}, size=20)
    assert load_images(folder(tmp_path), DataSettings(), 64).size == 20


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("folder:nowhere", r"no folder nowhere"),
        ("cifar10:nowhere", r"cannot open torchvision's CIFAR10 under nowhere: .*--data torchvision:CIFAR10:nowhere"),
        ("torchvision:NoSuchSet", r"torchvision has no data set 'NoSuchSet'"),
        ("imagenet", r"data 'imagenet' is not understood: use embedded, folder:PATH"),
    ],
)
def test_data_that_is_not_there_says_what_to_do(source: str, message: str) -> None:
    with pytest.raises(DataError, match=message):
        open_source(DataSettings(source=source))


def test_an_empty_folder_and_an_empty_class_are_told(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="holds no class folders"):
        folder(tmp_path)
    make_folder(tmp_path, {"cat": 3, "dog": 3})
    (tmp_path / "train" / "eel").mkdir()
    with pytest.raises(DataError, match="no images in the class folder eel"):
        folder(tmp_path)


def test_a_class_with_one_image_cannot_be_split(tmp_path: Path) -> None:
    make_folder(tmp_path, {"cat": 3, "dog": 1})
    with pytest.raises(DataError, match=r"class 'dog' has 1 image: ranking holds out part of every class"):
        load_images(folder(tmp_path), DataSettings(), 16)


def test_train_and_val_with_other_classes_are_told(tmp_path: Path) -> None:
    make_folder(tmp_path, {"cat": 3, "dog": 3})
    make_folder(tmp_path, {"cat": 3, "eel": 3}, split="val")
    with pytest.raises(DataError, match="differ in classes: dog, eel"):
        folder(tmp_path)


def test_a_truncated_jpeg_is_named(tmp_path: Path) -> None:
    make_folder(tmp_path, {"cat": 3, "dog": 3}, size=64)
    broken = tmp_path / "train" / "dog" / "1.jpg"
    whole = broken.read_bytes()
    broken.write_bytes(whole[: len(whole) * 2 // 3])
    with pytest.raises(DataError, match=r"cannot decode .*dog.1\.jpg: .*truncated"):
        load_images(folder(tmp_path), DataSettings(), 32)


def test_images_are_decoded_once() -> None:
    loads = []

    def load(i: int, size: int) -> object:
        from PIL import Image

        loads.append(i)
        return Image.new("RGB", (size, size), (i, 0, 0))

    part = Part((0, 1, 0), load, str)  # type: ignore[arg-type]
    first = decoded(part, [2, 0], 8, "once")
    again = decoded(part, [2, 0], 8, "once")
    assert loads == [2, 0] or sorted(loads) == [0, 2]
    assert np.array_equal(first, again)
    assert first[:, 0, 0, 0].tolist() == [2, 0]
    assert not list(cache_folder().glob("*.part"))


def test_a_torn_cache_file_is_made_again() -> None:
    source = open_source(DataSettings())
    decoded(source.train, [0, 1], 8, "torn")
    newest = max(cache_folder().glob("*.npy"), key=lambda p: p.stat().st_mtime_ns)
    newest.write_bytes(newest.read_bytes()[:100])
    assert decoded(source.train, [0, 1], 8, "torn").shape == (2, 3, 8, 8)


def test_a_cache_that_cannot_be_written_is_done_without(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("")
    monkeypatch.setenv("SCALESEARCH_CACHE", str(blocked / "below"))
    assert decoded(open_source(DataSettings()).train, [0], 8, "nowhere").shape == (1, 3, 8, 8)


def test_the_embedded_images_are_the_ones_this_version_names() -> None:
    """Whoever changes the drawing raises VERSION and these numbers with it: caches and runs go by the version."""
    scenes = procedural.draw("val", 24)[:4].astype(float)
    assert procedural.VERSION == 1
    means = [[129.97, 105.87, 94.00], [147.24, 95.50, 104.73], [179.15, 111.47, 114.48], [144.85, 77.81, 87.78]]
    np.testing.assert_allclose(scenes.mean((1, 2)), means, atol=0.05)


def test_an_embedded_scene_is_the_same_at_every_resolution() -> None:
    small, large = (procedural.draw("val", size)[:50].astype(float) for size in (24, 96))
    reduced = large.reshape(50, 24, 4, 24, 4, 3).mean((2, 4))
    assert np.abs(small - reduced).mean() < 8  # of 255; the drawing itself is anti-aliased


def test_the_fine_grating_fades_at_small_sizes() -> None:
    """What more resolution buys: the two grating classes differ less and less as pixels get larger."""

    def contrast(size: int) -> float:
        images = procedural.draw("val", size).astype(float).mean(-1)
        level = [i for i, label in enumerate(procedural.labels("val")) if "level" in procedural.CLASSES[label]]
        return float(np.abs(np.diff(images[level], axis=1)).mean() / np.abs(np.diff(images[level], axis=2)).mean())

    assert contrast(16) < contrast(24) < contrast(48)


def test_the_cache_forgets_what_was_used_least_recently(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SCALESEARCH_CACHE", str(tmp_path))
    part = open_source(DataSettings()).train
    first = decoded(part, [0, 1], 8, "first")
    (old,) = tmp_path.glob("*.npy")
    decoded(part, [0, 1], 8, "second")
    decoded(part, [0, 1], 8, "first")  # used again
    size = old.stat().st_size
    decoded(part, [0, 1], 8, "third", most=2 * size)
    assert old.exists() and len(list(tmp_path.glob("*.npy"))) == 2
    decoded(part, [0, 1], 8, "fourth", most=1)
    assert len(list(tmp_path.glob("*.npy"))) == 1, "what this run needs stays, whatever it takes"
    assert first.sum() > 0, "a file that is in use stays readable"


@pytest.mark.parametrize(("width", "height"), [(90, 60), (61, 90), (91, 60), (48, 48), (48, 79), (30, 40)])
def test_images_are_decoded_as_torchvision_would(width: int, height: int) -> None:
    """The central square, resized with anti-aliasing by Pillow's filter: all levels within one."""
    random = np.random.default_rng(width)
    coarse = Image.fromarray(random.integers(256, size=(9, 9, 3), dtype=np.uint8))
    image = coarse.resize((width, height), Image.Resampling.BICUBIC)
    side = min(width, height)
    square = v2.functional.center_crop(image, [side, side])
    wanted = np.asarray(square.resize((48, 48), Image.Resampling.BICUBIC)).transpose(2, 0, 1)
    found = fitted(as_array(image), 48)
    assert found.shape == (3, 48, 48) and found.dtype == np.uint8
    assert np.abs(found.astype(int) - wanted.astype(int)).max() <= 1
