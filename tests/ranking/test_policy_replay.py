"""The replay is worth what its curves are: on made-up ones, the right policy must come out right."""

from __future__ import annotations

import numpy as np
import pytest

from scalesearch.ranking.policy_replay import POLICIES, Curves, Trained, exhaustive, replay, search
from scalesearch.ranking.pooled import Neighbours

IMAGES = 500


def _curves(skill: dict[str, float], seeds: int = 4, noise: float = 0.01) -> Curves:
    """Curves that rise to a network's skill, give or take a seed's noise, on images sorted by difficulty."""
    dice, difficulty = np.random.default_rng(1), np.linspace(0, 1, IMAGES)
    trained = {}
    for name, share in skill.items():
        trainings = []
        for seed in range(seeds):
            final = share + noise * dice.standard_normal()
            right = difficulty < final
            curve = tuple((10 * (i + 1), float(right.mean()) * (0.6 + 0.1 * i)) for i in range(4))
            curve = (*curve, (50, float(right.mean())))
            trainings.append(Trained(name, seed, curve, right, 2.0))
        trained[name] = tuple(trainings)
    return Curves(trained, IMAGES, Neighbours.none(len(trained)))


def test_a_clear_winner_is_named_for_a_fraction_of_the_compute() -> None:
    curves = _curves({"best": 0.8, **{f"c{i}": 0.5 - i / 50 for i in range(9)}})
    scores = {score.policy: score for score in replay(curves, replays=5)}
    ours = scores["scalesearch --confidence 0.95"]
    assert set(scores) == {"exhaustive, all seeds", *POLICIES}
    assert ours.named_winner == 1 and ours.compute < 0.5
    assert scores["exhaustive, two seeds"].compute == pytest.approx(0.5)
    assert scores["scalesearch, seeds only"].compute > ours.compute


def test_one_seed_of_equals_is_a_coin_toss_and_more_seeds_are_not() -> None:
    curves = _curves({"a": 0.62, "b": 0.60, "c": 0.58}, seeds=8, noise=0.03)
    dice = np.random.default_rng(0)
    named = [exhaustive(1)(curves, dice).winner for _ in range(200)]
    everything = {exhaustive(8)(curves, dice).winner for _ in range(20)}
    assert 0.3 < named.count(curves.best(0.95)[0]) / 200 < 0.95
    assert everything == {curves.best(0.95)[0]}


def test_a_replay_is_a_function_of_its_seed() -> None:
    curves = _curves({"a": 0.62, "b": 0.60, "c": 0.5}, noise=0.02)
    first, again = (search(0.95)(curves, np.random.default_rng(3)) for _ in range(2))
    assert first == again
    assert 0 < first.compute <= 1
