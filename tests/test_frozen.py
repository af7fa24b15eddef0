"""Runs as earlier versions left them: a later one must open them and say the same."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pandas as pd

from scalesearch.search.ledger.journal import JOURNAL
from scalesearch.search.ledger.ledger import Ledger
from tests.support.small import FROZEN, RESULTS, TINY_RUN, Cli

JUDGED = ["rank", "score", "low", "high", "p_best", "contender", "front"]
"""Columns that say how the trials are read together, which a later version may do better."""


def test_a_finished_run_of_format_2_is_opened_and_measured_as_it_was(cli: Cli, tmp_path: Path) -> None:
    shutil.copytree(FROZEN / "format-2", tmp_path / "frozen")
    before = pd.read_csv(tmp_path / "frozen" / "ranking.csv")
    done = cli("grid", "--baseline", "tiny.yaml", *TINY_RUN, "--seeds", "2", "--out", "frozen")
    assert done.returncode == 0, done.stderr
    assert "14 of 14 trials were done before" in done.stdout
    after = pd.read_csv(tmp_path / "frozen" / "ranking.csv")
    assert set(before) < set(after)
    before, after = (frame.set_index("network").sort_index() for frame in (before, after))
    measured = [column for column in before if column not in JUDGED]
    pd.testing.assert_frame_equal(after[measured], before[measured])
    assert (after["low"] < after["pooled"]).all() and (after["pooled"] < after["high"]).all()
    assert cli("scale", "--from", "frozen", "--phi", "1").returncode == 0


def test_a_ledger_of_format_1_is_read(tmp_path: Path) -> None:
    """It had no owners, attempts or checkpoints."""
    shutil.copy(RESULTS / "mobilenet_v2-phi1-imagenette" / JOURNAL, tmp_path)
    ledger = Ledger(tmp_path / JOURNAL, "run")
    records = ledger.records()
    assert [record.state for record in records] == ["complete"] * 7
    assert all(record.attempt == 1 for record in records)
    ledger.want([record.task for record in records])
    assert len(ledger.records()) == 7 and ledger.claim("somebody") is None


def test_no_run_of_the_repository_lies_where_its_command_would_look_for_one() -> None:
    """Else somebody who tries the README's commands in a clone would be told that all is done."""
    assert not [folder.name for folder in RESULTS.iterdir() if re.search(r"-[0-9a-f]{6}$", folder.name)]
