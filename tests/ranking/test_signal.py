"""The signal in a run's scores, against textbook sums and simulated trainings."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from scalesearch.ranking.signal import signal


def _scores(values: np.ndarray) -> dict[str, dict[int, float]]:
    return {f"n{i}": {j: float(v) for j, v in enumerate(row)} for i, row in enumerate(values)}


def test_a_complete_design_is_the_textbooks_two_way_analysis() -> None:
    values = np.random.default_rng(0).normal(size=(6, 4)) + np.arange(6)[:, None] * 0.7 + np.arange(4) * 3
    rows, columns = values.mean(1, keepdims=True), values.mean(0, keepdims=True)
    rest = values - rows - columns + values.mean()
    f = 4 * ((rows - values.mean()) ** 2).sum() / 5 / ((rest**2).sum() / 15)
    found = signal(_scores(values))
    assert found is not None
    assert (found.between, found.within) == (5, 15)
    assert found.f == pytest.approx(f)
    assert found.p == pytest.approx(stats.f.sf(f, 5, 15))


def test_what_all_candidates_share_with_a_seed_is_no_noise() -> None:
    values = np.random.default_rng(1).normal(size=(5, 3)) * 0.1 + np.arange(5)[:, None]
    shifted = signal(_scores(values + np.array([0.0, 10.0, -30.0])))
    plain = signal(_scores(values))
    assert shifted is not None
    assert plain is not None
    assert shifted.f == pytest.approx(plain.f)


def test_without_differences_p_is_even() -> None:
    dice = np.random.default_rng(2)
    found = [signal(_scores(dice.normal(size=(8, 3)) + dice.normal(size=3))) for _ in range(400)]
    low = np.mean([each.p < 0.1 for each in found if each is not None])
    assert 0.06 < low < 0.15


def test_some_seeds_may_be_missing() -> None:
    scores = _scores(np.random.default_rng(3).normal(size=(6, 3)) * 0.1 + np.arange(6)[:, None])
    del scores["n2"][1], scores["n4"][2]
    found = signal(scores)
    assert found is not None
    assert (found.between, found.within) == (5, 8)
    assert found.f > 100


@pytest.mark.parametrize("scores", [{}, {"a": {0: 1.0}}, {"a": {0: 1.0}, "b": {0: 2.0}}, {"a": {0: 1.0, 1: 2.0}}])
def test_nothing_can_be_told_from_too_little(scores: dict[str, dict[int, float]]) -> None:
    assert signal(scores) is None
