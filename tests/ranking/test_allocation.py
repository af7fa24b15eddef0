"""What is trained next: textbook cases, and searches whose truth is known."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pytest
from scipy import stats

from scalesearch.ranking.allocation import Next, knowledge_gradient, next_training, start
from scalesearch.ranking.pooled import Moments, Neighbours, pool
from scalesearch.ranking.seed_scores import SeedScores
from tests.benchmarks.calibration import SIMPLEX, World, step_by_step


def test_one_of_two_is_worth_what_the_formula_says() -> None:
    """Independent candidates, one of them known: s·(φ(z) − |z|·Φ(−|z|)) with z = (difference)/s (Frazier et al.)."""
    mean, covariance, luck = np.array([0.7, 0.69]), np.diag([1e-12, 0.02**2]), 0.01
    spread = 0.02**2 / np.hypot(0.02, luck)
    z = 0.01 / spread
    expected = spread * (stats.norm.pdf(z) - z * stats.norm.sf(z))
    assert knowledge_gradient(Moments(mean, *[covariance] * 3), luck)[1] == pytest.approx(expected, rel=0.05)
    assert knowledge_gradient(Moments(mean, *[covariance] * 3), luck)[0] == pytest.approx(0, abs=1e-9)


def test_few_that_can_change_the_answer_are_thought_of_together() -> None:
    """One training moves it too little; four may."""
    mean, covariance = np.array([0.70, 0.65]), np.diag([1e-12, 0.02**2])
    one = knowledge_gradient(Moments(mean, *[covariance] * 3), 0.05)[1]
    assert one > 0


def test_a_start_has_the_corners_and_the_middle() -> None:
    chosen = SIMPLEX[start(SIMPLEX)]
    assert len(chosen) == 12
    for corner in np.eye(3):
        assert (chosen == corner).all(axis=1).any()
    assert np.linalg.norm(chosen[0] - 1 / 3) < 0.2
    assert start(SIMPLEX[:5]) == [*dict.fromkeys(start(SIMPLEX[:5]))] and len(start(SIMPLEX[:5])) == 5


def _next(accuracies: Mapping[str, tuple[float, ...]], **options: object) -> Next:
    names = [f"c{i}" for i in range(6)]
    near = Neighbours(SIMPLEX[[0, 6, 12, 18, 22, 27]], np.zeros(6))
    measured = {name: SeedScores(name, values) for name, values in accuracies.items()}
    given = {"images": 900, "neighbours": near, "max_seeds": 4, "confidence": None, **options}
    return next_training(names, measured, np.ones(6), **given)  # type: ignore[arg-type]


def test_what_runs_already_is_not_asked_for_again() -> None:
    seen = {"c0": (0.6,), "c1": (0.65,), "c2": (0.7,), "c3": (0.71,), "c4": (0.62,)}
    first = _next(seen)
    assert first.why == "undecided" and first.name is not None
    assert _next(seen, running=[first.name] * 3, max_seeds=4).name != first.name
    assert _next(seen) == first


def test_nothing_measured_yet_begins_with_the_first_that_does_not_run() -> None:
    assert _next({}) == Next("c0", "start")
    assert _next({}, running=["c0", "c1"]) == Next("c2", "start")
    assert _next({}, running=[f"c{i}" for i in range(6)]) == Next(None, "max seeds")


def test_everything_trained_is_the_end() -> None:
    assert _next({f"c{i}": (0.6, 0.61) for i in range(6)}, max_seeds=2) == Next(None, "max seeds")


def test_being_within_what_does_not_matter_is_enough() -> None:
    close = {f"c{i}": (0.70 + i / 5000, 0.702 + i / 5000, 0.698) for i in range(6)}
    assert _next(close, confidence=0.95, within=0.05, with_images=False) == Next(None, "close enough")


def test_dear_candidates_are_trained_less() -> None:
    seen = {"c0": (0.7,), "c1": (0.7,)}
    names, near = ["c0", "c1"], Neighbours.none(2)
    measured = {name: SeedScores(name, values) for name, values in seen.items()}
    for costs, cheap in (((1.0, 9.0), "c0"), ((9.0, 1.0), "c1")):
        found = next_training(
            names, measured, np.array(costs), images=900, neighbours=near, max_seeds=9, confidence=None
        )
        assert found.name == cheap


def test_step_by_step_loses_less_than_one_seed_of_everything_read_plainly() -> None:
    """The same number of trials; accuracy lost against the best, over the same worlds."""
    ours, plain = [], []
    for seed in range(40, 65):
        world = World("quadratic", np.random.default_rng(seed))
        near = Neighbours(world.points, world.log_cost)
        told = pool(step_by_step(world), images=world.images, neighbours=near, with_images=False)
        once = [world.train(i, 0)[0].mean() for i in range(world.count)]
        ours.append(world.truth.max() - world.truth[told.mean.argmax()])
        plain.append(world.truth.max() - world.truth[np.argmax(once)])
    assert np.mean(ours) < 0.7 * np.mean(plain)
