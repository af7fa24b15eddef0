"""What `train` says before it trains: a dry run, and the price of a long schedule."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from scalesearch.cli.commands import train as command
from scalesearch.cli.main import main
from scalesearch.runtime.team import ALONE
from scalesearch.search.estimate import is_long, training_seconds
from scalesearch.training.single import TrainRequest, job_of
from tests.support.small import TINY

TRAIN = ("train", "tiny.yaml", "--recipe", "quick", "--limit", "96", "--device", "cpu", "--out", "out")


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "tiny.yaml").write_text(TINY)
    return tmp_path


def _run(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> int:
    monkeypatch.setattr("sys.argv", ["scalesearch", *arguments])
    with pytest.raises(SystemExit) as ended:
        main()
    return int(ended.value.code or 0)


def test_a_dry_run_tells_and_trains_nothing(
    place: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert _run(monkeypatch, *TRAIN, "--steps", "4", "--dry-run") == 0
    said = capsys.readouterr().out
    for words in ("multiply-adds", "parameters", "base rate: ", "images: ", "(from a few steps)"):
        assert words in said
    assert not (place / "out").exists()
    assert _run(monkeypatch, *TRAIN, "--steps", "4", "--dry-run", "--json") == 0
    told = json.loads(capsys.readouterr().out)
    assert told["seconds"] > 0 and told["macs"] > 0 and told["finished"] is False and told["folder"] == "out"
    assert _run(monkeypatch, *TRAIN, "--steps", "4") == 0
    assert "(from a few steps)" not in capsys.readouterr().out, "four steps are not worth foreseeing"
    before = sorted(path.stat().st_mtime_ns for path in (place / "out").iterdir())
    assert _run(monkeypatch, *TRAIN, "--steps", "4", "--dry-run") == 0
    assert "out holds this training, finished: nothing would be trained" in capsys.readouterr().out
    assert sorted(path.stat().st_mtime_ns for path in (place / "out").iterdir()) == before


def test_a_dry_run_knows_what_does_not_fit_and_what_several_processes_leave_open(
    place: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def full(*_: object) -> float:
        raise torch.OutOfMemoryError("out of memory")

    assert _run(monkeypatch, *TRAIN, "--nproc-per-node", "2", "--dry-run") == 0
    assert "how long several processes take is not foreseen" in capsys.readouterr().out
    monkeypatch.setattr(command, "training_seconds", full)
    assert _run(monkeypatch, *TRAIN, "--dry-run") == 0
    assert "it does not fit on cpu with " in capsys.readouterr().out


def test_a_longer_schedule_is_foreseen_as_longer_and_said_before_it_trains(
    place: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    short, long = (job_of(TrainRequest("tiny.yaml", "quick", {"data.limit": 96, "train.steps": steps}), ALONE)
                   for steps in (20, 20_000))  # fmt: skip
    assert is_long(long) and not is_long(short)
    assert training_seconds(long) > 50 * training_seconds(short)
    monkeypatch.setattr(command, "is_long", lambda _: True)
    assert _run(monkeypatch, *TRAIN, "--steps", "4") == 0
    lines = capsys.readouterr().out.splitlines()
    price = next(i for i, line in enumerate(lines) if "(from a few steps)" in line)
    assert price < next(i for i, line in enumerate(lines) if line.startswith("step ")), "before the first step"
