"""Workers killed and frozen, searches killed, a database stopped: every (candidate, seed) once, and the same table."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from contextlib import suppress
from pathlib import Path

import pytest

from scalesearch.errors import RunError
from scalesearch.search.ledger.journal import JOURNAL
from scalesearch.search.ledger.leases import is_gone
from scalesearch.search.ledger.ledger import Ledger
from tests.support import mariadb, postgres
from tests.support.small import TINY_RUN, Cli, steps_of

pytestmark = [pytest.mark.long, pytest.mark.timeout(1800)]
TABLES = ("ranking.csv", "ranking.json", "ranking.md", "candidates.csv")
Server = mariadb.Server | postgres.Server
ONE_BY_ONE = ("grid", "--baseline", "tiny.yaml", *TINY_RUN, "--seeds", "4", "--workers", "1")
SIDE_BY_SIDE = (
    "grid", "--baseline", "tiny.yaml", *TINY_RUN, "--seeds", "5", "--workers", "4", "--top", "1",
    "--retries", "1000", "--set", "run.lease_seconds=4", "--set", "run.checkpoint_steps=50",
)  # fmt: skip


def _same_tables(folder: Path) -> None:
    for name in TABLES:
        assert (folder / "chaos" / name).read_bytes() == (folder / "calm" / name).read_bytes(), name


def _killed(folder: Path, arguments: tuple[str, ...], times: int, *, within: float) -> tuple[int, bool]:
    """A search into ``chaos``, killed so often, at random within so many seconds: how often, and whether it ended."""
    moments, command = random.Random(times), [sys.executable, "-m", "scalesearch", *arguments, "--out", "chaos"]
    kills, finished = 0, False
    while kills < times and not finished:
        process = subprocess.Popen(command, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        time.sleep(moments.uniform(0.3, within))
        process.kill()
        out, _ = process.communicate()
        assert "error" not in out, out
        finished = "winner" in out
        kills += process.returncode == -9 and not finished
    return kills, finished


def test_ten_kills_of_a_search_step_by_step_choose_the_same_trials(cli: Cli, tmp_path: Path) -> None:
    """What is trained next is a function of the ledger: the same trials, and the same table."""
    options = ("grid", "--baseline", "tiny.yaml", *TINY_RUN, "--workers", "1", "--budget", "14-trials")
    budget = (*options, *steps_of(cli, tmp_path, ("grid", "--baseline", "tiny.yaml", *TINY_RUN), 2))
    undisturbed = cli(*budget, "--out", "calm", timeout=600)
    assert undisturbed.returncode == 0, undisturbed.stderr
    kills, _ = _killed(tmp_path, budget, 10, within=8)
    done = cli(*budget, "--out", "chaos", timeout=600)
    assert done.returncode == 0, done.stderr
    assert kills > 3, "the run was over before it could be killed often enough: make it longer"
    chosen = [
        [r.task.key for r in Ledger(tmp_path / name / JOURNAL, name).records() if r.state == "complete"]
        for name in ("calm", "chaos")
    ]
    assert len(set(chosen[0])) == 14 and sorted(chosen[0]) == sorted(chosen[1])
    _same_tables(tmp_path)


def test_twenty_kills_of_the_whole_search_change_nothing(cli: Cli, tmp_path: Path) -> None:
    one_by_one = (*ONE_BY_ONE, *steps_of(cli, tmp_path, ONE_BY_ONE, 4))
    undisturbed = cli(*one_by_one, "--out", "calm", timeout=600)
    assert undisturbed.returncode == 0, undisturbed.stderr
    kills, finished = _killed(tmp_path, one_by_one, 20, within=11)
    assert not finished, "the run was over before it could be killed often enough: make it longer"
    done = cli(*one_by_one, "--out", "chaos", timeout=600)
    assert done.returncode == 0, done.stderr
    records = Ledger(tmp_path / "chaos" / JOURNAL, "chaos").records()
    complete = Counter(r.task.key for r in records if r.state == "complete")
    print(f"\n{kills} kills, {len(complete)} trials, {len(records) - len(complete)} records beside them")
    assert len(complete) == 28 and set(complete.values()) == {1}
    assert not [r for r in records if r.state in ("running", "waiting")]
    _same_tables(tmp_path)


@pytest.mark.parametrize("kind", ["file", "postgresql", "mariadb"])
def test_four_workers_killed_and_frozen_at_random_change_nothing(cli: Cli, tmp_path: Path, kind: str) -> None:
    server = _server(kind)
    where: Path | str = server.url if server else tmp_path / "chaos" / JOURNAL
    side_by_side = (*SIDE_BY_SIDE, *steps_of(cli, tmp_path, SIDE_BY_SIDE, 6))
    undisturbed = cli(*side_by_side, "--out", "calm", timeout=900)
    assert undisturbed.returncode == 0, undisturbed.stderr
    at = ("--storage", "env", "--study", "chaos") if server else ()
    environment = os.environ | ({"SCALESEARCH_STORAGE": server.url} if server else {})
    command = [sys.executable, "-m", "scalesearch", *side_by_side, *at, "--out", "chaos"]
    with (tmp_path / "log").open("w") as log:
        search = subprocess.Popen(command, cwd=tmp_path, stdout=log, stderr=subprocess.STDOUT, env=environment)
    try:
        killed, frozen = _disturb(search, where, server)
        assert search.wait(timeout=900) == 0, (tmp_path / "log").read_text()
    finally:
        search.kill()
    records = Ledger(where, "chaos").records()
    if server:
        server.stop()
    complete = Counter(r.task.key for r in records if r.state == "complete")
    lost = [r for r in records if r.state == "lost"]
    wasted = sum(r.seconds or 0 for r in lost)
    resumed = sum((r.outcome or {}).get("resumed", 0) for r in records)
    print(
        f"\n{kind}: {killed} kills, {frozen} freezes, {len(complete)} trials, {len(lost)} repeated, {resumed} resumed "
        f"from a checkpoint, {wasted:.0f} s in trials that were lost"
    )
    assert killed >= 10 and frozen >= 5
    assert len(complete) == 35 and set(complete.values()) == {1}
    assert not [r for r in records if r.state in ("running", "waiting")]
    assert "s3cret" not in (tmp_path / "log").read_text()
    _same_tables(tmp_path)


def _server(kind: str) -> Server | None:
    folder = Path("/tmp") / f"scalesearch-{kind}-{os.getpid()}"  # short, and readable by the server's own user
    if kind == "postgresql":
        if postgres.binaries() is None:
            pytest.skip("PostgreSQL is not installed")
        return postgres.Server(folder)
    if kind == "mariadb":
        if mariadb.PROGRAM is None:
            pytest.skip("MariaDB is not installed")
        return mariadb.Server(folder)
    return None


def _disturb(search: subprocess.Popen[bytes], where: Path | str, server: Server | None) -> tuple[int, int]:
    """Kill and freeze workers until the search is over; stop the server once, for ten seconds."""
    dice, killed, frozen, ledger = random.Random(4), 0, 0, None
    began, stopped = time.monotonic(), False
    thaw: dict[int, float] = {}
    while search.poll() is None:
        time.sleep(dice.uniform(0.5, 2.5))
        for worker in [w for w, due in thaw.items() if time.monotonic() > due]:
            _signal(worker, signal.SIGCONT)
            del thaw[worker]
        if ledger is None:
            with suppress(RunError):
                if isinstance(where, str) or where.exists():
                    ledger = Ledger(where, "chaos", create=False)
            continue
        if server and killed >= 6 and not stopped:
            stopped = True
            server.stop()
            time.sleep(10)
            server.start()
        owners = {r.owner for r in ledger.records() if r.state == "running" and r.owner and not is_gone(r.owner)}
        workers = sorted(int(owner.split()[-2]) for owner in owners)
        if not workers or time.monotonic() - began > 150:
            continue
        worker = dice.choice(workers)
        if dice.random() < 0.65:
            killed += _signal(worker, signal.SIGKILL)
        elif worker not in thaw:
            frozen += _signal(worker, signal.SIGSTOP)
            thaw[worker] = time.monotonic() + dice.uniform(1, 9)
    return killed, frozen


def _signal(process: int, what: signal.Signals) -> bool:
    try:
        os.kill(process, what)
    except ProcessLookupError:
        return False
    return True
