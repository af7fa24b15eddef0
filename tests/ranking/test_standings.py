"""What is said about a ranking is as sure as it says, where the truth is known because it was simulated."""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import stats

from scalesearch.ranking.allocation import Next, hopeless, next_training
from scalesearch.ranking.pooled import pool
from scalesearch.ranking.rank_correlation import rank_agreement
from scalesearch.ranking.seed_scores import Floats, SeedScores
from scalesearch.ranking.standings import Standing, contenders, decided, in_words, summarise

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


def judged(measured: Sequence[SeedScores], *, images: int, with_images: bool = True) -> tuple[Standing, ...]:
    posterior = pool(measured, images=images, with_images=with_images)
    return summarise([m.name for m in measured], {m.name: m for m in measured}, posterior.draws(4000))


def p_best(standings: Sequence[Standing]) -> dict[str, float]:
    return {s.name: s.p_best for s in standings}


def train_next(measured: Sequence[SeedScores], *, images: int, max_seeds: int, **options: Any) -> Next:
    names = [m.name for m in measured]
    return next_training(
        names, {m.name: m for m in measured}, np.ones(len(names)), images=images, max_seeds=max_seeds, **options
    )


def test_intervals_cover_the_truth_as_often_as_they_say() -> None:
    """Of an accuracy and of a difference, on new images and with new seeds; luck is not counted twice."""
    effects, moods, taste = (1.0, 1.2), 0.1, 0.7
    logits = np.random.default_rng(0).normal(0, math.sqrt(4 + taste**2 + moods**2), 200_000)
    truth = np.array([np.mean(1 / (1 + np.exp(-(effect + logits)))) for effect in effects])
    single, paired, ours, actual = [], [], [], []
    for seed in range(200):
        measured = World([effects[0]] * 4 + [effects[1]], images=300, seed=seed, taste=taste, moods=moods).measure(3)
        drawn = pool(measured, images=300, settings=256).draws(400, seed=seed)[:, 3:]
        low, high = np.quantile(drawn, [0.025, 0.975], axis=0)
        single.extend((low <= truth) & (truth <= high))
        difference, true = drawn[:, 1] - drawn[:, 0], truth[1] - truth[0]
        low, high = np.quantile(difference, [0.025, 0.975])
        paired.append(low <= true <= high)
        ours.append(difference.var())
        actual.append((difference.mean() - true) ** 2)
    assert 0.92 < np.mean(single) < 0.99
    assert 0.90 < np.mean(paired) < 0.98
    assert 0.8 < np.mean(ours) / np.mean(actual) < 1.4


def test_two_seeds_of_three_candidates_know_how_little_they_know() -> None:
    """Three degrees of freedom: normal intervals would cover 0.86."""
    covered = []
    for seed in range(200):
        measured = plain(0.7 + np.random.default_rng(seed).normal(0, 0.01, (3, 2)))
        drawn = pool(measured, images=1000, with_images=False, settings=256).draws(500)
        low, high = np.quantile(drawn[:, 0] - drawn[:, 1], [0.025, 0.975])
        covered.append(low <= 0 <= high)
    assert np.mean(covered) > 0.92


def test_a_probability_of_being_best_comes_true_as_often_as_it_says() -> None:
    """For ten candidates that differ by more than their noise."""
    said, right = [], []
    for seed in range(200):
        rng = np.random.default_rng(seed)
        truth = rng.normal(0.7, 0.02, 10)
        measured = plain(truth[:, None] + rng.normal(0, 0.01, (10, 3)))
        chances = [s.p_best for s in judged(measured, images=1000, with_images=False)]
        said.append(max(chances))
        right.append(int(np.argmax(chances)) == int(np.argmax(truth)))
    assert np.mean(said) == pytest.approx(np.mean(right), abs=0.06)


def test_the_true_best_is_not_ruled_out_even_among_many_near_equals() -> None:
    kept, out = [], []
    for seed in range(100):
        rng = np.random.default_rng(seed)
        truth = 0.7 - 0.03 * np.linspace(0, 1, 20) ** 3
        measured = plain(truth[:, None] + rng.normal(0, 0.01, (20, 3)))
        standings = judged(measured, images=1000, with_images=False)
        kept.append(not standings[0].ruled_out)
        out.append(sum(s.ruled_out for s in standings))
    assert np.mean(kept) >= 0.95
    assert np.mean(out) > 2


def test_the_order_of_seeds_changes_nothing_and_that_of_candidates_nothing_to_speak_of() -> None:
    measured = World([1, 1.1, 0.9, 1], images=200, seed=0).measure(3)
    measured[2] = SeedScores(measured[2].name, measured[2].accuracies)
    turned = [
        SeedScores(m.name, m.accuracies[::-1], None if m.correct is None else m.correct[::-1], m.numbers[::-1])
        for m in measured
    ]
    one, other, third = (pool(m, images=200) for m in (measured, turned, measured[::-1]))
    assert one.mean == pytest.approx(other.mean, abs=1e-9) == third.mean[::-1]
    assert train_next(measured, images=200, max_seeds=5) == train_next(turned, images=200, max_seeds=5)


