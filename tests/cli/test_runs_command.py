"""Runs are listed, and looked at while they go on, without being touched."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from scalesearch.errors import RunError
from scalesearch.recipe import Recipe
from scalesearch.run_folder import RunFolder
from scalesearch.scaling.compound import Coefficients
from scalesearch.search.ledger.journal import JOURNAL
from scalesearch.search.ledger.leases import me
from scalesearch.search.ledger.ledger import Ledger
from scalesearch.search.ledger.reader import LedgerReader
from scalesearch.search.run_states import is_held, runs_in, state_of_run
from scalesearch.search.watching import FolderWatch, changes
from scalesearch.trials import Task
from tests.support.small import FROZEN, RESULTS, Cli

FINISHED = FROZEN / "format-2"
TASKS = [Task(Coefficients(1, beta, 1), f"{number:012x}", 0) for number, beta in enumerate((1.2, 1.4))]


def _begun(path: Path) -> Ledger:
    """A run's folder as a search has it that has only just begun, with two trials to do."""
    path.mkdir(parents=True)
    for name in ("recipe.yaml", "settings.json", "environment.json"):
        shutil.copy(FINISHED / name, path)
    ledger = Ledger(path / JOURNAL, path.name)
    ledger.note("recipe", Recipe().model_dump(mode="json"))
    ledger.note("open", True)
    ledger.want(TASKS)
    return ledger


def _complete(ledger: Ledger, accuracy: float) -> None:
    claim = ledger.claim(me())
    assert claim is not None
    ledger.complete(claim, accuracy, {"accuracy": accuracy, "seconds": 1.0, "curve": [[5, accuracy, 1.0]]})


def _content(folder: Path) -> dict[str, tuple[int, bytes]]:
    return {str(p): (p.stat().st_mtime_ns, p.read_bytes()) for p in sorted(folder.rglob("*")) if p.is_file()}


def test_a_finished_run_is_what_its_ranking_says() -> None:
    found = state_of_run(RESULTS / "efficientnet_b0-phi1-quick")
    first = json.loads((RESULTS / "efficientnet_b0-phi1-quick" / "ranking.json").read_text())["ranking"][0]
    assert (found.state, found.done, found.total) == ("finished", 7, 7)
    assert (found.accuracy, found.macs, found.best) == (first["accuracy"], first["macs"], "α 1 β 1.2 γ 1.2")
    assert found.what == "grid efficientnet_b0 φ 1"


def test_a_run_is_running_while_it_is_held_and_stopped_after(tmp_path: Path) -> None:
    run = tmp_path / "run"
    ledger = _begun(run)
    _complete(ledger, 0.5)
    with RunFolder(run):
        held = state_of_run(run)
        assert (held.state, held.done, held.total, held.best) == ("running", 1, 2, "α 1 β 1.2 γ 1")
        assert is_held(run)
    assert state_of_run(run).state == "stopped"
    _complete(ledger, 0.4)
    ledger.note("open", False)
    assert state_of_run(run).state == "stopped", "its ranking was not written"
    shutil.copy(FINISHED / "ranking.json", run)
    assert state_of_run(run).state == "finished"
    ledger.note("open", True)
    assert state_of_run(run).state == "stopped", "it was begun again, with more to do"


def test_a_worker_of_this_machine_keeps_a_run_running_and_a_dead_one_does_not(tmp_path: Path) -> None:
    ledger = _begun(tmp_path / "run")
    ledger.claim(me())
    assert state_of_run(tmp_path / "run").state == "running"
    host, process, started = me().rsplit(" ", 2)
    other = _begun(tmp_path / "dead")
    other.claim(f"{host} {process} {int(started) + 1}")
    assert state_of_run(tmp_path / "dead").state == "stopped"


def test_nested_runs_are_found_and_broken_ones_are_told(cli: Cli, tmp_path: Path) -> None:
    shutil.copytree(FINISHED, tmp_path / "all" / "deep" / "er" / "good")
    for name, file, content in (
        ("json", "ranking.json", "{"),
        ("recipe", "recipe.yaml", "phi: [1"),
        ("rows", "ranking.json", '{"ranking": []}'),
    ):
        shutil.copytree(FINISHED, tmp_path / "all" / name)
        (tmp_path / "all" / name / file).write_text(content)
    shutil.copytree(FINISHED, tmp_path / "all" / "journal")
    (tmp_path / "all" / "journal" / JOURNAL).write_text("no journal\nat all\n")
    (tmp_path / "all" / "none").mkdir()
    listed = cli("runs", "all", "--json")
    assert listed.returncode == 0
    rows = {Path(row["run"]).name: row for row in json.loads(listed.stdout)}
    assert rows.keys() == {"good", "json", "recipe", "rows", "journal"}
    assert rows["good"]["state"] == "finished" and json.loads(listed.stdout)[0]["run"] == "all/deep/er/good"
    broken = [row for name, row in rows.items() if name != "good"]
    assert all(row["state"] == "broken" and row["problem"] and "\n" not in row["problem"] for row in broken)
    drawn = cli("runs", "all")
    assert "broken: all/json/ranking.json is not JSON" in drawn.stdout and drawn.returncode == 0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("runs",), "error: no folder at results: name the one with your runs, `scalesearch runs FOLDER`"),
        (("runs", "nowhere"), "error: no folder at nowhere"),
        (("runs", "."), "error: no run in ."),
        (("show", "--watch", "nowhere"), "error: no folder at nowhere"),
        (("show", "--watch"), "error: --watch: expected a run's folder, or --storage URL with --study NAME"),
        (("show", "--watch", "x", "--json"), "leave out --verified, --classes and --format"),
        (("show",), "expected a finished run's folder"),
    ],
)
def test_a_wrong_call_is_told_in_one_line(cli: Cli, arguments: tuple[str, ...], message: str) -> None:
    done = cli(*arguments)
    assert done.returncode == 2 and message in done.stderr and done.stderr.count("\n") == 1


