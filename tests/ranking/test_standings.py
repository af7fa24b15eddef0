"""What is said about a ranking is as sure as it says, where the truth is known because it was simulated."""

from __future__ import annotations

import math
import tracemalloc
import warnings
from collections.abc import Sequence

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import stats

from scalesearch.ranking.bootstrap import Floats, SeedScores, draws, seed_noise_known
from scalesearch.ranking.rank_correlation import rank_agreement
from scalesearch.ranking.ranking import holdout_error
from scalesearch.ranking.standings import Standing, contenders, decided, hopeless, in_words, next_seeds, summarise

Bools = NDArray[np.bool_]


class World:
    """Candidates that differ by ``effects`` (logits) on images of different difficulty, each to its own taste."""

    def __init__(self, effects: Sequence[float], *, images: int, seed: int, taste: float = 0.7, moods: float = 0.1):
        self.rng, self.moods = np.random.default_rng(seed), moods
        difficulty = self.rng.normal(0, 2, images)
        self.logits = np.array(effects)[:, None] + difficulty + self.rng.normal(0, taste, (len(effects), images))

    def train(self, candidate: int) -> Bools:
        """One more seed: it has a mood, and luck on every image."""
        logits = self.logits[candidate] + self.rng.normal(0, self.moods)
        return np.asarray(self.rng.random(len(logits)) < 1 / (1 + np.exp(-logits)))

    def measure(self, seeds: int) -> list[SeedScores]:
        return [named(i, [self.train(i) for _ in range(seeds)]) for i in range(len(self.logits))]


def named(number: int, correct: Sequence[Bools]) -> SeedScores:
    rows = np.array(correct)
    return SeedScores(f"c{number:02d}", tuple(float(x) for x in rows.mean(axis=1)), rows)


def plain(accuracies: Floats) -> list[SeedScores]:
    """Candidates, a row each, of whom accuracies alone are known."""
    return [SeedScores(f"c{i:02d}", tuple(float(x) for x in row)) for i, row in enumerate(accuracies)]


def agreeing(*correct: Sequence[int], times: int = 1, seeds: int = 3) -> list[SeedScores]:
    """Candidates whose seeds all get the same images right; the images ``times`` over."""
    return [named(i, [np.tile(np.array(row, dtype=bool), times)] * seeds) for i, row in enumerate(correct)]


def p_best(standings: Sequence[Standing]) -> dict[str, float]:
    return {s.name: s.p_best for s in standings}


def test_intervals_cover_the_truth_as_often_as_they_say() -> None:
    """Of an accuracy and of a difference, on new images and with new seeds; luck is not counted twice."""
    effects, moods, taste = (1.0, 1.2), 0.1, 0.7
    logits = np.random.default_rng(0).normal(0, math.sqrt(4 + taste**2 + moods**2), 200_000)
    truth = np.array([np.mean(1 / (1 + np.exp(-(effect + logits)))) for effect in effects])
    single, paired, ours, actual = [], [], [], []
    for seed in range(300):
        measured = World([effects[0]] * 4 + [effects[1]], images=300, seed=seed, taste=taste, moods=moods).measure(3)
        drawn = draws(measured, images=300, resamples=400, seed=seed)[:, 3:]
        low, high = np.quantile(drawn, [0.025, 0.975], axis=0)
        single.extend((low <= truth) & (truth <= high))
        difference, true = drawn[:, 1] - drawn[:, 0], truth[1] - truth[0]
        low, high = np.quantile(difference, [0.025, 0.975])
        paired.append(low <= true <= high)
        ours.append(difference.var())
        actual.append((measured[4].mean - measured[3].mean - true) ** 2)
    assert 0.92 < np.mean(single) < 0.98
    assert 0.91 < np.mean(paired) < 0.98
    assert 0.8 < np.mean(ours) / np.mean(actual) < 1.3


