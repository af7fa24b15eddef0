"""Which trials a search has: all that the recipe names, or those that its answer takes, one after the other."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from scalesearch.recipe import Budget, Recipe
from scalesearch.trials import Record, Task

if TYPE_CHECKING:
    from scalesearch.candidates.grid import Candidate

SPENT = "budget spent"
"""Why a search ends whose next trial would cost more than is left."""

UNDER_WAY = ("waiting", "running")


class Planner:
    """The trials of one search.

    With a budget or a confidence, candidates spread over the shares are trained first, and then one after the other
    whichever is worth most (`ranking.allocation`); otherwise all are, with as many seeds as the recipe asks for. What
    comes next is a function of the ledger's records, so that an interrupted search goes on alike.
    """

    def __init__(self, recipe: Recipe, candidates: Sequence[Candidate], images: int) -> None:
        """``images``: of the minival."""
        self.recipe, self.candidates, self.images = recipe, candidates, images
        self.by_network: dict[str, Candidate] = {c.model.fingerprint: c for c in candidates}
        self.budget = Budget.parse(recipe.budget) if recipe.budget else None

    @property
    def step_by_step(self) -> bool:
        """Whether trials are chosen as the search goes on."""
        return self.budget is not None or self.recipe.confidence is not None

    def meet(self, records: Sequence[Record]) -> None:
        """Nothing: what can be trained is known from the start."""

    def total(self, tasks: Sequence[Task]) -> int:
        """How many trials there will be, as far as that is known."""
        return len(tasks)

    def first(self) -> list[Task]:
        """The trials to begin with, seed by seed, so that an interrupted run has seen as many candidates as it can."""
        start = self._start()
        tasks = [Task(c.coefficients, c.model.fingerprint, seed) for seed in range(self.recipe.seeds) for c in start]
        if self.budget is None or self.budget.unit == "seconds":
            return tasks
        costs = np.cumsum([self._cost(task) for task in tasks])
        return tasks[: max(1, int((costs <= self.budget.amount * (1 + 1e-9)).sum()))]

    def _start(self) -> Sequence[Candidate]:
        if not self.step_by_step or self.recipe.exhaustive:
            return self.candidates
        from scalesearch.ranking.allocation import start
        from scalesearch.ranking.certainty import neighbours

        points = neighbours(self.candidates).points
        return self.candidates if points is None else [self.candidates[i] for i in start(points)]

    def _cost(self, task: Task) -> float:
        """Of one trial, in the budget's unit, where that is known before anything runs."""
        if self.budget is None or self.budget.unit == "trials":
            return 1.0
        whole = self.recipe.seeds * sum(c.cost.macs for c in self.candidates)
        return self.by_network[task.fingerprint].cost.macs / whole

    def next(self, records: Sequence[Record], *, workers: int = 1) -> tuple[Task | None, str]:
        """The trial to add, or None and why: of `allocation.Next`, or that the budget is spent.

        Args:
            records: the search's; those that wait or run count as if they came to what is expected of them.
            workers: how many trials run side by side, for a budget by the clock.
        """
        from scalesearch.ranking.allocation import next_training
        from scalesearch.ranking.certainty import measured, neighbours

        out = {r.task.fingerprint for r in records if r.state in ("dropped", "failed")}
        names = [name for name in self.by_network if name not in out]
        if not names:
            return None, "max seeds"
        chosen = next_training(
            names,
            {m.name: m for m in measured(records, self.images)},
            np.array([self.by_network[name].cost.macs for name in names], dtype=float),
            images=self.images,
            neighbours=neighbours([self.by_network[name] for name in names]),
            running=[r.task.fingerprint for r in records if r.state in UNDER_WAY and r.task.fingerprint not in out],
            max_seeds=self.recipe.max_seeds,
            confidence=self.recipe.confidence,
            within=self.recipe.within,
        )
        if chosen.name is None:
            return None, chosen.why
        taken = {r.task.seed for r in records if r.task.fingerprint == chosen.name and r.state != "withdrawn"}
        seed = next(seed for seed in range(len(taken) + 1) if seed not in taken)
        task = Task(self.by_network[chosen.name].coefficients, chosen.name, seed)
        return (task, chosen.why) if self.affords(records, task, workers=workers) else (None, SPENT)

    def affords(self, records: Sequence[Record], task: Task | None = None, *, workers: int = 1) -> bool:
        """Whether what has been trained, what is under way and ``task`` cost no more than the budget.

        The first trial is always afforded. Seconds of what has not ended are taken from the others' per multiply-add.
        """
        if self.budget is None:
            return True
        ended = [r for r in records if r.state in ("complete", "dropped") and r.outcome]
        ahead = [r.task for r in records if r.state in UNDER_WAY] + ([task] if task else [])
        if not ended and len(ahead) <= 1:
            return True
        if self.budget.unit != "seconds":
            spent = sum(self._cost(r.task) for r in ended) + sum(map(self._cost, ahead))
            return spent <= self.budget.amount * (1 + 1e-9)
        seconds = sum(float((r.outcome or {}).get("seconds") or 0) for r in ended)
        macs = sum(self.by_network[r.task.fingerprint].cost.macs for r in ended)
        pace = seconds / macs if macs else 0.0
        seconds += pace * sum(self.by_network[t.fingerprint].cost.macs for t in ahead)
        return seconds <= self.budget.amount * workers
