"""A score of accuracy and loss: on made-up trainings it must tell more than accuracy, and tend to the same."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from scalesearch.ranking.estimator import scores
from scalesearch.ranking.pooled import pool
from scalesearch.ranking.seed_scores import SeedScores


def _trainings(
    seeds: int, dice: np.random.Generator, *, luck: float = 0.01, own: float = 0.0, candidates: int = 16
) -> tuple[list[str], np.ndarray, np.ndarray, np.ndarray]:
    """Candidates' true accuracies, and of each training name, accuracy and loss with luck of their own."""
    truth = 0.7 + 0.01 * dice.standard_normal(candidates)
    says = own * dice.standard_normal(candidates)
    names = [f"c{i}" for i in range(candidates) for _ in range(seeds)]
    true = np.repeat(truth, seeds)
    accuracies = true + luck * dice.standard_normal(len(true))
    losses = 1 - (true + np.repeat(says, seeds) + luck * dice.standard_normal(len(true)) - 0.7) / 0.4
    return names, accuracies, losses, truth


def _error(values: np.ndarray, truth: np.ndarray, seeds: int) -> float:
    means = values.reshape(len(truth), seeds).mean(axis=1)
    return float(np.mean(((means - means.mean()) - (truth - truth.mean())) ** 2))


@pytest.mark.parametrize(("seeds", "least"), [(1, 1.5), (4, 1.2)])
def test_a_score_is_worth_more_than_an_accuracy(seeds: int, least: float) -> None:
    dice, plain, made = np.random.default_rng(0), 0.0, 0.0
    for _ in range(200):
        names, accuracies, losses, truth = _trainings(seeds, dice)
        plain += _error(accuracies, truth, seeds)
        made += _error(scores(names, accuracies.tolist(), losses.tolist(), images=1_000), truth, seeds)
    assert plain / made > least


def test_what_a_loss_always_says_too_much_goes_away_with_seeds() -> None:
    """One candidate is badly calibrated: its loss says four points less with every seed."""
    dice = np.random.default_rng(1)
    missed = []
    for seeds in (1, 4, 64):
        names, accuracies, losses, _ = _trainings(seeds, dice, luck=0.001)
        losses[:seeds] += 0.1
        made = scores(names, accuracies.tolist(), losses.tolist(), images=1_000)
        missed.append(abs(float((made - accuracies)[:seeds].mean())))
    assert missed[0] > missed[1] > missed[2] and missed[2] < 0.003


@pytest.mark.parametrize("seeds", [1, 4])
def test_a_loss_that_knows_nothing_of_accuracy_changes_little(seeds: int) -> None:
    names = [f"c{i}" for i in range(8) for _ in range(seeds)]
    accuracies = np.repeat(np.linspace(0.4, 0.7, 8), seeds)
    made = scores(names, accuracies.tolist(), [1.0] * len(names), images=1_000)
    assert np.abs(made - accuracies).max() < 0.005


@given(
    st.lists(st.tuples(st.floats(0, 1), st.floats(0.01, 5)), min_size=1, max_size=12),
    st.randoms(use_true_random=False),
)
def test_scores_do_not_depend_on_the_order(trainings: list[tuple[float, float]], dice) -> None:  # type: ignore[no-untyped-def]
    names = [f"c{i % 3}" for i in range(len(trainings))]
    order = list(range(len(trainings)))
    dice.shuffle(order)
    made = scores(names, [a for a, _ in trainings], [loss for _, loss in trainings], images=500)
    again = scores(
        [names[i] for i in order], [trainings[i][0] for i in order], [trainings[i][1] for i in order], images=500
    )
    assert again == pytest.approx(made[order], abs=1e-9)
    assert np.isfinite(made).all()


@pytest.mark.parametrize("losses", [[1.0, math.nan], [math.inf, 1.0]])
def test_without_a_loss_scores_are_accuracies(losses: list[float]) -> None:
    assert scores(["a", "b"], [0.5, 0.6], losses, images=500).tolist() == [0.5, 0.6]


def test_the_model_takes_scores_and_the_table_accuracies() -> None:
    one = SeedScores("a", (0.5, 0.5), None, (0, 1), (0.6, 0.6))
    assert one.mean == 0.5
    assert pool([one], images=10_000).mean[0] == pytest.approx(0.6, abs=0.01)
    with pytest.raises(ValueError, match="1 scores"):
        SeedScores("a", (0.5, 0.5), None, (0, 1), (0.6,))
