"""Comparisons: the paper's rows and what they cost, strategies at one measured cost, and the gain of the compound."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import yaml

from scalesearch.candidates.comparison import ComparisonRow, comparison_names, lines_of, load_comparison, scalable
from scalesearch.candidates.comparison_rows import BaselineRows, with_rows
from scalesearch.candidates.grid import plan
from scalesearch.candidates.strategies import STRATEGIES, matched
from scalesearch.candidates.sweep import swept
from scalesearch.cli.commands.compare_request import growth_of
from scalesearch.errors import EmptyGridError, RecipeError, ScaleSearchError
from scalesearch.models.catalogue import open_baseline
from scalesearch.ranking.compound_gain import Gain, gain
from scalesearch.recipe import load_recipe
from scalesearch.scaling.compound import Coefficients, Multipliers, Rounding
from tests.support.small import TESTS, TINY_RUN, Cli

GOLDEN = TESTS / "golden" / "table3.txt"

TABLE3 = {
    "mobilenet_v1": {"baseline": 0.569, "width": 2.216, "resolution": 2.272, "compound": 2.52},
    "mobilenet_v2": {"baseline": 0.301, "depth": 1.220, "width": 1.137, "resolution": 1.199, "compound": 1.470},
    "resnet50": {"baseline": 4.089, "depth": 14.57, "width": 16.12, "resolution": 16.35, "compound": 16.34},
}
"""Billions of MACs, recomputed independently of this code."""


def _dry(*arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    code = (
        "import sys; sys.argv = ['scalesearch', *sys.argv[1:]]\n"
        "from scalesearch.cli.main import main\n"
        "try: main()\n"
        "except SystemExit: pass\n"
        "print('torch' in sys.modules, file=sys.stderr)"
    )
    return subprocess.run(
        [sys.executable, "-c", code, "compare", *arguments, "--dry-run"],
        cwd=cwd, capture_output=True, text=True, check=True, env=os.environ | {"COLUMNS": "80"},
    )  # fmt: skip


def test_table_3_is_printed_at_once_and_says_what_does_not_reproduce(tmp_path: Path) -> None:
    before = os.times()
    done = _dry("table3", cwd=tmp_path)
    after = os.times()
    assert done.stdout == GOLDEN.read_text()
    assert done.stderr.strip() == "False"  # no torch
    assert after.children_user + after.children_system - before.children_user - before.children_system < 3


def test_table_3_costs_what_was_counted_elsewhere(tmp_path: Path) -> None:
    groups = json.loads(_dry("table3", "--json", cwd=tmp_path).stdout)["groups"]
    found = {g["baseline"]: {row["label"]: row["macs"] / 1e9 for row in g["rows"]} for g in groups}
    assert {name: list(rows) for name, rows in found.items()} == {name: list(rows) for name, rows in TABLE3.items()}
    for name, rows in TABLE3.items():
        assert found[name] == pytest.approx(rows, rel=0.003), name


@pytest.mark.parametrize("name", comparison_names())
def test_every_shipped_comparison_has_rows_for_its_baselines_and_names_its_source(name: str) -> None:
    comparison = load_comparison(name)
    assert comparison.source
    for baseline in comparison.baselines:
        opened = open_baseline(baseline, Rounding())
        lines = swept(opened, comparison.sweep).lines if comparison.sweep else lines_of(comparison, baseline, opened)
        assert len(lines) >= 3
        search = with_rows(load_recipe("paper", {}), baseline, lines).search
        made = plan(open_baseline(baseline, Rounding()), 1, search, num_classes=1000)
        candidates = BaselineRows(baseline, lines, made, 224, 16, True).candidates
        assert list(candidates) == [line.label for line in lines]


@pytest.mark.parametrize(("baseline", "target"), [("mobilenet_v2", 4), ("resnet18", 4), ("efficientnet_b0", 2)])
def test_strategies_cost_the_same_and_scale_what_they_say(baseline: str, target: float) -> None:
    opened = open_baseline(baseline, Rounding())
    lines = matched(opened, target, 1000, 0.02)
    base = opened.scaled(Multipliers(1, 1, 1)).cost(1000).macs
    assert [line.label for line in lines] == ["baseline", *STRATEGIES]
    for line in lines[1:]:
        macs = opened.scaled(Multipliers(line.depth, line.width, line.resolution)).cost(1000).macs
        assert macs / base == pytest.approx(target, rel=0.02), line
        others = {"depth": line.depth, "width": line.width, "resolution": line.resolution}
        most = others.pop(line.label, None)
        if most is not None and "mended" not in (line.note or ""):
            assert most > 1.2
            assert set(others.values()) == {1.0}


def test_what_whole_blocks_make_of_a_depth_is_said(tmp_path: Path) -> None:
    """ResNet-18 has two blocks in every stage: rounded up, a depth of 1.06 is three."""
    options = ("--match-macs", "2x", "--match-tolerance", "0.03", "--baseline", "resnet18", "--resolution", "48")
    (group,) = json.loads(_dry(*options, "--json", cwd=tmp_path).stdout)["groups"]
    rows = {row["label"]: row for row in group["rows"]}
    assert rows["compound"]["depth"] < 1.1
    assert rows["compound"]["note"].endswith("in whole blocks its depth is ×1.5 (12 in place of 8)")
    assert "blocks" not in (rows["width"]["note"] or "")


def test_rows_of_what_a_network_cannot_scale_are_left_out() -> None:
    rows = [
        ComparisonRow("baseline", "baseline", 1, 1, 1),
        ComparisonRow("depth", "depth", 2, 1, 1),
        ComparisonRow("width", "width", 1, 2, 1),
        ComparisonRow("compound", "compound", 1.2, 1.1, 1.15),
    ]
    kept = scalable(rows, {"alpha": "no block of it is repeated"})
    assert [row.label for row in kept] == ["baseline", "width", "compound"]
    assert (kept[2].depth, kept[2].width, kept[2].resolution) == (1, 1.1, 1.15)
    assert scalable(rows, {}) == rows


PLAIN = """
from torch import nn

