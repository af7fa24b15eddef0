"""NePS's PriorBand, as it plays a game. Needs ``scalesearch[peers]``.

(Mallik et al. 2023, "PriorBand: Practical Hyperparameter Optimization in the Age of Deep Learning", NeurIPS.) Its prior
is the paper's division of the growth.
"""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator
from typing import Any

import neps
from neps.optimizers.algorithms import priorband

from scalesearch.ranking.replay.game import Game, Policy
from scalesearch.scaling.shares import PAPER_SHARES

AT_MOST = 60
"""Suggestions in a row of candidates that have no seed left, after which it has come to its end: it repeats itself."""


def priorband_peer(game: Game) -> None:
    """Every configuration is a training, its evaluations are the fidelity; what is promoted goes on where it was."""
    logging.getLogger("neps").setLevel(logging.ERROR)
    last = len(game.bank.curve)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        asked = neps.AskAndTell(priorband(_space(game, last)))
        under_way: dict[str, tuple[str, Iterator[tuple[int, float]], list[float]]] = {}
        futile = 0
        while game.open and futile < AT_MOST:
            trial = asked.ask()
            config = dict(trial.config)
            before = trial.metadata.previous_trial_id
            if before in under_way:
                name, training, seen = under_way.pop(before)
            else:
                name, seen = _named(game, config), []
                if name not in game.open:
                    known = game.known(name)
                    asked.tell(trial, -known if known is not None else 0.0)
                    futile += 1
                    continue
                training = game.begin(name)
            futile = 0
            for _, accuracy in training:
                seen.append(accuracy)
                if len(seen) >= int(config["evaluations"]):
                    break
            under_way[trial.id] = (name, training, seen)
            asked.tell(trial, -seen[-1])
            game.name_best_seen()


def _space(game: Game, last: int) -> Any:
    fidelity = neps.IntegerFidelity(1, last)
    if game.bank.neighbours.points is None:

        class Names(neps.PipelineSpace):  # type: ignore[misc]
            """One of the candidates, and how many evaluations of it."""

            candidate = neps.Categorical(tuple(game.bank.names))
            evaluations = fidelity

        return Names()

    class Shares(neps.PipelineSpace):  # type: ignore[misc]
        """A point of the simplex, and how many evaluations of the candidate there."""

        depth = neps.Float(0, 1, prior=PAPER_SHARES.depth, prior_confidence="medium")
        width = neps.Float(0, 1, prior=PAPER_SHARES.width, prior_confidence="medium")
        evaluations = fidelity

    return Shares()


def _named(game: Game, config: dict[str, Any]) -> str:
    if "candidate" in config:
        return str(config["candidate"])
    return game.bank.nearest(float(config["depth"]), float(config["width"]))


NEPS: dict[str, Policy] = {"NePS PriorBand": priorband_peer}
"""What is compared, by name."""
