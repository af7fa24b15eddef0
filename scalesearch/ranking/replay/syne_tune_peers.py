"""Syne Tune's ASHA and BOHB, as they play a game. Needs ``scalesearch[peers]``.

(Salinas et al. 2022, "Syne Tune: A Library for Large Scale Hyperparameter Tuning and Reproducible Research".)
"""

from __future__ import annotations

import logging
from datetime import datetime
from typing import Any

from syne_tune.backend.trial_status import Trial
from syne_tune.config_space import choice, uniform
from syne_tune.optimizer.baselines import ASHA, BOHB
from syne_tune.optimizer.scheduler import SchedulerDecision

from scalesearch.ranking.replay.game import Game, Policy
from scalesearch.ranking.replay.optuna_peers import AT_MOST


def syne_tune_peer(scheduler: type[ASHA] | type[BOHB], **options: Any) -> Policy:
    """Every training is a trial, its evaluations are the resource; a candidate that comes again gets its next seed."""
    logging.getLogger("syne_tune").setLevel(logging.ERROR)

    def play(game: Game) -> None:
        near = game.bank.neighbours.points is not None
        space: dict[str, Any] = {"candidate": choice(list(game.bank.names))}
        if near:
            space = {"depth": uniform(0, 1), "width": uniform(0, 1)}
        searched = scheduler(
            space,
            metric="accuracy",
            time_attr="evaluation",
            max_t=len(game.bank.curve),
            do_minimize=False,
            random_seed=int(game.dice.integers(2**31)),
            **options,
        )
        number, futile = 0, 0
        while game.open:
            suggestion = searched.suggest()
            config = dict(suggestion.config)
            name = game.bank.nearest(config["depth"], config["width"]) if near else str(config["candidate"])
            if name not in game.open:
                futile += 1
                if futile < AT_MOST:
                    continue
                name = game.open[0]
            futile = 0
            trial = Trial(trial_id=number, config=config, creation_time=datetime.now())
            number += 1
            searched.on_trial_add(trial)
            for evaluation, (_, accuracy) in enumerate(game.begin(name), 1):
                told = searched.on_trial_result(trial, {"accuracy": accuracy, "evaluation": evaluation})
                if told == SchedulerDecision.STOP:
                    break
            searched.on_trial_remove(trial)
            game.name_best_seen()

    return play


SYNE_TUNE: dict[str, Policy] = {"Syne Tune ASHA": syne_tune_peer(ASHA), "Syne Tune BOHB": syne_tune_peer(BOHB)}
"""What is compared, by name."""
