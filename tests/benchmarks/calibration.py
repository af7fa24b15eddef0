"""Simulated searches whose truth is known: do intervals and probabilities come true as often as they say?"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import pairwise, product

import numpy as np
import torch
from numpy.typing import NDArray

from scalesearch.ranking.allocation import next_training, start
from scalesearch.ranking.estimator import Training, seed_scores
from scalesearch.ranking.pooled import Neighbours, pool
from scalesearch.ranking.seed_scores import Floats, SeedScores
from scalesearch.ranking.standings import closeness, contenders, shares_of_wins
from tests.benchmarks.common import write_page

CONFIDENCE = 0.95
CLOSE = 0.005
"""Half a point: how near the first is to the best."""
BINS = (0.0, 0.02, 0.1, 0.3, 0.6, 0.9, 1.0001)
SIMPLEX = np.array([(i, j, 6 - i - j) for i, j in product(range(7), repeat=2) if i + j <= 6]) / 6
DIFFICULTY, TASTE = 2.0, 0.5
"""Standard deviations, in logits, between images and of a candidate's liking of an image."""
BOLDNESS = 0.02
"""Standard deviation of the logarithm of a candidate's boldness, by which its margins are multiplied in its loss."""
Right = NDArray[np.bool_]
Trained = tuple[Right, float]
"""Which images a training gets right, and its loss on them."""
NODES, WEIGHTS = np.polynomial.hermite_e.hermegauss(41)

WORLDS: Mapping[str, Mapping[str, tuple[float, ...]]] = {
    "quadratic": {"trend": (0.05, 0.15, 0.4), "own": (0.0, 0.02, 0.05)},
    "kinked": {"trend": (0.05, 0.15, 0.4), "own": (0.0, 0.02, 0.05)},
    "all equal": {"trend": (0.0,), "own": (0.0,)},
    "the best two equal": {"trend": (0.05, 0.15, 0.4), "own": (0.0, 0.02, 0.05)},
}
"""Kinds of truth, with the sizes (in logits, 0.13 of which are a point or two) that are drawn from."""


class World:
    """Candidates on the simplex, images of different difficulty, and what a training of one comes to."""

    def __init__(self, kind: str, rng: np.random.Generator) -> None:
        self.rng, count = rng, int(rng.choice([8, 14, 20]))
        self.images = int(rng.choice([500, 1000]))
        self.points = SIMPLEX[rng.choice(len(SIMPLEX), count, replace=False)]
        self.log_cost = rng.normal(0, 0.03, count)
        trend, own = (float(rng.choice(WORLDS[kind][name])) for name in ("trend", "own"))
        self.moods, self.blocks = float(rng.choice([0.02, 0.05, 0.1])), float(rng.choice([0.0, 0.05]))
        at = self.points - 1 / 3
        effect = at @ rng.normal(size=3) + np.einsum("ni,ij,nj->n", at, rng.normal(size=(3, 3)), at)
        if kind == "kinked":
            effect = -np.abs(effect - np.median(effect)) + at @ rng.normal(0, 0.5, 3)
        self.effect = trend * effect + own * rng.normal(size=count) + 0.1 * (trend > 0) * self.log_cost
        if kind == "the best two equal":
            first, second = np.argsort(self.effect)[[-1, -2]]
            self.effect[second] = self.effect[first]
        self.effect += 1.0
        self.logits = (
            self.effect[:, None] + rng.normal(0, DIFFICULTY, self.images) + rng.normal(0, TASTE, (count, self.images))
        )
        self.boldness = np.exp(rng.normal(0, BOLDNESS, count))
        self.block = rng.normal(0, self.blocks, 10) if self.blocks else np.zeros(10)

    @property
    def count(self) -> int:
        """How many candidates."""
        return len(self.points)

    @property
    def truth(self) -> Floats:
        """Accuracies on all images, with infinitely many seeds."""
        spread = math.sqrt(DIFFICULTY**2 + TASTE**2 + self.moods**2 + self.blocks**2)
        values = 1 / (1 + np.exp(-(self.effect[:, None] + spread * NODES)))
        return np.asarray(values @ WEIGHTS / WEIGHTS.sum())

    def train(self, candidate: int, seed: int) -> Trained:
        """One training: an image is right whose margin is above zero, and a bold candidate's loss makes more of it."""
        logits = self.logits[candidate] + self.block[seed] + self.rng.normal(0, self.moods)
        margins = logits + self.rng.logistic(size=self.images)
        return margins > 0, float(np.logaddexp(0, -self.boldness[candidate] * margins).mean())

    def scores(self, trained: Mapping[int, list[Trained]]) -> list[SeedScores | None]:
        """What a search has of every candidate, some of whom have no trial."""
        every = (
            Training(str(i), seed, float(right.mean()), loss, right)
            for i, trainings in trained.items()
            for seed, (right, loss) in enumerate(trainings)
        )
        found = seed_scores(every, self.images)
        return [found.get(str(i)) for i in range(self.count)]


