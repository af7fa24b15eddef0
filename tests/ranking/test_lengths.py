"""What several lengths of training say: on made-up trials, who overtakes whom must come out, and nothing else."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial

import numpy as np
import pytest
import torch

from scalesearch.ranking.certainty import Judgement, judge
from scalesearch.ranking.lengths import Lengths, at_length, by_length
from scalesearch.scaling.compound import Coefficients
from scalesearch.trials import Record, Task, packed

IMAGES, STEPS = 2_000, (25, 50, 100)
NAMES = {"deep": "deep", "wide": "wide", "sharp": "sharp"}
POINTS = {"deep": np.array([1.0, 0, 0]), "wide": np.array([0, 1.0, 0]), "sharp": np.array([0, 0, 1.0])}


def _records(skill: Mapping[str, Sequence[float]], seeds: int = 4, noise: float = 0.004) -> list[Record]:
    """Complete trials, with an accuracy after each of `STEPS`."""
    dice, difficulty, found = np.random.default_rng(0), np.linspace(0, 1, IMAGES), list[Record]()
    for seed in range(seeds):
        for name, accuracies in skill.items():
            right = [difficulty < share + noise * dice.standard_normal() for share in accuracies]
            means = [float(r.mean()) for r in right]
            texts = [packed(torch.from_numpy(r)) for r in right]
            outcome = {
                "accuracy": means[-1],
                "correct": texts[-1],
                "curve": [[steps, mean, 1.0] for steps, mean in zip(STEPS, means, strict=True)],
                "shorter": [
                    {"steps": steps, "accuracy": mean, "loss": 1.0, "correct": text}
                    for steps, mean, text in zip(STEPS[:-1], means[:-1], texts[:-1], strict=True)
                ],
            }
            found.append(Record(len(found), Task(Coefficients(1, 1, 1), name, seed), "complete", outcome))
    return found


def _found(records: Sequence[Record], points: dict[str, np.ndarray] | None = None) -> Lengths | None:
    judged = partial(judge, images=IMAGES, labels=NAMES)
    whole: Judgement = judged(records)
    return by_length(
        records,
        whole,
        judged,
        label=lambda steps: f"{steps} steps",
        names=NAMES,
        points=POINTS if points is None else points,
    )


CROSSING = {"deep": (0.50, 0.62, 0.74), "wide": (0.60, 0.66, 0.70), "sharp": (0.40, 0.45, 0.50)}


def test_deep_overtakes_wide() -> None:
    found = _found(_records(CROSSING))
    assert found is not None
    assert [each.first for each in found.lengths] == ["wide", "wide", "deep"]
    (overtaking,) = found.overtakings
    assert (overtaking.who, overtaking.whom, overtaking.longer) == ("deep", "wide", "100 steps")
    assert overtaking.before == pytest.approx((-0.1, -0.1, -0.1), abs=0.02)
    assert overtaking.after == pytest.approx((0.04, 0.04, 0.04), abs=0.02)
    assert [s.dimension for s in found.shifts if s.low > 0] == ["depth"]
    assert [s.dimension for s in found.shifts if s.high < 0] == ["width"]
    assert max(found.longer_p_best, key=lambda name: found.longer_p_best[name]) == "deep"
    assert "deep overtakes wide" in found.words and "more depth pays" in found.words
    assert "After 200 steps" in found.words


def test_the_same_order_at_every_length_is_said_to_be_that() -> None:
    found = _found(_records({"deep": (0.5, 0.6, 0.7), "wide": (0.6, 0.7, 0.8), "sharp": (0.4, 0.45, 0.5)}))
    assert found is not None and not found.overtakings
    assert found.words.startswith("wide is first after 25 steps, 50 steps and 100 steps (P ")
    assert "No two candidates change places by more than chance" in found.words
    assert "pays" not in found.words


def test_what_noise_turns_round_is_not_told() -> None:
    found = _found(
        _records({"deep": (0.6, 0.65, 0.7), "wide": (0.601, 0.65, 0.699), "sharp": (0.6, 0.65, 0.7)}, 2, 0.02)
    )
    assert found is not None and not found.overtakings


def test_one_length_says_nothing() -> None:
    records = _records(CROSSING)
    alone = [Record(r.number, r.task, r.state, {**(r.outcome or {}), "shorter": []}) for r in records]
    assert _found(alone) is None


def test_without_shares_no_dimension_is_named() -> None:
    found = _found(_records(CROSSING), points={})
    assert found is not None and not found.shifts and found.overtakings


def test_a_length_has_those_trials_that_branched_off_there() -> None:
    records = _records(CROSSING)
    short = at_length(records, 25)
    assert [r.task for r in short] == [r.task for r in records]
    assert all((r.outcome or {})["accuracy"] == (s.outcome or {})["shorter"][0]["accuracy"]
               for r, s in zip(short, records, strict=True))  # fmt: skip
    assert at_length(records, 30) == []


def test_everything_is_plain_in_json() -> None:
    import json

    found = _found(_records(CROSSING))
    assert found is not None
    plain = json.loads(json.dumps(found.to_json()))
    assert [each["steps"] for each in plain["lengths"]] == list(STEPS)
    assert {row["network"] for row in plain["lengths"][0]["networks"]} == set(NAMES)
