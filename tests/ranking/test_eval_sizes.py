"""Other test sizes: what networks gain, and whether the first stays the first, on made-up trials."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from functools import partial

import numpy as np
import pytest
import torch

from scalesearch.ranking.certainty import judge
from scalesearch.ranking.eval_sizes import Sizes, by_size
from scalesearch.scaling.compound import Coefficients
from scalesearch.trials import Record, Task, packed

IMAGES, FACTORS = 2_000, (1.0, 1.15, 1.3)
NAMES = {"sharp": "sharp", "wide": "wide", "deep": "deep"}


def _records(skill: Mapping[str, Sequence[float]], seeds: int = 4) -> list[Record]:
    """Complete trials, with an accuracy at each of `FACTORS`."""
    dice, difficulty, found = np.random.default_rng(0), np.linspace(0, 1, IMAGES), list[Record]()
    for seed in range(seeds):
        for name, accuracies in skill.items():
            right = [difficulty < share + 0.003 * dice.standard_normal() for share in accuracies]
            sizes = [
                {
                    "factor": factor, "pixels": round(32 * factor), "accuracy": float(r.mean()), "loss": 1.0,
                    "correct": packed(torch.from_numpy(r)), "kept": float(r.mean()) - 0.01 * (factor > 1),
                }
                for factor, r in zip(FACTORS, right, strict=True)
            ]  # fmt: skip
            outcome = {**sizes[0], "curve": [[10, sizes[0]["accuracy"], 1.0]], "sizes": sizes}
            found.append(Record(len(found), Task(Coefficients(1, 1, 1), name, seed), "complete", outcome))
    return found


def _found(records: Sequence[Record]) -> Sizes | None:
    judged = partial(judge, images=IMAGES, labels=NAMES)
    return by_size(records, judged(records), judged, names=NAMES)


def test_a_lead_that_is_the_tests_size_is_called_that() -> None:
    found = _found(_records({"sharp": (0.70, 0.70, 0.68), "wide": (0.66, 0.73, 0.74), "deep": (0.5, 0.5, 0.5)}))
    assert found is not None
    assert found.best["wide"] == 1.3 and found.best["sharp"] in (1.0, 1.15)
    assert "the first is wide (at 1.3 times its size, P " in found.words
    assert "not sharp" in found.words and "its lead is no more than its size in the test" in found.words
    by_factor = {gain.factor: gain for gain in found.gains}
    assert by_factor[1.15].mean == pytest.approx((0.0 + 0.07 + 0.0) / 3, abs=0.003)
    assert by_factor[1.15].low < by_factor[1.15].mean < by_factor[1.15].high
    assert by_factor[1.15].kept == pytest.approx(by_factor[1.15].mean - 0.01, abs=1e-9)


def test_a_first_that_stays_first_is_said_to() -> None:
    found = _found(_records({"sharp": (0.70, 0.72, 0.73), "wide": (0.6, 0.62, 0.6), "deep": (0.5, 0.5, 0.5)}))
    assert found is not None
    assert "sharp stays the first (P > " in found.words or "sharp stays the first (P 1.00" in found.words
    plain = json.loads(json.dumps(found.to_json()))
    assert {row["network"]: row["factor"] for row in plain["networks"]}["sharp"] == 1.3


def test_without_other_sizes_nothing_is_said() -> None:
    records = _records({"sharp": (0.7, 0.7, 0.7), "wide": (0.6, 0.6, 0.6)})
    plain = [Record(r.number, r.task, r.state, {**(r.outcome or {}), "sizes": []}) for r in records]
    assert _found(plain) is None
