"""Does the best learning rate move as a network grows, and would the order be another if each had its own?

Reads the run folders of one comparison that was trained once for every learning rate. Of each network, accuracy is a
parabola over the logarithm of the rate; its top is the network's best rate. Intervals are from accuracies drawn around
those measured, with the spread between seeds, pooled over networks and rates.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import torch

from scalesearch.ranking.rank_correlation import rank_agreement
from scalesearch.ranking.seed_scores import Floats
from scalesearch.recipe import load_recipe
from scalesearch.search.ledger.journal import JOURNAL
from scalesearch.search.ledger.ledger import Ledger
from tests.benchmarks.common import write_page

DRAWS = 4_000

Measured = Mapping[str, Mapping[float, Sequence[float]]]
"""Accuracies of the seeds by network and rate."""


def read(runs: Sequence[Path]) -> dict[str, dict[float, list[float]]]:
    """The complete trials of every run, networks called as their rows are."""
    found: dict[str, dict[float, list[float]]] = {}
    for run in runs:
        recipe = load_recipe(str(run / "recipe.yaml"))
        labels = {(row.depth, row.width, row.resolution): row.label for row in recipe.search.rows}
        for record in Ledger(run / JOURNAL, run.name, create=False).records():
            if record.state == "complete" and record.outcome:
                c = record.task.coefficients
                by_rate = found.setdefault(labels[c.alpha, c.beta, c.gamma], {})
                by_rate.setdefault(recipe.train.learning_rate, []).append(float(record.outcome["accuracy"]))
    return found


def noise(measured: Measured) -> float:
    """Standard deviation between seeds, pooled."""
    squares = [(a - np.mean(v)) ** 2 for by_rate in measured.values() for v in by_rate.values() for a in v]
    freedom = sum(len(v) - 1 for by_rate in measured.values() for v in by_rate.values())
    return float(np.sqrt(np.sum(squares) / max(1, freedom)))


def best_rate(rates: Floats, accuracies: Floats) -> tuple[Floats, Floats]:
    """log2 of the best rate and the accuracy there, of every row of ``accuracies`` (draws, rates): the top of a
    parabola through the best one and its neighbours, within the rates that were tried."""
    x = np.log2(rates)
    places, tops = np.empty(len(accuracies)), np.empty(len(accuracies))
    for i, row in enumerate(accuracies):
        at = int(row.argmax())
        near = slice(max(0, at - 1), at + 2)
        a, b, c = np.polyfit(x[near], row[near], 2) if near.stop - near.start == 3 and at < len(x) - 1 else (0, 0, 0)
        place = -b / (2 * a) if a < 0 else x[at]
        places[i] = np.clip(place, x[0], x[-1])
        tops[i] = a * places[i] ** 2 + b * places[i] + c if a < 0 else row[at]
    return places, tops


def rows(runs: Sequence[Path], common: float) -> tuple[Sequence[str], list[list[str]], str]:
    """The page's table, its heading and a line for each network, and its notes."""
    measured = read(runs)
    spread, rng = noise(measured), np.random.default_rng(0)
    every = np.array(sorted({rate for by_rate in measured.values() for rate in by_rate}))
    lines, shared, own, places = [], [], [], {}
    all_means = {label: [float(np.mean(by_rate[rate])) for rate in every] for label, by_rate in measured.items()}
    for label, by_rate in measured.items():
        means = np.array(all_means[label])
        seeds = np.array([len(by_rate[rate]) for rate in every])
        drawn = means + spread / np.sqrt(seeds) * rng.standard_normal((DRAWS, len(every)))
        at, _ = best_rate(every, drawn)
        (place,), (top,) = best_rate(every, means[None])
        places[label] = at
        low, high = 2 ** np.quantile(at, [0.025, 0.975])
        shared.append(float(means[every.tolist().index(common)]))
        own.append(float(top))
        accuracies = [f"{100 * mean:.1f}" for mean in means]
        lines.append(
            [label, *accuracies, f"{2**place:.3g} ({low:.3g} to {high:.3g})", f"{100 * (top - shared[-1]):.1f}"]
        )
    base = next(iter(measured))
    moved = {
        label: np.quantile(at - places[base], [0.025, 0.5, 0.975]) for label, at in places.items() if label != base
    }
    told = "; ".join(f"{label} {m:+.1f} ({low:+.1f} to {high:+.1f})" for label, (low, m, high) in moved.items())
    tau = rank_agreement(shared, own).tau
    notes = (
        f"Accuracy (%) by learning rate, means over seeds, which differ by {100 * spread:.2f} points. "
        f"Best rate over that of {base}, in doublings: {told}. {_ends(all_means, every)} Order at {common:g} and order "
        f"with each network's own best rate: Kendall's τ {tau.value:.2f} ({tau.low:.2f} to {tau.high:.2f}); the last "
        "column is what a network gains by its own rate, in points, the luck of the best of some included."
    )
    return ("network", *(f"{rate:g}" for rate in every), "best rate", "gains"), lines, notes


def _ends(means: Mapping[str, Sequence[float]], every: Floats) -> str:
    """Who is first and who is last, at every rate."""
    found = [(max(means, key=lambda name: means[name][i]), min(means, key=lambda name: means[name][i]))
             for i in range(len(every))]  # fmt: skip
    if len(set(found)) == 1:
        return f"At every rate {found[0][0]} is first and {found[0][1]} last."
    told = (f"at {rate:g} {first} and {last}" for rate, (first, last) in zip(every, found, strict=True))
    return f"First and last: {', '.join(told)}."


def rates(runs: Sequence[Path], common: float) -> None:
    """Print, and write the page."""
    header, lines, notes = rows(runs, common)
    command = f"rates {' '.join(map(str, runs))} --common {common:g}"
    write_page(
        "learning-rates", "Does the best learning rate move?", header, lines, notes, command, torch.device("cpu")
    )
