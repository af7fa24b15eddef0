"""Logistic regression on features: scikit-learn's, its penalty chosen on images that are held out for that."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from scalesearch.errors import DataError

FIRST = tuple(10.0**power for power in (6, 4, 2, 0, -2))
"""The penalties that are tried first, largest first: each fit begins where the one before has ended. Smaller ones than
the last would do nothing before `TOLERANCE` ends the fit."""

HALVINGS = 4
"""How often the step between penalties, at first two decades, is halved around the best: to eight steps a decade."""

ITERATIONS = 1000
"""Most iterations of L-BFGS for one penalty."""

TOLERANCE = 1e-6
"""Largest slope of the mean loss, by any weight, at which a fit ends. (scikit-learn's 1e-4 ends fits of many features
where they begin: penalties of 1 and of 1e-6 then have one and the same.)"""

Floats = np.ndarray[Any, np.dtype[np.float32]]
Doubles = np.ndarray[Any, np.dtype[np.float64]]
Labels = np.ndarray[Any, np.dtype[np.int64]]


@dataclass(frozen=True)
class Labelled:
    """Features (N, F), float32, and classes (N,)."""

    features: Floats
    labels: Labels

    def __len__(self) -> int:
        return len(self.labels)

    def with_others(self, others: Labelled) -> Labelled:
        """Both, these first."""
        features = np.concatenate([self.features, others.features])
        return Labelled(features, np.concatenate([self.labels, others.labels]))


@dataclass(frozen=True)
class Tried:
    """A penalty, and what the fit with it did on the images that choose: accuracy in [0, 1], loss in nats."""

    penalty: float
    accuracy: float
    loss: float


@dataclass(frozen=True)
class Regression:
    """A linear classifier of features as they come, (classes, F) and (classes,): standardisation is folded in.

    ``tried`` are all penalties, in the order of the trials; ``converged`` says whether the last fit did.
    """

    weight: Tensor
    bias: Tensor | None
    penalty: float
    tried: tuple[Tried, ...]
    converged: bool

    @property
    def chosen(self) -> Tried:
        """The trial that won."""
        return next(each for each in self.tried if each.penalty == self.penalty)

    @property
    def at_the_end(self) -> bool:
        """Whether the penalty is the smallest or the largest that was tried: a better one may lie beyond."""
        every = [each.penalty for each in self.tried]
        return self.penalty in (min(every), max(every))


def regression(
    train: Labelled,
    choice: Labelled,
    classes: int,
    *,
    bias: bool = True,
    told: Callable[[str], object] = lambda words: None,
) -> Regression:
    """Fit ``train`` with each of some penalties, take the one that does best on ``choice``, and fit both with it.

    Minimises Σ cross-entropy + λ/2 ‖W‖² over standardised features; the bias is not penalised. Which λ are tried is the
    search of Radford et al. (2021, A.3): decades two apart, then the step around the best is halved. Accuracy
    decides, the loss where it is equal, and then the larger penalty.

    Raises:
        DataError: fewer than two classes, a class without an image to fit, or no image to choose with.
    """
    missing = sorted(set(range(classes)) - set(train.labels.tolist()))
    if classes < 2 or missing:
        what = f"class {missing[0]} has no image to fit" if missing else "there is one class"
        raise DataError(f"{what}: a regression tells classes apart")
    if not len(choice):
        raise DataError("no images are left to choose the penalty with: a class of two or more has one to spare")
    tried: dict[float, Tried] = {}
    fit = _Fit(train, bias)

    def attempt(penalty: float) -> None:
        told(f"penalty {penalty:.3g}, {len(tried) + 1} of at most {len(FIRST) + 2 * HALVINGS}")
        tried[penalty] = _judged(penalty, fit(penalty), choice)

    for penalty in FIRST:
        attempt(penalty)
    step = FIRST[0] / FIRST[1]
    for _ in range(HALVINGS):
        best, step = _best(tried).penalty, step**0.5
        for near in (best * step, best / step):
            if min(FIRST) <= near <= max(FIRST):
                attempt(near)
    best = _best(tried).penalty
    told(f"penalty {best:.3g}, on all {len(train) + len(choice):,} images")
    last = _Fit(train.with_others(choice), bias)
    return replace(last(best), tried=tuple(tried.values()))


def _best(tried: dict[float, Tried]) -> Tried:
    return max(tried.values(), key=lambda each: (each.accuracy, -each.loss, each.penalty))


class _Fit:
    """Fits of the same images with one penalty after the other, each from where the last one ended."""

    def __init__(self, images: Labelled, bias: bool) -> None:
        from sklearn.linear_model import LogisticRegression

        spread = images.features.std(axis=0, dtype=np.float64)
        self.scale = np.where(spread > 0, spread, 1.0)
        self.mean = images.features.mean(axis=0, dtype=np.float64) if bias else np.zeros_like(self.scale)
        self.standard: Doubles = (images.features - self.mean) / self.scale
        self.labels, self.bias = images.labels, bias
        self.model = LogisticRegression(max_iter=ITERATIONS, tol=TOLERANCE, warm_start=True, fit_intercept=bias)

    def __call__(self, penalty: float) -> Regression:
        from sklearn.exceptions import ConvergenceWarning

        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            self.model.set_params(C=1 / penalty).fit(self.standard, self.labels)
        weight = self.model.coef_.astype(np.float64)
        bias = np.broadcast_to(self.model.intercept_, len(weight)).astype(np.float64)
        if len(weight) == 1:  # of two classes scikit-learn fits the second one's log-odds
            weight, bias = np.concatenate([-weight, weight]) / 2, np.concatenate([-bias, bias]) / 2
        weight = weight / self.scale
        return Regression(
            torch.from_numpy(weight).float(),
            torch.from_numpy(bias - weight @ self.mean).float() if self.bias else None,
            penalty,
            (),
            converged=not any(issubclass(each.category, ConvergenceWarning) for each in caught),
        )


def _judged(penalty: float, fitted: Regression, choice: Labelled) -> Tried:
    logits = torch.nn.functional.linear(torch.from_numpy(choice.features), fitted.weight, fitted.bias)
    labels = torch.from_numpy(choice.labels)
    loss = torch.nn.functional.cross_entropy(logits, labels)
    return Tried(penalty, float((logits.argmax(1) == labels).double().mean()), float(loss))
