"""Optuna's samplers and pruners, as they play a game: each training is a trial whose parameters name a candidate.

Its parameters are the shares of depth and width, so that a sampler knows who is near whom; a point between candidates
stands for the nearest one. A run without shares has the candidate's name for its parameter.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator

import numpy as np
import optuna
from optuna.pruners import BasePruner, HyperbandPruner, MedianPruner, NopPruner, WilcoxonPruner
from optuna.samplers import BaseSampler, GPSampler, TPESampler
from optuna.trial import Trial, TrialState

from scalesearch.ranking.replay.game import Game, Policy

AT_MOST = 8
"""Suggestions in a row of candidates that have no seed left, after which any that has one is trained."""


def optuna_peer(sampler: Callable[[int], BaseSampler], pruner: Callable[[int], BasePruner]) -> Policy:
    """Every training is a trial: a candidate that is suggested again gets its next seed.

    Args:
        sampler: from a seed.
        pruner: from the last step.
    """

    def play(game: Game) -> None:
        study, last = _study(game, sampler, pruner), game.bank.last_step
        for trial, name in _asked(study, game):
            pruned = False
            for step, accuracy in game.begin(name):
                trial.report(accuracy, step)
                pruned = step < last and trial.should_prune()
                if pruned:
                    break
            study.tell(trial, state=TrialState.PRUNED) if pruned else study.tell(trial, accuracy)
            game.name_best_seen()

    return play


def wilcoxon_peer(sampler: Callable[[int], BaseSampler]) -> Policy:
    """Every candidate is a trial, its seeds' evaluations are the instances that WilcoxonPruner compares."""

    def play(game: Game) -> None:
        study = _study(game, sampler, lambda _: WilcoxonPruner(p_threshold=0.1))
        for trial, name in _asked(study, game):
            seen: list[float] = []
            while name in game.open:
                for number, (_, accuracy) in enumerate(game.begin(name)):
                    trial.report(accuracy, len(game.bank.curve) * len(seen) + number)
                seen.append(accuracy)
                game.name_best_seen()
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore")  # the best trial has fewer instances
                    if trial.should_prune():
                        break
            study.tell(trial, float(np.mean(seen)))

    return play


def _study(game: Game, sampler: Callable[[int], BaseSampler], pruner: Callable[[int], BasePruner]) -> optuna.Study:
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return optuna.create_study(
            direction="maximize",
            sampler=sampler(int(game.dice.integers(2**31))),
            pruner=pruner(game.bank.last_step),
            study_name=f"replay-{game.dice.integers(2**31)}",
        )


def _asked(study: optuna.Study, game: Game) -> Iterator[tuple[Trial, str]]:
    """Trials and their candidates, until no seed is left. A candidate that has none left is answered with what is known
    of it, which costs nothing."""
    futile = 0
    while game.open:
        if futile == AT_MOST:
            study.enqueue_trial(_parameters(game, game.open[0]))
        trial = study.ask()
        name = _suggested(trial, game)
        if name in game.open:
            futile = 0
            yield trial, name
            continue
        known, futile = game.known(name), futile + 1
        if known is None:
            study.tell(trial, state=TrialState.FAIL)
        else:
            study.tell(trial, known)


def _suggested(trial: Trial, game: Game) -> str:
    if game.bank.neighbours.points is None:
        return str(trial.suggest_categorical("candidate", list(game.bank.names)))
    return game.bank.nearest(trial.suggest_float("depth", 0, 1), trial.suggest_float("width", 0, 1))


def _parameters(game: Game, name: str) -> dict[str, float | str]:
    points = game.bank.neighbours.points
    if points is None:
        return {"candidate": name}
    depth, width, _ = points[game.bank.names.index(name)].tolist()
    return {"depth": depth, "width": width}


def _tpe(seed: int) -> BaseSampler:
    return TPESampler(seed=seed)


def _gp(seed: int) -> BaseSampler:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return GPSampler(seed=seed, deterministic_objective=False)


def _hyperband(last: int) -> BasePruner:
    return HyperbandPruner(min_resource=max(1, last // 8), max_resource=last, reduction_factor=3)


def _median(_: int) -> BasePruner:
    return MedianPruner(n_startup_trials=5)


OPTUNA: dict[str, Policy] = {
    "Optuna TPE": optuna_peer(_tpe, lambda _: NopPruner()),
    "Optuna TPE, MedianPruner": optuna_peer(_tpe, _median),
    "Optuna TPE, HyperbandPruner": optuna_peer(_tpe, _hyperband),
    "Optuna TPE, WilcoxonPruner": wilcoxon_peer(_tpe),
    "Optuna GP": optuna_peer(_gp, lambda _: NopPruner()),
    "Optuna GP, MedianPruner": optuna_peer(_gp, _median),
    "Optuna GP, HyperbandPruner": optuna_peer(_gp, _hyperband),
    "Optuna GP, WilcoxonPruner": wilcoxon_peer(_gp),
}
"""What is compared, by name."""
