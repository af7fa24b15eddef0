"""The command line as a person uses it: what it prints, where it writes, how it fails."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from scalesearch.scaling.compound import Coefficients
from scalesearch.scaling.spec import ModelSpec
from scalesearch.scaling.spec_files import load_spec
from scalesearch.search.ledger.journal import JOURNAL
from scalesearch.search.ledger.ledger import Ledger
from scalesearch.trials import Task
from tests.support.small import TINY_RUN, Cli, make_folder

GRID = ("grid", "--baseline", "tiny.yaml", *TINY_RUN)


def _imports_torch(*arguments: str, cwd: Path) -> bool:
    code = (
        "import sys; sys.argv = ['scalesearch', *sys.argv[1:]]\n"
        "from scalesearch.cli.main import main\n"
        "try: main()\n"
        "except SystemExit: pass\n"
        "print('TORCH' if 'torch' in sys.modules else 'LIGHT')"
    )
    done = subprocess.run([sys.executable, "-c", code, *arguments], cwd=cwd, capture_output=True, text=True, check=True)
    return done.stdout.splitlines()[-1] == "TORCH"


@pytest.mark.parametrize(
    "arguments",
    [("--help",), ("grid", "--help"), ("scale", "--phi", "4"), ("baselines",), ("candidates",), ("grid", "--phi", "x")],
)
def test_planning_and_help_do_not_import_torch(arguments: tuple[str, ...], tmp_path: Path) -> None:
    assert not _imports_torch(*arguments, cwd=tmp_path)


def test_help_takes_less_than_half_a_second(fresh_cli: Cli) -> None:
    fresh_cli("--help")
    best = min(_timed(fresh_cli, "--help") for _ in range(5))
    assert best < 0.5


def _timed(cli: Cli, *arguments: str) -> float:
    """Seconds of a processor: other tests may be running beside this one."""
    before = os.times()
    assert cli(*arguments).returncode == 0
    after = os.times()
    return after.children_user + after.children_system - before.children_user - before.children_system


def test_scale_shows_both_families_and_writes_the_spec(cli: Cli, tmp_path: Path) -> None:
    done = cli("scale", "--phi", "4")
    assert done.returncode == 0
    assert "6.32 G" in done.stdout and "4.39 G" in done.stdout and "16.4×" in done.stdout and "11.4×" in done.stdout
    assert "nominal growth 1.92^4 = 13.6×" in done.stdout
    spec = load_spec(tmp_path / "efficientnet_b0-phi4.yaml")
    assert (spec.resolution, spec.blocks) == (392, 39)


def test_scale_of_another_baseline_to_a_named_file(cli: Cli, tmp_path: Path) -> None:
    """MobileNetV1 at 0.75 and 192 px."""
    options = ("--alpha", "1", "--beta", "0.75", "--gamma", "0.857", "--phi", "1", "--out", "small.yaml")
    done = cli("scale", "--baseline", "mobilenet_v1", *options)
    assert done.returncode == 0, done.stderr
    spec = load_spec(tmp_path / "small.yaml")
    assert isinstance(spec, ModelSpec)
    assert (spec.resolution, spec.stem.channels, spec.widest) == (192, 24, 768)


def test_scale_writes_a_range_and_the_published_family(cli: Cli, tmp_path: Path) -> None:
    done = cli("scale", "--phi", "1..3", "--preset", "published", "--out", "family", "--json")
    rows = json.loads(done.stdout)
    assert [row["params"] for row in rows] == [7_794_184, 9_109_994, 12_233_232]
    assert sorted(p.name for p in (tmp_path / "family").iterdir()) == [f"efficientnet_b0-b{i}.yaml" for i in (1, 2, 3)]


def test_baselines_lists_them_and_shows_the_papers_table(cli: Cli, tmp_path: Path) -> None:
    assert "efficientnet_b0" in cli("baselines").stdout
    table = cli("baselines", "efficientnet_b0").stdout
    assert "385,814,752 MACs · 5,288,548 parameters" in table
    (tmp_path / "mine.yaml").write_text(cli("baselines", "resnet18", "--yaml").stdout)
    assert "11,689,512 parameters" in cli("baselines", "mine.yaml").stdout


def test_candidates_says_what_the_grid_is(cli: Cli) -> None:
    out = cli("candidates", "--baseline", "efficientnet_b0", "--phi", "1").stdout
    assert "109 points with |αβ²γ² − 2| ≤ 0.1 → 65 networks" in out
    assert "median 2.55×" in out
    assert "6 points cost 2× ± 5 %" in out
    rows = json.loads(cli("candidates", "--json").stdout)
    assert len(rows) == 65


def test_no_line_of_a_table_is_wider_than_a_terminal(cli: Cli) -> None:
    for command in (("candidates",), ("scale", "--phi", "4"), ("baselines", "mobilenet_v2"), ("baselines",)):
        assert max(len(line) for line in cli(*command).stdout.splitlines()) <= 80


def test_a_grid_from_start_to_specs(cli: Cli, tmp_path: Path) -> None:
    done = cli(*GRID, "--seeds", "2", "--out", "run")
    assert done.returncode == 0, done.stderr
    assert "no evidence about any task" in done.stdout
    assert "[14/14]" in done.stdout and "winner" in done.stdout
    assert max(len(line) for line in done.stdout.splitlines() if "wrote" not in line) <= 80
    run = tmp_path / "run"
    ranking = json.loads((run / "ranking.json").read_text())["ranking"]
    assert [row["rank"] for row in ranking] == list(range(1, 8))
    assert all(row["seeds"] == 2 and row["sd"] is not None for row in ranking)
    assert [row["val_accuracy"] is not None for row in ranking] == [True] * 3 + [False] * 4
    assert all(row["fvcore_macs"] == row["macs"] for row in ranking)
    assert sorted(p.name for p in (run / "specs").iterdir()) == [f"tiny-phi{i}.yaml" for i in range(8)]
    left = {p.name for p in run.iterdir()}
    assert {"recipe.yaml", "environment.json", "candidates.csv", "trials.csv", "ranking.csv", "ranking.md"} <= left
    assert {"study.journal", "report.html"} <= left and "weights" not in left
    drawn = ("accuracy-macs", "simplex", "learning-curves", "growth", "times", "confusion")
    files = {f"{name}.{ending}" for name in drawn for ending in ("png", "svg")}
    assert {p.name for p in (run / "figures").iterdir()} == files

    table = [line for line in (run / "ranking.md").read_text().splitlines() if line.startswith("|")]
    assert len(table) == 2 + 7 and len({line.count("|") for line in table}) == 1

    before = (run / "ranking.csv").read_bytes()
    again = cli(*GRID, "--seeds", "2", "--out", "run", "--json")  # nothing left to train
    assert json.loads(again.stdout)["ranking"] == ranking
    assert (run / "ranking.csv").read_bytes() == before
    assert cli(*GRID, "--seeds", "2", "--out", "run", "--format", "csv").stdout.encode() == before

    other = cli(*GRID, "--steps", "7", "--out", "run")
    assert other.returncode == 2
    assert "was made with other settings (train.steps: 6 there, 7 now)" in other.stderr

    winner = cli("scale", "--baseline", "tiny.yaml", "--phi", "1..2", "--from", "run")
    assert winner.returncode == 0, winner.stderr
    assert "the winner of run" in winner.stdout
    spec = load_spec(tmp_path / "tiny-phi2.yaml")
    assert spec.origin is not None and spec.origin.alpha == ranking[0]["alpha"]


@pytest.mark.long
def test_an_interrupted_grid_says_how_to_go_on_and_does(cli: Cli, tmp_path: Path) -> None:
    code = (  # a shell that runs the tests in the background has Ctrl-C ignored; its children inherit that
        "import runpy, signal, sys\n"
        "signal.signal(signal.SIGINT, signal.default_int_handler)\n"
        "sys.argv = ['scalesearch', *sys.argv[1:]]; runpy.run_module('scalesearch', run_name='__main__')"
    )
    command = [sys.executable, "-c", code, *GRID, "--steps", "20", "--workers", "1", "--out", "run"]
    process = subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stdout is not None
    for line in process.stdout:
        if line.startswith("[2/7]"):
            break
    process.send_signal(signal.SIGINT)
    out, _ = process.communicate(timeout=120)
    assert process.returncode == 130
    assert "stopped: what was finished is kept in run; the same command goes on from there:" in out
    assert "scalesearch grid --baseline tiny.yaml" in out
    resumed = cli(*GRID, "--steps", "20", "--out", "run")
    assert resumed.returncode == 0
    assert "of 7 trials were done before" in resumed.stdout
    whole = cli(*GRID, "--steps", "20", "--out", "whole")
    assert whole.returncode == 0
    assert (tmp_path / "run" / "ranking.csv").read_bytes() == (tmp_path / "whole" / "ranking.csv").read_bytes()


@pytest.mark.long
def test_a_grid_on_a_folder_of_jpegs_matched_by_cost(cli: Cli, tmp_path: Path) -> None:
    make_folder(tmp_path / "pets", {"cat": 12, "dog": 12})
    make_folder(tmp_path / "pets", {"cat": 4, "dog": 4}, split="val")
    done = cli(
        *GRID,
        "--data",
        "folder:pets",
        "--match",
        "macs",
        "--match-tolerance",
        "0.1",
        "--set",
        "search.also=[]",
        "--json",
    )
    assert done.returncode == 0, done.stderr
    ranking = json.loads(done.stdout)["ranking"]
    assert all(abs(row["ratio"] / 2 - 1) <= 0.1 for row in ranking)
    assert len(list((tmp_path / "results").iterdir())) == 1


def test_a_dry_run_quotes_the_price_and_trains_nothing(cli: Cli, tmp_path: Path) -> None:
    done = cli(*GRID, "--dry-run")
    assert done.returncode == 0, done.stderr
    assert "7 trials × 6 steps on cpu fp32, 0.0" in done.stdout
    assert "about 0:" in done.stdout
    assert not (tmp_path / "results").exists()
    quoted = json.loads(cli(*GRID, "--dry-run", "--json").stdout)
    assert quoted["trials"] == 7 and quoted["seconds"] > 0 and len(quoted["candidates"]) == 7


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("grid", "--baseline", "efficentnet_b0"), "no baseline 'efficentnet_b0'. Did you mean efficientnet_b0?"),
        (("grid", "--recipe", "quik"), "no recipe 'quik' (did you mean quick?)"),
        (("grid", "--set", "train.epoch=3"), "train.epoch: expected a known key (did you mean epochs?), got 'epoch'"),
        (("grid", "--seeds", "0"), "seeds: expected greater than 0, got 0"),
        (
            ("grid", "--baseline", "resnet50", "--step", "0.1", "--max-alpha", "1.6", "--tolerance", "0.001"),
            "no point with |αβ²γ² − 2| ≤ 0.001. The nearest is α 1.40, β 1.00, γ 1.20 (growth 2.016)",
        ),
        (("grid", "--data", "folder:nowhere"), "no folder nowhere"),
        (("grid", "--device", "cuda:99"), "device 'cuda:99' is not there"),
        (("grid", "--phi", "-30"), "leaves"),
        (("grid", "--bseline", "x"), "No such option: --bseline"),
        (("grid", "--phi", "big"), "Invalid value for '--phi'"),
        (("scale", "--phi", "many"), "--phi: expected a number, several (1,2,4) or a range (1..7), got 'many'"),
        (("scale", "--phi", "-40"), "leaves"),
        (("scale", "--phi", "9", "--preset", "published"), "there is none at φ = 9"),
        (("scale", "--alpha", "0"), "--alpha: expected a positive number, got 0.0"),
        (("scale", "--from", "nowhere"), "nowhere is no run's folder"),
        (("scale", "--out", "tiny.yaml/x.yaml"), "cannot write tiny.yaml/x.yaml"),
        (("baselines", "nothing"), "no baseline 'nothing'"),
    ],
)
def test_a_mistake_is_one_line_and_exit_code_2(arguments: tuple[str, ...], message: str, cli: Cli) -> None:
    done = cli(*arguments)
    assert done.returncode == 2
    assert message in done.stderr
    assert done.stderr.startswith("error: ")
    assert "Traceback" not in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1


def test_debug_shows_the_traceback(cli: Cli) -> None:
    assert "Traceback" in cli("--debug", "baselines", "nothing").stderr


def test_a_results_folder_that_cannot_be_written_is_told(cli: Cli, tmp_path: Path) -> None:
    (tmp_path / "results").write_text("a file in the way")
    done = cli(*GRID)
    assert done.returncode == 2
    assert "cannot write to results" in done.stderr


@pytest.mark.long
def test_a_full_disk_is_one_line_and_what_was_finished_is_kept(cli: Cli, tmp_path: Path) -> None:
    """The study may not grow past a few trials: the writes after that fail as on a full disk."""
    code = (
        "import resource, signal, sys, runpy\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN); resource.setrlimit(resource.RLIMIT_FSIZE, (14000, -1))\n"
        "sys.argv = ['scalesearch', *sys.argv[1:]]; runpy.run_module('scalesearch', run_name='__main__')"
    )
    command = [sys.executable, "-c", code, *GRID, "--out", "run", "--top", "0"]
    full = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert full.returncode == 2, full.stderr
    assert full.stderr.startswith("error: cannot write the study run/study.journal: File too large")
    resumed = cli(*GRID, "--out", "run", "--top", "0")
    assert resumed.returncode == 0, resumed.stderr
    assert "of 7 trials were done before" in resumed.stdout


def test_failed_trials_are_reported_and_do_not_stop_the_others(cli: Cli, tmp_path: Path) -> None:
    options = ("--optimizer", "sgd", "--learning-rate", "1e30", "--set", "train.warmup_epochs=0", "--steps", "12")
    done = cli(*GRID, *options, "--out", "run")
    assert done.returncode == 2
    assert done.stdout.count("failed: ") == 7
    assert "no trial finished; the last one failed with: the loss is" in done.stderr


@pytest.mark.long
def test_a_run_killed_outright_resumes_at_once(cli: Cli, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "scalesearch", *GRID, "--workers", "1", "--out", "run"]
    process = subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    for line in process.stdout:
        if line.startswith("[1/7]"):
            break
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    done = cli(*GRID, "--out", "run")
    assert done.returncode == 0
    assert "of 7 trials were done before" in done.stdout


@pytest.mark.long
def test_candidates_far_behind_are_dropped_and_trained_to_the_end_when_asked(cli: Cli, tmp_path: Path) -> None:
    """The ledger knows of a network that was nearly perfect from half of the schedule on; it is not in this grid."""
    (tmp_path / "run").mkdir()
    ledger = Ledger(tmp_path / "run" / JOURNAL, "run")
    ledger.want([Task(Coefficients(1, 1, 1), "perfect", 0)])
    claim = ledger.claim("somebody")
    assert claim is not None
    ledger.complete(claim, 0.99, {"accuracy": 0.99, "curve": [[3, 0.99, 0.1], [5, 0.99, 0.1], [6, 0.99, 0.1]]})
    grid = [option for option in GRID if option != "--exhaustive"]
    done = cli(*grid, "--out", "run")
    assert done.stdout.count("fell behind: ") == 7 and done.stdout.count("after 3 steps") == 7
    assert done.stderr == "error: no trial finished\n"
    everything = cli(*grid, "--exhaustive", "--out", "run")
    assert everything.returncode == 0, everything.stderr
    assert "[7/7]" in everything.stdout and "fell behind" not in everything.stdout
    states = [record.state for record in ledger.records()]
    assert (states.count("dropped"), states.count("complete")) == (7, 8)
