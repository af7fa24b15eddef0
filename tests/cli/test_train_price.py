"""What `train` says before it trains: a dry run, and the price of a long schedule."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest
import torch

from scalesearch.cli.commands import train
from scalesearch.runtime.team import ALONE
from scalesearch.search.estimate import is_long, training_seconds
from scalesearch.training.single import TrainRequest, job_of
from tests.support.small import TINY, run_here

TRAIN = ("train", "tiny.yaml", "--recipe", "quick", "--limit", "96", "--device", "cpu", "--out", "out")


Command = Callable[..., tuple[object, str, str]]


@pytest.fixture
def command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Command:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "tiny.yaml").write_text(TINY)
    return partial(run_here, monkeypatch, capsys)


def test_a_dry_run_tells_and_trains_nothing(command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    code, said, _ = command(*TRAIN, "--steps", "4", "--dry-run")
    assert code == 0
    for words in ("multiply-adds", "parameters", "base rate: ", "images: ", "(from a few steps)"):
        assert words in said
    assert not (tmp_path / "out").exists()
    code, said, _ = command(*TRAIN, "--steps", "4", "--dry-run", "--json")
    assert code == 0
    told = json.loads(said)
    assert told["seconds"] > 0 and told["macs"] > 0 and told["finished"] is False and told["folder"] == "out"
    code, said, _ = command(*TRAIN, "--steps", "4")
    assert code == 0 and "(from a few steps)" not in said, "four steps are not worth foreseeing"
    before = sorted(path.stat().st_mtime_ns for path in (tmp_path / "out").iterdir())
    code, said, _ = command(*TRAIN, "--steps", "4", "--dry-run")
    assert code == 0 and "out holds this training, finished: nothing would be trained" in said
    assert sorted(path.stat().st_mtime_ns for path in (tmp_path / "out").iterdir()) == before


def test_a_dry_run_knows_what_does_not_fit_and_what_several_processes_leave_open(
    command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> float:
        raise torch.OutOfMemoryError("out of memory")

    code, said, _ = command(*TRAIN, "--nproc-per-node", "2", "--dry-run")
    assert code == 0 and "how long several processes take is not foreseen" in said
    monkeypatch.setattr(train, "training_seconds", full)
    code, said, _ = command(*TRAIN, "--dry-run")
    assert code == 0 and "it does not fit on cpu with " in said


def test_a_longer_schedule_is_foreseen_as_longer_and_said_before_it_trains(
    command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    short, long = (job_of(TrainRequest("tiny.yaml", "quick", {"data.limit": 96, "train.steps": steps}), ALONE)
                   for steps in (20, 20_000))  # fmt: skip
    assert is_long(long) and not is_long(short)
    assert training_seconds(long) > 50 * training_seconds(short)
    monkeypatch.setattr(train, "is_long", lambda _: True)
    code, said, _ = command(*TRAIN, "--steps", "4")
    assert code == 0
    lines = said.splitlines()
    price = next(i for i, line in enumerate(lines) if "(from a few steps)" in line)
    assert price < next(i for i, line in enumerate(lines) if line.startswith("step ")), "before the first step"
