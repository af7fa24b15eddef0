"""Accuracies and paired differences with their intervals: against published formulas, and against sampling."""

from __future__ import annotations

import math

import numpy as np
import pytest

from scalesearch.ranking.robustness import EVERY, Measured, differences, in_words, no_better, paired, robustness, share

Z = 1.959963984540054


@pytest.mark.parametrize(("successes", "of"), [(18, 18), (0, 10), (7, 20), (600, 1000)])
def test_an_accuracys_interval_is_agresti_and_coulls(successes: int, of: int) -> None:
    """Agresti & Coull 1998: p ± z·√(p(1−p)/n), n = N + z², p = (X + z²/2)/n."""
    found = share(np.array([1.0] * successes + [0.0] * (of - successes)), 0.95)
    count = of + Z**2
    p = (successes + Z**2 / 2) / count
    half = Z * math.sqrt(p * (1 - p) / count)
    assert found.value == pytest.approx(successes / of)
    assert (found.low, found.high) == pytest.approx((max(0, p - half), min(1, p + half)))


@pytest.mark.parametrize(("only_one", "only_other", "of"), [(12, 5, 100), (0, 0, 30), (3, 3, 40), (0, 9, 25)])
def test_a_differences_interval_is_agresti_and_mins(only_one: int, only_other: int, of: int) -> None:
    """Agresti & Min 2005, half an image added to each of the four cells of a matched pair's table."""
    values = np.array([1.0] * only_one + [-1.0] * only_other + [0.0] * (of - only_one - only_other))
    found = paired(values, 0.95)
    b, c, n = only_one + 0.5, only_other + 0.5, of + 2
    centre = (b - c) / n
    half = Z * math.sqrt((b + c) / n - centre**2) / math.sqrt(n)
    assert found.value == pytest.approx((only_one - only_other) / of)
    assert (found.low, found.high) == pytest.approx((centre - half, centre + half))


def test_intervals_of_means_over_severities_hold_the_truth_as_often_as_they_say() -> None:
    random, hits, tries = np.random.default_rng(0), 0, 800
    for _ in range(tries):
        hard = random.uniform(0, 1, 120)[:, None]  # images differ, and severities of one image are alike
        one = (random.uniform(0, 1, (120, 5)) < 1 - 0.6 * hard).mean(axis=1)
        other = (random.uniform(0, 1, (120, 5)) < 1 - 0.8 * hard).mean(axis=1)
        found = paired(other - one, 0.95)
        hits += found.low <= -0.1 <= found.high
    assert 0.93 <= hits / tries <= 0.985


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
