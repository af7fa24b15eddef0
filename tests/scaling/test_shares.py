"""The best shares of growth are found where a known surface puts them, with as much doubt as they deserve."""

from __future__ import annotations

import math
from dataclasses import astuple

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from scalesearch.ranking.fitted_optimum import fit, in_words
from scalesearch.ranking.quadratic_fit import Floats
from scalesearch.scaling.compound import PAPER, Coefficients
from scalesearch.scaling.shares import Shares, shares

GRID = [Shares(i / 8, j / 8, (8 - i - j) / 8) for i in range(9) for j in range(9 - i)]
AT = np.array([astuple(point) for point in GRID])


def hill(top: tuple[float, float, float], points: Floats = AT, steep: float = 0.1) -> Floats:
    """Accuracies on a quadratic hill."""
    return np.asarray(0.7 - steep * ((points - np.array(top)) ** 2).sum(axis=1))


def test_published_scalings_divide_growth_as_is_known() -> None:
    assert astuple(shares(PAPER)) == pytest.approx((0.28, 0.29, 0.43), abs=0.005)
    dwr = Coefficients(2**0.1, 2**0.4, 2**0.05)  # Dollár, Singh & Girshick 2021, α = 0.8
    assert astuple(shares(dwr)) == pytest.approx((0.1, 0.8, 0.1), abs=1e-9)
    with pytest.raises(ValueError, match="growth 1"):
        shares(Coefficients(1, 1, 1))


@given(st.floats(0, 1), st.floats(0, 1), st.floats(1.5, 4))
def test_shares_and_coefficients_are_two_names_of_one_thing(a: float, b: float, growth: float) -> None:
    depth, rest = a, 1 - a
    there = Shares(depth, rest * b, rest * (1 - b)).coefficients(growth)
    assert there.growth() == pytest.approx(growth)
    assert astuple(shares(there)) == pytest.approx((depth, rest * b, rest * (1 - b)), abs=1e-9)


@pytest.mark.parametrize("at", range(3))
def test_what_grows_alone_gets_all_whatever_logarithms_leave(at: int) -> None:
    for step in range(1, 2_000):
        values = [1.0, 1.0, 1.0]
        values[at] = 1 + step / 1_000
        assert astuple(shares(Coefficients(*values))) == tuple(float(i == at) for i in range(3))


def test_without_noise_the_top_is_found_and_nothing_else_may_be_it() -> None:
    fitted = fit(GRID, list(hill((0.3, 0.3, 0.4))), resamples=100)
    assert astuple(fitted.optimum) == pytest.approx((0.3, 0.3, 0.4))
    assert fitted.accuracy == pytest.approx(0.7) and fitted.surface.r2 == pytest.approx(1)
    assert fitted.contains(Shares(0.3, 0.3, 0.4)) and not fitted.contains(Shares(0.5, 0.3, 0.2))
    assert fitted.predict(Shares(1, 0, 0)) == pytest.approx(hill((0.3, 0.3, 0.4), np.eye(3)[:1])[0])
    assert not (fitted.flat or fitted.zeros or fitted.outermost or fitted.surface.per_doubling)


@pytest.mark.parametrize("top", [(0.3, 0.3, 0.4), (0.0, 0.6, 0.4)])
def test_the_region_holds_the_true_top_as_often_as_it_says(top: tuple[float, float, float]) -> None:
    """Inside and on the edge of the simplex; and it leaves most of the simplex out."""
    held, area, near = [], [], []
    for seed in range(30):
        noisy = hill(top) + np.random.default_rng(seed).normal(0, 0.01, len(AT))
        fitted = fit(GRID, list(noisy), resamples=200, seed=seed)
        held.append(fitted.contains(Shares(*top)))
        if seed < 5:
            area.append(np.mean([fitted.contains(point) for point in GRID[::4]]))
        near.append(np.abs(np.array(astuple(fitted.optimum)) - top).max())
    assert np.mean(held) >= 0.9
    assert np.mean(area) < 0.3
    assert np.median(near) < 0.1


def test_errors_that_candidates_share_are_known_from_draws_and_not_from_scatter() -> None:
    """Images that by chance favour resolution tilt the whole surface, and nothing scatters."""
    top, rng = (0.3, 0.3, 0.4), np.random.default_rng(0)
    held: dict[bool, list[bool]] = {True: [], False: []}
    for seed in range(25):
        slopes = rng.normal(0, 0.02, (201, 3)) @ AT.T + rng.normal(0, 0.002, (201, len(AT)))
        noisy = hill(top) + slopes[0]
        for known in (True, False):
            drawn = noisy + slopes[1:] if known else None
            fitted = fit(GRID, list(noisy), drawn=drawn, resamples=200, seed=seed)
            held[known].append(fitted.contains(Shares(*top)))
    assert np.mean(held[True]) >= 0.9
    assert np.mean(held[False]) < 0.5


