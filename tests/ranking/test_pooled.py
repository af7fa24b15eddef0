"""The model of all trials, beside textbook formulas and simulated truths."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from scalesearch.ranking import pooled
from scalesearch.ranking.pooled import Neighbours, pool
from scalesearch.ranking.seed_scores import Floats, SeedScores
from tests.benchmarks.calibration import simulate

CORNERS = np.eye(3)
EDGES = (CORNERS + np.roll(CORNERS, 1, axis=0)) / 2
POINTS = np.concatenate([CORNERS, EDGES, np.full((1, 3), 1 / 3), 0.6 * CORNERS + 0.4 / 3])


def near(points: Floats = POINTS) -> Neighbours:
    return Neighbours(points, np.zeros(len(points)))


def slope(points: Floats = POINTS) -> Floats:
    """Accuracies that grow with the width's share."""
    return np.asarray(0.6 + 0.1 * points[:, 1])


def scored(accuracies: Floats) -> list[SeedScores]:
    """Candidates by seeds."""
    return [SeedScores(f"c{i:02}", tuple(float(a) for a in row)) for i, row in enumerate(np.atleast_2d(accuracies.T).T)]


def test_one_setting_is_the_normal_posterior(monkeypatch: pytest.MonkeyPatch) -> None:
    """Against the trials' joint normal distribution, conditioned in the plain way, and its density."""
    rng = np.random.default_rng(0)
    table = rng.normal(0.7, 0.02, (4, 3))
    measured = [SeedScores(str(i), tuple(row[: i + 1]), numbers=(2, 0, 1)[: i + 1]) for i, row in enumerate(table[:3])]
    where, seen = Neighbours(POINTS[:4], np.array([0.1, 0, -0.1, 0.0])), [*measured, None]
    settings = pooled._Settings.sobol(2, error=0.015)
    monkeypatch.setattr(pooled._Settings, "sobol", classmethod(lambda *_, **__: settings))
    got = pool(seen, images=900, neighbours=where, with_images=False, settings=2)
    y = np.concatenate([m.accuracies for m in measured])
    at = np.repeat([0, 1, 2], [1, 2, 3])
    seeds = np.concatenate([m.numbers for m in measured])
    evidence = []
    for h in range(2):
        prior = settings.covariances(where)[h]
        share, variance = settings.seed_share[h], settings.luck[h] ** 2
        noise = variance * ((1 - share) * np.eye(6) + share * (seeds[:, None] == seeds))
        total = prior[np.ix_(at, at)] + noise
        gain = np.linalg.solve(total, prior[at]).T
        kept = list(got.normals.means[:, 0]).index(pytest.approx(y.mean() + (gain @ (y - y.mean()))[0], abs=1e-6))
        assert got.normals.means[kept] == pytest.approx(y.mean() + gain @ (y - y.mean()), abs=1e-6)
        assert got.normals.covariances[kept] == pytest.approx(prior - gain @ prior[at], abs=1e-7)
        evidence.append((kept, stats.multivariate_normal(np.full(6, y.mean()), total).logpdf(y)))
    (first, a), (second, b) = evidence
    assert np.log(got.weights[first] / got.weights[second]) == pytest.approx(a - b, abs=1e-4)


def test_a_candidate_without_a_trial_is_known_from_its_neighbours() -> None:
    measured: list[SeedScores | None] = [*scored(np.repeat(slope()[:, None], 2, axis=1))]
    measured[8] = None
    told = pool(measured, images=1000, neighbours=near(), with_images=False)
    assert told.mean[8] == pytest.approx(slope()[8], abs=0.01)
    assert told.draws(2000).std(axis=0)[8] < 0.03
    alone = pool(measured, images=1000, with_images=False)
    assert alone.draws(2000).std(axis=0)[8] > 0.2


def test_luck_is_drawn_towards_the_neighbours() -> None:
    lucky = slope()
    lucky[8] += 0.04
    told = pool(scored(lucky[:, None]), images=1000, neighbours=near(), with_images=False)
    assert slope()[8] < told.mean[8] < lucky[8] - 0.01


def test_what_a_seed_does_to_all_is_no_difference_between_them() -> None:
    rng = np.random.default_rng(1)
    seeds = np.array([0.03, -0.03, 0.0])
    paired = slope()[:, None] + seeds + rng.normal(0, 0.003, (len(POINTS), 3))
    same = scored(paired)
    other = [SeedScores(m.name, m.accuracies, numbers=tuple(10 * i + j for j in range(3))) for i, m in enumerate(same)]
    sd = [np.ptp(pool(m, images=1000, with_images=False).draws(4000)[:, [1, 4]], axis=1).std() for m in (same, other)]
    assert sd[0] < 0.8 * sd[1]


def test_a_dearer_candidate_is_expected_to_gain_by_its_cost() -> None:
    costs = np.linspace(-0.5, 0.5, len(POINTS))
    told = pool(
        [*scored((0.7 + 0.04 * costs)[:-1, None]), None],
        images=1000, neighbours=Neighbours(POINTS, costs), with_images=False,
    )  # fmt: skip
    assert told.mean[-1] > 0.705


def test_images_widen_accuracies_and_leave_differences() -> None:
    rng = np.random.default_rng(0)
    easy = rng.random(800)
    rows = [np.array([easy < a] * 2) for a in slope()]
    measured = [SeedScores(f"c{i}", tuple(r.mean(axis=1)), r) for i, r in enumerate(rows)]
    with_, without = (pool(measured, images=800, neighbours=near(), with_images=w).draws(4000) for w in (True, False))
    assert with_[:, 1].std() > 1.5 * without[:, 1].std()
    assert (with_[:, 1] - with_[:, 4]).std() < with_[:, 1].std()


def test_draws_are_those_of_the_mixture() -> None:
    told = pool(scored(slope()[:, None]), images=1000, neighbours=near())
    whole, drawn, here = told.moments(), told.draws(40_000), told.draws(40_000, here=True)
    assert drawn.mean(axis=0) == pytest.approx(whole.mean, abs=0.001)
    assert np.cov(drawn.T) == pytest.approx(whole.covariance, abs=0.1 * whole.covariance.max())
    assert np.cov(here.T) == pytest.approx(whole.here, abs=0.1 * whole.here.max())
    assert np.array_equal(told.draws(50, seed=3), told.draws(50, seed=3))


def test_hundreds_of_candidates_are_no_burden() -> None:
    rng = np.random.default_rng(0)
    points = rng.dirichlet([1, 1, 1], 300)
    told = pool(scored(slope(points)[:, None]), images=1000, neighbours=near(points), settings=64)
    assert np.corrcoef(told.mean, slope(points))[0, 1] > 0.99


@pytest.mark.parametrize("kind", ["quadratic", "kinked", "the best two equal"])
def test_what_is_said_comes_true(kind: str) -> None:
    """A small part of `python -m tests.benchmarks calibration`."""
    tally = simulate(kind, 60, adaptive=False, seed=1)
    assert 0.90 < np.mean(tally.single) < 0.985
    assert 0.89 < np.mean(tally.paired) < 0.985
    assert np.mean(tally.held) > 0.88
    assert tally.calibration < 0.04
