"""What the search's short cuts would have saved, and cost, on runs whose every curve is known.

An exhaustive run with several seeds is replayed as if it were searched anew: candidates in a new order, each one's
seeds in a new order, every training taking the steps it took. A policy names a winner and has spent so many steps.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import optuna
from optuna.pruners import BasePruner, HyperbandPruner, MedianPruner
from optuna.study import Study
from optuna.trial import TrialState

from scalesearch.ranking.allocation import next_training, start
from scalesearch.ranking.pooled import Neighbours, Posterior, pool
from scalesearch.ranking.pruning import IntervalPruner
from scalesearch.ranking.seed_scores import Floats, SeedScores
from scalesearch.ranking.standings import contenders, shares_of_wins
from scalesearch.trials import unpacked

Curve = tuple[tuple[int, float], ...]
DRAWS = 10_000
"""Of all accuracies together, for who is tied."""


@dataclass(frozen=True, eq=False)
class Trained:
    """One training of the exhaustive run: accuracy by step, which images were right at the end, its cost per step."""

    network: str
    seed: int
    curve: Curve
    correct: np.ndarray[Any, np.dtype[np.bool_]]
    cost: float

    @property
    def accuracy(self) -> float:
        """At the end of the schedule, in [0, 1]."""
        return self.curve[-1][1]

    def spent(self, step: int) -> float:
        """What training up to a step took, in the units of ``cost``."""
        return self.cost * step


@dataclass(frozen=True, eq=False)
class Curves:
    """An exhaustive run: every candidate's trainings, the images of its minival, and where the candidates lie."""

    trained: Mapping[str, tuple[Trained, ...]]
    images: int
    neighbours: Neighbours

    @property
    def seeds(self) -> int:
        """How many seeds every candidate has."""
        return min(len(trainings) for trainings in self.trained.values())

    @property
    def whole(self) -> float:
        """The cost of training everything to the end."""
        return sum(t.spent(t.curve[-1][0]) for trainings in self.trained.values() for t in trainings)

    def pooled(self, trained: Mapping[str, Sequence[Trained]] | None = None) -> Posterior:
        """The model of some of its trainings, by default all, on these very images: candidates in the run's order."""
        found = _measured(self.trained if trained is None else trained)
        rows = [found.get(name) for name in self.trained]
        return pool(rows, images=self.images, neighbours=self.neighbours, with_images=False)

    def best(self, confidence: float) -> tuple[str, tuple[str, ...]]:
        """The winner of the whole run, and those that it cannot be told from."""
        posterior, names = self.pooled(), list(self.trained)
        p_best = dict(zip(names, shares_of_wins(posterior.draws(DRAWS)).tolist(), strict=True))
        return names[int(posterior.mean.argmax())], contenders(p_best, confidence)


def curves_of(records: Sequence[Any], ratios: Mapping[str, float], images: int, points: Mapping[str, Floats]) -> Curves:
    """The curves of a run's complete trials.

    Args:
        records: of `Ledger.records`.
        ratios: MACs per image by network; what a step costs is taken to grow with them.
        points: shares of depth, width and resolution (3,) by network; none of a run that has no simplex.
    """
    trained: dict[str, list[Trained]] = {}
    for record in records:
        if record.state == "complete" and record.outcome and record.task.fingerprint in ratios:
            name = record.task.fingerprint
            curve = tuple((int(step), float(accuracy)) for step, accuracy, _ in record.outcome["curve"])
            correct = unpacked(record.outcome["correct"], images)
            trained.setdefault(name, []).append(Trained(name, record.task.seed, curve, correct, ratios[name]))
    names = sorted(trained)
    costs = np.log2([ratios[name] for name in names])
    near = Neighbours.none(len(names))
    if points:
        near = Neighbours(np.array([points[name] for name in names]), costs - np.median(costs))
    return Curves({name: tuple(sorted(trained[name], key=lambda t: t.seed)) for name in names}, images, near)


@dataclass(frozen=True)
class Told:
    """What one replay came to: whom it named, and the share of the exhaustive run's compute it took."""

    winner: str
    compute: float


Policy = Callable[[Curves, np.random.Generator], Told]


def exhaustive(seeds: int) -> Policy:
    """Everything to the end, with so many seeds; the highest mean wins."""

    def play(curves: Curves, dice: np.random.Generator) -> Told:
        shuffled = _shuffled(curves, dice)
        taken = {name: trainings[:seeds] for name, trainings in shuffled.items()}
        spent = sum(t.spent(t.curve[-1][0]) for ts in taken.values() for t in ts)
        return Told(_highest(taken), spent / curves.whole)

    return play


def pruned(make: Callable[[Curves], BasePruner]) -> Policy:
    """Every seed of everything under one of Optuna's pruners, one training after the other."""

    def play(curves: Curves, dice: np.random.Generator) -> Told:
        queue = [t for trainings in _shuffled(curves, dice).values() for t in trainings]
        dice.shuffle(queue)
        study = _study(make(curves))
        finished: dict[str, list[Trained]] = {}
        spent = 0.0
        for training in queue:
            step, done = _train(study, training)
            spent += training.spent(step)
            if done:
                finished.setdefault(training.network, []).append(training)
        return Told(_highest(finished), spent / curves.whole)

    return play


