"""Can a ranking be told for a longer training than there was? The first two lengths of a run, held against the later.

Each candidate's distance to the mean of all is a line over the logarithm of the length, through the first two; what
that line says of each later length, and what either of the two says as it is, are held against the trainings of that
length. All are drawn from the model of each length's trials (`ranking.pooled`), so that intervals know their luck.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from scipy import stats

from scalesearch.cli.commands.replay import read_bank
from scalesearch.errors import RunError
from scalesearch.ranking.replay.bank import Bank
from scalesearch.ranking.seed_scores import Floats
from scalesearch.run_files import read_json, read_recipe_settings
from tests.benchmarks.common import bank_signal, shares_told, write_page

DRAWS = 2_000
HEADER = ("what", "told by", "Kendall's τ with what came", "its first, points below the best", "that one")


def forecast(run: Path) -> None:
    """Hold the first two lengths against the later ones, print, and write the page."""
    settings = read_recipe_settings(run)
    notes = (
        f"`{run.name}`: how the order after a longer schedule is told by the line through the first two lengths (over "
        "the logarithm of the length), and by each of the two as it is. Medians of draws from the model of each "
        "length's trials, with 95 % intervals; points below the best of what is named first, by the trainings of that "
        f"length; shares of the growth, depth, width, resolution. Whole schedule: {settings['train']['epochs']} epochs."
    )
    title = f"A ranking told for longer training: {run.name}"
    write_page(f"forecast-{run.name}", title, HEADER, rows(run), notes, f"forecast {run}", torch.device("cpu"))


def rows(run: Path) -> list[list[str]]:
    """What the page's table says, from nothing but the run's folder.

    Raises:
        RunError: it has fewer than three lengths.
    """
    told = read_json(run / "lengths.json", f"{run} was run without --lengths")
    steps = [int(each["steps"]) for each in told["lengths"]]
    labels = [str(each["label"]) for each in told["lengths"]]
    if len(steps) < 3:
        raise RunError(f"{run}: expected three lengths or more, got {len(steps)}")
    banks = [*(read_bank(run, steps=each) for each in steps[:-1]), read_bank(run)]
    drawn = [bank.expected().draws(DRAWS, seed=number) for number, bank in enumerate(banks)]
    made = []
    for later in range(2, len(steps)):
        for words, expected in (
            (f"{labels[0]} and {labels[1]}, a line", line(steps[:2], drawn[:2], steps[later])),
            *((f"{label}, as it is", of_length) for label, of_length in zip(labels[:2], drawn[:2], strict=True)),
        ):
            made.append([labels[later], words, *_held(banks[later], expected, drawn[later])])
    for label, bank in zip(labels, banks, strict=True):
        first = shares_told(bank, int(bank.expected().mean.argmax()))
        made.append([label, f"signal: {bank_signal(bank)}", "", "", f"first: {first}"])
    return made


def line(steps: Sequence[int], drawn: Sequence[Floats], ahead: int) -> Floats:
    """Distances to the mean candidate after ``ahead`` steps, draw by draw, by a line through two lengths."""
    one, other = (each - each.mean(axis=1, keepdims=True) for each in drawn)
    way = np.log2(ahead / steps[0]) / np.log2(steps[1] / steps[0])
    return np.asarray(one + way * (other - one))


def _held(bank: Bank, told: Floats, own: Floats) -> list[str]:
    taus = np.array([stats.kendalltau(a, b).statistic for a, b in zip(told, own, strict=True)])
    named, best = int(told.mean(axis=0).argmax()), int(own.mean(axis=0).argmax())
    lost = 100 * (own[:, best] - own[:, named])
    low, high = np.quantile(taus, [0.025, 0.975])
    near, far = np.quantile(lost, [0.025, 0.975])
    return [
        f"{np.median(taus):.2f} ({low:.2f} to {high:.2f})",
        f"{lost.mean():.2f} ({near:.2f} to {far:.2f})",
        shares_told(bank, named),
    ]