def test_looking_changes_nothing(tmp_path: Path) -> None:
    run = tmp_path / "run"
    ledger = _begun(run)
    _complete(ledger, 0.5)
    (run / f".{JOURNAL}.lock").unlink()
    before = _content(run)
    watch = FolderWatch(run)
    watch.over(watch.look())
    state_of_run(run)
    assert _content(run) == before


def test_a_half_written_line_ends_what_is_read(tmp_path: Path) -> None:
    ledger = _begun(tmp_path / "run")
    _complete(ledger, 0.5)
    with (tmp_path / "run" / JOURNAL).open("ab") as file:
        file.write(b'{"op_code": 4, "wor')
    assert [record.state for record in LedgerReader(tmp_path / "run" / JOURNAL).records()] == ["complete", "waiting"]


def test_a_reader_refuses_what_is_no_ledger(tmp_path: Path) -> None:
    with pytest.raises(RunError, match="no ledger at"):
        LedgerReader(tmp_path / JOURNAL)
    assert not (tmp_path / JOURNAL).exists()
    (tmp_path / JOURNAL).write_text("x\ny\n")
    with pytest.raises(RunError, match="cannot be read"):
        LedgerReader(tmp_path / JOURNAL)


def test_changes_are_told_once(tmp_path: Path) -> None:
    ledger = _begun(tmp_path / "run")
    watch = FolderWatch(tmp_path / "run")
    first = watch.look()[0]
    assert changes(None, first) == []
    _complete(ledger, 0.5)
    second = watch.look()[0]
    (change,) = changes(first, second)
    assert change.record.state == "complete" and change.best
    assert changes(second, watch.look()[0]) == []


@contextmanager
def _watching(folder: Path, run: RunFolder) -> Iterator[tuple[Any, RunFolder]]:
    """A watch, as another process, of a run that this process holds."""
    command = [sys.executable, "-u", "-m", "scalesearch", "show", "--watch", "run"]
    held = run.__enter__()
    process = subprocess.Popen(command, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        yield process, held
    finally:
        process.kill()
        process.communicate()


def test_a_watch_into_a_pipe_is_a_line_per_change_and_ends_with_the_search(tmp_path: Path) -> None:
    run = tmp_path / "run"
    ledger = _begun(run)
    with _watching(tmp_path, RunFolder(run)) as (process, held):
        lines = [process.stdout.readline()]
        _complete(ledger, 0.25)
        lines.append(process.stdout.readline())
        claim = ledger.claim(me())
        assert claim is not None
        lines.append(process.stdout.readline())
        ledger.fail(claim, "the loss is nan")
        lines.append(process.stdout.readline())
        ledger.note("open", False)
        shutil.copy(FINISHED / "ranking.json", run)
        held.__exit__(None, None, None)
        out, err = process.communicate(timeout=30)
    assert [*lines, out] == [
        "grid efficientnet_b0 φ 1: running, 0 of 2 trials done\n",
        "[1/2] α 1 β 1.2 γ 1, seed 0  25.0 %  0:01  (the best so far)\n",
        "begun: α 1 β 1.4 γ 1, seed 0\n",
        "failed: α 1 β 1.4 γ 1, seed 0: the loss is nan\n",
        "finished: 1 of 2 trials done; best by mean accuracy: α 1 β 1.2 γ 1, 25.0 %\n",
    ]
    assert (process.returncode, err) == (0, "")


def test_ctrl_c_ends_a_watch_and_nothing_else(tmp_path: Path) -> None:
    _begun(tmp_path / "run")
    with _watching(tmp_path, RunFolder(tmp_path / "run")) as (process, _):
        begun = process.stdout.readline()
        time.sleep(0.5)  # it waits now
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=30)
    assert begun.startswith("grid efficientnet_b0 φ 1: running")
    assert (process.returncode, out, err) == (0, "no longer watched: the search itself goes on\n", "")


def test_every_committed_run_is_listed() -> None:
    assert {state_of_run(path).state for path in runs_in(RESULTS)} <= {"finished", "stopped", "running"}
