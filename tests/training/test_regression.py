"""The regression is the minimum that it says it is, and nothing but the images that choose decides its penalty."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
from scipy.optimize import minimize
from scipy.special import logsumexp, softmax
from torch.nn import functional

from scalesearch.errors import DataError
from scalesearch.training.regression import FIRST, HALVINGS, Labelled, regression


def _images(count: int, classes: int = 3, seed: int = 0, width: int = 6) -> Labelled:
    """Clouds around a centre for each class; the last feature is the same for all."""
    random = np.random.default_rng(seed)
    labels = np.arange(count) % classes
    centres = np.random.default_rng(99).normal(size=(classes, width))
    features = 3 + 5 * (centres[labels] + 1.5 * random.normal(size=(count, width)))
    features[:, -1] = 2.5
    return Labelled(features.astype(np.float32), labels)


def _minimum(images: Labelled, classes: int, penalty: float, bias: bool) -> np.ndarray:
    """Logits at the minimum of Σ cross-entropy + λ/2 ‖W‖² over standardised features, by another program."""
    spread = images.features.std(0)
    centre = images.features.mean(0) if bias else 0
    x = (images.features - centre) / np.where(spread > 0, spread, 1)
    truth = np.eye(classes)[images.labels]

    def cost(flat: np.ndarray) -> tuple[float, np.ndarray]:
        weight, offset = flat[:-classes].reshape(classes, -1), flat[-classes:] * bias
        logits = x @ weight.T + offset
        loss = (logsumexp(logits, axis=1) - (truth * logits).sum(1)).sum() + penalty / 2 * (weight**2).sum()
        off = softmax(logits, axis=1) - truth
        return loss, np.concatenate([(off.T @ x + penalty * weight).ravel(), off.sum(0) * bias])

    start = np.zeros(classes * (x.shape[1] + 1))
    found = minimize(cost, start, jac=True, method="BFGS", options={"gtol": 1e-7, "maxiter": 5000}).x
    logits: np.ndarray = x @ found[:-classes].reshape(classes, -1).T + found[-classes:] * bias
    return logits


@pytest.mark.parametrize("bias", [True, False])
def test_it_is_the_minimum_of_the_penalised_loss_with_the_standardisation_folded_in(bias: bool) -> None:
    train, choice = _images(150), _images(60, seed=1)
    fit = regression(train, choice, 3, bias=bias)
    every = train.with_others(choice)
    logits = functional.linear(torch.from_numpy(every.features), fit.weight, fit.bias).double().softmax(1)
    wanted = softmax(_minimum(every, 3, fit.penalty, bias), axis=1)
    np.testing.assert_allclose(logits.numpy(), wanted, atol=3e-4)
    assert (fit.bias is not None) == bias and fit.converged


def test_of_two_classes_both_have_a_row_and_the_odds_are_the_minimums() -> None:
    train, choice = _images(120, 2), _images(40, 2, seed=1)
    fit = regression(train, choice, 2)
    assert fit.weight.shape == (2, 6) and fit.bias is not None and fit.bias.shape == (2,)
    every = train.with_others(choice)
    shares = functional.linear(torch.from_numpy(every.features), fit.weight, fit.bias).softmax(1).numpy()
    # a row for each class carries half the odds each: twice the penalty on the difference
    np.testing.assert_allclose(shares, softmax(_minimum(every, 2, 2 * fit.penalty, True), axis=1), atol=3e-4)


def test_the_best_penalty_on_the_images_that_choose_wins_and_the_search_is_eight_steps_a_decade_fine() -> None:
    fit = regression(_images(90), _images(90, seed=1), 3)
    best = max(fit.tried, key=lambda each: (each.accuracy, -each.loss))
    assert fit.penalty == best.penalty and fit.chosen == best
    penalties = sorted(each.penalty for each in fit.tried)
    assert set(FIRST) < set(penalties) and len(penalties) <= len(FIRST) + 2 * HALVINGS
    ratios = [after / before for before, after in itertools.pairwise(penalties)]
    assert min(ratios) == pytest.approx(10 ** (1 / 8))


def test_labels_that_mean_nothing_are_fitted_with_a_large_penalty() -> None:
    random = np.random.default_rng(0)
    one, other = (Labelled(random.normal(size=(60, 20)).astype(np.float32), np.arange(60) % 3) for _ in range(2))
    fit = regression(one, other, 3)
    losses = {each.penalty: each.loss for each in fit.tried}
    assert losses[max(losses)] < losses[min(losses)]


@pytest.mark.parametrize(("classes", "told"), [(4, "class 3 has no image to fit"), (1, "there is one class")])
def test_classes_that_cannot_be_told_apart_are_said(classes: int, told: str) -> None:
    with pytest.raises(DataError, match=told):
        regression(_images(30, min(classes, 3)), _images(30, min(classes, 3)), classes)
