"""`compare --sweep` as a user meets it: the plan, a run that goes on, its tables, and what is refused."""

from __future__ import annotations

import json
from io import StringIO
from pathlib import Path

import pandas as pd
import pytest

from tests.support.small import TINY_RUN, Cli

SWEEP = ("compare", "--baseline", "tiny.yaml", "--sweep", "spec.stages.channels=x0.5,x1,x1.5")
RUN = (*SWEEP, *TINY_RUN[:-1], "--seeds", "2", "--out", "made")


@pytest.fixture(autouse=True)
def _narrow(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")


def test_a_sweep_is_trained_judged_shown_and_goes_on(cli: Cli, tmp_path: Path) -> None:
    done = cli(*RUN)
    assert done.returncode == 0, done.stderr
    assert "to baseline" in done.stdout
    assert "Against the baseline, at 95 % for all rows together" in " ".join(done.stdout.split())
    tables = [line for line in done.stdout.splitlines() if line.startswith("channels")]
    assert len(tables) == 6  # the plan's rows and the result's
    assert all(len(line) <= 80 for line in tables)
    (group,) = json.loads((tmp_path / "made" / "comparison.json").read_text())["groups"]
    rows = {row["label"]: row for row in group["rows"]}
    assert list(rows) == ["channels ×1 (baseline)", "channels ×0.5", "channels ×1.5"]
    assert rows["channels ×1 (baseline)"]["to_baseline"] is None
    for label in ("channels ×0.5", "channels ×1.5"):
        apart = rows[label]["to_baseline"]
        assert apart["low"] <= apart["value"] <= apart["high"]
        assert rows[label]["seeds"] == 2
    trials = pd.read_csv(tmp_path / "made" / "tiny" / "trials.csv")
    assert trials.groupby("network")["seed"].nunique().tolist() == [2, 2, 2]
    assert cli(*RUN).returncode == 0
    again = pd.read_csv(tmp_path / "made" / "tiny" / "trials.csv")
    pd.testing.assert_frame_equal(trials, again)  # nothing was trained twice
    other = cli(*(each.replace("x1.5", "x2") for each in RUN))
    assert (other.returncode, len(other.stderr.splitlines())) == (2, 1)
    assert "was made with other settings (search.rows" in other.stderr
    frame = pd.read_csv(StringIO(cli("show", "made", "--format", "csv").stdout))
    assert frame["spec.stages.channels"].fillna("").tolist() == ["", "x0.5", "x1.5"]
    assert frame["to_baseline_low"].notna().tolist() == [False, True, True]
    assert cli("report", "made").returncode == 0
    assert "to the baseline" in (tmp_path / "made" / "report.html").read_text()


def test_the_plan_needs_no_images_and_has_a_price_where_there_are_some(cli: Cli) -> None:
    plan = cli(*SWEEP, "--dry-run")
    assert plan.returncode == 0, plan.stderr
    assert "with --recipe or --data, also what training them would take" in plan.stdout
    priced = cli(*SWEEP, *TINY_RUN[:-1], "--dry-run")
    assert "3 trials on cpu" in priced.stdout
    rows = json.loads(cli(*SWEEP, "--dry-run", "--json").stdout)["groups"][0]["rows"]
    assert [row["changes"] for row in rows] == [{}, {"spec.stages.channels": "x0.5"}, {"spec.stages.channels": "x1.5"}]


def test_a_file_may_hold_the_sweep_and_a_cost_to_bring_it_to(cli: Cli) -> None:
    done = cli("compare", "se-ratio", "--match-macs", "1x", "--dry-run", "--json")
    assert done.returncode == 0, done.stderr
    (group,) = json.loads(done.stdout)["groups"]
    assert [row["label"] for row in group["rows"]] == ["se 0.25 (baseline)", "se 0", "se 0.125", "se 0.5"]
    assert all(abs(row["ratio"] - 1) <= 0.02 for row in group["rows"])


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("table3", "--sweep", "spec.stages.channels=8"), "--sweep makes rows of its own: leave table3 out"),
        (("--sweep", "spec.stages.channels=8", "--from", "elsewhere"), "--from RUN adds its winner"),
        (("--sweep", "spec.stages.channels=8", "--match-macs", "0"), "expected a ratio above 0, such as 1x"),
        (("--sweep", "spec.stages.se=0.25"), "expected 0, as depthwise_separable has no se, got 0.25"),
        (("--sweep", "spec.stages.9.channels=8"), "the table has stages 1 to 2"),
        (("--sweep", "spec.stages.channels=8", "--match-macs", "900x"), "does not reach 900× the baseline's MACs"),
    ],
)
def test_what_a_sweep_cannot_do_is_said_in_one_line(cli: Cli, arguments: tuple[str, ...], words: str) -> None:
    baseline = () if arguments[0] == "table3" else ("--baseline", "tiny.yaml")
    done = cli("compare", *arguments, *baseline, "--dry-run")
    assert (done.returncode, len(done.stderr.splitlines())) == (2, 1), done.stderr
    assert words in done.stderr
