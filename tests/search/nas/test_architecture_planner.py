"""Which architecture is next: near the target, none twice, the same for the same records, better for having learnt."""

from __future__ import annotations

from dataclasses import replace
from statistics import fmean
from typing import Any

import pytest

from scalesearch.candidates.space import Space, SpaceTable, open_space
from scalesearch.errors import ScaleSearchError
from scalesearch.models.catalogue import builtin
from scalesearch.recipe import Recipe, load_recipe
from scalesearch.search.nas.planner import EXHAUSTED, ArchitecturePlanner
from scalesearch.search.nas.wishes import recipe_for_nas
from scalesearch.search.planner import SPENT
from scalesearch.trials import Record, Task

TARGET = 32_000_000
"""About EfficientNet-B0's at 64 px."""


def recipe(**overrides: Any) -> Recipe:
    dotted = {key.replace("__", "."): value for key, value in overrides.items()}
    return recipe_for_nas(load_recipe("imagenette", {"nas.target_macs": TARGET} | dotted))


def planner(space: Space | None = None, target: int = TARGET, **overrides: Any) -> ArchitecturePlanner:
    return ArchitecturePlanner(recipe(**overrides), space or open_space("mbconv"), target, images=900, classes=10)


def share_of_gates(task: Task) -> float:
    """What the made-up accuracies below rise with: blocks with squeeze-excitation."""
    assert task.architecture is not None
    stages = task.architecture.spec.stages
    return sum(stage.se > 0 for stage in stages) / len(stages)


def ended(tasks: list[Task], seconds: float = 60.0) -> list[Record]:
    return [
        Record(i, task, "complete", {"accuracy": 0.4 + 0.4 * share_of_gates(task), "seconds": seconds})
        for i, task in enumerate(tasks)
    ]


def searched(asked: ArchitecturePlanner) -> list[Task]:
    """Every task of a search whose trials end one after the other."""
    tasks = list(asked.first())
    while (task := asked.next(ended(tasks))[0]) is not None:
        tasks.append(task)
    return tasks


@pytest.mark.parametrize("sampler", ["tpe", "nsga2", "random"])
def test_every_architecture_is_new_and_near_the_target(sampler: str) -> None:
    search = planner(nas__trials=16, nas__sampler=sampler, nas__population=4)
    tasks = searched(search)
    assert len(tasks) == len({task.fingerprint for task in tasks}) == 16
    for candidate in search.by_network.values():
        assert TARGET / 1.25 <= candidate.cost.macs <= TARGET * 1.25
    counted = [t.architecture.passed_over.get("off target", 0) for t in tasks if t.architecture]
    assert sum(counted) > 16, "one draw in seven is near the target"


@pytest.mark.parametrize("sampler", ["tpe", "nsga2", "random"])
def test_proposals_are_a_function_of_the_records(sampler: str) -> None:
    """A planner that knows nothing but the ledger's records goes on as the one that made them."""
    overrides: dict[str, Any] = {"nas__trials": 14, "nas__sampler": sampler, "nas__population": 4}
    tasks = searched(planner(**overrides))
    for known in range(10, 14):
        fresh = planner(**overrides)
        task, _ = fresh.next(ended(tasks[:known]))
        assert task is not None and task.fingerprint == tasks[known].fingerprint
        names = [c.label for c in fresh.by_network.values()]
        assert names == [c.label for c in planner_of(tasks, overrides).by_network.values()][: len(names)]


def test_every_sitting_begins_alike() -> None:
    """Also one that has seen the ledger before it is asked where it begins."""
    tasks = planner(nas__trials=12).first()
    assert [t.key for t in planner_of(tasks[:3], {"nas__trials": 12}).first()] == [t.key for t in tasks]


def planner_of(tasks: list[Task], overrides: dict[str, Any]) -> ArchitecturePlanner:
    made = planner(**overrides)
    made.meet(ended(tasks))
    return made


def test_another_seed_proposes_others() -> None:
    one, other = ({t.fingerprint for t in planner(nas__trials=5, nas__seed=seed).first()} for seed in (0, 1))
    assert len(one & other) == 1, "the skeleton alone"


