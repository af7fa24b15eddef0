"""Images as people have them, by the command line: grey with 16 bits, with alpha, long and narrow."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import typer
from PIL import Image

from scalesearch.cli.main import app
from scalesearch.errors import ScaleSearchError
from scalesearch.image_size import Rectangle
from scalesearch.scaling.spec_files import load_spec

SMALL = """\
name: small
resolution: 32
activation: relu
stem: {channels: 16}
stages:
  - {op: basic, channels: 16, repeats: 1}
  - {op: basic, channels: 32, repeats: 1, stride: 2}
"""
OWN = """
from torch import nn

def grey():
    return nn.Sequential(
        nn.Conv2d(1, 16, 3, 2, 1), nn.BatchNorm2d(16), nn.ReLU(), nn.Conv2d(16, 32, 3, 2, 1), nn.BatchNorm2d(32),
        nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(32, 10),
    )
"""
CLASSES = ("level", "slanted", "upright")
CHANCE = 1 / 3
Draw = Callable[[str, np.random.Generator], np.ndarray]


def _waves(kind: str, height: int, width: int) -> np.ndarray:
    y, x = np.mgrid[:height, :width]
    waves: np.ndarray = {"level": np.sin(y), "slanted": np.sin((x + y) / 1.4), "upright": np.sin(x)}[kind]
    return waves


def _grey16(kind: str, random: np.random.Generator) -> np.ndarray:
    """Waves of 60 of 65,535 levels: eight bits have nothing of them."""
    brightness = 2000 + random.uniform(-300, 300)
    return (brightness + 60 * _waves(kind, 32, 32) + 20 * random.standard_normal((32, 32))).astype(np.uint16)


def _alpha(kind: str, random: np.random.Generator) -> np.ndarray:
    """The class is in the alpha channel alone; colours are noise."""
    colours = random.integers(0, 256, (32, 32, 3), dtype=np.uint8)
    return np.dstack([colours, (128 + 120 * _waves(kind, 32, 32)).astype(np.uint8)])


def _end(kind: str, random: np.random.Generator) -> np.ndarray:
    """32 × 128, of which the first 24 columns tell the class."""
    pixels = random.integers(60, 200, (32, 128, 3))
    pixels[:, :24] = (128 + 90 * _waves(kind, 32, 24) + random.normal(0, 20, (32, 24)))[..., None]
    return pixels.clip(0, 255).astype(np.uint8)


DRAWN: dict[str, Draw] = {"grey16": _grey16, "alpha": _alpha, "end": _end}


def _make(root: Path, name: str, each: int = 60) -> None:
    random = np.random.default_rng(0)
    for part, count in (("train", each), ("val", each // 2)):
        for kind in CLASSES:
            folder = root / name / part / kind
            folder.mkdir(parents=True)
            suffix = "tif" if name == "grey16" and part == "val" else "png"
            for i in range(count):
                Image.fromarray(DRAWN[name](kind, random)).save(folder / f"{i}.{suffix}")


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[..., str]:
    """Run ``scalesearch …`` in this process, in a folder that holds small.yaml and own.py: what it prints."""
    (tmp_path / "small.yaml").write_text(SMALL)
    (tmp_path / "own.py").write_text(OWN)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SCALESEARCH_CACHE", str(tmp_path / "cache"))

    def command(*arguments: str) -> str:
        capsys.readouterr()
        typer.main.get_command(app).main(list(arguments), prog_name="scalesearch", standalone_mode=False)
        return capsys.readouterr().out

    return command


def _train(run: Callable[..., str], data: str, *more: str, network: str = "small.yaml") -> str:
    _make(Path(), data)
    options = ("--recipe", "quick", "--data", f"folder:{data}", "--device", "cpu", "--epochs", "8", "--out", "out")
    return run("train", network, *options, *more)


def _accuracy() -> float:
    return float(json.loads(Path("out/outcome.json").read_text())["val_accuracy"])


def test_grey_images_of_sixteen_bits_are_learnt_without_a_setting(run: Callable[..., str]) -> None:
    said = _train(run, "grey16")
    assert "180 greyscale of 16 bits: networks see 1 channel of 16 bits" in said
    assert "images are normalised by mean 0.03" in said and "as the training images have" in said
    assert load_spec("out/spec.yaml").stem.inputs == 1  # type: ignore[union-attr]
    assert _accuracy() > 0.6


def test_eight_bits_of_them_show_nothing(run: Callable[..., str]) -> None:
    _train(run, "grey16", "--set", "data.bits=8", "--epochs", "2")
    assert _accuracy() < 0.6


def test_a_network_of_ones_own_for_one_channel_needs_no_setting(run: Callable[..., str]) -> None:
    said = _train(run, "grey16", "--resolution", "32", network="own.py:grey")
    assert "networks see 1 channel of 16 bits" in said and _accuracy() > 0.6
    with pytest.raises(ScaleSearchError, match=r"takes images of 1 channel, and data\.channels is 3"):
        run("train", "own.py:grey", "--data", "folder:grey16", "--resolution", "32", "--set", "data.channels=3")


def test_alpha_is_left_out_and_told_or_kept_where_it_is_asked_for(run: Callable[..., str]) -> None:
    said = _train(run, "alpha", "--set", "data.channels=4", "--set", "augment.policy=trivialaugment")
    assert "networks see 4 channels of 8 bits" in said and "leave alpha as it is" in said
    assert _accuracy() > 0.7
    without = run("train", "small.yaml", "--recipe", "quick", "--data", "folder:alpha", "--steps", "1", "--out", "none")
    assert "alpha is left out (--set data.channels=4 keeps it)" in without


def test_a_rectangle_sees_the_far_end_that_a_square_cuts_off(run: Callable[..., str]) -> None:
    said = _train(run, "end", "--resolution", "32x128")
    assert said.startswith("small · 32×128 px") and "ratio" not in said
    assert load_spec("out/spec.yaml").resolution == Rectangle(32, 128)
    assert _accuracy() > 0.9
    square = ("train", "small.yaml", "--recipe", "quick", "--data", "folder:end", "--epochs", "8", "--out", "out")
    Path("out").rename("wide")
    said = run(*square)
    assert "but 4.00: their centre is seen, 25 % of each on average" in said
    assert _accuracy() < CHANCE + 0.2
    Path("out").rename("square")
    assert "they are squashed to it" in run(*square, "--set", "data.crop=squash")
    assert _accuracy() > 0.7


def test_a_search_of_rectangles_ends_in_rectangles(run: Callable[..., str]) -> None:
    _make(Path(), "end", each=12)
    grid = ("grid", "--baseline", "small.yaml", "--recipe", "quick", "--data", "folder:end", "--resolution", "32x128",
            "--steps", "3", "--workers", "0", "--device", "cpu", "--set", "search.step=0.4",
            "--out", "run")  # fmt: skip
    assert "45×179" in run(*grid, "--eval-resolution", "1,0.5")
    found = json.loads(Path("run/ranking.json").read_text())["ranking"]
    assert [45, 179] in [row["resolution"] for row in found]
    assert load_spec("run/specs/small-phi0.yaml").resolution == Rectangle(32, 128)
    assert "45×179" in run("show", "run")
    assert "at 32×128 px" in Path("run/report.html").read_text().replace("\N{NO-BREAK SPACE}", " ")


@pytest.mark.parametrize(
    "command", [("scale", "--baseline", "small.yaml"), ("bench", "small.yaml"), ("check", "small.yaml")]
)
def test_a_size_that_is_none_is_one_line(command: tuple[str, ...], run: Callable[..., str]) -> None:
    with pytest.raises(ScaleSearchError) as failure:
        run(*command, "--resolution", "64by192")
    assert str(failure.value) == ("--resolution: expected a side in pixels, or HEIGHTxWIDTH as 64x192, got '64by192'")
