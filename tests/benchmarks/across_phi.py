"""Does a division of the growth that is found at one φ hold at another? Two banks of one network, compared.

The model of the first bank (`ranking.pooled`) says what the second's candidates would be worth by their shares of
depth, width and resolution alone; the second bank's own trainings say what they are worth there. Both are drawn, so
that an interval of Kendall's τ knows how little either bank may know.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from scipy import stats

from scalesearch.cli.commands.replay import read_bank
from scalesearch.errors import RunError
from scalesearch.ranking.pooled import Neighbours, Posterior, pool
from scalesearch.ranking.replay.bank import Bank, measured
from scalesearch.ranking.seed_scores import Floats
from scalesearch.scaling.shares import DWR, PAPER_SHARES
from tests.benchmarks.common import bank_signal, shares_told, write_page

DRAWS = 2_000
HEADER = ("what", "value", "95 % interval")


@dataclass(frozen=True, eq=False)
class Held:
    """Accuracies of the second bank's candidates, drawn (draws, n) by the first bank's model and by its own."""

    told: Floats
    own: Floats

    def taus(self) -> Floats:
        """Kendall's τ of the two, one for each draw."""
        return np.array([stats.kendalltau(a, b).statistic for a, b in zip(self.told, self.own, strict=True)])

    def lost(self, named: int) -> Floats:
        """By how much the candidate is below the second bank's best, one for each draw."""
        best = int(self.own.mean(axis=0).argmax())
        return np.asarray(self.own[:, best] - self.own[:, named])


def held(smaller: Bank, larger: Bank) -> Held:
    """What the model of ``smaller`` says of ``larger``'s candidates, and what their own trainings do.

    Raises:
        RunError: candidates of one of them have no shares of depth, width and resolution.
    """
    if smaller.neighbours.points is None or larger.neighbours.points is None:
        raise RunError("expected two grids: rows of a comparison have no shares of depth, width and resolution")
    known = measured(smaller.trained, smaller.images)
    rows = [known.get(name) for name in smaller.names] + [None] * len(larger.names)
    both = Neighbours(
        np.concatenate([smaller.neighbours.points, larger.neighbours.points]),
        np.concatenate([smaller.neighbours.log_cost, larger.neighbours.log_cost]),
    )
    told = pool(rows, images=smaller.images, neighbours=both, with_images=False)
    return Held(_draws(told)[:, len(smaller.names) :], _draws(larger.expected()))


def across_phi(smaller: Path, larger: Path) -> None:
    """Hold the first bank against the second, print, and write the page."""
    first, second = read_bank(smaller), read_bank(larger)
    notes = (
        f"Shares of depth, width and resolution in the growth, as {smaller.name} ({_size(first)}) judges them, for the "
        f"candidates of {larger.name} ({_size(second)}), beside what those are there. On these very images; intervals "
        "know trainings' luck, not another set of images."
    )
    title = f"Does what is best at one φ hold at another: {smaller.name}, {larger.name}"
    command = f"across-phi {smaller} {larger}"
    write_page("across-phi", title, HEADER, rows(smaller, larger), notes, command, torch.device("cpu"))


def rows(smaller: Path, larger: Path) -> list[list[str]]:
    """What the page's table says, from nothing but the two folders."""
    first, second = read_bank(smaller), read_bank(larger)
    found = held(first, second)
    taus = found.taus()
    made = [["Kendall's τ of the two orders", f"{np.median(taus):.2f}", _range(taus, 2)]]
    named = {
        f"best by {smaller.name}": int(found.told.mean(axis=0).argmax()),
        "nearest to the paper's shares": second.names.index(second.nearest(PAPER_SHARES.depth, PAPER_SHARES.width)),
        "nearest to dWr": second.names.index(second.nearest(DWR.depth, DWR.width)),
    }
    for words, number in named.items():
        lost = 100 * found.lost(number)
        made.append(
            [
                f"points lost at {larger.name}: {words} ({shares_told(second, number)})",
                f"{lost.mean():.2f}",
                _range(lost, 2),
            ]
        )
    spread = 100 * found.own.mean(axis=0)
    made.append([f"points between best and median at {larger.name}", f"{spread.max() - np.median(spread):.2f}", ""])
    for run, bank in ((smaller, first), (larger, second)):
        made.append([f"signal of final accuracy, {run.name}", str(bank_signal(bank)), ""])
    return made


def _draws(posterior: Posterior) -> Floats:
    return posterior.draws(DRAWS)


def _range(values: Floats, digits: int) -> str:
    low, high = np.quantile(values, [0.025, 0.975])
    return f"{low:.{digits}f}–{high:.{digits}f}" if low >= 0 else f"{low:.{digits}f} to {high:.{digits}f}"


def _size(bank: Bank) -> str:
    return f"{len(bank.names)} candidates, {sum(map(len, bank.trained.values()))} trainings"
