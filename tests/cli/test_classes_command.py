"""Unbalanced classes as a person meets them: what is said, what ranks, what is kept, and what older runs cannot."""

from __future__ import annotations

import csv
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from subprocess import CompletedProcess

import numpy as np
import pytest
from PIL import Image
from sklearn.metrics import balanced_accuracy_score, f1_score

from scalesearch.cli.commands.replay import read_bank
from scalesearch.errors import RunError
from scalesearch.search.ledger.journal import JOURNAL
from scalesearch.search.ledger.ledger import Ledger
from scalesearch.search.work import labels_of
from scalesearch.trials import unpacked_classes
from tests.support.small import FROZEN, TINY_RUN, Cli

COUNTS = {"dog": 48, "cat": 16, "fox": 8}
RUN = ("--data", "folder:animals", "--recipe", "quick", "--resolution", "16", "--steps", "8", "--device", "cpu")
SEARCH = ("grid", "--baseline", "tiny.yaml", *RUN, "--workers", "0", "--exhaustive", "--out", "run")


def _animals(place: Path) -> None:
    dice = np.random.default_rng(0)
    for split, share in (("train", 1.0), ("val", 0.5)):
        for label, (name, count) in enumerate(COUNTS.items()):
            folder = place / "animals" / split / name
            folder.mkdir(parents=True)
            for i in range(int(share * count)):
                pixels = dice.integers(0, 120, (16, 16, 3)) + 60 * label
                Image.fromarray(pixels.astype(np.uint8)).save(folder / f"{i}.png")


@pytest.fixture
def animals(cli: Cli, tmp_path: Path) -> Callable[..., CompletedProcess[str]]:
    _animals(tmp_path)
    return cli


def test_a_search_by_balanced_accuracy_says_and_keeps_what_it_ranks_by(
    animals: Callable[..., CompletedProcess[str]], tmp_path: Path
) -> None:
    """One run: what it prints, its files against scikit-learn, other objectives without training, and the report."""
    weighed = (*SEARCH, "--set", "train.class_weights=balanced", "--keep-weights", "1")
    done = animals(*weighed, "--objective", "balanced_accuracy")
    assert done.returncode == 0, done.stderr
    said = " ".join(done.stdout.split())
    assert "class weights: an image counts 0.496 ('dog') to 3.05 ('fox') times in the loss" in said
    assert "62.5 % of the minival is 'dog'; one answer for all images has a balanced accuracy of 33.3 %" in said
    assert "bal. acc %" in done.stdout
    assert max(map(len, _table(done.stdout))) <= 80

    run = tmp_path / "run"
    ranking = json.loads((run / "ranking.json").read_text())
    assert ranking["metric"] == "balanced_accuracy"
    ledger = Ledger(run / JOURNAL, "run", create=False)
    labels = labels_of(ledger)
    assert labels is not None
    outcomes = {r.task.fingerprint: r.outcome for r in ledger.records()}
    for row in ranking["ranking"]:
        outcome = outcomes[row["network"]]
        assert outcome is not None
        predicted = unpacked_classes(outcome["predicted"], 8)
        assert row["balanced_accuracy"] == pytest.approx(balanced_accuracy_score(labels, predicted))
        assert row["accuracy"] == pytest.approx(float((labels == predicted).mean()))
    with (run / "trials.csv").open() as opened:
        trials = list(csv.DictReader(opened))
    for trial in trials:
        assert float(trial["curve"].rpartition(":")[2]) == pytest.approx(float(trial["balanced_accuracy"]), 1e-4)
    assert json.loads((run / "weights" / "weights.json").read_text())["classes"] == sorted(COUNTS)

    again = animals(*weighed, "--objective", "macro_f1")
    assert again.returncode == 0, again.stderr
    assert "7 of 7 trials were done before" in again.stdout
    ranking = json.loads((run / "ranking.json").read_text())
    for row in ranking["ranking"]:
        outcome = outcomes[row["network"]]
        assert outcome is not None
        predicted = unpacked_classes(outcome["predicted"], 8)
        assert row["macro_f1"] == pytest.approx(f1_score(labels, predicted, average="macro"))

    shown = animals("show", "run", "--classes", "--format", "json")
    found = json.loads(shown.stdout)
    assert (found["split"], found["images"], found["class_names"]) == ("val", 36, sorted(COUNTS))
    assert [own["images"] for own in found["networks"][0]["classes"]] == [8, 24, 4]
    page = (run / "report.html").read_text()
    assert "Class by class (%)" in page and "minival macro F1 (%)" in page
    assert (run / "figures" / "confusion.svg").is_file()


def _table(text: str) -> list[str]:
    lines = text.splitlines()
    first = next(i for i, line in enumerate(lines) if line.startswith(" #"))
    return lines[first : first + 8]


def test_train_says_how_often_each_class_is_right_and_export_names_the_classes(
    animals: Callable[..., CompletedProcess[str]], tmp_path: Path
) -> None:
    train = ("train", "tiny.yaml", *RUN, "--steps", "1", "--set", "train.learning_rate=1e-9", "--out", "one")
    done = animals(*train)
    assert done.returncode == 0, done.stderr
    assert "base rate: 62.5 % of the minival is 'dog'" in done.stdout
    assert "not above the base rate at 95 %" in done.stdout
    found = json.loads((tmp_path / "one" / "outcome.json").read_text())["per_class"]
    assert found["split"] == "val" and found["base_class"] == "dog"
    assert {own["class"]: own["images"] for own in found["classes"]} == {"cat": 8, "dog": 24, "fox": 4}
    right = sum(own["images"] * own["accuracy"] for own in found["classes"])
    assert right + sum(pair["images"] for pair in found["confused"]) == pytest.approx(36)
    assert animals("export", "one", "--format", "pt2", "--out", "net.pt2").returncode == 0
    assert json.loads((tmp_path / "net.pt2.json").read_text()) == {"classes": 3, "class_names": sorted(COUNTS)}


def test_a_run_of_an_older_version_is_refused_and_says_why(cli: Cli, tmp_path: Path) -> None:
    shutil.copytree(FROZEN / "format-2", tmp_path / "old")
    done = cli("grid", "--baseline", "tiny.yaml", *TINY_RUN, "--seeds", "2", "--objective", "macro_f1", "--out", "old")
    assert done.returncode != 0
    (line,) = done.stderr.strip().splitlines()
    assert line.startswith("error: old: it was trained by a version that did not keep what images were taken for")
    with pytest.raises(RunError, match="--objective accuracy replays it"):
        read_bank(tmp_path / "old", "balanced_accuracy")