def test_tpe_finds_what_chance_does_not() -> None:
    """Where accuracy rises with the share of gated stages, a third of them at random, what TPE proposes has more."""
    found = {s: searched(planner(nas__trials=40, nas__sampler=s, nas__exponent=0)) for s in ("tpe", "random")}
    late = {s: fmean(share_of_gates(task) for task in tasks[20:]) for s, tasks in found.items()}
    assert late["tpe"] > late["random"] + 0.1


def test_nsga2_breeds_from_the_generation_before() -> None:
    search = planner(nas__trials=24, nas__sampler="nsga2", nas__population=6)
    generations = [dict(t.architecture.sampler) for t in searched(search) if t.architecture]
    numbers = [value for each in generations for key, value in each.items() if key.endswith("generation")]
    assert len(numbers) == 24 and max(numbers) == 3


def test_the_skeleton_comes_first_where_it_is_near_the_target() -> None:
    near, far = planner(nas__trials=3), planner(target=100_000_000, nas__trials=3)
    assert near.by_network[near.first()[0].fingerprint].label == "efficientnet_b0"
    assert [far.by_network[t.fingerprint].label for t in far.first()] == ["net-1", "net-2", "net-3"]


def test_the_reward_is_mnasnets() -> None:
    """Tan et al. 2019, Eq. 2 with w = −0.07: halving the cost is worth 2^0.07 = 1.0497 times the accuracy."""
    assert planner().reward(0.5, TARGET // 2) == pytest.approx(0.5 * 1.0497, rel=1e-4)
    assert planner(nas__exponent=0).reward(0.5, 1) == 0.5


def test_further_seeds_of_the_best_come_when_the_search_has_ended() -> None:
    search = planner(nas__trials=6, seeds=3, top=2)
    tasks = list(search.first())
    running = [*ended(tasks[:5]), Record(5, tasks[5], "running")]
    assert search.next(running) == (None, SPENT)
    everything = searched(search)
    best = [r.task.fingerprint for r in search.best(ended(tasks))][:2]
    assert [t.key for t in everything[6:]] == [(best[0], 1), (best[1], 1), (best[0], 2), (best[1], 2)]
    assert search.total(tasks) == 6 + 2 * 2


def test_a_larger_number_of_trials_goes_on() -> None:
    few, more = searched(planner(nas__trials=11)), searched(planner(nas__trials=13))
    assert [t.fingerprint for t in more[:11]] == [t.fingerprint for t in few]


def test_hours_count_by_the_clock() -> None:
    search = planner(budget="11min")
    tasks = search.first()
    assert len(tasks) == 10
    assert search.next(ended(tasks, seconds=60))[0] is not None
    assert search.next(ended(tasks, seconds=68)) == (None, SPENT)


def test_where_nothing_trains_the_search_ends() -> None:
    search = planner(budget="8h")
    failed = [replace(r, state="failed", outcome=None) for r in ended(search.first())]
    assert search.next(failed) == (None, SPENT)


def test_a_space_that_is_used_up_ends_the_search() -> None:
    table = SpaceTable(title="few", skeleton="mobilenet_v2", expand=(6, 5))
    skeleton = builtin("mobilenet_v2")
    skeleton = skeleton.model_copy(update={"stages": skeleton.stages[1:3]})
    search = planner(Space("few", table, skeleton), 6_000_000, nas__trials=12, nas__factor=10)
    tasks = searched(search)
    assert len(tasks) == 4 == 2**2
    assert search.next(ended(tasks)) == (None, EXHAUSTED)


@pytest.mark.parametrize(
    ("overrides", "complaint"),
    [
        ({"budget": "30%"}, "time or a number of trials"),
        ({"budget": "2h", "nas__trials": 3}, "nothing beside a budget"),
        ({"nas__sampler": "cmaes"}, "tpe"),
        ({"nas__factor": 1}, "greater than 1"),
        ({"nas__exponent": 0.07}, "less than or equal to 0"),
        ({"nas__target_macs": "many"}, "a number"),
    ],
)
def test_wishes_that_make_no_search_are_refused(overrides: dict[str, Any], complaint: str) -> None:
    with pytest.raises(ScaleSearchError, match=complaint):
        recipe(**overrides)
