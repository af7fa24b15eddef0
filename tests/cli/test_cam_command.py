"""`scalesearch cam`: from a run that kept its weights to a figure, and what stands in the way in one line."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import torch
from PIL import Image

from scalesearch.cli.commands.cam import held_out
from scalesearch.data.sources import open_source
from scalesearch.errors import RunError
from scalesearch.models.class_activation import Maps
from scalesearch.report.figures.cam import MapColumn, cam_figure
from scalesearch.settings import DataSettings
from tests.support.small import TINY_RUN, Cli, make_folder


@pytest.mark.long
def test_a_comparisons_networks_are_drawn_on_the_same_images(cli: Cli, tmp_path: Path) -> None:
    make_folder(tmp_path / "pets", {"cat": 30, "dog": 30})
    options = ("--match-macs", "2x", "--match-tolerance", "0.3", "--data", "folder:pets", "--top", "0")
    few = [option for option in TINY_RUN if option != "--exhaustive"]
    done = cli("compare", "--baseline", "tiny.yaml", *few, *options, "--keep-weights", "2", "--out", "runs")
    assert done.returncode == 0, done.stderr
    (run,) = (path.parent for path in (tmp_path / "runs").glob("*/weights"))

    drawn = cli("cam", str(run), "--images", "3")
    assert drawn.returncode == 0, drawn.stderr
    assert len(drawn.stdout.splitlines()) == 3 and drawn.stdout.count(" of these 3 · CAM") == 2
    png, svg = run / "figures" / "cam.png", run / "figures" / "cam.svg"
    first = png.read_bytes(), svg.read_bytes()
    with Image.open(png) as picture:
        assert picture.height > picture.width, "three rows under words, and a column more than networks"
    assert cli("cam", str(run), "--images", "3").returncode == 0
    assert (png.read_bytes(), svg.read_bytes()) == first, "the same figure is the same file"

    (tmp_path / "pets").rename(tmp_path / "moved")
    lost = cli("cam", str(run))
    assert lost.returncode == 2 and "no folder pets: --data folder:PATH" in lost.stderr
    assert cli("cam", str(run), "--data", "folder:moved", "--true-class").returncode == 0
    make_folder(tmp_path / "others", {"cat": 3, "dog": 3})
    other = cli("cam", str(run), "--data", "folder:others")
    assert other.returncode == 2 and "the images at folder:others are not those of" in other.stderr
    shutil.rmtree(run / "weights")
    none = cli("cam", str(run), "--data", "folder:moved")
    assert none.returncode == 2 and "its own command, given again with --keep-weights 3, keeps" in none.stderr
    lost = cli("cam", "nothing/here")
    assert (lost.returncode, lost.stderr) == (2, "error: no such folder: nothing/here\n")


def test_images_come_one_of_every_class_in_turn_and_by_the_seed_alone(tmp_path: Path) -> None:
    settings = DataSettings(source=f"folder:{make_folder(tmp_path / 'pets', {'a': 10, 'b': 40, 'c': 60})}")
    source = open_source(settings)
    images, labels = held_out(source, settings, 16, 6, 0)
    assert images.shape == (6, 3, 16, 16) and sorted(labels[:3].tolist()) == [0, 1, 2]
    assert labels.tolist()[3:5] == [label for label in labels.tolist()[:3] if label != 0], "there is one of a in it"
    again, _ = held_out(source, settings, 16, 6, 0)
    others, _ = held_out(source, settings, 16, 6, 1)
    assert torch.equal(images, again) and not torch.equal(images, others)
    assert len(held_out(source, settings, 16, 1000, 0)[1]) == 11, "no more than the minival has"


def test_a_place_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    maps = Maps("CAM", torch.zeros(1, 2, 2), torch.tensor([0]), torch.tensor([0.5]))
    with pytest.raises(RunError, match="cannot write"):
        cam_figure(
            torch.zeros(1, 3, 8, 8, dtype=torch.uint8), [0], ["a"], [MapColumn(["n"], maps)], "t", tmp_path / "file"
        )