def search(confidence: float | None = None, *, within: float = 0.0, share: float = 1.0, drop: bool = True) -> Policy:
    """scalesearch's own: a start spread over the shares, then whatever tells most; drops what falls behind.

    Args:
        confidence: ends it, of `allocation.next_training`.
        share: of the exhaustive run's compute, which ends it too.
    """

    def play(curves: Curves, dice: np.random.Generator) -> Told:
        shuffled, names = _shuffled(curves, dice), list(curves.trained)
        points = curves.neighbours.points
        queue = list(names) if points is None else [names[i] for i in start(points)]
        study, dropped, spent = _study(_intervals(curves)), set[str](), 0.0
        finished: dict[str, list[Trained]] = {name: [] for name in names}
        costs = np.array([shuffled[name][0].spent(_last_rung(curves)) for name in names])
        while True:
            if queue:
                name = queue.pop(0)
            else:
                left = [i for i, name in enumerate(names) if name not in dropped]
                found = next_training(
                    [names[i] for i in left],
                    _measured(finished),
                    costs[left],
                    images=curves.images,
                    neighbours=curves.neighbours.some(left),
                    max_seeds=curves.seeds,
                    confidence=confidence,
                    within=within,
                    with_images=False,
                )
                if found.name is None:
                    break
                name = found.name
            training = shuffled[name][len(finished[name])]
            if spent and spent + training.spent(_last_rung(curves)) > share * curves.whole * (1 + 1e-9):
                break
            step, done = _train(study, training, never=not drop)
            spent += training.spent(step)
            finished[name] += [training] if done else []
            dropped |= set() if done else {name}
        return Told(_first(curves, finished, dropped), spent / curves.whole)

    return play


def _first(curves: Curves, finished: Mapping[str, Sequence[Trained]], dropped: set[str]) -> str:
    """Of those that were trained to the end, the one with the highest expectation."""
    expected = dict(zip(curves.trained, curves.pooled(finished).mean, strict=True))
    return max((name for name, ts in finished.items() if ts and name not in dropped), key=lambda name: expected[name])


def _intervals(curves: Curves) -> IntervalPruner:
    return IntervalPruner.of_schedule(_last_rung(curves), images=curves.images)


def _last_rung(curves: Curves) -> int:
    return next(iter(curves.trained.values()))[0].curve[-1][0]


POLICIES: Mapping[str, Policy] = {
    "exhaustive, one seed": exhaustive(1),
    "exhaustive, two seeds": exhaustive(2),
    "Optuna MedianPruner": pruned(lambda _: MedianPruner(n_startup_trials=5)),
    "Optuna HyperbandPruner": pruned(lambda c: HyperbandPruner(1, _last_rung(c), reduction_factor=3)),
    "scalesearch, drops only": pruned(_intervals),
    "scalesearch, seeds only": search(0.95, drop=False),
    "scalesearch --confidence 0.95": search(0.95),
    "scalesearch --within 0.01": search(0.95, within=0.01),
    "scalesearch --within 0.02": search(0.95, within=0.02),
    "scalesearch --budget 20%": search(share=0.2),
    "scalesearch --budget 33%": search(share=1 / 3),
}
"""What is compared; all trainings of the run itself are the measure."""


@dataclass(frozen=True)
class Score:
    """A policy over many replays: mean share of compute, and how often it named the winner, or one tied with it."""

    policy: str
    replays: int
    compute: float
    named_winner: float
    named_tied: float
    regret: float


def replay(curves: Curves, *, replays: int, seed: int = 0, confidence: float = 0.95) -> list[Score]:
    """Play every policy ``replays`` times.

    ``regret`` is the mean accuracy lost against the whole run's winner, both as all its trials tell it.
    """
    winner, tied = curves.best(confidence)
    means = dict(zip(curves.trained, curves.pooled().mean.tolist(), strict=True))
    scores = [Score("exhaustive, all seeds", 1, 1.0, 1.0, 1.0, 0.0)]
    for name, policy in POLICIES.items():
        dice = np.random.default_rng(seed)
        told = [policy(curves, dice) for _ in range(replays)]
        scores.append(
            Score(
                name,
                replays,
                float(np.mean([t.compute for t in told])),
                float(np.mean([t.winner == winner for t in told])),
                float(np.mean([t.winner in tied for t in told])),
                float(np.mean([means[winner] - means[t.winner] for t in told])),
            )
        )
    return scores


def _shuffled(curves: Curves, dice: np.random.Generator) -> dict[str, list[Trained]]:
    """Candidates in a new order, and seeds in a new order, the same for all: they share what a seed decides."""
    names, seeds = list(curves.trained), dice.permutation(curves.seeds)
    dice.shuffle(names)
    return {name: [curves.trained[name][i] for i in seeds] for name in names}


def _study(pruner: BasePruner) -> Study:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return optuna.create_study(direction="maximize", pruner=pruner, study_name="replay")


def _train(study: Study, training: Trained, *, never: bool = False) -> tuple[int, bool]:
    """Up to where a training goes, and whether that is the end. The last rung is the end: there is nothing to drop."""
    trial = study.ask()
    trial.set_user_attr("network", training.network)
    for step, accuracy in training.curve[:-1]:
        trial.report(accuracy, step)
        if not never and trial.should_prune():
            study.tell(trial, state=TrialState.PRUNED)
            return step, False
    step, accuracy = training.curve[-1]
    trial.report(accuracy, step)
    study.tell(trial, accuracy)
    return step, True


def _measured(trained: Mapping[str, Sequence[Trained]]) -> dict[str, SeedScores]:
    return {
        name: SeedScores(
            name, tuple(t.accuracy for t in ts), np.stack([t.correct for t in ts]), tuple(t.seed for t in ts)
        )
        for name, ts in trained.items()
        if ts
    }


def _highest(trained: Mapping[str, Sequence[Trained]]) -> str:
    return max((name for name in trained if trained[name]), key=lambda n: np.mean([t.accuracy for t in trained[n]]))
