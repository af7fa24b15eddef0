"""Images that a trained network is to see otherwise than it did: other sizes, cuts, channels, classes, broken ones."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from scalesearch.cli.commands.train import train_command
from scalesearch.cli.notify import Ended
from scalesearch.data.images import Images, load_images
from scalesearch.errors import DataError
from scalesearch.runtime.team import ALONE
from scalesearch.search.robustness_job import RobustnessRequest, robustness_job
from scalesearch.training.int8_files import QuantizeSettings, tasks_of, write_files
from scalesearch.training.single import TrainRequest, job_of
from scalesearch.training.trained import on_images, open_network
from scalesearch.training.trained_files import all_trained_files
from tests.support.small import TINY, make_folder, run_here

Command = Callable[..., tuple[object, str, str]]


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """``winner``, trained for a few steps at 24 px on ``photos`` of 48 px, whose classes are a, b, c; and ``others``,
    ``broken``, ``two`` (images of each class)."""
    root = tmp_path_factory.mktemp("seen")
    (root / "tiny.yaml").write_text(TINY)
    make_folder(root / "photos", {"a": 20, "b": 20, "c": 20}, split=None, size=48)
    make_folder(root / "others", {"x": 20, "y": 20, "z": 20}, split=None, size=48)
    make_folder(root / "two", {"a": 2, "b": 2, "c": 2}, split=None, size=48)
    for split in ("train", "val"):
        make_folder(root / "broken", {"a": 12, "b": 12, "c": 12}, split=split, size=48)
    for i in range(9):
        (root / "broken" / "val" / "a" / f"{i}.jpg").write_bytes(b"no image")
    short = {"device": "cpu", "train.steps": 4, "data.source": f"folder:{root / 'photos'}"}
    wish = TrainRequest(str(root / "tiny.yaml"), "quick", short, resolution=24, out=root / "winner")
    train_command(wish, Ended(), processes=1, as_json=False)
    yield root


@pytest.fixture
def command(place: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Command:
    monkeypatch.chdir(place)
    monkeypatch.setenv("COLUMNS", "80")

    def run(*arguments: str) -> tuple[object, str, str]:
        code, out, err = run_here(monkeypatch, capsys, *arguments)
        return code, out, " ".join(err.split())

    return run


def _job(place: Path, **overrides: Any) -> Any:
    return robustness_job(RobustnessRequest((str(place / "winner"),), (), None, {"device": "cpu", **overrides}))


def test_images_that_are_cut_otherwise_are_another_measurement(place: Path) -> None:
    asked: list[dict[str, object]] = [{}, {"data.crop": "squash"}, {"data.crop": "pad"}, {"data.bits": 16}]
    assert len({_job(place, **each).folder for each in asked}) == len(asked)
    assert _job(place, **{"data.crop": "centre", "data.bits": 8, "data.channels": 3}).folder == _job(place).folder


@pytest.mark.parametrize("verb", ["robustness", "quantize"])
def test_other_channels_than_the_network_takes_are_refused_in_a_line(command: Command, verb: str) -> None:
    code, _, said = command(verb, "winner", "--set", "data.channels=1")
    assert code == 2 and "data.channels: expected 3, which " in said and "bug" not in said


@pytest.mark.parametrize("verb", [("quantize",), ("export", "--format", "onnx", "--int8", "--out", "n.onnx")])
def test_images_of_other_classes_make_no_int8_file(command: Command, place: Path, verb: tuple[str, ...]) -> None:
    pytest.importorskip("onnxruntime")
    name, *options = verb
    code, _, said = command(name, "winner", *options, "--data", "folder:others")
    assert code == 2 and "was trained on 3 classes" in said and "not in both: a, b, c" in said
    assert not (place / "n.onnx").exists()


def test_int8_takes_its_classes_from_the_network(command: Command) -> None:
    pytest.importorskip("onnxruntime")
    code, _, said = command("export", "winner", "--format", "onnx", "--int8", "--num-classes", "7")
    assert code == 2 and "--num-classes: expected none with --int8" in said


@pytest.mark.parametrize(("resolution", "decoded"), [(None, 24), (16, 24), (48, 48)])
def test_a_larger_network_sees_no_enlarged_images(
    place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, resolution: int | None, decoded: int
) -> None:
    pytest.importorskip("onnxruntime")
    sizes = []

    def load(*arguments: Any) -> Images:
        images = load_images(*arguments)
        sizes.append(images.size)
        return images

    monkeypatch.setattr("scalesearch.training.int8_files.load_images", load)
    (files,) = all_trained_files([str(place / "winner")], [])
    network = on_images(open_network(files, resolution))
    assert network.recipe.data.cache_resolution == 24, "as `train` wrote it"
    (task,) = tasks_of([network], QuantizeSettings(calibration_images=4))
    write_files(task, QuantizeSettings(calibration_images=4), tmp_path / "f.onnx", tmp_path / "i.onnx")
    assert sizes == [decoded]
    assert robustness_job(RobustnessRequest((str(place / "winner"),), (), None, {"device": "cpu"},
                                            resolution=resolution)).side == decoded  # fmt: skip


def test_a_recipe_that_keeps_images_small_says_that_they_are_enlarged(place: Path) -> None:
    kept = str(place / "winner" / "recipe.yaml")
    told = {}
    for size in (24, 48):
        job = job_of(TrainRequest(str(place / "tiny.yaml"), kept, {"device": "cpu"}, resolution=size), ALONE)
        told[size] = [words for words in job.tuned if "enlarged" in words]
    assert told[24] == []
    assert told[48] == ["images are kept at 24 px (data.cache_resolution) and enlarged to up to 48"]


@pytest.mark.parametrize(("shares", "kept"), [((), 24), ((1.0, 1.5), 36), ((0.5,), 24)])
def test_images_are_kept_for_the_largest_size_that_is_measured(
    place: Path, shares: tuple[float, ...], kept: int
) -> None:
    changes = {"device": "cpu", "data.source": f"folder:{place / 'photos'}", "train.eval_resolutions": list(shares)}
    job = job_of(TrainRequest(str(place / "tiny.yaml"), "quick", changes, resolution=24), ALONE)
    assert job.recipe.data.cache_resolution == kept


def test_the_price_passes_over_images_that_are_skipped(place: Path) -> None:
    """Nine of the first twelve are broken."""
    changes = {"data.source": f"folder:{place / 'broken'}"}
    job = _job(place, **changes, **{"data.on_error": "skip"})
    assert len(job.decoded(job.clean, few=4).split.take(torch.arange(4))[0]) == 4
    strict = _job(place, **changes)
    with pytest.raises(DataError, match="cannot decode"):
        strict.decoded(strict.clean, few=4).split.take(torch.arange(4))


def test_two_images_of_a_class_choose_no_penalty_and_it_is_said(command: Command) -> None:
    code, _, said = command("linear", "winner", "--data", "folder:two", "--device", "cpu", "--out", "fitted")
    assert code == 2 and "no images are left to choose the penalty with" in said


@pytest.mark.parametrize("verb", ["train", "linear"])
def test_images_that_are_left_out_are_listed_in_the_folder(command: Command, place: Path, verb: str) -> None:
    (place / "some").mkdir(exist_ok=True)
    make_folder(place / "some" / verb, {"a": 12, "b": 12, "c": 12}, split=None, size=48)
    (place / "some" / verb / "a" / "3.jpg").write_bytes(b"no image")
    data = (
        "--data",
        f"folder:some/{verb}",
        "--set",
        "data.on_error=skip",
        "--device",
        "cpu",
        "--out",
        f"listed-{verb}",
    )
    network = (
        ("tiny.yaml", "--recipe", "quick", "--resolution", "24", "--steps", "1") if verb == "train" else ("winner",)
    )
    code, out, said = command(verb, *network, *data)
    assert code == 0 and "left out: 1 image that cannot be decoded, see skipped-images.txt" in out + said, out + said
    (listed,) = (place / f"listed-{verb}").rglob("skipped-images.txt")
    assert "3.jpg\t" in listed.read_text() and len(listed.read_text().splitlines()) == 1
