"""What is measured before training: a CPU's precision, workers per device; and what was measured is kept."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

import pytest
import torch

from scalesearch.files import cache_folder, kept
from scalesearch.models.catalogue import open_baseline
from scalesearch.recipe import Recipe, load_recipe
from scalesearch.runtime.threads import workers_side_by_side
from scalesearch.scaling.compound import Multipliers
from scalesearch.search.estimate import Quote
from scalesearch.search.packing import together
from scalesearch.search.progress import price
from scalesearch.search.setup import prepare
from scalesearch.settings import TrainSettings
from scalesearch.training.precision import cpu_precision, has_bf16_units
from tests.support.small import TINY, TINY_RUN, Cli


def test_what_was_measured_once_is_not_measured_again() -> None:
    asked: list[list[str]] = []

    def measure(names: Sequence[str]) -> dict[str, float]:
        asked.append(list(names))
        return dict.fromkeys(names, 1.5)

    assert kept("test", {"a": "key of a"}, measure) == {"a": 1.5}
    assert kept("test", {"a": "key of a", "b": "key of b"}, measure) == {"a": 1.5, "b": 1.5}
    assert asked == [["a"], ["b"]]
    (cache_folder() / "test.json").write_text("{half")
    assert kept("test", {"a": "key of a"}, measure) == {"a": 1.5}


def test_a_step_too_short_to_tell_stays_in_fp32() -> None:
    model = open_baseline("mobilenet_v2").at(resolution=32).scaled(Multipliers(1, 1, 1))
    assert cpu_precision(model, Recipe(train=TrainSettings(steps=1, batch_size=2)), 10) == "fp32"


@pytest.mark.long
@pytest.mark.skipif(not has_bf16_units(), reason="this CPU has no bf16 units")
def test_depthwise_networks_stay_in_fp32_and_the_choice_is_kept() -> None:
    model = open_baseline("mobilenet_v2").at(resolution=64).scaled(Multipliers(1, 1, 1))
    recipe = Recipe(train=TrainSettings(steps=1, batch_size=64))
    assert cpu_precision(model, recipe, 10) == "fp32"
    assert (cache_folder() / "precision.json").exists()


@pytest.mark.long
def test_several_workers_on_a_device_are_timed_together(tmp_path: Path) -> None:
    (tmp_path / "tiny.yaml").write_text(TINY)
    overrides = {"baseline": str(tmp_path / "tiny.yaml"), "resolution": 16, "train.steps": 6, "data.limit": 96}
    prepared = prepare(load_recipe("quick", overrides | {"device": "cpu"}))
    model = prepared.plan.candidates[0].model
    assert together(2, model, prepared, torch.device("cpu"), seconds=0.2) > 0


@pytest.mark.long
def test_two_workers_per_device_train_side_by_side(cli: Cli) -> None:
    run = (
        "grid",
        "--baseline",
        "tiny.yaml",
        "--recipe",
        "quick",
        "--resolution",
        "16",
        "--steps",
        "6",
        "--limit",
        "96",
    )
    options = ("--device", "cpu", "--top", "0", "--exhaustive", "--per-device", "2", "--out", "run")
    done = cli(*run, *options)
    assert done.returncode == 0, done.stderr
    assert "[7/7]" in done.stdout
    wrong = cli(*run, "--per-device", "many")
    assert wrong.returncode != 0
    assert "per_device" in wrong.stderr


def test_the_price_is_told_by_the_clock_where_workers_train_side_by_side() -> None:
    assert price([Quote(7200, 1, 0)]) == "about 2:00:00 of training (from a few steps of three candidates)"
    both = price([Quote(7200, 2, 0), Quote(600, 1, 0)])
    assert both == "about 1:10:00 with 2 workers, 2:10:00 of training (from a few steps of three candidates)"


@pytest.mark.parametrize(("run", "expected"), [({}, 1), ({"workers": 3}, 3), ({"per_device": 2}, 2)])
def test_workers_of_a_cpu_train_side_by_side(run: dict[str, int], expected: int) -> None:
    recipe = load_recipe("quick", {"baseline": "mobilenet_v2", "device": "cpu", "run": run})
    assert workers_side_by_side(recipe, torch.device("cpu")) == expected


@pytest.mark.long
def test_a_search_is_quoted_before_and_told_at_its_end_what_it_took(cli: Cli) -> None:
    run = ("grid", "--baseline", "tiny.yaml", *TINY_RUN, "--steps", "90", "--top", "0", "--out", "run")
    done = cli(*run)
    assert done.returncode == 0, done.stderr
    assert "of training (from a few steps of three candidates)" in done.stdout
    assert re.search(r"7 trials took \d+:\d\d of training; quoted for 7: \d+:\d\d", done.stdout)
    short = cli(*run[:-1], "short", "--steps", "6")
    assert "quoted" not in short.stdout, "a probe that takes as long as the search is none"
