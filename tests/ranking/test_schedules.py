"""What one schedule saves beside another: on made-up trials, the difference and the ratio that were put in."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from scalesearch.ranking.schedules import saved


def _trials(accuracies: list[float], seconds: list[float], state: str = "complete") -> pd.DataFrame:
    rows = [
        {"network": f"n{i // 2}", "seed": i % 2, "state": state, "accuracy": a, "seconds": s}
        for i, (a, s) in enumerate(zip(accuracies, seconds, strict=True))
    ]
    return pd.DataFrame(rows)


def test_the_difference_and_the_ratio_are_those_of_pairs() -> None:
    rng = np.random.default_rng(0)
    held = []
    for _ in range(300):
        plain = rng.uniform(0.3, 0.8, 8)
        other, seconds = plain + 0.01 + 0.02 * rng.standard_normal(8), 70 * np.exp(0.1 * rng.standard_normal(8))
        found = saved(_trials(plain.tolist(), [100.0] * 8), _trials(other.tolist(), seconds.tolist()), 0.95)
        assert found is not None and found.pairs == 8
        held.append((found.accuracy[1] <= 0.01 <= found.accuracy[2], found.seconds[1] <= 0.7 <= found.seconds[2]))
    assert np.mean(held, axis=0) == pytest.approx([0.95, 0.95], abs=0.04)


def test_words_have_both() -> None:
    found = saved(_trials([0.5, 0.6], [100, 100]), _trials([0.52, 0.62], [50, 50]), 0.95)
    assert found is not None
    assert "2 pairs of trainings: +2.0 points (+2.0 to +2.0), 0.50 times its seconds (0.50 to 0.50)" in found.words


def test_only_pairs_that_both_schedules_completed_count() -> None:
    plain = _trials([0.5, 0.6, 0.7, 0.8], [100] * 4)
    other = pd.concat([_trials([0.6], [50]), _trials([0.1, 0.1, 0.1], [50] * 3, state="failed").iloc[1:]])
    found = saved(plain, other, 0.95)
    assert found is not None and found.pairs == 1
    assert "+10.0 points, 0.50 times its seconds;" in found.words
    assert saved(plain, _trials([0.5], [50], state="failed"), 0.95) is None
