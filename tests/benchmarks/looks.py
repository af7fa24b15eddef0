"""What a search would save that trains every candidate for an eighth of the schedule first: an experiment on a bank.

A look at a candidate is the loss of its averaged weights after an eighth of the schedule. One model holds looks and
whole trainings together (co-kriging; Kennedy & O'Hagan 2000, "Predicting the output from a complex computer code when
fast approximations are available", Biometrika 87:1): an early accuracy is the final one, and a bias that is smooth over
the shares, and luck. After the looks, whole trainings follow one by one by the knowledge gradient, as in
`ranking.allocation`; one that was looked at goes on from there.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import torch

from scalesearch.cli.commands.replay import read_bank
from scalesearch.errors import RunError
from scalesearch.ranking import pooled
from scalesearch.ranking.allocation import SETTINGS, knowledge_gradient
from scalesearch.ranking.pooled import LEVEL, Neighbours, Posterior
from scalesearch.ranking.ranking import holdout_error
from scalesearch.ranking.replay.bank import Bank, measured
from scalesearch.ranking.replay.game import Game
from scalesearch.ranking.replay.policies import POLICIES
from scalesearch.ranking.replay.regret import COMPUTE, SURE, Regret, replay
from scalesearch.ranking.seed_scores import Floats, SeedScores
from scalesearch.search.ledger.journal import JOURNAL
from scalesearch.search.ledger.ledger import Ledger
from tests.benchmarks.common import write_page

SLOPE = 0.15
"""Final accuracy per nat of the early loss: 0.15 and 0.14 on the two banks on which this was tried."""
BIAS, OWN = 0.014, 0.003
"""Prior standard deviations of an early accuracy's bias: smooth, from the simplex's centre to its corners, and a
candidate's own."""
SHOWN = (0.05, 0.1, 0.15, 0.2, 0.25, 0.3)
COMPARED = ("exhaustive", "scalesearch")
HEADER = ("policy", *(f"{100 * share:.0f} %" for share in SHOWN), f"{100 * SURE:g} % at")

Looks = list[tuple[int, int, float]]
"""Candidate, seed, early loss."""


def looks(run: Path, replays: int) -> None:
    """Play it over a bank, beside the search as it is, print, and write the page.

    Raises:
        RunError: its trainings were run without ``train.readings``, or its candidates have no shares.
    """
    bank = read_bank(run)
    policies = {name: POLICIES[name] for name in COMPARED} | {"looks first": Looking(bank, early_losses(run))}
    rows = [_row(found) for found in replay(bank, policies, replays=replays)]
    notes = (
        f"`{run.name}`, {replays} replays: how often a candidate within half a point of the best is named after such "
        f"shares of the compute, and from which on in {100 * SURE:g} % of the replays. An experiment, no part of the "
        "tool: its few numbers were chosen with the banks in sight."
    )
    title = f"Looking at every candidate first: {run.name}"
    command = f"looks {run} --replays {replays}"
    write_page(f"looks-{run.name}", title, HEADER, rows, notes, command, torch.device("cpu"))


def _row(found: Regret) -> list[str]:
    near = [found.near[int(np.argmin(abs(COMPUTE - share)))] for share in SHOWN]
    reached = found.reached(SURE)
    return [found.policy, *(f"{100 * n:.0f} %" for n in near), "—" if reached is None else f"{100 * reached:.0f} %"]


def early_losses(run: Path) -> dict[tuple[str, int], float]:
    """The loss of the averaged weights at the first evaluation, by network and seed."""
    records = Ledger(run / JOURNAL, run.name, create=False).records()
    known = {r.task.key: r.outcome.get("readings") for r in records if r.state == "complete" and r.outcome}
    if not all(known.values()):
        raise RunError(f"{run}: made without train.readings")
    return {key: float(readings[0]["average"]["loss"]) for key, readings in known.items() if readings}


class Looking:
    """The policy: all are looked at with one seed each, then whole trainings one after the other."""

    def __init__(self, bank: Bank, losses: dict[tuple[str, int], float]) -> None:
        if bank.neighbours.points is None:
            raise RunError("expected a grid: rows of a comparison have no shares of depth, width and resolution")
        self.losses = losses

    def __call__(self, game: Game) -> None:
        names = list(game.bank.names)
        costs = np.array([game.cost(name) for name in names])
        begun: dict[int, Iterator[tuple[int, float]]] = {}
        found: Looks = []
        for name in game.names:
            row, seed = names.index(name), game.ahead(name).seed
            begun[row] = game.begin(name)
            next(begun[row])
            found.append((row, seed, self.losses[name, seed]))
        share = game.bank.curve[0][0] / game.bank.last_step
        while game.open or begun:
            scores = measured(game.finished, game.bank.images)
            known = together([scores.get(name) for name in names], found, game.bank.images, game.bank.neighbours)
            moments = known.moments()
            game.name(names[int(moments.mean.argmax())])
            free = np.array([row in begun or name in game.open for row, name in enumerate(names)])
            left = costs * np.array([1 - share if row in begun else 1.0 for row in range(len(names))])
            worth = np.where(free, knowledge_gradient(moments, known.luck) / left, -np.inf)
            row = int(worth.argmax()) if scores else int(moments.mean.argmax())
            for _ in begun.pop(row, None) or game.begin(names[row]):
                pass


def together(scores: Sequence[SeedScores | None], found: Looks, images: int, near: Neighbours) -> Posterior:
    """What whole trainings and looks say of the candidates' final accuracies, on these very images."""
    count = len(scores)
    flat = [(i, s, v) for i, m in enumerate(scores) if m for s, v in zip(m.numbers, m.scores, strict=True)]
    level = float(np.mean([v for *_, v in flat])) if flat else 0.5
    middle = float(np.mean([loss for *_, loss in found]))
    flat += [(count + i, -1 - s, level - SLOPE * (loss - middle)) for i, s, loss in found]
    rows, seeds, values = (np.array(each) for each in zip(*flat, strict=True))
    trials = pooled._Trials(rows, np.unique(seeds, return_inverse=True)[1], values.astype(float), 2 * count)
    settings = pooled._Settings.sobol(SETTINGS, error=holdout_error(level, images))
    prior = _doubled(settings.covariances(near), near)
    evidence, normals = pooled._condition(trials, settings, prior, np.zeros((2 * count, 2 * count)), level)
    kept = evidence > evidence.max() - pooled.IMPROBABLE
    weights = np.exp(evidence[kept] - evidence.max())
    final = _first(normals.some(kept), count)
    return Posterior(weights / weights.sum(), final, float(weights @ settings.luck[kept] / weights.sum()))


def _doubled(prior: Floats, near: Neighbours) -> Floats:
    """Covariances (h, 2n, 2n) of final accuracies and early ones."""
    assert near.points is not None
    centred = near.points - 1 / 3
    inner = centred @ centred.T
    bias = BIAS**2 * (inner + inner**2) + OWN**2 * np.eye(len(inner)) + LEVEL**2
    return np.asarray(np.block([[prior, prior], [prior, prior + bias]]))


def _first(normals: pooled.Normals, count: int) -> pooled.Normals:
    square = slice(None), slice(count), slice(count)
    return pooled.Normals(
        normals.means[:, :count],
        normals.covariances[square],
        normals.means_here[:, :count],
        normals.covariances_here[square],
        normals.crossed[square],
    )
