"""Intervals over images against published numbers and their own promise."""

from __future__ import annotations

import numpy as np
import pytest

from scalesearch.ranking.image_intervals import mean_of_classes, paired_difference, share_right


def _truths(right: int, images: int) -> np.ndarray:
    return np.arange(images) < right


def test_a_share_has_wilsons_interval() -> None:
    """81 of 263: 0.2553 to 0.3662 (Newcombe 1998, Statistics in Medicine 17, Table I, method 3)."""
    found = share_right(_truths(81, 263))
    assert (found.low, found.high) == pytest.approx((0.2553, 0.3662), abs=5e-5)
    assert found.value == 81 / 263


def test_a_paired_difference_has_agresti_and_mins_interval() -> None:
    """b 23 and c 14 of 100: (b − c)/(n + 2) ± 1.96 √(b + c + 1 − (b − c)²/(n + 2))/(n + 2), by hand."""
    one = np.array([True] * 23 + [False] * 14 + [True] * 63)
    other = np.array([False] * 23 + [True] * 14 + [True] * 63)
    found = paired_difference(one, other)
    assert found.value == pytest.approx(0.09)
    assert (found.low, found.high) == pytest.approx((9 / 102 - 0.117207, 9 / 102 + 0.117207), abs=1e-5)
    back = paired_difference(other, one)
    assert (back.value, back.low, back.high) == pytest.approx((-found.value, -found.high, -found.low))


def test_networks_that_are_right_about_the_same_images_are_not_known_to_be_equal() -> None:
    same = _truths(40, 50)
    found = paired_difference(same, same)
    assert found.value == 0 and found.low == -found.high and found.high > 0.01


def test_pairing_narrows_what_networks_differ_by() -> None:
    one, other = _truths(80, 100), _truths(75, 100)
    shuffled = np.random.default_rng(0).permutation(other)
    wide, narrow = paired_difference(one, shuffled), paired_difference(one, other)
    assert narrow.high - narrow.low < 0.6 * (wide.high - wide.low)


def test_other_images_are_not_paired() -> None:
    with pytest.raises(ValueError, match="the same images, not 10 and 11"):
        paired_difference(_truths(1, 10), _truths(1, 11))


def test_classes_count_alike_however_many_images_they_have() -> None:
    found = mean_of_classes(np.array([90, 1, 0]), np.array([100, 2, 0]))
    assert found.value == pytest.approx((0.9 + 0.5) / 2)
    assert found.low < found.value < found.high


def test_the_interval_of_classes_holds_the_truth_as_often_as_it_says() -> None:
    random, images = np.random.default_rng(1), np.full(10, 30)
    truth = np.linspace(0.5, 0.9, 10)
    held = [
        found.low <= truth.mean() <= found.high
        for found in (mean_of_classes(random.binomial(images, truth), images) for _ in range(200))
    ]
    assert 0.9 <= np.mean(held) <= 0.99
