"""The replay is worth what its curves are: on made-up ones, the right policy must come out right."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pytest

from scalesearch.ranking.pooled import Neighbours
from scalesearch.ranking.replay.bank import Bank, Trained
from scalesearch.ranking.replay.game import Game, Policy
from scalesearch.ranking.replay.optuna_peers import OPTUNA
from scalesearch.ranking.replay.policies import POLICIES, exhaustive, search
from scalesearch.ranking.replay.regret import COMPUTE, Regret, replay

IMAGES = 500
CLEAR = {"best": 0.8, **{f"c{i}": 0.5 - i / 50 for i in range(9)}}


def _bank(skill: Mapping[str, float], seeds: int = 4, noise: float = 0.01, points: np.ndarray | None = None) -> Bank:
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
    near = Neighbours.none(len(trained)) if points is None else Neighbours(points, np.zeros(len(trained)))
    return Bank(trained, IMAGES, near)


def _on_a_line() -> Bank:
    """Eleven candidates from all depth to all width; the more width, the better."""
    at = np.linspace(0, 1, 11)
    points = np.stack([1 - at, at, np.zeros(11)], axis=1)
    return _bank({f"c{i:02}": 0.5 + 0.02 * i for i in range(11)}, points=points)


def _played(bank: Bank, policy: Policy, replays: int = 8) -> Regret:
    return replay(bank, {"it": policy}, replays=replays)[0]


@pytest.mark.parametrize("name", POLICIES)
def test_every_policy_of_ours_finds_a_clear_winner_and_ends(name: str) -> None:
    found = _played(_bank(CLEAR), POLICIES[name])
    assert found.near[-1] == 1 and found.mean[-1] < 0.005
    assert np.all(found.compute <= 1 + 1e-9)
    assert found.reached(0.95) is not None


@pytest.mark.parametrize("name", [name for name in OPTUNA if "GP" not in name])
def test_the_peers_play_too(name: str) -> None:
    found = _played(_on_a_line(), OPTUNA[name], replays=4)
    assert np.all(found.compute > 0.1) and np.all(found.compute <= 1 + 1e-9)
    assert found.mean[-1] < found.mean[0]


def test_a_gaussian_process_plays_too() -> None:
    found = _played(_bank({"a": 0.6, "b": 0.5, "c": 0.4}, seeds=2), OPTUNA["Optuna GP"], replays=2)
    assert found.compute == pytest.approx(1)
    assert found.near[-1] == 1


@pytest.mark.parametrize("module", ["syne_tune_peers", "neps_peers"])
@pytest.mark.parametrize("bank", [_on_a_line(), _bank(CLEAR)], ids=["with shares", "without"])
@pytest.mark.filterwarnings("ignore")
def test_the_extras_peers_play_too_where_they_are_installed(module: str, bank: Bank) -> None:
    pytest.importorskip("syne_tune" if module == "syne_tune_peers" else "neps")
    from importlib import import_module

    found = import_module(f"scalesearch.ranking.replay.{module}")
    policies = getattr(found, "SYNE_TUNE" if module == "syne_tune_peers" else "NEPS")
    for policy in policies.values():
        played = _played(bank, policy, replays=1)
        assert np.all(played.compute > 0.1) and np.all(played.compute <= 1 + 1e-9)
        assert played.mean[-1] < 0.2


def test_certainty_ends_a_search_early_and_dropping_saves() -> None:
    bank = _bank(CLEAR)
    whole, never, sure = (_played(bank, POLICIES[f"scalesearch{how}"]) for how in ("", ", never drops", SURE))
    assert sure.compute.mean() < 0.5 < never.compute.mean() == pytest.approx(1)
    assert whole.compute.mean() < never.compute.mean()


SURE = " --confidence 0.95"


def test_one_seed_of_equals_is_a_coin_toss_and_more_seeds_are_not() -> None:
    bank = _bank({"a": 0.62, "b": 0.60, "c": 0.58}, seeds=8, noise=0.03)
    found = _played(bank, exhaustive, replays=200)
    lost = {share: found.mean[round(100 * share) - 1] for share in (0.15, 1.0)}
    assert lost[1.0] < lost[0.15]


def test_whom_the_left_out_seed_has_for_the_best_is_the_measure() -> None:
    """The seed that is left out is never trained, and alone says what is lost."""
    bank = _bank({"a": 0.6, "b": 0.5}, seeds=2)
    trained: list[set[int]] = []

    def policy(game: Game) -> None:
        exhaustive(game)
        trained.append({t.seed for ts in game.finished.values() for t in ts})

    found = _played(bank, policy, replays=4)
    assert trained == [{1}, {0}, {1}, {0}]
    assert found.lost[:, -1] == pytest.approx(0)


def test_seeds_that_only_some_candidates_have_are_nobodys_but_the_measures() -> None:
    """Four more seeds of two candidates turn their order round: the search must not know, the measure must."""
    bank = _bank({"a": 0.6, "b": 0.55, "c": 0.5}, seeds=3, noise=0.001)
    more = _bank({"a": 0.55, "b": 0.65}, seeds=60, noise=0.001).trained
    trained = {name: (*ts, *(t for t in more.get(name, ()) if t.seed > 2)) for name, ts in bank.trained.items()}
    longer = Bank(trained, bank.images, bank.neighbours)
    assert longer.seeds == (0, 1, 2) and longer.tied(0.95) == ("b",)
    seen: set[int] = set()

    def policy(game: Game) -> None:
        exhaustive(game)
        seen.update(t.seed for ts in game.finished.values() for t in ts)

    found = _played(longer, policy, replays=6)
    assert seen == {0, 1, 2}
    assert found.mean[-1] == pytest.approx(0.1, abs=0.01)  # it names a, and b is the best
    assert found.near[-1] == 0


def test_an_evaluation_is_paid_for_when_it_is_reached() -> None:
    game = Game(_bank({"a": 0.6, "b": 0.5}, seeds=2), np.random.default_rng(0))
    running = game.begin("a")
    assert next(running)[0] == 10
    assert game.spent == pytest.approx(10 / 200)
    game.name_best_seen()
    assert game.named[-1][0] == pytest.approx(10 / 200) and game.named[-1][1] == "a"
    list(running)
    assert game.spent == pytest.approx(50 / 200)
    game.finish("b")
    assert [len(ts) for ts in (game.finished["a"], game.finished["b"])] == [1, 1]
    game.name_best_seen()
    assert game.named[-1][1] == "a"


def test_who_is_known_farther_is_named_before_who_is_ahead_early() -> None:
    game = Game(_bank({"a": 0.5, "b": 0.9}), np.random.default_rng(0))
    game.finish("a")
    next(game.begin("b"))
    game.name_best_seen()
    assert game.named[-1][1] == "a"


def test_reached_is_where_it_stays_so() -> None:
    near = np.ones((20, len(COMPUTE)), dtype=bool)
    near[:, :10], near[:10, 30] = False, False  # found at 11 %, lost once more at 31 %
    found = Regret("it", np.zeros(near.shape), near, np.ones(20))
    assert found.reached(0.95) == pytest.approx(0.32)
    near[:10, -1] = False
    assert found.reached(0.95) is None


def test_a_replay_is_a_function_of_its_seed() -> None:
    bank = _bank({"a": 0.62, "b": 0.60, "c": 0.5}, noise=0.02)
    first, again = (_played(bank, search(0.95)) for _ in range(2))
    assert np.array_equal(first.lost, again.lost) and np.array_equal(first.compute, again.compute)
