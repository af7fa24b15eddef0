"""The ranking is a function of what was measured, not of when."""

from __future__ import annotations

import math
import random

import pytest

from scalesearch.candidates.grid import Candidate, plan
from scalesearch.models.catalogue import builtin
from scalesearch.models.spec_baseline import SpecBaseline
from scalesearch.ranking.ranking import holdout_error, rank, records_json, trials_frame
from scalesearch.settings import SearchSettings
from scalesearch.trials import Record, Task


@pytest.fixture(scope="module")
def candidates() -> tuple[Candidate, ...]:
    return plan(SpecBaseline(builtin("mobilenet_v1")), 1.0, SearchSettings(step=0.2), num_classes=10).candidates


def _record(number: int, candidate: Candidate, seed: int, accuracy: float | None) -> Record:
    task = Task(candidate.coefficients, candidate.model.fingerprint, seed)
    if accuracy is None:
        return Record(number, task, "failed", None, "memory ended")
    count = {"macs": 1, "total": 2, "uncounted": {"aten::relu_": 3}}
    outcome = {"accuracy": accuracy, "loss": 1 - accuracy, "memory": 7, "count": count, "curve": [[1, accuracy, 1.0]]}
    return Record(number, task, "complete", outcome, None)


def test_best_mean_first_and_the_cheaper_of_equals(candidates: tuple[Candidate, ...]) -> None:
    a, b, c = sorted(candidates, key=lambda x: x.cost.macs)[:3]
    records = [_record(0, a, 0, 0.6), _record(1, a, 1, 0.4), _record(2, b, 0, 0.5), _record(3, c, 0, 0.9)]
    ranking = rank(candidates, trials_frame(records))
    assert ranking["network"].tolist() == [x.model.fingerprint for x in (c, a, b)]
    assert ranking["rank"].tolist() == [1, 2, 3]
    assert ranking["sd"].iloc[1] == pytest.approx(math.sqrt(0.02))
    assert math.isnan(ranking["sd"].iloc[0])
    assert ranking["uncounted"].iloc[0] == "aten::relu_:3"


def test_the_order_of_trials_does_not_matter_to_a_byte(candidates: tuple[Candidate, ...]) -> None:
    shuffle = random.Random(0)
    records = [_record(i, c, s, shuffle.random()) for s in range(3) for i, c in enumerate(candidates)]
    first = rank(candidates, trials_frame(records)).to_csv()
    for _ in range(5):
        shuffle.shuffle(records)
        assert rank(candidates, trials_frame(records)).to_csv() == first


def test_failed_trials_are_listed_but_not_ranked(candidates: tuple[Candidate, ...]) -> None:
    records = [_record(0, candidates[0], 0, None), _record(1, candidates[1], 0, 0.3)]
    trials = trials_frame(records)
    assert trials["reason"].tolist()[0] == "memory ended"
    assert len(rank(candidates, trials)) == 1
    assert rank(candidates, trials_frame([])).empty


def test_json_has_null_where_nothing_is_known(candidates: tuple[Candidate, ...]) -> None:
    rows = records_json(rank(candidates, trials_frame([_record(0, candidates[0], 0, 0.3)])))
    assert rows[0]["sd"] is None and rows[0]["val_accuracy"] is None
    assert rows[0]["accuracy"] == 0.3


def test_a_small_holdout_is_a_blunt_instrument() -> None:
    assert holdout_error(0.5, 100) == pytest.approx(0.05, abs=1e-3)
    assert holdout_error(1.0, 18) > 0.05