def test_scatter_counts_once_whether_draws_know_it_or_a_quadratic_misses_it() -> None:
    rng = np.random.default_rng(2)
    rough = hill((0.3, 0.3, 0.4)) + rng.normal(0, 0.01, len(AT))
    alone = fit(GRID, list(rough), resamples=500).cloud.std(axis=0)
    for known in (0.001, 0.01):
        drawn = rough + rng.normal(0, known, (500, len(AT)))
        spread = fit(GRID, list(rough), drawn=drawn, resamples=500).cloud.std(axis=0)
        assert spread == pytest.approx(alone, rel=0.2)


def test_a_dearer_candidate_does_not_win_by_its_cost() -> None:
    log_ratio = 0.3 * AT[:, 0] * AT[:, 2] + 0.05 * np.random.default_rng(0).normal(size=len(AT))
    accuracy = list(hill((0.3, 0.3, 0.4)) + 0.2 * log_ratio)
    fitted = fit(GRID, accuracy, log_ratio=list(log_ratio), resamples=50)
    assert astuple(fitted.optimum) == pytest.approx((0.3, 0.3, 0.4))
    assert fitted.surface.per_doubling == pytest.approx(0.2)
    assert abs(fit(GRID, accuracy, resamples=50).optimum.width - 0.3) > 0.02


def test_a_point_known_badly_counts_little() -> None:
    accuracy = hill((0.3, 0.3, 0.4))
    accuracy[0] += 0.05
    sd = [0.5] + [0.005] * (len(AT) - 1)
    assert astuple(fit(GRID, list(accuracy), sd=sd, resamples=50).optimum) == pytest.approx((0.3, 0.3, 0.4), abs=0.011)
    assert abs(fit(GRID, list(accuracy), resamples=50).optimum.resolution - 0.4) > 0.02


def test_a_flat_surface_says_so() -> None:
    fitted = fit(GRID, list(0.7 + np.random.default_rng(1).normal(0, 0.01, len(AT))), resamples=300)
    assert fitted.flat and "flat within its noise" in in_words(fitted)
    assert max(high - low for low, high in (fitted.depth, fitted.width, fitted.resolution)) > 0.5


def test_a_top_on_the_edge_or_beyond_the_points_says_so() -> None:
    edge = fit(GRID, list(hill((-0.2, 0.6, 0.6))), resamples=50)
    assert edge.zeros == ("depth",) and not edge.outermost
    assert "on the edge: depth should get nothing" in in_words(edge)
    few = [p for p in GRID if p.depth >= 0.5]
    beyond = fit(few, list(hill((0.1, 0.45, 0.45), np.array([astuple(p) for p in few]))), resamples=50)
    assert beyond.outermost and beyond.optimum.depth == pytest.approx(0.5)
    assert "outermost" in in_words(beyond)


def test_words_give_the_answer_first() -> None:
    words = in_words(fit(GRID, list(hill((0.3, 0.3, 0.4))), resamples=50))
    assert words.startswith(
        "The fitted surface is highest at depth 30 %, width 30 %, resolution 40 % of the growth "
        "(α 1.231 β 1.11 γ 1.149 for growth 2): accuracy 0.700. 95 % of its resampled optima lie at depth 30–30 %"
    )


def test_the_same_seed_gives_the_same_answer() -> None:
    accuracy = list(hill((0.3, 0.3, 0.4)) + np.random.default_rng(0).normal(0, 0.01, len(AT)))
    first, again, other = (fit(GRID, accuracy, resamples=100, seed=seed) for seed in (0, 0, 1))
    assert np.array_equal(first.cloud, again.cloud) and not np.array_equal(first.cloud, other.cloud)


def test_points_that_determine_no_surface_are_refused() -> None:
    with pytest.raises(ValueError, match="at least 8 distinct points, got 7"):
        fit(GRID[:7] * 2, [0.5] * 14)
    with pytest.raises(ValueError, match="got a line"):
        fit([Shares(i / 10, 0.5 - i / 20, 0.5 - i / 20) for i in range(10)], [0.5] * 10)
    circle = [
        Shares((1 + math.cos(t)) / 3, (1 + math.sin(t)) / 3, (1 - math.cos(t) - math.sin(t)) / 3) for t in range(9)
    ]
    with pytest.raises(ValueError, match="they lie on a curve"):
        fit(circle, [0.5] * 9)
    with pytest.raises(ValueError, match="cost follows from the shares"):
        fit(GRID, [0.5] * len(GRID), log_ratio=[p.depth for p in GRID])


def test_arguments_that_do_not_fit_together_are_refused() -> None:
    with pytest.raises(ValueError, match="accuracy: expected 45 values, one per point, got 3"):
        fit(GRID, [0.5] * 3)
    with pytest.raises(ValueError, match="sd: expected positive numbers"):
        fit(GRID, [0.5] * 45, sd=[0.0] * 45)
    with pytest.raises(ValueError, match=r"drawn: expected shape \(resamples, 45\)"):
        fit(GRID, [0.5] * 45, drawn=np.ones((10, 3)))
