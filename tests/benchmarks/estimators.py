"""What one training tells of its candidate, by how it is read, and what its neighbours' trainings tell beside.

Of a bank, one seed of every candidate is read in one way; the other seeds, which it has not seen, say what the
candidates are worth. The squared error of their differences, less the other seeds' own noise, is the variance of the
reading; final accuracy's over that is what a training is worth.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from scalesearch.cli.commands.replay import read_bank
from scalesearch.ranking.estimator import scores
from scalesearch.ranking.pooled import pool
from scalesearch.ranking.replay.bank import Bank
from scalesearch.ranking.seed_scores import Floats, SeedScores
from scalesearch.ranking.signal import signal
from scalesearch.search.ledger.journal import JOURNAL
from scalesearch.search.ledger.ledger import Ledger
from tests.benchmarks.common import write_page

Outcome = Mapping[str, Any]
HEADER = ("score of one training", "F (seeds as blocks)", "p", "worth, times final accuracy", "with its neighbours")


@dataclass(frozen=True)
class Reading:
    """A score of one training: an accuracy, and with ``loss`` the mean of that and of what a loss says, by
    `ranking.estimator`."""

    accuracy: Callable[[Outcome], float]
    loss: Callable[[Outcome], float] | None = None

    def scores(self, bank: Bank, outcomes: Sequence[Outcome], names: Sequence[str]) -> Floats:
        """Of trainings whose candidates are ``names``."""
        accuracies = [self.accuracy(o) for o in outcomes]
        if self.loss is None:
            return np.asarray(accuracies)
        return scores(names, accuracies, [self.loss(o) for o in outcomes], images=bank.images)


def final(outcome: Outcome) -> float:
    return float(outcome["accuracy"])


def final_loss(outcome: Outcome) -> float:
    return float(outcome["loss"])


def tail(outcome: Outcome) -> float:
    """The last three evaluations, the later ones counting for more."""
    return float(np.dot((0.2, 0.3, 0.5), [accuracy for _, accuracy, _ in outcome["curve"][-3:]]))


def state(name: str, measure: str) -> Callable[[Outcome], float]:
    """A reading of `training.readings` at the end."""

    def read(outcome: Outcome) -> float:
        return float(outcome["readings"][-1][name][measure])

    return read


def twice_brier(outcome: Outcome) -> float:
    """An accuracy is about twice as steep over it as over a loss."""
    return 2 * state("weights", "brier")(outcome)


READINGS = {
    "final accuracy": Reading(final),
    "last three evaluations": Reading(tail),
    "accuracy and loss (what the model takes)": Reading(final, final_loss),
    "last three evaluations and loss": Reading(tail, final_loss),
}
"""Of every run."""
MORE = {
    "fresh norm statistics": Reading(state("weights_fresh", "accuracy")),
    "averaged weights": Reading(state("average", "accuracy")),
    "averaged weights, fresh norm statistics": Reading(state("average_fresh", "accuracy")),
    "accuracy and Brier score": Reading(final, twice_brier),
    "accuracy and loss, averaged weights": Reading(state("average", "accuracy"), state("average", "loss")),
}
"""Of runs with ``train.readings``."""


def worth(bank: Bank, accuracies: Floats, read: Floats) -> tuple[float, float]:
    """The variance of a reading of one training, alone and pooled with one of every neighbour, in accuracy².

    Args:
        accuracies: final ones (candidates, seeds).
        read: the reading, of the same shape, in accuracy.
    """
    count, seeds = accuracies.shape
    blocked = accuracies - accuracies.mean(axis=0)
    left = blocked - blocked.mean(axis=1, keepdims=True)
    noise = float(np.square(left).sum()) / ((count - 1) * (seeds - 1))
    found = []
    for seed in range(seeds):
        truth = np.delete(blocked, seed, axis=1).mean(axis=1)
        alone = read[:, seed]
        rows = [SeedScores(name, (float(score),)) for name, score in zip(bank.names, alone, strict=True)]
        pooled = pool(rows, images=bank.images, neighbours=bank.neighbours, with_images=False).mean
        known = noise * (count - 1) / count / (seeds - 1)
        found.append([float(np.square(v - v.mean() - truth).mean()) - known for v in (alone, pooled)])
    alone_, pooled_ = np.maximum(np.mean(found, axis=0), 1e-9).tolist()
    return alone_, pooled_


def estimators(run: Path) -> None:
    """Read a bank in every way, print, and write the page."""
    bank = read_bank(run)
    records = Ledger(run / JOURNAL, run.name, create=False).records()
    outcomes = {r.task.key: r.outcome for r in records if r.state == "complete" and r.outcome}
    first = next(iter(outcomes.values()))

    def table(reading: Reading) -> Floats:
        columns = [
            reading.scores(bank, [outcomes[name, seed] for name in bank.names], bank.names) for seed in bank.seeds
        ]
        return np.stack(columns, axis=1)

    accuracies = table(READINGS["final accuracy"])
    plain, _ = worth(bank, accuracies, accuracies)
    rows = []
    for name, reading in (READINGS | (MORE if first.get("readings") else {})).items():
        read = table(reading)
        told = signal({c: dict(enumerate(row)) for c, row in zip(bank.names, read, strict=True)})
        alone, pooled = worth(bank, accuracies, read)
        f, p = (f"{told.f:.1f}", f"{told.p:.1g}") if told else ("", "")
        rows.append([name, f, p, f"{plain / alone:.2f}", f"{plain / pooled:.2f}"])
    notes = (
        f"`{run.name}`: {len(bank.names)} candidates × {len(bank.seeds)} seeds. F is the variance between candidates "
        "over what seeds leave. Worth: of predicting, from one seed of every candidate, how the other seeds' mean "
        "final accuracies differ; final accuracy's variance over the score's, both without the other seeds' noise."
    )
    title = f"What one training tells: {run.name}"
    write_page(f"estimators-{run.name}", title, HEADER, rows, notes, f"estimators {run}", torch.device("cpu"))
