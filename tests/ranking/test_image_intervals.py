"""Intervals over images against published numbers and their own promise."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.stats import multinomial

from scalesearch.ranking.image_intervals import Interval, mean_of_classes, paired, paired_difference, share

Z = 1.959963984540054


def _truths(right: int, images: int) -> np.ndarray:
    return np.arange(images) < right


@pytest.mark.parametrize(("successes", "of"), [(18, 18), (0, 10), (7, 20), (600, 1000)])
def test_an_accuracys_interval_is_agresti_and_coulls(successes: int, of: int) -> None:
    """Agresti & Coull 1998: p ± z·√(p(1−p)/n), n = N + z², p = (X + z²/2)/n."""
    found = share(np.array([1.0] * successes + [0.0] * (of - successes)), 0.95)
    count = of + Z**2
    p = (successes + Z**2 / 2) / count
    half = Z * math.sqrt(p * (1 - p) / count)
    assert found.value == pytest.approx(successes / of)
    assert (found.low, found.high) == pytest.approx((max(0, p - half), min(1, p + half)))


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


def test_other_images_are_not_paired_difference() -> None:
    with pytest.raises(ValueError, match="the same images"):
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


def forms(lost: int, won: int, both: int, neither: int) -> Interval:
    first = np.repeat([True, False, True, False], [lost, won, both, neither])
    second = np.repeat([False, True, True, False], [lost, won, both, neither])
    return paired_difference(second, first)


def test_it_is_the_textbooks_on_a_large_sample() -> None:
    """Approval of a prime minister, twice the same 1,600 people: −0.04, 95 % interval (−0.06, −0.02) (Agresti,
    Categorical Data Analysis, 2nd ed., §10.1.1)."""
    found = forms(150, 86, 794, 570)
    assert found.value == pytest.approx(-0.04)
    assert [found.low, found.high] == pytest.approx([-0.06, -0.02], abs=0.002)


@pytest.mark.parametrize(("images", "p_lost", "p_won"), [(20, 0.15, 0.05), (30, 0.02, 0.02), (50, 0.3, 0.1)])
def test_it_holds_the_truth_as_often_as_it_says(images: int, p_lost: float, p_won: float) -> None:
    """Summed over all outcomes there are; an exact interval cannot be had, and a plain Wald interval holds it less."""
    held, shares = 0.0, [p_lost, p_won, 1 - p_lost - p_won]
    for lost in range(images + 1):
        for won in range(images + 1 - lost):
            found = forms(lost, won, images - lost - won, 0)
            if found.low <= p_won - p_lost <= found.high:
                held += float(multinomial.pmf([lost, won, images - lost - won], images, shares))
    assert held > 0.935


def test_no_disagreement_is_not_certainty() -> None:
    few, many = forms(0, 0, 30, 10), forms(0, 0, 3000, 1000)
    assert few.value == 0
    assert few.low < -0.04 < many.low < 0 < many.high < 0.04 < few.high


def test_intervals_of_means_over_severities_hold_the_truth_as_often_as_they_say() -> None:
    random, hits, tries = np.random.default_rng(0), 0, 800
    for _ in range(tries):
        hard = random.uniform(0, 1, 120)[:, None]  # images differ, and severities of one image are alike
        one = (random.uniform(0, 1, (120, 5)) < 1 - 0.6 * hard).mean(axis=1)
        other = (random.uniform(0, 1, (120, 5)) < 1 - 0.8 * hard).mean(axis=1)
        found = paired(other - one)
        hits += found.low <= -0.1 <= found.high
    assert 0.93 <= hits / tries <= 0.985
