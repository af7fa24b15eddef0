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

from scalesearch.ranking.bootstrap import SeedScores, draws
from scalesearch.ranking.pruning import IntervalPruner
from scalesearch.ranking.standings import contenders, next_seeds, summarise
from scalesearch.trials import unpacked

Curve = tuple[tuple[int, float], ...]


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
    """An exhaustive run: every candidate's trainings, the images of its minival, and the rungs of its schedule."""

    trained: Mapping[str, tuple[Trained, ...]]
    images: int

    @property
    def seeds(self) -> int:
        """How many seeds every candidate has."""
        return min(len(trainings) for trainings in self.trained.values())

    @property
    def whole(self) -> float:
        """The cost of training everything to the end."""
        return sum(t.spent(t.curve[-1][0]) for trainings in self.trained.values() for t in trainings)

    def best(self, confidence: float) -> tuple[str, tuple[str, ...]]:
        """The winner of the whole run, and those that it cannot be told from."""
        found = _measured(self.trained)
        standings = summarise(found, draws(found, images=self.images), confidence)
        winner = max(standings, key=lambda s: s.mean).name
        return winner, contenders({s.name: s.p_best for s in standings}, confidence)


def curves_of(records: Sequence[Any], ratios: Mapping[str, float], images: int) -> Curves:
    """The curves of a run's complete trials.

    Args:
        records: of `Ledger.records`.
        ratios: MACs per image by network; what a step costs is taken to grow with them.
    """
    trained: dict[str, list[Trained]] = {}
    for record in records:
        if record.state == "complete" and record.outcome and record.task.fingerprint in ratios:
            name = record.task.fingerprint
            curve = tuple((int(step), float(accuracy)) for step, accuracy, _ in record.outcome["curve"])
            correct = unpacked(record.outcome["correct"], images)
            trained.setdefault(name, []).append(Trained(name, record.task.seed, curve, correct, ratios[name]))
    return Curves({name: tuple(sorted(ts, key=lambda t: t.seed)) for name, ts in sorted(trained.items())}, images)


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


def search(confidence: float, *, within: float = 0.0, drop: bool = True, resamples: int = 400) -> Policy:
    """scalesearch's own: one seed of everything, then more for those that may be best; drops what falls behind."""

    def play(curves: Curves, dice: np.random.Generator) -> Told:
        shuffled = _shuffled(curves, dice)
        study = _study(_intervals(curves))
        finished: dict[str, list[Trained]] = {name: [] for name in shuffled}
        dropped: set[str] = set()
        wanted, spent = dict.fromkeys(shuffled, 1), 0.0
        while True:
            for seed in range(max(wanted.values())):
                for name, trainings in shuffled.items():
                    if name in dropped or len(finished[name]) > seed or seed >= wanted[name]:
                        continue
                    step, done = _train(study, trainings[seed], never=not drop)
                    spent += trainings[seed].spent(step)
                    finished[name] += [trainings[seed]] if done else []
                    dropped |= set() if done else {name}
            found = _measured({name: tuple(ts) for name, ts in finished.items() if ts})
            plan = next_seeds(
                found,
                images=curves.images,
                max_seeds=curves.seeds,
                confidence=confidence,
                within=within,
                resamples=resamples,
            )
            more = {name: n for name, n in plan.seeds.items() if name not in dropped and n > wanted[name]}
            if not more:
                return Told(_highest(finished), spent / curves.whole)
            wanted |= more

    return play


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

    ``regret`` is the mean accuracy lost against the whole run's winner, both by their means over all seeds.
    """
    winner, tied = curves.best(confidence)
    means = {name: float(np.mean([t.accuracy for t in ts])) for name, ts in curves.trained.items()}
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
    names = list(curves.trained)
    dice.shuffle(names)
    return {name: [curves.trained[name][i] for i in dice.permutation(curves.seeds)] for name in names}


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


def _measured(trained: Mapping[str, Sequence[Trained]]) -> list[SeedScores]:
    return [
        SeedScores(name, tuple(t.accuracy for t in ts), np.stack([t.correct for t in ts]))
        for name, ts in trained.items()
    ]


def _highest(trained: Mapping[str, Sequence[Trained]]) -> str:
    return max((name for name in trained if trained[name]), key=lambda n: np.mean([t.accuracy for t in trained[n]]))