def net():
    return nn.Sequential(nn.Conv2d(3, 16, 3, 2, 1), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(16, 10))
"""


@pytest.mark.parametrize("rows", [("figure8",), ("--match-macs", "2x")])
def test_a_network_without_a_repeated_block_is_compared_without_depth(rows: tuple[str, ...], tmp_path: Path) -> None:
    (tmp_path / "plain.py").write_text(PLAIN)
    options = (*rows, "--baseline", "plain.py:net", "--resolution", "64")
    (group,) = json.loads(_dry(*options, "--json", cwd=tmp_path).stdout)["groups"]
    assert {row["depth"] for row in group["rows"]} == {1}
    assert len({row["macs"] for row in group["rows"]}) > 1
    assert "depth stays ×1, and what scales it alone is left out" in _dry(*options, cwd=tmp_path).stdout


def test_a_runs_own_winner_is_a_strategy_too() -> None:
    lines = matched(open_baseline("resnet18", Rounding()), 4, 1000, 0.02, {"mine": Coefficients(1.1, 1.3, 1.05)})
    assert lines[-1].label == "mine"
    assert lines[-1].width > lines[-1].resolution > 1


def test_a_cost_out_of_reach_is_said_with_the_nearest() -> None:
    with pytest.raises(EmptyGridError, match=r"compound: nothing costs 2× .* within 3\.0%\. The nearest is"):
        matched(open_baseline("mobilenet_v2", Rounding()).at(resolution=64), 2, 1000, 0.03)


@pytest.mark.parametrize(("text", "growth"), [("4x", 4), ("4×", 4), (" 2.5 ", 2.5), (None, None)])
def test_growths_are_written_as_people_do(text: str | None, growth: float | None) -> None:
    assert growth_of(text) == growth


@pytest.mark.parametrize("text", ["1x", "-2", "four", "4xx"])
def test_no_growth_is_refused(text: str) -> None:
    with pytest.raises(ScaleSearchError, match="--match-macs: expected a growth above 1"):
        growth_of(text)


def test_labels_must_differ(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(yaml.safe_dump({"title": "Mine", "any": [{"label": "a"}, {"label": "a", "width": 2}]}))
    with pytest.raises(RecipeError, match="every label once"):
        load_comparison(str(path))


def _gain(accuracies: dict[str, float], spread: float, seeds: int = 3) -> Gain | None:
    """Of networks with these accuracies, and draws that vary by ``spread`` about them."""
    lines = [ComparisonRow(name, name, 1.0, 1.0, 1.0 + 0.1 * i) for i, name in enumerate(accuracies)]
    models = {x: SimpleNamespace(fingerprint=x.label) for x in lines}
    candidates = [SimpleNamespace(labels=(x.label,), model=model) for x, model in models.items()]
    random = np.random.default_rng(0)
    drawn = {name: value + random.normal(0, spread, 4_000) for name, value in accuracies.items()}
    group = BaselineRows("net", lines, SimpleNamespace(candidates=candidates), 224, 16, True)  # type: ignore[arg-type]
    return gain(group, accuracies, drawn, seeds)


def test_the_gain_is_relative_to_the_best_single_dimension() -> None:
    clear = _gain({"depth": 0.5, "width": 0.6, "resolution": 0.4, "compound": 0.66}, 0.004)
    assert clear is not None
    assert clear.single == "width"
    assert clear.value == pytest.approx(0.1)
    assert 0.07 < clear.low < 0.1 < clear.high < 0.13
    assert clear.words.endswith("the compound is better than each of them at 95 %.")
    lost = _gain({"depth": 0.5, "width": 0.7, "compound": 0.6}, 0.004)
    assert lost is not None and lost.words.endswith("a single dimension is better at 95 %.")
    tied = _gain({"depth": 0.6, "width": 0.6, "compound": 0.605}, 0.01)
    assert tied is not None and tied.words.endswith("is not decided.")


def test_the_best_of_several_equals_counts_as_the_luckiest() -> None:
    """With three equal rivals the highest of them is above their mean: the gain's interval knows that."""
    against_one = _gain({"depth": 0.5, "compound": 0.5}, 0.01)
    against_three = _gain({"depth": 0.5, "width": 0.5, "resolution": 0.5, "compound": 0.5}, 0.01)
    assert against_one is not None and against_three is not None
    assert against_three.value == against_one.value == 0
    assert against_three.high > against_one.high  # that one of three seems better is easily luck