def test_two_seeds_of_three_candidates_know_how_little_they_know() -> None:
    """Three degrees of freedom: normal intervals would cover 0.86."""
    covered = []
    for seed in range(300):
        measured = plain(0.7 + np.random.default_rng(seed).normal(0, 0.01, (3, 2)))
        drawn = draws(measured, images=1, resamples=500, with_images=False)
        low, high = np.quantile(drawn[:, 0] - drawn[:, 1], [0.025, 0.975])
        covered.append(low <= 0 <= high)
    assert 0.92 < np.mean(covered) < 0.98


def test_a_probability_of_being_best_comes_true_as_often_as_it_says() -> None:
    """For ten candidates that differ by more than their noise."""
    said, right = [], []
    for seed in range(300):
        rng = np.random.default_rng(seed)
        truth = rng.normal(0.7, 0.02, 10)
        measured = plain(truth[:, None] + rng.normal(0, 0.01, (10, 3)))
        chances = [s.p_best for s in summarise(measured, draws(measured, images=1, resamples=500, with_images=False))]
        said.append(max(chances))
        right.append(int(np.argmax(chances)) == int(np.argmax(truth)))
    assert np.mean(said) == pytest.approx(np.mean(right), abs=0.06)


def test_the_true_best_is_not_ruled_out_even_among_many_near_equals() -> None:
    kept, out = [], []
    for seed in range(200):
        rng = np.random.default_rng(seed)
        truth = 0.7 - 0.03 * np.linspace(0, 1, 20) ** 3
        measured = plain(truth[:, None] + rng.normal(0, 0.01, (20, 3)))
        standings = summarise(measured, draws(measured, images=1, resamples=500, with_images=False))
        kept.append(not standings[0].ruled_out)
        out.append(sum(s.ruled_out for s in standings))
    assert np.mean(kept) >= 0.95
    assert np.mean(out) > 2


def test_neither_the_order_of_candidates_nor_that_of_seeds_changes_a_bit() -> None:
    measured = World([1, 1.1, 0.9, 1], images=200, seed=0).measure(3)
    measured[2] = SeedScores(measured[2].name, measured[2].accuracies)
    turned = [
        SeedScores(m.name, m.accuracies[::-1], None if m.correct is None else m.correct[::-1]) for m in measured[::-1]
    ]
    for options in ({}, {"with_images": False}, {"with_seeds": False}):
        drawn = draws(measured, images=200, resamples=300, seed=1, **options)
        assert np.array_equal(drawn, draws(turned, images=200, resamples=300, seed=1, **options)[:, ::-1])
        assert not np.array_equal(drawn, draws(measured, images=200, resamples=300, seed=2, **options))
    drawn = draws(measured, images=200, resamples=300)
    assert summarise(measured, drawn)[::-1] == summarise(turned, drawn[:, ::-1])
    assert next_seeds(measured, images=200, max_seeds=5) == next_seeds(turned, images=200, max_seeds=5)


def test_shared_images_make_a_difference_surer_than_images_of_ones_own() -> None:
    paired = World([1, 1.1], images=500, seed=0, moods=0).measure(3)
    alone = [SeedScores(m.name, m.accuracies) for m in paired]
    sd = [np.subtract(*draws(m, images=500, resamples=2000).T).std() for m in (paired, alone)]
    assert sd[0] < 0.6 * sd[1]


def test_without_the_images_an_accuracy_has_agresti_and_coulls_error() -> None:
    drawn = draws([SeedScores("a", (0.9,)), SeedScores("b", (1.0,))], images=50, resamples=20_000)
    assert drawn.std(axis=0) == pytest.approx([holdout_error(0.9, 50), holdout_error(1.0, 50)], rel=0.03)
    assert abs(float(np.corrcoef(drawn.T).min())) < 0.03


