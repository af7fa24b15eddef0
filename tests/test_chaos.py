"""``kill -9`` at random moments: every (candidate, seed) once, and the ranking of an undisturbed run, byte for byte."""

from __future__ import annotations

import random
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest

from scalesearch.study import Ledger
from tests.conftest import TINY_RUN, Cli

KILLS = 20
GRID = ("grid", "--baseline", "tiny.yaml", *TINY_RUN, "--steps", "100", "--seeds", "4")


@pytest.mark.long
@pytest.mark.timeout(1800)
def test_twenty_kills_change_nothing(cli: Cli, tmp_path: Path) -> None:
    undisturbed = cli(*GRID, "--out", "calm", timeout=600)
    assert undisturbed.returncode == 0, undisturbed.stderr
    moments = random.Random(20)
    command = [sys.executable, "-m", "scalesearch", *GRID, "--out", "chaos"]
    kills = finished = 0
    while kills < KILLS:
        process = subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        time.sleep(moments.uniform(0.3, 9))
        process.kill()
        out, _ = process.communicate()
        assert "error" not in out, out
        kills += process.returncode == -9
        finished += "winner" in out
    assert not finished, "the run was over before it could be killed often enough: make it longer"
    done = cli(*GRID, "--out", "chaos", timeout=600)
    assert done.returncode == 0, done.stderr
    records = Ledger(tmp_path / "chaos" / "study.journal", "chaos").records()
    complete = Counter(r.task.key for r in records if r.state == "complete")
    print(f"{kills} kills, {len(complete)} trials, {len(records) - len(complete)} records beside them")
    assert set(complete.values()) == {1}
    assert len(complete) == 28 == len(records)
    for name in ("ranking.csv", "ranking.json", "ranking.md", "candidates.csv"):
        assert (tmp_path / "chaos" / name).read_bytes() == (tmp_path / "calm" / name).read_bytes()
