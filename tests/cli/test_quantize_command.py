"""`scalesearch quantize`: the accuracies are the files', what is lost is told, mistakes are one line."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from scalesearch.data import embedded
from scalesearch.models.catalogue import build_model
from scalesearch.scaling.spec import ModelSpec
from tests.support.small import TINY, make_folder, run_here

onnxruntime = pytest.importorskip("onnxruntime")

Command = Callable[..., tuple[object, str, str]]
MEAN = np.array([0.485, 0.456, 0.406], np.float32)[:, None, None]
STD = np.array([0.229, 0.224, 0.225], np.float32)[:, None, None]
"""ImageNet's, of values in [0, 1] (torchvision's documentation of its weights)."""
FAST = ("--seconds", "0.02", "--rounds", "1", "--threads", "1", "--calibration-images", "40")
COLOURS = """
from torch import nn

class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.mix, self.head = nn.Conv2d(3, 4, 1, bias=False), nn.Linear(4, 3, bias=False)

    def forward(self, images):
        return self.head(self.mix(images).relu().mean((2, 3)))

def build_net():
    return Net()
"""
"""Means of the channels as logits, and beside them a channel that tells nothing, as large as its weight makes it."""


@pytest.fixture
def command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tiny: ModelSpec
) -> Command:
    """``scalesearch …`` in this process, beside tiny.yaml and tiny.pt: its exit code, and what it wrote."""
    (tmp_path / "tiny.yaml").write_text(TINY)
    torch.manual_seed(0)
    torch.save(build_model(tiny, 12).state_dict(), tmp_path / "tiny.pt")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "80")

    return partial(run_here, monkeypatch, capsys)


TRAINED = ("tiny.yaml", "--weights", "tiny.pt", "--data", "embedded")


def coloured(folder: Path, loudness: float) -> tuple[str, ...]:
    """Three classes of images, each of its colour, and a network that tells them by it beside a loud channel."""
    (folder / "colours.py").write_text(COLOURS)
    make_folder(folder / "pets", {"1-red": 80, "2-green": 80, "3-blue": 80})
    state = {"mix.weight": torch.zeros(4, 3, 1, 1), "head.weight": torch.zeros(3, 4)}
    state["mix.weight"][:3, :, 0, 0] = state["head.weight"][:, :3] = torch.eye(3)
    state["mix.weight"][3] = loudness
    torch.save(state, folder / "colours.pt")
    return ("colours.py:build_net", "--weights", "colours.pt", "--resolution", "16", "--data", "folder:pets")


def test_the_accuracies_are_those_of_the_files_it_wrote(command: Command, tmp_path: Path) -> None:
    code, shown, _ = command("quantize", *TRAINED, *FAST, "--out", "q")
    assert code == 0
    table = [line for line in shown.splitlines() if "→" in line or line.startswith(("accuracy", "ms:"))]
    assert table and max(map(len, table)) <= 80
    (row,) = json.loads((tmp_path / "q" / "quantize.json").read_text())["networks"]
    pixels = embedded.draw("val", 16).astype(np.float32).transpose(0, 3, 1, 2) / 255
    images = (pixels - MEAN) / STD
    said = []
    for kind in ("float", "int8"):
        file = tmp_path / "q" / "tiny" / f"{kind}.onnx"
        session = onnxruntime.InferenceSession(str(file), providers=["CPUExecutionProvider"])
        said.append(session.run(None, {"images": images})[0].argmax(1))
        assert row[f"{kind}_bytes"] == file.stat().st_size
        assert row[f"{kind}_accuracy"] == pytest.approx(
            np.mean(said[-1] == np.array(embedded.labels("val"))), abs=0.005
        )
        assert session.get_modelmeta().custom_metadata_map["classes"].split("\n") == list(embedded.CLASSES)
    assert row["same"] == pytest.approx(np.mean(said[0] == said[1]), abs=0.005)
    assert row["images"] == 600 and row["calibration_images"] == 40
    assert row["low"] <= row["difference"] <= row["high"]
    assert row["difference"] == pytest.approx(row["int8_accuracy"] - row["float_accuracy"])
    assert row["eager_accuracy"] == pytest.approx(row["float_accuracy"], abs=0.005)
    assert row["float_latency"]["median_ms"] > 0 < row["int8_latency"]["median_ms"]
    assert "tiny" in (tmp_path / "q" / "quantize.md").read_text()


def test_what_eight_bits_destroy_is_told_with_the_layer_to_blame(command: Command, tmp_path: Path) -> None:
    """Colours differ by about three after normalisation; beside a channel of thousands that is less than a step."""
    code, shown, _ = command("quantize", *coloured(tmp_path, -3000.0), *FAST)
    assert code == 0
    (row,) = json.loads((tmp_path / "quantized" / "quantize.json").read_text())["networks"]
    assert row["float_accuracy"] == 1 and row["int8_accuracy"] < 0.7
    assert row["split"] == "minival"
    said = " ".join(shown.split())
    assert "lost" in said, said
    assert "of 40 calibration images: mix 6" in said, said
    assert "which other programs' trainings may have seen" in said


def test_without_the_loud_channel_nothing_is_lost(command: Command, tmp_path: Path) -> None:
    code, shown, _ = command("quantize", *coloured(tmp_path, 0.1), *FAST, "--json")
    assert code == 0
    (row,) = json.loads(shown)["networks"]
    assert row["float_accuracy"] == row["int8_accuracy"] == row["same"] == 1
    assert row["hurt_by_part"] == {}


def test_several_networks_share_a_table_in_every_form(command: Command, tmp_path: Path) -> None:
    both = ("tiny.yaml", "tiny.yaml", "--weights", "tiny.pt", "--weights", "tiny.pt", "--data", "embedded")
    few = (*FAST, "--validation-images", "50")
    code, shown, told = command("quantize", *both, *few, "--format", "csv")
    assert code == 0
    rows = list(csv.DictReader(io.StringIO(shown)))
    assert [row["network"] for row in rows] == ["tiny-1", "tiny-2"]
    assert rows[0]["int8_accuracy"] == rows[1]["int8_accuracy"] and rows[0]["images"] == "50"
    assert "50 images cannot tell" in told or "no more than" in told
    assert {path.name for path in (tmp_path / "quantized").iterdir()} == {
        "quantize.json", "quantize.md", "tiny-1", "tiny-2",
    }  # fmt: skip


def test_a_dry_run_says_what_and_how_long_and_writes_nothing(command: Command, tmp_path: Path) -> None:
    code, shown, _ = command("quantize", *TRAINED, "--dry-run", "--json")
    assert code == 0
    plan = json.loads(shown)
    assert plan["seconds"] > 0 and plan["networks"][0]["images"] == 600
    code, shown, _ = command("quantize", *TRAINED, "--dry-run")
    assert code == 0 and "600 of val measure" in shown and "about 0:" in shown
    assert not (tmp_path / "quantized").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("tiny.yaml",), "no weights for tiny.yaml"),
        (("tiny.yaml", "--weights", "nowhere.pt", "--data", "embedded"), "there is no file nowhere.pt"),
        (("tiny.yaml", "--weights", "tiny.pt"), "--data: expected images, which no recipe.yaml beside tiny.pt names"),
        (("tiny.yaml", "--weights", "tiny.yaml", "--data", "embedded"), "tiny.yaml cannot be read as weights"),
        (("resnet18", "--weights", "tiny.pt", "--data", "embedded"), "tiny.pt fits no layer of this network"),
        (
            ("tiny.yaml", "tiny.yaml", "--weights", "tiny.pt", "--data", "embedded"),
            "--weights: expected one for each",
        ),
        ((*TRAINED, "--method", "median"), "method: expected 'minmax', 'entropy' or 'percentile', got 'median'"),
        ((*TRAINED, "--calibration-images", "0"), "calibration_images: expected greater than 0"),
        ((*TRAINED, "--threads", "100000"), "--threads: expected at most this machine's"),
        ((*TRAINED, "--keep-float", "nothing*"), "--keep-float: expected a layer (features"),
        ((*TRAINED, "--set", "train.epochs=3"), "--set: expected a key of data, or augment.eval_crop, as nothing is"),
        ((*TRAINED, "--format", "xml"), "--format: expected table"),
        (("mobilenet_v9", "--weights", "tiny.pt", "--data", "embedded"), "Did you mean mobilenet_v"),
        ((".",), ". is a folder without spec.yaml and weights.safetensors"),
        (("tiny.yaml", "--weights", "tiny.pt", "--data", "folder:nowhere"), "no folder nowhere"),
    ],
)
def test_a_mistake_is_one_line(arguments: tuple[str, ...], message: str, command: Command) -> None:
    code, _, told = command("quantize", *FAST, *arguments)
    lines = [line for line in told.splitlines() if line.startswith("error: ")]
    assert code == 2
    assert len(lines) == 1 and message in lines[0]


def test_a_folder_of_train_brings_weights_images_and_crop(command: Command, tmp_path: Path) -> None:
    trained = command(
        "train", "tiny.yaml", "--recipe", "quick", "--steps", "3", "--limit", "64", "--device", "cpu", "--out", "done",
        "--set", "augment.eval_crop=0.8",
    )  # fmt: skip
    assert trained[0] == 0, trained[2]
    code, shown, _ = command("quantize", "done", *FAST, "--json")
    assert code == 0
    (row,) = json.loads(shown)["networks"]
    assert (row["eval_crop"], row["source"], row["resolution"]) == (0.8, "embedded", 16)
    outcome = json.loads((tmp_path / "done" / "outcome.json").read_text())
    assert row["eager_accuracy"] == pytest.approx(outcome["val_accuracy"], abs=0.002), "as `train` measured it"
    code, shown, _ = command("export", "done", "--format", "onnx", "--int8", "--out", "net.onnx")
    assert code == 0
    again = (tmp_path / "net-int8.onnx").read_bytes()
    code, shown, _ = command("export", "done", "--out", "net.pt2")
    assert code == 0 and "fresh" not in shown
    assert len(again) > 1000
    assert torch.export.load(tmp_path / "net.pt2").module()(torch.zeros(1, 3, 16, 16)).shape == (1, 12)


def test_images_of_a_folder_are_cut_as_the_evaluation_cuts_them(command: Command, tmp_path: Path) -> None:
    """A file of the colours' network tells a picture that was made by hand."""
    command("quantize", *coloured(tmp_path, 0.1), *FAST)
    file = tmp_path / "quantized" / "colours.py-build_net" / "int8.onnx"
    (found,) = [file] if file.exists() else list((tmp_path / "quantized").glob("*/int8.onnx"))
    green = np.asarray(Image.new("RGB", (16, 16), (30, 200, 30)), np.float32).transpose(2, 0, 1) / 255
    image = ((green - MEAN) / STD)[None]
    session = onnxruntime.InferenceSession(str(found), providers=["CPUExecutionProvider"])
    place = int(session.run(None, {"images": image})[0].argmax())
    assert session.get_modelmeta().custom_metadata_map["classes"].split("\n")[place] == "2-green"
