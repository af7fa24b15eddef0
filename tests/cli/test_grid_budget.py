"""`grid --budget` and `--confidence` as a person uses them: what is trained, what is said, and what goes on."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.support.small import TINY_RUN, Cli

GRID = ("grid", "--baseline", "tiny.yaml", *(o for o in TINY_RUN if o != "--exhaustive"), "--step", "0.1", "--top", "0")


def _ranking(folder: Path) -> list[dict[str, object]]:
    found: list[dict[str, object]] = json.loads((folder / "ranking.json").read_text())["ranking"]
    return found


def test_a_budget_trains_some_and_a_larger_one_goes_on(cli: Cli, tmp_path: Path) -> None:
    first = cli(*GRID, "--exhaustive", "--budget", "3-trials", "--out", "run")
    assert first.returncode == 0, first.stderr
    assert "[3/3]" in first.stdout and "[4/" not in first.stdout
    assert "The budget is spent." in " ".join(first.stdout.split())
    more = cli(*GRID, "--exhaustive", "--budget", "5-trials", "--out", "run")
    assert more.returncode == 0, more.stderr
    assert "3 of 5 trials were done before" in more.stdout and "[5/5]" in more.stdout
    assert sum(row["seeds"] for row in _ranking(tmp_path / "run")) == 5  # type: ignore[misc]


def test_what_was_never_trained_may_be_the_best_and_is_said_so(cli: Cli, tmp_path: Path) -> None:
    done = cli(*GRID, "--budget", "20%", "--out", "run")
    assert done.returncode == 0, done.stderr
    rows = _ranking(tmp_path / "run")
    assert 1 < len(rows) < 20
    assert "not trained)" in " ".join(done.stdout.split())
    assert [row["score"] for row in rows] == sorted((row["score"] for row in rows), reverse=True)  # type: ignore[type-var]
    first = rows[0]
    assert first["gap"] == first["gap_low"] == first["gap_high"] == 0
    assert all(row["gap_low"] <= row["gap"] <= 0 for row in rows[1:])  # type: ignore[operator]


def test_a_search_for_confidence_ends_and_says_why(cli: Cli, tmp_path: Path) -> None:
    done = cli(*GRID, "--confidence", "0.9", "--max-seeds", "2", "--set", "search.max_alpha=1.2", "--out", "run")
    assert done.returncode == 0, done.stderr
    assert "cannot be told apart at 90 %" in done.stdout or "is best with probability" in done.stdout


@pytest.mark.parametrize("budget", ["30", "0-trials", "soon"])
def test_no_budget_is_one_line(budget: str, cli: Cli) -> None:
    done = cli(*GRID, "--budget", budget)
    assert done.returncode == 2
    assert "2h, 90min, 30% or 40-trials" in " ".join(done.stderr.split())


def test_a_dry_run_says_what_the_budget_begins_with(cli: Cli) -> None:
    done = cli(*GRID, "--budget", "30%", "--dry-run")
    assert done.returncode == 0, done.stderr
    assert "a budget of 30%" in " ".join(done.stdout.split())


def test_minutes_that_are_too_few_for_the_start_cut_it_short(cli: Cli, tmp_path: Path) -> None:
    done = cli(*GRID, "--steps", "150", "--budget", "0.02min", "--out", "run")
    assert done.returncode == 0, done.stderr
    assert 1 <= len(_ranking(tmp_path / "run")) < 7
    assert "The budget is spent." in " ".join(done.stdout.split())