def test_infinitely_many_seeds_leave_no_luck_but_all_that_images_do() -> None:
    lucky = World([1, 1], images=1000, seed=0, taste=0, moods=0).measure(5)
    luck, none = (np.subtract(*draws(lucky, images=1000, with_seeds=s).T).std() for s in (True, False))
    assert none < 0.5 * luck
    same = agreeing([1, 1, 0, 0, 1], [1, 0, 1, 0, 0], times=60)
    with_seeds, without = (np.subtract(*draws(same, images=300, with_seeds=s).T).std() for s in (True, False))
    assert without == pytest.approx(with_seeds, rel=0.05)


def test_identical_candidates_share_the_chance_and_are_contenders() -> None:
    measured = agreeing([1, 1, 0, 0] * 25, [1, 1, 0, 0] * 25, [1, 0, 0, 0] * 25)
    standings = summarise(measured, draws(measured, images=100))
    assert [round(s.p_best, 3) for s in standings] == [0.5, 0.5, 0]
    assert contenders(p_best(standings)) == ("c00", "c01")
    assert [s.ruled_out for s in standings] == [False, False, True]


def test_a_clear_winner_is_decided_and_nobody_trains_on() -> None:
    measured = World([1, 3, 1.1], images=500, seed=0).measure(2)
    standings = summarise(measured, draws(measured, images=500))
    assert decided(p_best(standings)) and contenders(p_best(standings)) == ("c01",)
    assert next_seeds(measured, images=500, max_seeds=9).why == "decided"
    assert not next_seeds(measured, images=500, max_seeds=9).seeds


def test_few_images_are_hopeless_and_the_same_images_many_times_are_not() -> None:
    a, b = [1] * 22 + [0] * 18, [1] * 19 + [0] * 19 + [1] * 2
    assert hopeless(agreeing(a, b), images=40)
    assert next_seeds(agreeing(a, b), images=40, max_seeds=9).why == "hopeless"
    assert not hopeless(agreeing(a, b, times=100), images=4000)


def test_two_seeds_that_might_be_unlucky_are_no_reason_to_give_up() -> None:
    """The means are equal, but the seeds are so uneven that more of them may well part the candidates."""
    rng = np.random.default_rng(0)
    correct = [rng.random(2000) < p for p in (0.6, 0.8, 0.61, 0.79)]
    assert next_seeds([named(0, correct[:2]), named(1, correct[2:])], images=2000, max_seeds=9).why == "contenders"


def test_everyone_has_a_second_seed_before_anyone_has_a_third() -> None:
    measured = World([1, 3], images=300, seed=0).measure(1)
    assert not seed_noise_known(measured)
    plan = next_seeds(measured, images=300, max_seeds=5)
    assert plan.seeds == {"c00": 2, "c01": 2} and plan.why == "seed noise unknown"
    assert next_seeds(measured, images=300, max_seeds=1).why == "max seeds"
    assert np.isnan(summarise(measured, draws(measured, images=300))[0].sd)


@pytest.mark.parametrize("gap", [0.0, 0.3, 1.0])
def test_more_seeds_come_to_an_end(gap: float) -> None:
    world = World([1, 1 + gap, 1 + gap, 0.5], images=400, seed=3)
    correct = [[world.train(i)] for i in range(4)]
    whys = []
    while True:
        measured = [named(i, rows) for i, rows in enumerate(correct)]
        plan = next_seeds(measured, images=400, max_seeds=4, resamples=1000)
        whys.append(plan.why)
        if not plan.seeds:
            break
        for name, seeds in plan.seeds.items():
            rows = correct[int(name[1:])]
            assert seeds == len(rows) + 1 <= 4
            rows.append(world.train(int(name[1:])))
    assert whys[0] == "seed noise unknown" and whys[-1] in ("decided", "hopeless", "max seeds")
    assert set(whys[1:-1]) <= {"contenders"}
    assert len(correct[3]) <= len(correct[1])


def test_contenders_are_as_few_as_can_be_and_equals_go_by_name() -> None:
    assert contenders({"b": 0.3, "a": 0.3, "c": 0.35, "d": 0.05}, 0.9) == ("c", "a", "b")
    assert contenders({"b": 0.5, "a": 0.5}, 0.5) == ("a",)
    assert contenders({"a": 0.1, "b": 0.9}, 0.9) == ("b",)


