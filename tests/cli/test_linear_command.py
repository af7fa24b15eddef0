"""`scalesearch linear`: a table of networks with intervals, networks that other commands take, mistakes in one line."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
import typer

from scalesearch.cli.commands.robustness import as_measured
from scalesearch.cli.main import app
from scalesearch.errors import ScaleSearchError
from scalesearch.models.build import build_model
from scalesearch.models.surgery.loading import load_module
from scalesearch.scaling.spec import ModelSpec
from tests.support.small import MINE, TINY, Cli, make_folder

FEW = ("--limit", "120", "--device", "cpu")
Run = Callable[..., tuple[str, str]]


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """Run ``scalesearch …`` in this process, in a folder that holds tiny.yaml, 80 columns wide: (stdout, stderr)."""
    (tmp_path / "tiny.yaml").write_text(TINY)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "80")

    def command(*arguments: str) -> tuple[str, str]:
        capsys.readouterr()
        typer.main.get_command(app).main(list(arguments), prog_name="scalesearch", standalone_mode=False)
        return capsys.readouterr()

    return command


@pytest.fixture
def weights(tiny: ModelSpec, tmp_path: Path) -> None:
    for seed, name in enumerate(("one", "two")):
        torch.manual_seed(seed)
        torch.save(build_model(tiny, num_classes=5).state_dict(), tmp_path / f"{name}.pt")


def test_two_networks_are_compared_and_the_same_command_goes_on(run: Run, weights: None, tmp_path: Path) -> None:
    both = ("tiny.yaml", "tiny.yaml", "--from-weights", "one.pt", "--from-weights", "two.pt")
    out, _ = run("linear", *both, *FEW, "--out", "out")
    table = next(line for line in out.splitlines() if "to first" in line)
    assert table.split() == ["px", "MACs", "params", "val", "%", "per", "class", "%", "to", "first"]
    assert "logistic regression on 420 images" in out
    assert max(map(len, out[out.index(table) :].splitlines())) <= 80
    (folder,) = (each for each in (tmp_path / "out").iterdir() if each.name.endswith("one"))
    outcome = json.loads((folder / "linear.json").read_text())
    assert sum(outcome["right_of_class"]) == round(outcome["accuracy"] * sum(outcome["images_of_class"]))

    again, remarks = run("linear", *both, *FEW, "--out", "out", "--format", "csv")
    assert remarks.count("done before") == 2
    first, second = csv.DictReader(io.StringIO(again))
    assert float(first["accuracy"]) >= float(second["accuracy"]) and first["gap"] == ""
    assert float(second["gap"]) == pytest.approx(float(second["accuracy"]) - float(first["accuracy"]))
    assert float(second["gap_low"]) <= float(second["gap"]) <= float(second["gap_high"])

    with pytest.raises(ScaleSearchError, match=r"made with other settings \(eval_crop: 1.0 there, 0.8 now\)"):
        run("linear", *both, *FEW, "--out", "out", "--set", "eval_crop=0.8")

    spec, kept = f"{folder}/spec.yaml", f"{folder}/weights.safetensors"
    assert "wrote" in run("export", spec, "--weights", kept, "--num-classes", "12")[0]
    onwards, _ = run("train", spec, "--from-weights", kept, *FEW, "--steps", "2")
    assert "32 tensors by name; 0 start afresh" in onwards and "recipe.yaml says of their" in onwards


def test_its_folders_are_trained_networks_for_other_commands(run: Run, weights: None, tmp_path: Path) -> None:
    run("linear", "tiny.yaml", "--from-weights", "one.pt", *FEW, "--set", "eval_crop=0.9", "--out", "out")
    (folder,) = (tmp_path / "out").iterdir()
    accuracy = json.loads((folder / "linear.json").read_text())["accuracy"]
    few = ("--corruption", "brightness", "--severity", "1", "--device", "cpu", "--set", "train.precision=fp32")
    assert "did not write" not in run("robustness", str(folder), *few, "--out", "kept")[0]
    measured = as_measured(json.loads((tmp_path / "kept" / "robustness.json").read_text()))
    assert measured.clean.mean() == pytest.approx(accuracy, abs=0.005)
    planned = json.loads(run("quantize", str(folder), "--dry-run", "--json")[0])
    assert "embedded" in json.dumps(planned)
    assert "wrote" in run("export", str(folder), "--out", "net.pt2")[0]


def test_the_price_comes_first_and_nothing_is_written(run: Run, weights: None, tmp_path: Path) -> None:
    before = sorted(tmp_path.iterdir())
    out, _ = run("linear", "tiny.yaml", "--from-weights", "one.pt", *FEW, "--dry-run")
    assert "of 1,020 images" in out and "of features, from batches of 32" in out
    assert "2 start afresh" in out and "nothing says whether the weights" in out.replace("\n", " ")
    assert sorted(tmp_path.iterdir()) == before


def test_a_network_of_ones_own_and_a_folder_without_a_validation_split(run: Run, tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(MINE.format(width=8))
    make_folder(tmp_path / "pets", {"cat": 20, "dog": 14}, split=None)
    network = load_module("mine.py:build_net").module
    torch.save(network.state_dict(), tmp_path / "mine.pt")
    options = ("--resolution", "24", "--data", "folder:pets", "--device", "cpu", "--out", "out")
    out, _ = run("linear", "mine.py:build_net", "--from-weights", "mine.pt", *options)
    assert "minival %" in out and "measured on 3 others (minival)" in out.replace("\n", " ")


def test_it_runs_as_a_program(cli: Cli, weights: None) -> None:
    done = cli("linear", "tiny.yaml", "--from-weights", "one.pt", *FEW, "--dry-run", "--format", "json")
    assert done.returncode == 0, done.stderr
    (network,) = json.loads(done.stdout)
    assert (network["features"], network["images"]) == (16, 1020)


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ((), "no weights for tiny.yaml: --from-weights FILE says which"),
        (
            ("--from-weights", "one.pt", "--from-weights", "two.pt"),
            "one for each of 1 network without a folder of its own",
        ),
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
def test_mistakes_are_one_line(run: Run, weights: None, options: tuple[str, ...], told: str) -> None:
    with pytest.raises(ScaleSearchError) as caught:
        run("linear", "tiny.yaml", *options, *(() if "--data" in options else FEW))
    assert told in str(caught.value) and "\n" not in str(caught.value)
