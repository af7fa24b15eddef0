"""What ways to search lose over what they spend, each played many times over a bank.

Every replay plays with all seeds but one that every candidate has. Accuracy lost is told by the trainings that were
left out, that seed's and those of seeds that only some candidates have: their final accuracy of the bank's best
candidate less that of the one that is named. So nobody is judged on what it has seen, and what single seeds err by goes
away in the mean over many replays. Whether a candidate is as good as the best, which single seeds cannot tell, is told
by all trainings of the bank and the model of them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from scalesearch.ranking.replay.bank import Bank
from scalesearch.ranking.replay.game import Game, Policy
from scalesearch.ranking.seed_scores import Floats

POINTS = 0.005
"""A candidate at most that much worse than the bank's best is as good as that: half a point of accuracy."""

SURE = 0.95
"""How often that has to be so."""

DECIMALS = 6
"""Of what is written: linear algebra on another machine differs in the last bits."""

COMPUTE = np.arange(1, 101) / 100
"""Shares of training everything at which curves are known."""


@dataclass(frozen=True, eq=False)
class Regret:
    """One way to search over many replays.

    ``lost`` (replays, computes): by how much accuracy what it would name at each of `COMPUTE` is worse than the bank's
    best, with the seed that was left out. ``is_near`` (replays, computes): whether that is as good as the best.
    ``compute`` (replays,): what it had spent at its own end.
    """

    policy: str
    lost: Floats
    is_near: NDArray[np.bool_]
    compute: Floats

    @property
    def mean(self) -> Floats:
        """Accuracy lost (computes,)."""
        return np.asarray(self.lost.mean(axis=0))

    @property
    def half(self) -> Floats:
        """Half the 95 % interval of `mean` (computes,); nan for one replay."""
        if len(self.lost) < 2:
            return np.full(len(COMPUTE), np.nan)
        return np.asarray(1.96 * self.lost.std(axis=0, ddof=1) / len(self.lost) ** 0.5)

    @property
    def near(self) -> Floats:
        """How often it names one within `POINTS` of the best (computes,)."""
        return np.asarray(self.is_near.mean(axis=0))

    def reached(self, mark: float) -> float | None:
        """The compute from which on `near` is never below ``mark``; None if it is below at the end."""
        below = np.flatnonzero(self.near < mark - 1e-12)
        if not len(below):
            return float(COMPUTE[0])
        return float(COMPUTE[below[-1] + 1]) if below[-1] + 1 < len(COMPUTE) else None

    def to_json(self) -> dict[str, Any]:
        """What it came to, as plain values."""
        return {
            "policy": self.policy,
            "replays": len(self.lost),
            "compute": round(float(self.compute.mean()), DECIMALS),
            "near": round(float(self.near[-1]), DECIMALS),
            "lost": round(float(self.mean[-1]), DECIMALS),
            "reached": self.reached(SURE),
        }


def replay(bank: Bank, policies: Mapping[str, Policy], *, replays: int, seed: int = 0) -> list[Regret]:
    """Play every policy so many times, each time on the same bank in the same order as the others."""
    expected = dict(zip(bank.names, bank.expected().mean.tolist(), strict=True))
    best = max(expected, key=lambda name: expected[name])
    left = {left_out: _left_out(bank, left_out) for left_out in bank.seeds}
    plays = {left_out: bank.some([s for s in bank.seeds if s != left_out]) for left_out in bank.seeds}
    found = []
    for name, policy in policies.items():
        lost, near, compute = [], [], []
        for number in range(replays):
            left_out = bank.seeds[number % len(bank.seeds)]
            game = Game(plays[left_out], np.random.default_rng([seed, number]))
            policy(game)
            named = _named_at(game)
            lost.append([left[left_out][best] - left[left_out][each] for each in named])
            near.append([expected[best] - expected[each] <= POINTS for each in named])
            compute.append(game.spent)
        found.append(Regret(name, np.array(lost), np.array(near), np.array(compute)))
    return found


def _left_out(bank: Bank, seed: int) -> dict[str, float]:
    """Mean final accuracy of what no replay trains that leaves this seed out."""
    return {
        name: float(np.mean([t.accuracy for t in trainings if t.seed == seed or t.seed not in bank.seeds]))
        for name, trainings in bank.trained.items()
    }


def _named_at(game: Game) -> list[str]:
    """Whom it would name at each of `COMPUTE`."""
    spent = np.array([at for at, _ in game.named])
    rows = np.searchsorted(spent, COMPUTE + 1e-9, side="right") - 1
    return [game.named[row][1] for row in rows]
