"""A bank: every curve of an exhaustive run with several seeds, on which searches can be played again."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from scalesearch.ranking.class_metrics import worth
from scalesearch.ranking.estimator import Training, seed_scores
from scalesearch.ranking.pooled import Neighbours, Posterior, pool
from scalesearch.ranking.seed_scores import Floats, SeedScores
from scalesearch.ranking.standings import contenders, shares_of_wins
from scalesearch.trials import unpacked

Curve = tuple[tuple[int, float], ...]
DRAWS = 10_000
"""Of all accuracies together, for who is tied."""


@dataclass(frozen=True, eq=False)
class Trained:
    """One training: accuracy by step, which images were right at the end, its cost per step, and its loss at the end in
    nats, where that is known. By a metric in which classes count alike, ``correct`` is what each image adds, and
    ``classes`` the images' own."""

    network: str
    seed: int
    curve: Curve
    correct: np.ndarray[Any, np.dtype[Any]]
    cost: float
    loss: float = math.nan
    classes: np.ndarray[Any, np.dtype[np.int64]] | None = None

    @property
    def accuracy(self) -> float:
        """At the end of the schedule, in [0, 1]."""
        return self.curve[-1][1]

    @property
    def whole(self) -> float:
        """What the whole schedule costs, in units of ``cost``."""
        return self.cost * self.curve[-1][0]


@dataclass(frozen=True, eq=False)
class Bank:
    """Every candidate's trainings, how many images its minival has, and where the candidates lie."""

    trained: Mapping[str, tuple[Trained, ...]]
    images: int
    neighbours: Neighbours

    @property
    def names(self) -> tuple[str, ...]:
        """The candidates, in the order of ``neighbours``."""
        return tuple(self.trained)

    @property
    def alike(self) -> float:
        """How many images there are for an error: where classes count alike, what they are worth."""
        classes = next(iter(self.trained.values()))[0].classes
        return self.images if classes is None else worth(classes)

    @property
    def seeds(self) -> tuple[int, ...]:
        """Those with which every candidate was trained."""
        common = set.intersection(*({t.seed for t in trainings} for trainings in self.trained.values()))
        return tuple(sorted(common))

    @property
    def whole(self) -> float:
        """The cost of training everything to the end."""
        return sum(t.whole for trainings in self.trained.values() for t in trainings)

    @property
    def curve(self) -> Curve:
        """Of one training: all are measured after the same steps."""
        return next(iter(self.trained.values()))[0].curve

    @property
    def last_step(self) -> int:
        """The schedule's length in steps."""
        return self.curve[-1][0]

    def nearest(self, depth: float, width: float) -> str:
        """The candidate nearest to these shares of depth and width.

        Raises:
            ValueError: the candidates have no shares.
        """
        if self.neighbours.points is None:
            raise ValueError("these candidates have no shares of depth and width")
        apart = np.square(self.neighbours.points[:, :2] - (depth, width)).sum(axis=1)
        return self.names[int(apart.argmin())]

    def some(self, seeds: Sequence[int]) -> Bank:
        """The trainings with these seeds alone."""
        kept = {name: tuple(t for t in trainings if t.seed in seeds) for name, trainings in self.trained.items()}
        return Bank(kept, self.images, self.neighbours)

    def expected(self) -> Posterior:
        """What all its trainings say about these very images: candidates in ``names``' order."""
        found = measured(self.trained, self.images)
        rows = [found.get(name) for name in self.trained]
        return pool(rows, images=self.images, neighbours=self.neighbours, with_images=False)

    def tied(self, confidence: float) -> tuple[str, ...]:
        """Those that all trainings together cannot tell from the best."""
        p_best = shares_of_wins(self.expected().draws(DRAWS)).tolist()
        return contenders(dict(zip(self.trained, p_best, strict=True)), confidence)


def bank_of(records: Sequence[Any], ratios: Mapping[str, float], images: int, points: Mapping[str, Floats]) -> Bank:
    """The bank that a run's complete trials make.

    Args:
        records: of `Ledger.records`, by the metric that counts.
        ratios: MACs per image by network; what a step costs is taken to grow with them.
        points: shares of depth, width and resolution (3,) by network; none of a run that has no simplex.
    """
    trained: dict[str, list[Trained]] = {}
    for record in records:
        if record.state == "complete" and record.outcome and record.task.fingerprint in ratios:
            name = record.task.fingerprint
            curve = tuple((int(step), float(accuracy)) for step, accuracy, _ in record.outcome["curve"])
            told = record.outcome
            correct = told["of_images"] if "of_images" in told else unpacked(told["correct"], images)
            loss = float(record.outcome["curve"][-1][2])
            own = Trained(name, record.task.seed, curve, correct, ratios[name], loss, told.get("classes"))
            trained.setdefault(name, []).append(own)
    names = sorted(trained)
    near = Neighbours.none(len(names))
    if points and names:
        near = Neighbours.of([points[name] for name in names], [ratios[name] for name in names])
    by_seed = {name: tuple(sorted(trained[name], key=lambda t: t.seed)) for name in names}
    return Bank(by_seed, images, near)


def measured(trained: Mapping[str, Sequence[Trained]], images: int) -> dict[str, SeedScores]:
    """What is known of the candidates that have a training."""
    return seed_scores(
        (Training(t.network, t.seed, t.accuracy, t.loss, t.correct, t.classes) for ts in trained.values() for t in ts),
        images,
    )