def test_shared_images_make_a_difference_surer_than_images_of_ones_own() -> None:
    paired = World([1, 1.1], images=500, seed=0, moods=0).measure(3)
    alone = [SeedScores(m.name, m.accuracies) for m in paired]
    sd = [np.subtract(*pool(m, images=500).draws(4000).T).std() for m in (paired, alone)]
    assert sd[0] < 0.75 * sd[1]


def test_identical_candidates_share_the_chance_and_are_contenders() -> None:
    standings = judged(agreeing([1, 1, 0, 0] * 25, [1, 1, 0, 0] * 25, [1, 0, 0, 0] * 25), images=100)
    assert p_best(standings) == pytest.approx({"c00": 0.5, "c01": 0.5, "c02": 0}, abs=0.03)
    assert set(contenders(p_best(standings))) == {"c00", "c01"}
    assert [s.ruled_out for s in standings] == [False, False, True]


def test_a_clear_winner_is_decided_and_nobody_trains_on() -> None:
    measured = World([1, 3, 1.1], images=500, seed=0).measure(2)
    standings = judged(measured, images=500)
    assert decided(p_best(standings)) and contenders(p_best(standings)) == ("c01",)
    assert train_next(measured, images=500, max_seeds=9) == Next(None, "decided")


def test_the_first_is_behind_nobody_and_the_others_by_intervals_of_differences() -> None:
    first, second, third = judged(World([3, 1, 0], images=500, seed=0).measure(3), images=500)
    assert (first.gap, first.gap_low, first.gap_high) == (0, 0, 0)
    for other in (second, third):
        assert other.gap_low < other.gap < other.gap_high < 0
        assert other.gap == pytest.approx(other.pooled - first.pooled)


def test_few_images_are_hopeless_and_the_same_images_many_times_are_not() -> None:
    a, b = [1] * 22 + [0] * 18, [1] * 19 + [0] * 19 + [1] * 2
    few, many = agreeing(a, b), agreeing(a, b, times=100)
    assert hopeless(few, pool(few, images=40), images=40)
    assert train_next(few, images=40, max_seeds=9).why == "hopeless"
    assert not hopeless(many, pool(many, images=4000), images=4000)


def test_two_seeds_that_might_be_unlucky_are_no_reason_to_give_up() -> None:
    """The means are equal, but the seeds are so uneven that more of them may well part the candidates."""
    rng = np.random.default_rng(0)
    correct = [rng.random(2000) < p for p in (0.6, 0.8, 0.61, 0.79)]
    measured = [named(0, correct[:2]), named(1, correct[2:])]
    assert train_next(measured, images=2000, max_seeds=9).why == "undecided"


@pytest.mark.parametrize("gap", [0.0, 0.3, 1.0])
def test_trainings_come_to_an_end_and_go_to_those_that_may_be_best(gap: float) -> None:
    world = World([1, 1 + gap, 1 + gap, 0.2], images=400, seed=3)
    correct = [[world.train(i)] for i in range(4)]
    whys = []
    while True:
        following = train_next([named(i, rows) for i, rows in enumerate(correct)], images=400, max_seeds=4)
        whys.append(following.why)
        if following.name is None:
            break
        correct[int(following.name[1:])].append(world.train(int(following.name[1:])))
        assert max(map(len, correct)) <= 4
    assert whys[-1] in ("decided", "hopeless", "max seeds")
    assert set(whys[:-1]) <= {"undecided"}
    assert len(correct[3]) <= len(correct[1])


def test_contenders_are_as_few_as_can_be_and_equals_go_by_name() -> None:
    assert contenders({"b": 0.3, "a": 0.3, "c": 0.35, "d": 0.05}, 0.9) == ("c", "a", "b")
    assert contenders({"b": 0.5, "a": 0.5}, 0.5) == ("a",)
    assert contenders({"a": 0.1, "b": 0.9}, 0.9) == ("b",)


def test_what_does_not_fit_together_is_refused() -> None:
    with pytest.raises(ValueError, match="at least one accuracy"):
        SeedScores("a", ())
    with pytest.raises(ValueError, match=r"shape \(2, images\), got \(3, 4\)"):
        SeedScores("a", (0.5, 0.5), np.ones((3, 4), dtype=bool))
    with pytest.raises(ValueError, match="a: 1 numbers of 2 seeds"):
        SeedScores("a", (0.5, 0.5), numbers=(3,))
    with pytest.raises(ValueError, match="a: expected 5 images, got 4"):
        pool([SeedScores("a", (1.0,), np.ones((1, 4), dtype=bool))], images=5)
    with pytest.raises(ValueError, match="expected trials, got none"):
        pool([None, None], images=5)


def standing(name: str, p: float, *, ruled_out: bool = False, seeds: int = 2) -> Standing:
    return Standing(name, 0.5, 0.01, seeds, 0.5, 0.5, 0.45, 0.55, 0, 0, 0, p, ruled_out)


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