def test_one_of_four_equals_is_seldom_called_better() -> None:
    """Four equal rows measured two hundred times: no verdict in 95 % of them, or in more."""
    random, called = np.random.default_rng(1), 0
    for _ in range(200):
        seen = dict(zip(("depth", "width", "resolution", "compound"), 0.5 + random.normal(0, 0.02, 4), strict=True))
        found = _gain(seen, 0.02)
        assert found is not None
        called += not found.low <= 0 <= found.high
    assert called <= 20


def test_one_seed_is_said_to_be_one() -> None:
    found = _gain({"depth": 0.5, "compound": 0.6}, 0.01, seeds=1)
    assert found is not None
    assert found.words.endswith("one seed, so that the trainings' own noise is not in this.")


def test_without_a_compound_or_a_single_row_there_is_no_gain() -> None:
    assert _gain({"width": 0.5, "dWr": 0.6}, 0.01) is None
    assert _gain({"compound": 0.5, "dWr": 0.6}, 0.01) is None


@pytest.mark.long
def test_a_users_own_rows_are_trained_as_a_grid_is(cli: Cli, tmp_path: Path) -> None:
    rows = [{"label": "baseline"}, {"label": "width", "width": 2}, {"label": "compound", "depth": 2, "resolution": 1.5}]
    (tmp_path / "mine.yaml").write_text(yaml.safe_dump({"title": "Mine", "any": rows}))
    command = ("compare", "mine.yaml", "--baseline", "tiny.yaml", *TINY_RUN[:-1], "--out", "made", "--seeds", "2")
    done = cli(*command)
    assert done.returncode == 0, done.stderr
    assert "compound over width, the best single dimension" in done.stdout
    plain = json.loads((tmp_path / "made" / "comparison.json").read_text())
    (group,) = plain["groups"]
    assert (group["baseline"], group["folder"]) == ("tiny.yaml", "tiny")
    assert [row["label"] for row in group["rows"]] == ["baseline", "width", "compound"]
    assert all(row["seeds"] == 2 and 0 < row["low"] <= row["accuracy"] <= row["high"] for row in group["rows"])
    run = tmp_path / "made" / "tiny"
    ranking = pd.read_csv(run / "ranking.csv")
    assert set(ranking["label"]) == {"baseline", "width", "compound"}
    assert {path.stem for path in (run / "specs").iterdir()} == {"tiny-baseline", "tiny-width", "tiny-compound"}
    assert (tmp_path / "made" / "comparison.md").read_text().startswith("# Mine")
    again = cli(*command)
    assert again.returncode == 0
    assert len(pd.read_csv(run / "trials.csv")) == 6  # nothing was trained twice


def test_what_compare_is_not_told_is_said_in_one_line(cli: Cli) -> None:
    for arguments, words in (
        (("table33",), "did you mean table3?"),
        (("table3", "--from", "elsewhere"), "--from RUN adds its winner to the strategies of --match-macs"),
        (("--match-macs", "none"), "expected a growth above 1"),
    ):
        done = cli("compare", *arguments, "--dry-run")
        assert (done.returncode, len(done.stderr.splitlines())) == (2, 1), done.stderr
        assert words in done.stderr
