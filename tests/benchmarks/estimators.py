"""What one training tells of its candidate: readings of its evaluations, and neighbours, beside its final accuracy.

Of a bank, one seed of every candidate is read in one way, and the mean final accuracy of the other seeds, which it has
not seen, is predicted from that by a straight line that was fitted to the other candidates. What is left over the
other seeds' own noise is the variance of the reading; its inverse is what a training is worth.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import torch

from scalesearch.cli.commands.replay import read_bank
from scalesearch.ranking.pooled import pool
from scalesearch.ranking.replay.bank import Bank
from scalesearch.ranking.seed_scores import Floats, SeedScores
from scalesearch.ranking.signal import signal
from scalesearch.search.ledger.journal import JOURNAL
from scalesearch.search.ledger.ledger import Ledger
from scalesearch.trials import Record
from tests.benchmarks.common import write_page

Reading = Callable[[Mapping[str, Any]], float]
HEADER = ("score of one training", "F (seeds as blocks)", "p", "error, points", "worth, times final accuracy")
STATES = {
    "weights": "the weights",
    "weights_fresh": "fresh norm statistics",
    "average": "averaged weights",
    "average_fresh": "averaged weights, fresh norm statistics",
}
MEASURES = {"accuracy": 1, "loss": -1, "brier": -1}


def _final(outcome: Mapping[str, Any]) -> float:
    return float(outcome["accuracy"])


def _tail(count: int, outcome: Mapping[str, Any]) -> float:
    return float(np.mean([accuracy for _, accuracy, _ in outcome["curve"][-count:]]))


def _reading(state: str, measure: str, count: int, outcome: Mapping[str, Any]) -> float:
    return MEASURES[measure] * float(np.mean([each[state][measure] for each in outcome["readings"][-count:]]))


def _readings(outcome: Mapping[str, Any]) -> dict[str, Reading]:
    """Every way to read a trial's evaluations, by name; the first is its final accuracy."""
    found: dict[str, Reading] = {"final accuracy": _final}
    for count in (2, 3, 4):
        found[f"accuracy, mean of the last {count} evaluations"] = partial(_tail, count)
    for state, measure, count in product(STATES if outcome.get("readings") else (), MEASURES, (1, 3)):
        how = "" if count == 1 else f", mean of the last {count}"
        found[f"{measure}, {STATES[state]}{how}"] = partial(_reading, state, measure, count)
    return found


def _table(records: list[Record], names: list[str], seeds: int, read: Reading) -> Floats:
    """A score by candidate and seed."""
    by_key = {r.task.key: r for r in records if r.state == "complete"}
    return np.array([[read(by_key[name, seed].outcome or {}) for seed in range(seeds)] for name in names])


def error(scores: Floats, accuracies: Floats) -> tuple[float, float]:
    """Root mean square error (in accuracy) of what single seeds predict of the others' mean, and its variance without
    the others' noise.

    Args:
        scores: (candidates, seeds); of each column, a line is fitted without the candidate that it is asked of.
        accuracies: final ones (candidates, seeds).
    """
    count, seeds = scores.shape
    missed = []
    for seed in range(seeds):
        others = np.delete(accuracies, seed, axis=1).mean(axis=1)
        for left in range(count):
            kept = np.arange(count) != left
            slope, level = np.polyfit(scores[kept, seed], others[kept], 1)
            missed.append(others[left] - level - slope * scores[left, seed])
    blocked = accuracies - accuracies.mean(axis=0)
    noise = float((blocked - blocked.mean(axis=1, keepdims=True)).var() * count * seeds / ((count - 1) * (seeds - 1)))
    mean_square = float(np.mean(np.square(missed)))
    return mean_square**0.5, max(1e-9, mean_square - noise / (seeds - 1))


def _pooled(bank: Bank, scores: Floats) -> Floats:
    """The model's expectations of every candidate from one seed of all, by seed, in the scores' unit."""
    columns = []
    for seed in range(scores.shape[1]):
        rows: list[SeedScores | None] = [SeedScores(str(i), (float(a),)) for i, a in enumerate(scores[:, seed])]
        columns.append(pool(rows, images=bank.images, neighbours=bank.neighbours, with_images=False).mean)
    return np.stack(columns, axis=1)


def estimators(run: Path) -> None:
    """Read a bank in every way, print, and write the page."""
    bank = read_bank(run)
    records = Ledger(run / JOURNAL, run.name, create=False).records()
    seeds = len(bank.seeds)
    names = [name for name, trained in bank.trained.items() if len(trained) >= seeds]
    first = next(r.outcome for r in records if r.state == "complete" and r.outcome)
    accuracies = _table(records, names, seeds, _final)
    rows, plain = [], 0.0
    for name, read in _readings(first).items():
        scores = _table(records, names, seeds, read)
        told = signal({c: dict(enumerate(row)) for c, row in zip(names, scores, strict=True)})
        for words, values in ((name, scores), (f"{name}, pooled with neighbours", _pooled(bank, scores))):
            if "pooled" in words and not 0 < values.mean() < 1:
                continue  # the model is of accuracies
            missed, variance = error(values, accuracies)
            plain = plain or variance
            f = f"{told.f:.1f}" if told and "pooled" not in words else ""
            p = f"{told.p:.1g}" if told and "pooled" not in words else ""
            rows.append([words, f, p, f"{100 * missed:.2f}", f"{plain / variance:.1f}"])
    notes = (
        f"`{run.name}`: {len(names)} candidates × {seeds} seeds. F is the variance between candidates over what seeds "
        "leave. Error: of predicting the other seeds' mean final accuracy, root mean square. Worth: final accuracy's "
        "variance over the score's, both without the other seeds' noise."
    )
    title = f"What one training tells: {run.name}"
    write_page(f"estimators-{run.name}", title, HEADER, rows, notes, f"estimators {run}", torch.device("cpu"))
