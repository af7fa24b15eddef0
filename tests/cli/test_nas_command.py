"""`scalesearch nas` as a person uses it: from a space to a baseline, from there to its family."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest

from scalesearch.models.catalogue import open_baseline
from scalesearch.models.fvcore_count import count
from scalesearch.scaling.spec_files import load_spec
from scalesearch.search.ledger.journal import JOURNAL
from scalesearch.search.ledger.ledger import Ledger
from tests.support.small import TINY, Cli

SMALL = (
    "--recipe", "quick", "--resolution", "16", "--steps", "4", "--limit", "96", "--device", "cpu", "--workers", "0",
)  # fmt: skip
SPACE = """\
title: a small space
skeleton: tiny.yaml
op: [mbconv, fused_mbconv, depthwise_separable]
kernel: [3, 5]
expand: [1, 2, 3]
se: [0, 0.25]
repeats: [0, 1]
channels: [0.5, 1, 2]
"""
NAS = ("nas", "--space", "space.yaml", "--target-macs", "100k", "--factor", "2", *SMALL)


@pytest.fixture
def small(cli: Cli, tmp_path: Path) -> Cli:
    (tmp_path / "tiny.yaml").write_text(TINY)
    (tmp_path / "space.yaml").write_text(SPACE)
    return cli


def test_from_a_space_to_a_baseline_to_its_family(small: Cli, tmp_path: Path) -> None:
    """The paper in three commands: the baseline by search, its coefficients by a grid, its family by the formula."""
    found = small(*NAS, "--trials", "4", "--out", "found")
    assert found.returncode == 0, found.stderr
    winner = load_spec(tmp_path / "found" / "winner.yaml")
    ranking = json.loads((tmp_path / "found" / "ranking.json").read_text())
    first = ranking["ranking"][0]
    assert winner.resolution == 16 and len(ranking["ranking"]) == 4
    model = open_baseline(str(tmp_path / "found" / "winner.yaml"))
    build = model.scaled(__import__("scalesearch").Multipliers(1, 1, 1)).build(12)
    assert count(build, 16).macs == first["macs"] and 50_000 <= first["macs"] <= 200_000
    assert first["reward"] == pytest.approx(first["accuracy"] * (first["macs"] / 100_000) ** -0.07)
    assert "is biased upward" in " ".join(found.stdout.split())
    grid = small(
        "grid", "--baseline", "found/winner.yaml", *SMALL, "--step", "0.4", "--tolerance", "0.5", "--out", "grid"
    )
    assert grid.returncode == 0, grid.stderr
    scaled = small("scale", "--baseline", "found/winner.yaml", "--from", "grid", "--phi", "1", "--out", "big.yaml")
    assert scaled.returncode == 0, scaled.stderr
    origin = load_spec(tmp_path / "big.yaml").origin
    best = json.loads((tmp_path / "grid" / "ranking.json").read_text())["ranking"][0]
    assert origin is not None and origin.baseline == winner.name
    assert (origin.alpha, origin.beta, origin.gamma) == (best["alpha"], best["beta"], best["gamma"])
    again = small("show", "found", "--format", "csv")
    assert again.returncode == 0 and "reward" in again.stdout.splitlines()[0]
    page = small("report", "found")
    assert page.returncode == 0, page.stderr
    assert "architectures of the space space, found for" in (tmp_path / "found" / "report.html").read_text()
    refused = small("scale", "--from", "found", "--phi", "1")
    assert refused.returncode == 2 and "found/winner.yaml" in " ".join(refused.stderr.split())


def test_a_finished_search_goes_on_with_more_trials_and_seeds(small: Cli, tmp_path: Path) -> None:
    assert small(*NAS, "--trials", "2", "--out", "run").returncode == 0
    more = small(*NAS, "--trials", "4", "--seeds", "2", "--top", "1", "--out", "run", "--format", "json")
    assert more.returncode == 0, more.stderr
    rows = json.loads(more.stdout)["ranking"]
    assert sorted(row["seeds"] for row in rows) == [1, 1, 1, 2]
    assert "[5/5]" in more.stderr
    other = small(*NAS, "--trials", "4", "--target-macs", "90k", "--out", "run")
    assert other.returncode == 2 and "nas.target_macs" in other.stderr


def test_a_search_that_was_killed_goes_on_with_nothing_doubled(small: Cli, tmp_path: Path) -> None:
    options = (*NAS, "--trials", "4", "--steps", "60")
    command = [sys.executable, "-m", "scalesearch", *options, "--out", "chaos"]
    process = subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    assert process.stdout is not None
    for line in process.stdout:
        if line.startswith("[2/4]"):
            break
    time.sleep(0.2)  # into the third
    process.send_signal(signal.SIGKILL)
    process.communicate()
    first = Ledger(tmp_path / "chaos" / JOURNAL, "chaos").records()
    done = {r.task.key for r in first if r.state == "complete"}
    assert 2 <= len(done) < 4
    after = small(*options, "--out", "chaos")
    assert after.returncode == 0, after.stderr
    assert f"{len(done)} of 4 trials were done before" in after.stdout
    records = Ledger(tmp_path / "chaos" / JOURNAL, "chaos").records()
    complete = Counter(r.task.key for r in records if r.state == "complete")
    assert done < set(complete) and len(complete) == 4 and set(complete.values()) == {1}
    calm = small(*options, "--out", "calm")
    assert calm.returncode == 0, calm.stderr
    for name in ("ranking.csv", "winner.yaml", "candidates.csv"):
        assert (tmp_path / "chaos" / name).read_text() == (tmp_path / "calm" / name).read_text(), name


def test_a_dry_run_says_what_there_is_and_what_it_takes(small: Cli) -> None:
    told = small(*NAS, "--trials", "12", "--dry-run", "--format", "json")
    assert told.returncode == 0, told.stderr
    document = json.loads(told.stdout)
    assert document["trials"] == 12 and len(document["begins_with"]) == 10
    assert document["seconds"] == pytest.approx(12 * document["seconds_per_trial"])
    assert document["macs"]["least"] < 100_000 < document["macs"]["most"]
    assert all(50_000 <= each["macs"] <= 200_000 for each in document["begins_with"])


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        (("--target-macs", "9G"), "no architecture of space was found within ×2 of 9.00 G MACs"),
        (("--space", "mbcon"), "did you mean mbconv"),
        (("--set", "phi=2"), "--set phi: expected no such key with nas"),
        (("--set", "search.step=0.1"), "--set search.step"),
        (("--budget", "30%"), "a time or a number of trials"),
        (("--budget", "2h", "--trials", "3"), "nothing beside a budget"),
        (("--sampler", "cmaes"), "nas.sampler"),
        (("--factor", "0.5"), "nas.factor"),
        (("--engine", "slurm"), "processes or ray"),
        (("--format", "yaml"), "--format"),
    ],
)
def test_a_mistake_is_one_line(options: tuple[str, ...], complaint: str, small: Cli) -> None:
    done = small(*NAS, *options, "--dry-run")
    assert done.returncode == 2
    assert complaint in " ".join(done.stderr.split()) and "Traceback" not in done.stderr


def test_without_a_target_it_says_what_the_space_costs(small: Cli) -> None:
    done = small("nas", "--space", "space.yaml", *SMALL)
    assert done.returncode == 2
    assert "--target-macs: how many MACs the network should have" in done.stderr and "what tiny has" in done.stderr


def test_a_grid_does_not_take_a_searchs_recipe_for_its_own(small: Cli) -> None:
    done = small("grid", "--recipe", "quick", "--set", "nas.target_macs=60M", "--dry-run")
    assert done.returncode == 2 and "`scalesearch nas`'s" in done.stderr
