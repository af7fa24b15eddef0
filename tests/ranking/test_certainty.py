"""From trials to certainty: standings, further seeds, the Pareto front, and who has fallen behind."""

from __future__ import annotations

from typing import Any

import numpy as np
import optuna
import pandas as pd
import pytest
import torch

from scalesearch.candidates.grid import plan as make_plan
from scalesearch.models.catalogue import open_baseline
from scalesearch.ranking.certainty import FRONT, judge, mark_front, measured
from scalesearch.ranking.pruning import IntervalPruner, behind
from scalesearch.scaling.compound import Coefficients
from scalesearch.settings import SearchSettings
from scalesearch.trials import Record, Task, packed

IMAGES = 1000


def _records(skill: dict[str, float], seeds: int, images: int = IMAGES, luck: float = 0.0) -> list[Record]:
    """Trials of networks that get the ``skill`` easiest images right, whatever the seed, give or take ``luck``."""
    dice, difficulty = np.random.default_rng(0), np.linspace(0, 1, images)
    records: list[Record] = []
    for name, share in skill.items():
        for seed in range(seeds):
            right = difficulty < share + luck * dice.standard_normal()
            outcome: dict[str, Any] = {"accuracy": right.mean(), "correct": packed(torch.from_numpy(right))}
            records.append(Record(len(records), Task(Coefficients(1, 1, 1), name, seed), "complete", outcome))
    return records


def test_a_clear_winner_is_named_and_the_order_of_trials_does_not_matter() -> None:
    records = _records({"a": 0.9, "b": 0.7, "c": 0.5}, seeds=3, luck=0.005)
    labels = {"a": "the first", "b": "the second", "c": "the third"}
    verdict = judge(records, images=IMAGES, labels=labels)
    assert verdict.contenders == ("a",)
    assert verdict.words.startswith("the first is best with probability")
    assert judge(records[::-1], images=IMAGES, labels=labels) == verdict
    ranking = pd.DataFrame(
        {"rank": [1, 2, 3], "network": ["a", "b", "c"], "seeds": 3, "accuracy": [0.9, 0.7, 0.5], "macs": [3, 1, 2]}
    )
    judged = verdict.add_to(ranking)
    assert judged["contender"].tolist() == [True, False, False]
    assert judged["front"].tolist() == [True, True, False]
    assert (judged["low"] < judged["accuracy"]).all() and (judged["accuracy"] < judged["high"]).all()


def test_trials_of_an_older_run_are_judged_without_their_images() -> None:
    records = [
        Record(r.number, r.task, r.state, {"accuracy": (r.outcome or {})["accuracy"]})
        for r in _records({"a": 0.8, "b": 0.5}, seeds=2, luck=0.01)
    ]
    assert all(m.correct is None for m in measured(records, IMAGES))
    assert judge(records, images=IMAGES, labels={"a": "a", "b": "b"}).contenders == ("a",)


def test_the_front_holds_what_nothing_else_beats_in_every_respect() -> None:
    frame = pd.DataFrame(
        {"accuracy": [0.9, 0.8, 0.8, 0.7], "macs": [4, 2, 3, 2], "params": [1, 1, 1, 1], "memory": [5, None, 5, 5]}
    )
    assert mark_front(frame, FRONT) == [True, True, False, False]


def test_nobody_is_dropped_whose_interval_reaches_the_leaders() -> None:
    near = {"leader": [0.60, 0.61], "near": [0.55], "far": [0.40]}
    assert not behind("leader", near, images=IMAGES, z=1.96)
    assert not behind("near", near, images=IMAGES, z=1.96)
    assert behind("far", near, images=IMAGES, z=1.96)
    assert not behind("far", near, images=20, z=1.96), "twenty images cannot tell"
    noisy = {"leader": [0.5, 0.7, 0.6], "far": [0.3, 0.5, 0.4]}
    assert not behind("far", noisy, images=IMAGES, z=1.96), "seeds differ more than candidates"


def _report(study: optuna.Study, network: str, curve: dict[int, float]) -> list[bool]:
    trial = study.ask()
    trial.set_user_attr("network", network)
    verdicts = []
    for step, value in curve.items():
        trial.report(value, step)
        verdicts.append(trial.should_prune())
    study.tell(trial, list(curve.values())[-1])
    return verdicts


def test_the_pruner_compares_at_equal_steps_and_not_before_its_first() -> None:
    study = optuna.create_study(direction="maximize", pruner=IntervalPruner(images=IMAGES, first_step=20))
    assert _report(study, "a", {10: 0.5, 20: 0.6, 40: 0.8}) == [False, False, False]
    assert _report(study, "b", {10: 0.1, 20: 0.55, 40: 0.5}) == [False, False, True]
    assert _report(study, "c", {30: 0.1}) == [False], "nobody else was measured there"


@pytest.mark.parametrize("value", [0.59, 0.61])
def test_the_leader_itself_goes_on(value: float) -> None:
    study = optuna.create_study(direction="maximize", pruner=IntervalPruner(images=IMAGES))
    _report(study, "a", {10: 0.6})
    assert _report(study, "a", {10: value}) == [False]


def test_without_a_place_on_the_simplex_nothing_is_said_of_what_was_never_trained() -> None:
    """A point that does not grow has no shares; nobody is anybody's neighbour then."""
    settings = SearchSettings(step=0.2, also=((1.0, 1.0, 1.0),))
    candidates = make_plan(open_baseline("mobilenet_v2"), 1.0, settings, num_classes=10).candidates
    names = [c.model.fingerprint for c in candidates]
    records = _records(dict.fromkeys(names[:3], 0.7) | {names[0]: 0.8}, seeds=2, luck=0.005)
    labels = {c.model.fingerprint: c.name for c in candidates}
    verdict = judge(records, images=IMAGES, labels=labels, candidates=candidates)
    assert set(verdict.standings) == set(names[:3])
    assert verdict.contenders == (names[0],)
