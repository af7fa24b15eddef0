"""Who holds a trial, and who no longer does: leases, fences, and bounded repeats."""

from __future__ import annotations

import os
import random
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from scalesearch.errors import LeaseLostError
from scalesearch.scaling.compound import Coefficients
from scalesearch.search.ledger.leases import Heartbeat, Watch, is_gone, me
from scalesearch.search.ledger.ledger import Claim, Ledger
from scalesearch.search.ledger.urls import masked
from scalesearch.trials import Record, Task

OUTCOME: dict[str, Any] = {"accuracy": 0.5, "curve": [[1, 0.25, 2.0], [2, 0.5, 1.0]]}
TASKS = [Task(Coefficients(1 + i / 10, 1.0, 1.0), f"net{i}", s) for s in range(2) for i in range(3)]


@pytest.fixture
def ledger(tmp_path: Path) -> Ledger:
    ledger = Ledger(tmp_path / "study.journal", "run")
    ledger.want(TASKS[:1])
    return ledger


def _claim(ledger: Ledger, owner: str = "a") -> Claim:
    claim = ledger.claim(owner)
    assert claim is not None
    return claim


def _running(ledger: Ledger) -> Record:
    return next(record for record in ledger.records() if record.state == "running")


def test_a_worker_that_comes_back_cannot_overwrite_the_one_that_took_over(ledger: Ledger) -> None:
    frozen = _claim(ledger, "frozen")
    assert ledger.lose(_running(ledger), "not seen for 60 s")
    ledger.repeat_lost(retries=2)
    other = _claim(ledger, "other")
    with pytest.raises(LeaseLostError):
        ledger.beat(frozen, 1)
    with pytest.raises(LeaseLostError):
        ledger.report(frozen, 1, 0.9)
    with pytest.raises(LeaseLostError):
        ledger.complete(frozen, 0.9, OUTCOME)
    with pytest.raises(LeaseLostError):
        ledger.fail(frozen, "too late")
    ledger.complete(other, 0.5, OUTCOME)
    assert [(r.state, r.reason, r.attempt) for r in ledger.records()] == [
        ("lost", "not seen for 60 s", 1),
        ("complete", None, 2),
    ]


def test_a_trial_that_was_completed_just_in_time_is_not_lost(ledger: Ledger) -> None:
    claim = _claim(ledger)
    record = _running(ledger)
    ledger.complete(claim, 0.5, OUTCOME)
    assert not ledger.lose(record, "not seen")
    ledger.repeat_lost(retries=2)
    assert [r.state for r in ledger.records()] == ["complete"]


def test_repeats_are_bounded_and_the_command_given_again_starts_over(ledger: Ledger) -> None:
    for _ in range(5):
        ledger.repeat_lost(retries=2)
        if ledger.claim("a"):
            ledger.lose(_running(ledger), "killed")
    assert [r.attempt for r in ledger.records()] == [1, 2, 3]
    ledger.want(TASKS[:1])
    assert [r.state for r in ledger.records()] == ["lost"] * 3 + ["waiting"]


def test_a_task_that_was_enqueued_twice_is_done_once(ledger: Ledger, tmp_path: Path) -> None:
    """Two lookers on notice the same loss at once."""
    _claim(ledger)
    ledger.lose(_running(ledger), "killed")
    before = ledger.records()
    ledger.repeat_lost(retries=2)
    ledger._add([(before[0].task, 2)])
    claim = _claim(ledger)
    assert ledger.claim("b") is None, "the second of the two waits for the first"
    ledger.complete(claim, 0.5, OUTCOME)
    assert ledger.claim("b") is None
    ledger.want(TASKS[:1])
    assert Counter(r.state for r in ledger.records())["complete"] == 1


