"""What a training that has not ended tells of how its candidate will end, by how it is read.

A straight line of one early reading predicts what the *other* seeds' final accuracies say, over the candidates of a
bank. What the line leaves, less the other seeds' own noise, is how far one reading errs: by its own luck, and by what
early differences have that late ones have not.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch

from scalesearch.cli.commands.replay import read_bank
from scalesearch.errors import RunError
from scalesearch.ranking.replay.bank import Bank
from scalesearch.ranking.seed_scores import Floats
from scalesearch.search.ledger.journal import JOURNAL
from scalesearch.search.ledger.ledger import Ledger
from tests.benchmarks.common import write_page

STATES = {"weights": "the weights", "weights_fresh": "fresh norm statistics", "average": "averaged weights"}
MEASURES = ("accuracy", "loss")


def early(run: Path) -> None:
    """Read every evaluation of a bank in every way, print, and write the page.

    Raises:
        RunError: its trainings were run without ``train.readings``.
    """
    bank = read_bank(run)
    records = Ledger(run / JOURNAL, run.name, create=False).records()
    outcomes = {r.task.key: r.outcome for r in records if r.state == "complete" and r.outcome}
    if not all(outcome.get("readings") for outcome in outcomes.values()):
        raise RunError(f"{run}: made without train.readings")
    grid = [[outcomes[name, seed] for seed in bank.seeds] for name in bank.names]
    final = np.array([[o["accuracy"] for o in row] for row in grid])
    shares = [step / bank.last_step for step, _ in bank.curve]
    rows = []
    for state, said in STATES.items():
        for measure in MEASURES:
            errs = [error(reading(grid, number, state, measure), final) for number in range(len(shares))]
            rows.append([f"{measure}, {said}", *(f"{100 * e:.2f}" for e in errs)])
    rows.append(
        [
            "first by that loss, shares of growth",
            *(first(bank, reading(grid, n, "average", "loss")) for n in range(len(shares))),
        ]
    )
    notes = (
        f"`{run.name}`: {len(bank.names)} candidates × {len(bank.seeds)} seeds. By how many points of accuracy one "
        "reading of one training errs, after so much of its schedule, when a straight line of it predicts how the "
        "candidates' final accuracies with the other seeds differ (standard deviation, without those seeds' noise); "
        f"candidates differ by {100 * final.mean(axis=1).std(ddof=1):.2f}. Last row: who has the lowest mean loss of "
        "averaged weights then, by its shares of depth, width and resolution."
    )
    header = ["reading", *(f"{100 * share:.3g} %" for share in shares)]
    title = f"What an unfinished training tells: {run.name}"
    write_page(f"early-{run.name}", title, header, rows, notes, f"early {run}", torch.device("cpu"))


def reading(grid: list[list[Mapping[str, Any]]], number: int, state: str, measure: str) -> Floats:
    """One evaluation of every training: (candidates, seeds)."""
    return np.array([[o["readings"][number][state][measure] for o in row] for row in grid])


def first(bank: Bank, losses: Floats) -> str:
    """The shares of depth, width and resolution of whoever has the lowest mean loss (candidates, seeds)."""
    if bank.neighbours.points is None:
        return bank.names[int(losses.mean(axis=1).argmin())]
    return " ".join(f"{share:.2g}" for share in bank.neighbours.points[int(losses.mean(axis=1).argmin())])


def error(read: Floats, final: Floats) -> float:
    """The standard deviation by which a line of ``read`` errs about other seeds' ``final``, in accuracy.

    Args:
        read: one reading of every training (candidates, seeds), in any unit.
        final: final accuracies, of the same shape.
    """
    count, seeds = final.shape
    within = final - final.mean(axis=1, keepdims=True)
    noise = float(np.square(within).sum()) / (count * (seeds - 1))
    squares = []
    for seed in range(seeds):
        truth = np.delete(final, seed, axis=1).mean(axis=1)
        slope, level = np.polyfit(read[:, seed], truth, 1)
        left = truth - level - slope * read[:, seed]
        squares.append(float(left @ left) / (count - 2) - noise / (seeds - 1))
    return float(np.sqrt(max(0.0, np.mean(squares))))
