"""One score per training that tells more of its candidate than its final accuracy does.

Accuracy counts images; the loss on the same images also knows by how much each was right or wrong, and its luck is
another. Over a run's trainings the one is nearly a straight line of the other, so the loss says what the accuracy
should have been. What it says too much with every seed is the candidate and no luck, and counts for nothing: that
part is estimated (a random effect), and a score is the accuracy and the rest of what the loss says more. So scores are
accuracies: their mean over a candidate's seeds tends to that of its accuracies.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from scalesearch.ranking.class_metrics import worth
from scalesearch.ranking.seed_scores import Floats, SeedScores

SLOPE, SLOPE_SD = 0.4, 0.05
"""How much accuracy a nat of loss is, before anything is trained: 0.31 to 0.54 on the committed runs. What is trained
tells it only where candidates differ by more than luck: a line through luck is too flat."""

LUCK = 0.3
"""Variance between trainings of a candidate of what the loss says too much, over that of a holdout of so many images,
before anything is trained."""

OWN = 2.0
"""Variance of that between candidates, over that between trainings, before anything is trained. On the committed runs
it is 0 to 0.5; that much more is careful with a single training, whose score is then a third of the way to the line."""

FREEDOM = 4
"""Degrees of freedom that `LUCK` and `OWN` count for."""


class Training(NamedTuple):
    """One training: its candidate and seed, final accuracy and loss (nan: not known), and which images were right; or,
    where classes count alike, what each image adds, and the images' classes."""

    name: str
    seed: int
    accuracy: float
    loss: float
    correct: NDArray[np.bool_] | Floats | None
    classes: NDArray[np.int64] | None = None


def seed_scores(trainings: Iterable[Training], images: int) -> dict[str, SeedScores]:
    """What trainings come to, by candidate, in their order; which images were right only where all know it.

    Args:
        images: held out.
    """
    every = list(trainings)
    classes = next((t.classes for t in every if t.classes is not None), None)
    alike = images if classes is None else worth(classes)
    made = scores([t.name for t in every], [t.accuracy for t in every], [t.loss for t in every], images=alike)
    rows: dict[str, list[int]] = {}
    for row, training in enumerate(every):
        rows.setdefault(training.name, []).append(row)
    found = {}
    for name, own in rows.items():
        right: list[NDArray[Any]] = [correct for i in own if (correct := every[i].correct) is not None]
        found[name] = SeedScores(
            name,
            tuple(every[i].accuracy for i in own),
            np.stack(right) if len(right) == len(own) else None,
            tuple(every[i].seed for i in own),
            tuple(made[own].tolist()),
            classes,
        )
    return found


def scores(names: Sequence[str], accuracies: Sequence[float], losses: Sequence[float], *, images: float) -> Floats:
    """A score for each training, in accuracy.

    Args:
        names: the trainings' candidates.
        accuracies: final ones, in [0, 1].
        losses: final ones on the same images, in nats; where one is not finite, scores are the accuracies.
        images: how many.
    """
    measured, logs = np.asarray(accuracies, dtype=float), -np.asarray(losses, dtype=float)
    if len(measured) < 2 or not np.isfinite(logs).all():
        return measured
    apart = logs - logs.mean()
    error = (measured.mean() * (1 - measured.mean()) + 1 / images) / images  # of a holdout, squared
    told = (apart @ (measured - measured.mean())) / error + SLOPE / SLOPE_SD**2
    slope = told / ((apart @ apart) / error + 1 / SLOPE_SD**2)
    more = measured.mean() + slope * apart - measured  # what the loss says, over what was measured
    return np.asarray(measured + more - _own(names, more, LUCK * error))


def _own(names: Sequence[str], more: Floats, expected: float) -> Floats:
    """The part of ``more`` that is each training's candidate's own: the best linear prediction of a random effect.

    Args:
        expected: variance of ``more`` between trainings of one candidate, before anything is trained.
    """
    _, which = np.unique(names, return_inverse=True)
    counts = np.bincount(which)
    means = np.bincount(which, weights=more) / counts
    squares, freedom = float(np.square(more - means[which]).sum()), len(more) - len(counts)
    within = (squares + FREEDOM * expected) / (freedom + FREEDOM)
    seen = max(0.0, float(np.square(means).mean()) - within * float((1 / counts).mean()))
    between = (FREEDOM * OWN * within + (len(counts) - 1) * seen) / (FREEDOM + len(counts) - 1)
    return np.asarray((means * counts * between / (counts * between + within))[which])
