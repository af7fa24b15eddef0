"""What a worker keeps of the trials it has done: nothing; and whose fault a failure is."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NoReturn

import pytest
import torch

from scalesearch.data.sources import open_source
from scalesearch.errors import DeviceError, GraphError
from scalesearch.recipe import load_recipe
from scalesearch.runtime.device import is_lost, release_memory
from scalesearch.scaling.compound import Coefficients
from scalesearch.scaling.cost import closed_form
from scalesearch.scaling.spec import ModelSpec
from scalesearch.scaling.spec_files import dump_spec
from scalesearch.search import worker
from scalesearch.search.ledger.journal import JOURNAL
from scalesearch.search.ledger.ledger import Ledger
from scalesearch.search.work import BrokenDeviceError, Event, Terms, Work, note_work
from scalesearch.training.train import train
from scalesearch.training.trainer import Trainer
from scalesearch.trials import Outcome, Task


def test_a_device_is_lost_when_it_answers_nothing_else(monkeypatch: pytest.MonkeyPatch) -> None:
    def answer(_: torch.device) -> None:
        raise RuntimeError("CUDA error: device-side assert triggered")

    monkeypatch.setattr("torch.cuda.synchronize", answer)
    monkeypatch.setattr("torch.cuda.empty_cache", lambda: answer(torch.device("cuda")))
    assert is_lost(torch.device("cuda"))
    release_memory(torch.device("cuda"))  # which hides no reason behind its own
    assert not is_lost(torch.device("cpu"))
    monkeypatch.setattr("torch.cuda.synchronize", lambda _: None)
    assert not is_lost(torch.device("cuda"))


def _study(folder: Path, tiny: ModelSpec, **changes: object) -> tuple[Ledger, Terms]:
    """A ledger in which one trial waits."""
    small = {"resolution": 16, "data.limit": 24, "data.cache_resolution": 16}
    recipe = load_recipe("quick", small | changes)
    ledger = Ledger(folder / JOURNAL, "run")
    note_work(ledger, recipe, dump_spec(tiny), open_source(recipe.data).fingerprint)
    work = Work.of(ledger)
    ledger.want([Task(Coefficients(1, 1, 1), work.resolved.model(Coefficients(1, 1, 1)).fingerprint, 0)])
    return ledger, Terms(folder / JOURNAL, ledger.name, folder, "cpu")


def test_a_trial_is_recorded_with_fvcores_count(tmp_path: Path, tiny: ModelSpec) -> None:
    ledger, terms = _study(tmp_path, tiny)
    assert worker.Worker(terms, lambda _: None).work_once()
    (record,) = ledger.records()
    assert record.outcome
    count = record.outcome["count"]
    assert count["macs"] == closed_form(tiny, 12).macs, "the embedded images have twelve classes"
    assert count["total"] > count["macs"]
    assert set(count["uncounted"]) == {"aten::add_"}


def test_a_worker_without_cuda_leaves_such_a_search_to_others(tmp_path: Path, tiny: ModelSpec) -> None:
    """It does not fail every trial that waits."""
    _, terms = _study(tmp_path, tiny, **{"run.cuda_graphs": True})
    with pytest.raises(DeviceError, match="--cuda-graphs needs CUDA, and this trains on cpu"):
        worker.Worker(terms, lambda _: None)


def test_a_trial_that_cannot_be_recorded_fails_once_and_its_process_is_replaced(
    tmp_path: Path, tiny: ModelSpec
) -> None:
    """The reason names a CUDA error, which of other trials says that the device is gone, and has them repeated."""

    def refused(*_: Any, **__: Any) -> NoReturn:
        raise GraphError("this network cannot be recorded as a CUDA graph (CUDA error: not permitted)")

    ledger, terms = _study(tmp_path, tiny)
    told: list[Event] = []
    with pytest.raises(BrokenDeviceError, match="cannot be recorded"):
        worker.Worker(terms, told.append, train=refused).work_once()
    assert [event.kind for event in told] == ["ready", "started", "failed"]
    assert [record.state for record in ledger.records()] == ["failed"]


def test_a_trial_on_a_lost_device_is_not_blamed(tmp_path: Path, tiny: ModelSpec) -> None:
    """Whatever the library said: the process ends, and its trial is for another to repeat."""

    def lost(*_: Any, **__: Any) -> NoReturn:
        raise RuntimeError("cuDNN error: CUDNN_STATUS_EXECUTION_FAILED")

    ledger, terms = _study(tmp_path, tiny)
    with pytest.raises(BrokenDeviceError, match="EXECUTION_FAILED"):
        worker.Worker(terms, lambda _: None, train=lost, is_lost=lambda device: True).work_once()
    assert [record.state for record in ledger.records()] == ["running"]


@pytest.fixture
def _no_collector() -> Iterator[None]:
    gc.disable()
    yield
    gc.enable()


@pytest.mark.usefixtures("_no_collector")
def test_the_networks_of_finished_trials_are_let_go(tmp_path: Path, tiny: ModelSpec) -> None:
    """Without waiting for Python's collector, which may come after a dozen of them."""
    trainers: list[weakref.ref[Trainer]] = []

    def watched(*arguments: Any, **options: Any) -> tuple[Outcome, Trainer]:
        outcome, trainer = train(*arguments, **options)
        trainers.append(weakref.ref(trainer))
        return outcome, trainer

    ledger, terms = _study(tmp_path, tiny, **{"train.steps": 2})
    (record,) = ledger.records()
    ledger.want([Task(record.task.coefficients, record.task.fingerprint, seed) for seed in range(4)])
    one = worker.Worker(terms, lambda _: None, train=watched)
    alive = []
    while one.work_once():
        alive.append(sum(trainer() is not None for trainer in trainers))
    assert alive == [0, 0, 0, 0]
