"""What TensorBoard is shown is what the ledger holds, once."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from scalesearch.candidates.grid import Candidate, plan
from scalesearch.candidates.resolve import resolve_baseline
from scalesearch.errors import RunError
from scalesearch.image_size import Rectangle
from scalesearch.recipe import Recipe
from scalesearch.scaling.spec import ModelSpec
from scalesearch.search.tensorboard_log import TensorBoardLog, load_tensorboard
from scalesearch.trials import Record, Task

pytest.importorskip("tensorboard")


@pytest.fixture
def candidates(quick: Recipe, tiny: ModelSpec) -> dict[str, Candidate]:
    made = plan(resolve_baseline(quick, tiny).baseline, 1.0, quick.search, num_classes=12)
    return {c.model.fingerprint: c for c in made.candidates}


def _shown(folder: Path) -> dict[str, dict[str, list[tuple[int, float]]]]:
    """By folder of event files and by tag: every step with its value, also those that are there twice."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    found: dict[str, dict[str, list[tuple[int, float]]]] = {}
    for place in sorted({file.parent for file in folder.rglob("events.out.*")}):
        read = EventAccumulator(str(place)).Reload()
        found[str(place.relative_to(folder))] = {
            tag: sorted((e.step, round(e.value, 4)) for e in read.Scalars(tag)) for tag in read.Tags()["scalars"]
        }
    return found


def _record(candidate: Candidate, number: int, state: str, curve: dict[int, float], **more: Any) -> Record:
    task = Task(candidate.coefficients, candidate.model.fingerprint, 0)
    return Record(number=number, task=task, state=state, curve=curve, **more)


def test_a_trial_is_shown_as_it_goes_on_and_once(candidates: dict[str, Candidate], tmp_path: Path) -> None:
    first = next(iter(candidates.values()))
    log = TensorBoardLog(tmp_path)
    log.follow([_record(first, 0, "running", {5: 0.1})], candidates)
    log.follow([_record(first, 0, "lost", {5: 0.1}), _record(first, 1, "running", {5: 0.1, 9: 0.2})], candidates)
    outcome = {"curve": [(5, 0.1, 2.5), (9, 0.2, 2.0), (12, 0.3, 1.5)]}
    done = _record(first, 1, "complete", {5: 0.1, 9: 0.2, 12: 0.3}, outcome=outcome)
    for again in range(2):
        log = log if not again else TensorBoardLog(tmp_path)  # a later session
        log.follow([done], candidates)
        log.follow([done], candidates)
        (shown,) = _shown(tmp_path / "tensorboard").values()
        assert shown == {
            "minival/accuracy": [(5, 0.1), (9, 0.2), (12, 0.3)],
            "minival/loss": [(5, 2.5), (9, 2.0), (12, 1.5)],
        }


def test_the_ranking_is_a_table_of_hyperparameters(candidates: dict[str, Candidate], tmp_path: Path) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    rows = [
        {
            "network": name,
            "alpha": 1.0,
            "beta": 1.2,
            "gamma": 1.0,
            "ratio": 2.0,
            "macs": 7,
            "params": 5,
            "resolution": Rectangle(16, 48) if rank > 1 else 16,
        }
        | {"accuracy": 0.5, "macro_f1": 0.25, "val_accuracy": float("nan"), "p_best": 0.9, "rank": rank}
        for rank, name in enumerate(list(candidates)[:2], 1)
    ]
    TensorBoardLog(tmp_path).finish([], candidates, pd.DataFrame(rows))
    shown = _shown(tmp_path / "tensorboard")
    assert sorted(found["ranking/rank"] for found in shown.values()) == [[(0, 1.0)], [(0, 2.0)]]
    assert all(
        (found["ranking/accuracy"], found["ranking/macro_f1"]) == ([(0, 0.5)], [(0, 0.25)])
        and "ranking/val_accuracy" not in found
        for found in shown.values()
    )
    for place in shown:
        read = EventAccumulator(str(tmp_path / "tensorboard" / place)).Reload()
        assert "_hparams_/session_start_info" in read.summary_metadata


def test_without_tensorboard_the_pip_line_is_told() -> None:
    def missing(name: str) -> Any:
        raise ImportError(name)

    with pytest.raises(RunError, match=r"pip install 'scalesearch\[tensorboard\]'"):
        load_tensorboard(missing)