@dataclass
class Tally:
    """What was said and what was so, over many searches."""

    single: list[float] = field(default_factory=list)
    paired: list[float] = field(default_factory=list)
    said: list[float] = field(default_factory=list)
    was: list[float] = field(default_factory=list)
    held: list[bool] = field(default_factory=list)
    close_said: list[float] = field(default_factory=list)
    close_was: list[bool] = field(default_factory=list)

    def add(self, world: World, found: list[SeedScores | None]) -> None:
        """One finished search. Where several are equally the best, each is so for its part."""
        posterior = pool(found, images=world.images, neighbours=Neighbours(world.points, world.log_cost))
        drawn, truth = posterior.draws(2000), world.truth
        first = int(posterior.mean.argmax())
        tails = [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2]
        low, high = np.quantile(drawn, tails, axis=0)
        self.single.append(float(np.mean((low <= truth) & (truth <= high))))
        low, high = np.quantile(drawn - drawn[:, [first]], tails, axis=0)
        gap = truth - truth[first]
        self.paired.append(float(np.delete((low <= gap) & (gap <= high), first).mean()))
        best = np.isclose(truth, truth.max(), atol=1e-9)
        chances = shares_of_wins(drawn)
        self.said += chances.tolist()
        self.was += (best / best.sum()).tolist()
        likely = contenders({str(i): float(p) for i, p in enumerate(chances)}, CONFIDENCE)
        self.held.append(any(best[int(name)] for name in likely))
        self.close_said.append(closeness(drawn, CLOSE))
        self.close_was.append(bool(truth[int(drawn.mean(axis=0).argmax())] >= truth.max() - CLOSE))

    @property
    def bins(self) -> list[tuple[float, float, float, int]]:
        """Of P(best): lower edge, mean said, mean so, how many."""
        said, was = np.array(self.said), np.array(self.was)
        found = []
        for low, high in pairwise(BINS):
            inside = (said >= low) & (said < high)
            if inside.any():
                found.append((low, float(said[inside].mean()), float(was[inside].mean()), int(inside.sum())))
        return found

    @property
    def calibration(self) -> float:
        """Mean distance of what was said of being best from what was so, by bins, weighted by how many lie in them."""
        return sum(n * abs(said - was) for _, said, was, n in self.bins) / len(self.said)


def whole(world: World) -> list[SeedScores | None]:
    """Every candidate with one to four seeds."""
    seeds = int(world.rng.integers(1, 5))
    return world.scores({i: [world.train(i, seed) for seed in range(seeds)] for i in range(world.count)})


def step_by_step(world: World) -> list[SeedScores | None]:
    """A start, and then whatever tells most, for as many trials as there are candidates."""
    names = [str(i) for i in range(world.count)]
    near = Neighbours(world.points, world.log_cost)
    trained = {i: [world.train(i, 0)] for i in start(world.points)}
    while sum(map(len, trained.values())) < world.count:
        measured = {m.name: m for m in world.scores(trained) if m is not None}
        chosen = next_training(
            names, measured, np.ones(world.count), images=world.images, neighbours=near, max_seeds=10, confidence=None
        )
        i = int(chosen.name or 0)
        trained.setdefault(i, []).append(world.train(i, len(trained.get(i, []))))
    return world.scores(trained)


def simulate(kind: str, searches: int, *, adaptive: bool, seed: int = 0) -> Tally:
    """So many searches in worlds of a kind."""
    rng, tally = np.random.default_rng(seed), Tally()
    for _ in range(searches):
        world = World(kind, rng)
        tally.add(world, step_by_step(world) if adaptive else whole(world))
    return tally


HEADER = (
    "truth", "trained", "searches", "intervals of accuracies hold", "of differences to the first",
    "a best one is among the contenders", "P(best) is off by", "said: first within half a point", "was",
)  # fmt: skip


def calibration(searches: int) -> None:
    """Simulate, print, and write the page."""
    rows, bins = [], []
    for adaptive, kind in product((False, True), WORLDS):
        count = searches // 4 if adaptive else searches
        tally = simulate(kind, count, adaptive=adaptive)
        how = "step by step" if adaptive else "all, 1 to 4 seeds"
        shares = (
            np.mean(tally.single), np.mean(tally.paired), np.mean(tally.held), tally.calibration,
            np.mean(tally.close_said), np.mean(tally.close_was),
        )  # fmt: skip
        rows.append([kind, how, count, *(f"{100 * share:.1f}" for share in shares)])
        print(*rows[-1], sep=" | ", flush=True)
        bins += [
            f"| {kind} | {how} | {100 * low:.0f} and more | {100 * said:.1f} | {100 * was:.1f} | {n:,} |"
            for low, said, was, n in tally.bins
        ]
    notes = "\n".join(
        [
            "Candidates on the simplex whose accuracies are known; images of different difficulty, which candidates",
            "share; seeds with moods of their own and, in half the worlds, effects that all candidates share; losses",
            "that follow from the same margins as what is right, of candidates that are more and less bold.",
            "Intervals are at 95 %; numbers but counts are per cent. Being best, by what was said (where several are",
            "equally the best, each is so for its part):",
            "",
            "| truth | trained | P(best) said | mean said | was | candidates |",
            "|--|--|--|--|--|--|",
            *bins,
        ]
    )
    title = "Does what is said come true? Simulated searches whose truth is known"
    write_page("calibration", title, HEADER, rows, notes, f"calibration --searches {searches}", torch.device("cpu"))