def test_ten_thousand_images_are_never_held_ten_thousand_times() -> None:
    measured = World([1, 1.1], images=10_000, seed=0).measure(1)
    tracemalloc.start()
    try:
        draws(measured, images=10_000, resamples=1_000)
        assert tracemalloc.get_traced_memory()[1] < 75e6  # one array of all weights would be 80 MB
    finally:
        tracemalloc.stop()


def test_what_does_not_fit_together_is_refused() -> None:
    with pytest.raises(ValueError, match="at least one accuracy"):
        SeedScores("a", ())
    with pytest.raises(ValueError, match=r"shape \(2, images\), got \(3, 4\)"):
        SeedScores("a", (0.5, 0.5), np.ones((3, 4), dtype=bool))
    with pytest.raises(ValueError, match="a: expected 5 images, got 4"):
        draws([SeedScores("a", (1.0,), np.ones((1, 4), dtype=bool))], images=5)


def standing(name: str, p: float, *, ruled_out: bool = False, seeds: int = 2) -> Standing:
    return Standing(name, 0.5, 0.01, seeds, 0.45, 0.55, p, ruled_out)


def test_words_say_who_is_best_or_who_may_be() -> None:
    labels = {name: f"α {i}" for i, name in enumerate("abcdefg")}
    sure = [standing("a", 0.97), standing("b", 0.03)]
    assert in_words(sure, images=947, labels=labels) == "α 0 is best with probability 0.97."
    open_ = [standing(name, p) for name, p in zip("abcdef", (0.3, 0.2, 0.16, 0.14, 0.12, 0.08), strict=True)]
    assert in_words([*open_, standing("g", 0, ruled_out=True)], images=947, labels=labels, why="hopeless") == (
        "6 of 7 candidates cannot be told apart at 95 %: α 0 (P 0.30), α 1 (P 0.20), α 2 (P 0.16), α 3 (P 0.14), "
        "and 2 more. Ruled out at 95 %: 1 of the others. "
        "A minival of 947 images is too small to separate them, however many seeds."
    )
    once = in_words([standing("a", 1.0, seeds=1), standing("b", 0, seeds=1)], images=9, labels=labels)
    assert once.startswith("α 0 is best with probability > 0.99.") and "second seed" in once


def test_agreement_is_scipys_within_its_interval() -> None:
    rng = np.random.default_rng(0)
    short = rng.normal(size=8)
    long = short + rng.normal(0, 0.5, 8)
    agreement = rank_agreement(list(short), list(long), resamples=200)
    tau, rho = stats.kendalltau(short, long), stats.spearmanr(short, long)
    assert (agreement.tau.value, agreement.tau.p_value) == (tau.statistic, tau.pvalue)
    assert agreement.rho.value == rho.statistic
    assert agreement.rho.p_value == pytest.approx(rho.pvalue, abs=0.02)
    for found in (agreement.tau, agreement.rho):
        assert -1 <= found.low <= found.value <= found.high <= 1
    assert agreement == rank_agreement(list(short), list(long), resamples=200)


def test_agreement_of_few_or_equal_candidates_is_wide_or_undefined_but_silent() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        few = rank_agreement([1, 2, 3], [1, 2, 3], resamples=200)
        same = rank_agreement([1, 1, 1], [1, 2, 3], resamples=200)
    assert few.tau.value == 1 and few.tau.p_value == pytest.approx(1 / 3)  # 2 of 3! orders agree as much
    assert few.rho.p_value == pytest.approx(1 / 3)
    assert math.isnan(same.tau.value) and math.isnan(same.rho.p_value)
    with pytest.raises(ValueError, match="three or more candidates twice, got 2 and 2"):
        rank_agreement([1, 2], [1, 2])
