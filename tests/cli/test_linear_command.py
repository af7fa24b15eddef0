"""`scalesearch linear`: a table of networks with intervals, networks that other commands take, mistakes in one line."""

from __future__ import annotations

import csv
import io
import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import typer

from scalesearch.cli.main import app
from scalesearch.errors import ScaleSearchError
from scalesearch.models.build import build_model
from scalesearch.scaling.spec import ModelSpec
from tests.support.small import MINE, TINY, Cli, make_folder

FEW = ("--limit", "120", "--device", "cpu")


@pytest.fixture
def weights(tiny: ModelSpec, tmp_path: Path) -> None:
    for seed, name in enumerate(("one", "two")):
        torch.manual_seed(seed)
        torch.save(build_model(tiny, num_classes=5).state_dict(), tmp_path / f"{name}.pt")


def test_two_networks_are_compared_and_the_same_command_goes_on(cli: Cli, weights: None, tmp_path: Path) -> None:
    both = ("tiny.yaml", "tiny.yaml", "--from-weights", "one.pt", "--from-weights", "two.pt")
    done = cli("linear", *both, *FEW, "--out", "out")
    assert done.returncode == 0, done.stderr
    table = next(line for line in done.stdout.splitlines() if "to first" in line)
    assert table.split() == ["px", "MACs", "params", "val", "%", "per", "class", "%", "to", "first"]
    assert "logistic regression on 420 images" in done.stdout
    assert max(map(len, done.stdout[done.stdout.index(table) :].splitlines())) <= 80
    (folder,) = (each for each in (tmp_path / "out").iterdir() if each.name.endswith("one"))
    outcome = json.loads((folder / "linear.json").read_text())
    assert sum(outcome["right_of_class"]) == round(outcome["accuracy"] * sum(outcome["images_of_class"]))

    again = cli("linear", *both, *FEW, "--out", "out", "--format", "csv")
    assert again.stderr.count("done before") == 2
    first, second = csv.DictReader(io.StringIO(again.stdout))
    assert float(first["accuracy"]) >= float(second["accuracy"]) and first["gap"] == ""
    assert float(second["gap"]) == pytest.approx(float(second["accuracy"]) - float(first["accuracy"]))
    assert float(second["gap_low"]) <= float(second["gap"]) <= float(second["gap_high"])

    other = cli("linear", *both, *FEW, "--out", "out", "--set", "eval_crop=0.8")
    assert other.returncode == 2 and "was made with other settings (eval_crop: 1.0 there, 0.8 now)" in other.stderr

    exported = cli("export", f"{folder}/spec.yaml", "--weights", f"{folder}/weights.pt", "--num-classes", "12")
    assert exported.returncode == 0, exported.stderr
    onwards = cli("train", f"{folder}/spec.yaml", "--from-weights", f"{folder}/weights.pt", *FEW, "--steps", "2")
    assert onwards.returncode == 0, onwards.stderr
    assert "32 tensors by name; 0 start afresh" in onwards.stdout and "linear.json says of their" in onwards.stdout


def test_the_price_comes_first_and_nothing_is_written(cli: Cli, weights: None, tmp_path: Path) -> None:
    before = sorted(tmp_path.iterdir())
    done = cli("linear", "tiny.yaml", "--from-weights", "one.pt", *FEW, "--dry-run")
    assert done.returncode == 0, done.stderr
    assert "of 1,020 images" in done.stdout and "of features, from a batch of 32 each" in done.stdout
    assert "2 start afresh" in done.stdout and "nothing says whether the weights" in done.stdout.replace("\n", " ")
    assert sorted(tmp_path.iterdir()) == before


def test_a_network_of_ones_own_and_a_folder_without_a_validation_split(cli: Cli, tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(MINE.format(width=8))
    make_folder(tmp_path / "pets", {"cat": 20, "dog": 14}, split=None)
    make = "import mine, torch; torch.save(mine.build_net().state_dict(), 'mine.pt')"
    subprocess.run([sys.executable, "-c", make], cwd=tmp_path, check=True)
    options = ("--resolution", "24", "--data", "folder:pets", "--device", "cpu", "--out", "out")
    done = cli("linear", "mine.py:build_net", "--from-weights", "mine.pt", *options)
    assert done.returncode == 0, done.stderr
    assert "minival %" in done.stdout and "measured on 3 others (minival)" in done.stdout.replace("\n", " ")


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ((), "no weights: --from-weights FILE says which"),
        (("--from-weights", "one.pt", "--from-weights", "two.pt"), "a file for each of 1 network, in their order"),
        (("--from-weights", "nowhere.pt"), "there is no file nowhere.pt"),
        (("--from-weights", "tiny.yaml"), "cannot be read as weights alone"),
        (("--from-weights", "one.pt", "--set", "train.epochs=3"), "train: expected one of the keys data, eval_crop"),
        (("--from-weights", "one.pt", "--set", "data.limt=3"), "did you mean limit?"),
        (("--from-weights", "one.pt", "--confidence", "95"), "a probability above 0.5"),
        (("--from-weights", "one.pt", "--data", "folder:nowhere"), "no folder nowhere"),
        (("--from-weights", "one.pt", "--format", "xml"), "--format: expected"),
        (("tiny.yaml", "--from-weights", "one.pt", "--from-weights", "one.pt"), "each network and file once"),
    ],
)
def test_mistakes_are_one_line(
    weights: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, options: tuple[str, ...], told: str
) -> None:
    (tmp_path / "tiny.yaml").write_text(TINY)
    monkeypatch.chdir(tmp_path)
    arguments = ["linear", "tiny.yaml", *options, *(() if "--data" in options else FEW)]
    with pytest.raises(ScaleSearchError) as caught:
        typer.main.get_command(app).main(arguments, prog_name="scalesearch", standalone_mode=False)
    assert told in str(caught.value) and "\n" not in str(caught.value)
