"""Accuracies and paired differences with their intervals: against published formulas, and against sampling."""

from __future__ import annotations

import math

import numpy as np
import pytest

from scalesearch.ranking.image_intervals import share
from scalesearch.ranking.robustness import EVERY, Measured, differences, in_words, no_better, robustness


def _measured() -> Measured:
    clean = np.array([[1, 1, 1, 1, 1, 1, 1, 1, 0, 0], [1, 1, 1, 1, 1, 1, 0, 0, 0, 0]], bool)
    half = np.array([[1, 1, 1, 1, 0, 0, 0, 0, 0, 0], [1, 1, 1, 1, 1, 1, 0, 0, 0, 0]], bool)
    none = np.zeros((2, 10), bool)
    return Measured(
        ("a", "b"),
        clean,
        {"gaussian_noise": {1: clean, 5: half}, "contrast": {1: half, 5: none}},
        {"sketch": half[:, :6]},
    )


def test_rows_are_plain_means() -> None:
    rows = {(row.network, row.under): row for row in robustness(_measured())}
    a = rows["a", "gaussian_noise"]
    assert (a.clean.value, a.severities[1].value, a.severities[5].value) == (0.8, 0.8, 0.4)
    assert a.mean.value == pytest.approx(0.6) and a.relative.value == pytest.approx(0.75)
    every = rows["a", EVERY]
    assert every.mean.value == pytest.approx((0.8 + 0.4 + 0.4 + 0.0) / 4) and every.severities == {}
    assert rows["b", "sketch"].mean.value == 1.0 and rows["b", "sketch"].images == 6
    assert [row.under for row in robustness(_measured())[::2]] == ["gaussian_noise", "contrast", EVERY, "sketch"]


def test_differences_are_to_the_first_network_and_beyond_what_they_are_on_clean_images() -> None:
    rows = {row.under: row for row in differences(_measured())}
    noise = rows["gaussian_noise"]
    assert (noise.network, noise.first) == ("b", "a")
    assert noise.clean.value == pytest.approx(-0.2) and noise.mean.value == pytest.approx((0.6 + 0.6) / 2 - 0.6)
    assert noise.retained.value == pytest.approx(0.2)
    assert rows["sketch"].mean.value == pytest.approx(2 / 6)
    assert rows["sketch"].retained.value == pytest.approx(2 / 6 + 0.2)
    for row in rows.values():
        for each in (row.clean, row.mean, row.retained):
            assert each.low < each.value < each.high


def test_pairing_tells_apart_what_two_separate_intervals_could_not() -> None:
    random = np.random.default_rng(1)
    right = random.uniform(0, 1, 400) < 0.6
    better = right | (random.uniform(0, 1, 400) < 0.05)
    clean = np.stack([right, better])
    (row,) = differences(Measured(("a", "b"), clean, {"contrast": {3: clean}}, {}))
    assert row.mean.low > 0
    one, other = (share(each.astype(float), 0.95) for each in clean)
    assert one.high > other.low
    assert "b is more accurate than a on contrast" in in_words([row], 0.95)[0]
    assert row.retained.value == 0 and row.retained.low < 0 < row.retained.high


def test_a_network_with_less_to_lose_is_not_praised_for_losing_less() -> None:
    clean = np.zeros((2, 200), bool)
    clean[0, :180], clean[1, :100] = True, True
    corrupted = np.zeros((2, 200), bool)
    corrupted[:, :40] = True
    corrupted[0, :60] = True
    measured = Measured(("a", "b"), clean, {"contrast": {3: corrupted}}, {})
    (words,) = in_words(differences(measured), 0.95)
    assert "loses" in words and "40.0 points lower to begin with" in words
    (told,) = no_better(robustness(measured), {"": 0.22})
    assert told.startswith("b: under contrast no better than naming the largest class always (22.0 %)")


def test_a_network_that_is_never_right_has_no_share_to_keep() -> None:
    none = np.zeros((1, 20), bool)
    (row,) = robustness(Measured(("a",), none, {"contrast": {3: none}}, {}))
    assert math.isnan(row.relative.value) and row.mean.value == 0 and row.mean.high > 0.1
    assert differences(Measured(("a",), none, {"contrast": {3: none}}, {})) == []