def test_whatever_order_things_happen_in_each_task_is_completed_once(tmp_path: Path) -> None:
    """Workers that claim, freeze, come back and are given up at random, seen through ledgers of their own."""
    for seed in range(6):
        dice = random.Random(seed)
        path = tmp_path / f"{seed}.journal"
        ledgers = [Ledger(path, "run") for _ in range(3)]
        ledgers[0].want(TASKS)
        held: list[tuple[Ledger, Claim]] = []
        for turn in range(400):
            ledger, act = dice.choice(ledgers), dice.random()
            if act < 0.35:
                claim = ledger.claim(f"worker {turn}")
                held += [(ledger, claim)] if claim else []
            elif act < 0.6 and held:
                owner, claim = held.pop(dice.randrange(len(held)))
                try:
                    owner.complete(claim, 0.5, OUTCOME)
                except LeaseLostError:
                    continue
            elif act < 0.75:
                for record in ledger.records():
                    if record.state == "running" and dice.random() < 0.5:
                        ledger.lose(record, "frozen")
            else:
                ledger.repeat_lost(retries=1000)
            running = Counter(r.task.key for r in ledger.records() if r.state == "running")
            assert all(count == 1 for count in running.values())
        for ledger, claim in held:
            try:
                ledger.complete(claim, 0.5, OUTCOME)
            except LeaseLostError:
                continue
        ledgers[0].repeat_lost(retries=1000)
        while claim := ledgers[1].claim("last"):
            ledgers[1].complete(claim, 0.5, OUTCOME)
        complete = Counter(r.task.key for r in Ledger(path, "run").records() if r.state == "complete")
        assert complete == {task.key: 1 for task in TASKS}


def test_a_lease_runs_out_only_when_it_is_not_renewed(ledger: Ledger) -> None:
    claim = _claim(ledger, "elsewhere")
    watch = Watch(lease_seconds=0.2)
    for beat in range(8):
        ledger.beat(claim, beat)
        assert watch.expired(ledger.records()) == []
        time.sleep(0.05)
    late: list[tuple[Record, str]] = []
    for _ in range(40):
        late = late or watch.expired(ledger.records())
        time.sleep(0.02)
    assert [(r.owner, why) for r, why in late] == [("elsewhere", "its worker has not shown itself for 0.2 s")]


def test_a_looker_that_was_frozen_itself_blames_nobody(ledger: Ledger) -> None:
    _claim(ledger, "elsewhere")
    watch = Watch(lease_seconds=0.2)
    watch.expired(ledger.records())
    time.sleep(0.5)
    assert watch.expired(ledger.records()) == []


def test_clock_steps_change_nothing(ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    claim = _claim(ledger, "elsewhere")
    watch = Watch(lease_seconds=60)
    monkeypatch.setattr(time, "time", lambda: 4e9)
    ledger.beat(claim, 1)
    assert watch.expired(ledger.records()) == []
    ledger.complete(claim, 0.5, OUTCOME)
    assert ledger.records()[0].state == "complete"


def test_a_process_of_this_machine_that_is_no_more_is_not_waited_for(ledger: Ledger) -> None:
    code = "from scalesearch.search.ledger.leases import me; print(me())"
    gone = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip()
    assert is_gone(gone) and not is_gone(me())
    assert not is_gone(None) and not is_gone("elsewhere 17 4711")
    reused = me().rpartition(" ")[0] + " 1"
    assert is_gone(reused), "another process has its number by now"
    _claim(ledger, gone)
    late = Watch(lease_seconds=60).expired(ledger.records())
    assert [(r.owner, why) for r, why in late] == [(gone, "its worker is gone")]


def test_the_heart_beats_from_its_own_thread_until_the_lease_is_lost(ledger: Ledger) -> None:
    claim = _claim(ledger)
    with Heartbeat(ledger, claim, lease_seconds=0.2) as heart:
        time.sleep(0.4)
        heart.check()
        assert (_running(ledger).beat or 0) >= 2
        ledger.lose(_running(ledger), "taken for dead")
        time.sleep(0.4)
        with pytest.raises(LeaseLostError):
            heart.check()


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("postgresql://ann:s3cret@db:5432/x", "postgresql://ann:***@db:5432/x"),
        ("error at mysql+pymysql://a:b@h/d, retry", "error at mysql+pymysql://a:***@h/d, retry"),
        ("postgresql:///x?user=ann&password=s3cret", "postgresql:///x?user=ann&password=***"),
        ("results/run/study.journal", "results/run/study.journal"),
        ("--storage postgresql://ann:p:w@db/x --phi 1", "--storage postgresql://ann:***@db/x --phi 1"),
    ],
)
def test_passwords_are_masked(text: str, shown: str) -> None:
    assert masked(text) == shown
    assert os.environ.get("SCALESEARCH_STORAGE") is None
