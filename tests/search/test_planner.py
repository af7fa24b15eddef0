"""Which trials a search has, and what a budget makes of them."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from scalesearch.candidates.grid import plan
from scalesearch.models.catalogue import open_baseline
from scalesearch.recipe import Budget, Recipe
from scalesearch.search.planner import SPENT, Planner
from scalesearch.settings import SearchSettings
from scalesearch.trials import Record, Task

GRID = plan(open_baseline("mobilenet_v2"), 1.0, SearchSettings(step=0.1), num_classes=10).candidates


def planner(**settings: Any) -> Planner:
    return Planner(Recipe(**settings), GRID, images=900)


def done(tasks: list[Task], seconds: float = 60.0) -> list[Record]:
    """Trials that are complete: the wider, the better."""
    return [
        Record(i, task, "complete", {"accuracy": 0.6 + 0.05 * task.coefficients.beta, "seconds": seconds})
        for i, task in enumerate(tasks)
    ]


def test_without_a_budget_everything_is_trained() -> None:
    assert len(planner(seeds=2).first()) == 2 * len(GRID)
    assert not planner().step_by_step


def test_a_budget_begins_with_some_and_goes_on_one_by_one() -> None:
    budget = planner(budget="14-trials")
    tasks = budget.first()
    assert 7 <= len(tasks) < len(GRID)
    while (found := budget.next(done(tasks)))[0] is not None:
        assert found[0].key not in {task.key for task in tasks}
        tasks.append(found[0])
    assert len(tasks) == 14 and found[1] == SPENT


def test_exhaustive_begins_with_all() -> None:
    assert len(planner(confidence=0.95, exhaustive=True).first()) == len(GRID)


@pytest.mark.parametrize(("budget", "most"), [("3-trials", 3), ("10%", 0.1 * len(GRID) + 1)])
def test_a_small_budget_cuts_the_start_short(budget: str, most: float) -> None:
    assert 1 <= len(planner(budget=budget).first()) <= most


def test_hours_count_by_the_clock() -> None:
    budget = planner(budget="10min")
    tasks = budget.first()[:7]
    assert budget.affords(done(tasks, seconds=80))
    assert not budget.affords(done(tasks, seconds=90))
    assert budget.affords(done(tasks, seconds=90), workers=2)
    assert budget.next(done(tasks, seconds=80), workers=1) == (None, SPENT)


def test_what_waits_counts_before_it_has_run() -> None:
    budget = planner(budget="8-trials")
    tasks = budget.first()[:7]
    waiting = [*done(tasks[:6]), Record(6, tasks[6], "waiting")]
    task, why = budget.next(waiting)
    assert task is not None and why == "undecided"
    assert budget.next([*waiting, Record(7, task, "running")]) == (None, SPENT)


def test_what_was_dropped_or_failed_is_not_trained_again() -> None:
    budget = planner(budget="90%")
    tasks = budget.first()
    best = max(tasks, key=lambda task: task.coefficients.beta)
    for state in ("dropped", "failed"):
        records = [replace(r, state=state) if r.task == best else r for r in done(tasks)]
        for _ in range(3):
            task, _ = budget.next(records)
            assert task is not None and task.fingerprint != best.fingerprint
            records += [replace(done([task])[0], number=len(records))]


def test_a_lost_trial_does_not_count_and_its_seed_is_not_given_twice() -> None:
    budget = planner(budget="40-trials")
    tasks = budget.first()
    records = done(tasks)
    task, _ = budget.next(records)
    assert task is not None
    again, _ = budget.next([*records, Record(99, task, "lost", reason="gone")])
    assert again is not None and again.key != task.key


@pytest.mark.parametrize("text", ["0h", "h", "2 days", "-1%", "4.5-trials", "", "30"])
def test_a_budget_that_is_none_is_refused_with_examples(text: str) -> None:
    with pytest.raises(ValueError, match="2h, 90min, 30% or 40-trials"):
        Budget.parse(text)


def test_budgets_are_read_as_people_write_them() -> None:
    assert Budget.parse("2h") == Budget(7200, "seconds") == Budget.parse("120 min")
    assert Budget.parse("30 %") == Budget(0.3, "share")
    assert Budget.parse("40 trials") == Budget(40, "trials") == Budget.parse("40-trials")
