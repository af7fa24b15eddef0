"""Worker processes: what dies takes one trial with it, and nothing else."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from scalesearch.search.ledger.journal import JOURNAL
from scalesearch.search.ledger.leases import is_gone
from scalesearch.search.ledger.ledger import Ledger
from tests.support.small import MINE, TINY_RUN, Cli

POOLED = (*TINY_RUN, "--workers", "1", "--top", "0")
DYING = """
import os, pathlib, signal, time
from mine import Net as Base

class Net(Base):
    def forward(self, x):
        if self.training and x.shape[0] > 8 and x.device.type == "cpu":
            steps = pathlib.Path("steps")
            count = len(steps.read_text()) if steps.exists() else 0
            if x.shape[-1] == SIZE:
                steps.write_text("x" * (count + 1))
                if count in STEPS:
                    ACT
        return super().forward(x)
"""


def dying_workers(tmp_path: Path, steps: range, act: str, *, size: int = 22) -> str:
    """A network that acts at these of the training steps at ``size`` pixels, counted over the whole run."""
    (tmp_path / "mine.py").write_text(MINE.format(width=8))
    own = DYING.replace("STEPS", repr(steps)).replace("ACT", act).replace("SIZE", str(size))
    (tmp_path / "dying.py").write_text(own)
    return "dying.py:Net"


def _records(tmp_path: Path) -> list[tuple[str, str | None]]:
    return [(r.state, r.reason) for r in Ledger(tmp_path / "run" / JOURNAL, "run").records()]


@pytest.mark.long
def test_a_worker_that_is_killed_takes_one_trial_which_is_repeated(cli: Cli, tmp_path: Path) -> None:
    """The last one: nothing else runs by then. It dies between two of the search's looks at what is left."""
    last = range(14, 15)  # the third trial at 16 pixels, of six steps each
    own = dying_workers(tmp_path, last, "time.sleep(2.5); os.kill(os.getpid(), signal.SIGKILL)", size=16)
    done = cli("grid", "--baseline", own, *POOLED, "--out", "run")
    assert done.returncode == 0, done.stderr
    assert "its worker was ended by SIGKILL (the kernel does that when memory ends)" in done.stdout
    states = [state for state, _ in _records(tmp_path)]
    assert states == [*["complete"] * 6, "lost", "complete"]
    assert not (tmp_path / "run" / "checkpoints").exists() or not list((tmp_path / "run" / "checkpoints").iterdir())


@pytest.mark.long
def test_a_trial_that_kills_its_worker_again_and_again_fails_alone(cli: Cli, tmp_path: Path) -> None:
    own = dying_workers(tmp_path, range(99), "os.kill(os.getpid(), signal.SIGSEGV)")
    done = cli("grid", "--baseline", own, *POOLED, "--retries", "1", "--out", "run")
    assert done.returncode == 0, done.stderr
    assert "failed: α 1 β 1 γ 1.4: its worker was ended by SIGSEGV" in done.stdout
    assert "1 trials failed, the last with: its worker was ended by SIGSEGV" in done.stdout.replace("\n", " ")
    states = [state for state, _ in _records(tmp_path)]
    assert states.count("lost") == 2 and len(json.loads((tmp_path / "run" / "ranking.json").read_text())["ranking"]) > 3


@pytest.mark.long
def test_a_trial_that_takes_too_long_is_ended_and_not_repeated(cli: Cli, tmp_path: Path) -> None:
    own = dying_workers(tmp_path, range(99), "time.sleep(600)")
    done = cli("grid", "--baseline", own, *POOLED, "--trial-minutes", "0.8", "--out", "run")
    assert done.returncode == 0, done.stderr
    assert "it took longer than 0.8 minutes" in done.stdout
    assert [state for state, _ in _records(tmp_path)].count("failed") == 1


@pytest.mark.long
def test_workers_of_a_search_that_was_killed_end_with_it(cli: Cli, tmp_path: Path) -> None:
    own = dying_workers(tmp_path, range(1), "time.sleep(600)")
    command = [sys.executable, "-m", "scalesearch", "grid", "--baseline", own, *POOLED, "--out", "run"]
    search = subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.DEVNULL)
    while not (tmp_path / "steps").exists():
        assert search.poll() is None
        time.sleep(0.1)
    (running,) = [r for r in Ledger(tmp_path / "run" / JOURNAL, "run").records() if r.state == "running"]
    assert not is_gone(running.owner)
    search.send_signal(signal.SIGKILL)
    search.wait()
    deadline = time.monotonic() + 10
    while not is_gone(running.owner) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert is_gone(running.owner)


@pytest.mark.long
def test_a_worker_from_elsewhere_helps_and_both_see_the_same_result(cli: Cli, tmp_path: Path) -> None:
    """A second command on the same machine joins a run's folder; the first one's worker waits for it in a trial."""
    wait = "while 'JOINED' not in os.environ and not pathlib.Path('joined').exists(): time.sleep(0.1)"
    own = dying_workers(tmp_path, range(12, 10**6), wait, size=16)
    grid = [sys.executable, "-m", "scalesearch", "grid", "--baseline", own, *POOLED, "--seeds", "2", "--out", "run"]
    search = subprocess.Popen(grid, cwd=tmp_path, stdout=subprocess.PIPE, text=True)
    assert search.stdout is not None
    for line in search.stdout:
        if line.startswith("[1/14]"):
            break
    worker = [sys.executable, "-m", "scalesearch", "worker", "run", "--device", "cpu"]
    joined = subprocess.Popen(
        worker, cwd=tmp_path, stdout=subprocess.PIPE, text=True, env={**os.environ, "JOINED": "yes"}
    )
    ledger = Ledger(tmp_path / "run" / JOURNAL, "run")
    while joined.poll() is None and len({r.owner for r in ledger.records() if r.state == "complete"}) < 2:
        time.sleep(0.1)
    (tmp_path / "joined").touch()
    search.communicate()
    said = joined.communicate()[0]
    assert search.returncode == joined.returncode == 0
    assert "1 worker on cpu for run" in said
    assert [r.state for r in ledger.records()] == ["complete"] * 14
    assert len({r.owner for r in ledger.records()}) == 2


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("worker",), "expected a run's folder, or --storage URL with --study NAME"),
        (("worker", "nowhere"), "nowhere holds no study.journal"),
        (("worker", "--storage", "sqlite:///x.db", "--study", "x"), "SQLite takes one writer at a time"),
        (("worker", "--storage", "env", "--study", "x"), "SCALESEARCH_STORAGE is not set"),
        (("worker", "--storage", "postgresql://ann:s3cret@127.0.0.1:1/x", "--study", "x"), "ann:***@127.0.0.1:1"),
    ],
)
def test_a_mistake_is_one_line_without_a_password(arguments: tuple[str, ...], message: str, cli: Cli) -> None:
    done = cli(*arguments)
    assert done.returncode == 2
    assert message in done.stderr
    assert "s3cret" not in done.stderr + done.stdout
    assert len(done.stderr.strip().splitlines()) == 1
