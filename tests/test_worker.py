"""What a worker keeps of the trials it has done: nothing."""

from __future__ import annotations

import gc
import sys
import weakref
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from scalesearch import worker
from scalesearch.cli import main
from scalesearch.train import train
from scalesearch.trainer import Trainer
from tests.conftest import TINY, TINY_RUN


@pytest.fixture
def _no_collector() -> Iterator[None]:
    gc.disable()
    yield
    gc.enable()


@pytest.mark.usefixtures("_no_collector")
def test_the_networks_of_finished_trials_are_let_go(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without waiting for Python's collector, which may come after a dozen of them."""
    trainers: list[weakref.ref[Trainer]] = []
    alive: list[int] = []
    work_once = worker.Worker.work_once

    def watched(*arguments: Any, **options: Any) -> Any:
        outcome, trainer = train(*arguments, **options)
        trainers.append(weakref.ref(trainer))
        return outcome, trainer

    def counted(self: worker.Worker) -> bool:
        done = work_once(self)
        alive.append(sum(trainer() is not None for trainer in trainers))
        return done

    monkeypatch.setattr("scalesearch.worker.train", watched)
    monkeypatch.setattr(worker.Worker, "work_once", counted)
    monkeypatch.chdir(tmp_path)
    Path("tiny.yaml").write_text(TINY)
    monkeypatch.setattr(sys, "argv", ["scalesearch", "grid", "--baseline", "tiny.yaml", *TINY_RUN, "--top", "0"])
    with pytest.raises(SystemExit) as end:
        main()
    assert not end.value.code
    assert len(trainers) == 7
    assert set(alive) == {0}
