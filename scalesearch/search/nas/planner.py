"""Which architecture is trained next: the sampler's next proposal that is new and costs about what it should."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import chain, islice

from scalesearch.candidates.grid import Candidate
from scalesearch.candidates.resolve import resolve_baseline
from scalesearch.candidates.space import Space
from scalesearch.models.protocols import ScaledModel
from scalesearch.ranking.certainty import measured
from scalesearch.ranking.pooled import Neighbours, pool
from scalesearch.ranking.ranking import trade_off
from scalesearch.ranking.standings import DECIMALS
from scalesearch.recipe import Recipe
from scalesearch.scaling.compound import Coefficients
from scalesearch.scaling.spec import ModelSpec
from scalesearch.search.ledger.sampling import STARTUP, Tried, proposals
from scalesearch.search.planner import SPENT, UNDER_WAY, Planner
from scalesearch.trials import Architecture, Record, Task

UNSCALED = Coefficients(1, 1, 1)

ASKED = 300
"""Proposals that a sampler is asked for before chance proposes instead: what it has learned may lie off the target."""

DRAWN = 5_000
"""Draws after those; where none of them is new and near the target, there is nothing left to train."""

EXHAUSTED = "no new architecture"
"""Why a search ends that finds nothing more to train."""

FAILING = 10
"""Failed trials, more than complete ones, after which no further architecture is tried."""


def network_of(recipe: Recipe, spec: ModelSpec) -> ScaledModel:
    """An architecture as the recipe trains it: at its resolution and with its regularisation."""
    return resolve_baseline(recipe, spec).model(UNSCALED)


class ArchitecturePlanner(Planner):
    """The trials of a search for a baseline.

    First the skeleton, where its cost is near the target, and architectures at random; then one proposal after the
    other, each a function of the records before it, with seed 0, until the budget is spent; then further seeds of the
    best, if the recipe asks for them. ``by_network`` grows with what is proposed, and is numbered in that order.
    """

    def __init__(self, recipe: Recipe, space: Space, target: int, *, images: int, classes: int) -> None:
        """``target``: MACs; ``images``: of the minival."""
        super().__init__(recipe, (), images)
        self.space, self.target, self.classes = space, target, classes
        self._exhausted: int | None = None
        self._first = self._beginning()  # before anything is known, so that every sitting begins alike

    @property
    def step_by_step(self) -> bool:
        """Always."""
        return True

    @property
    def trials(self) -> int | None:
        """How many architectures are trained; None where a time is the bound."""
        return round(self.budget.amount) if self.budget and self.budget.unit == "trials" else None

    def total(self, tasks: Sequence[Task]) -> int:
        """How many trials there will be, as far as that is known."""
        if self.trials is None:
            return len(tasks)
        return max(len(tasks), self.trials + self.finalists * (self.recipe.seeds - 1))

    @property
    def finalists(self) -> int:
        """Of how many architectures further seeds are trained, if any are."""
        return max(1, self.recipe.top)

    def is_near(self, macs: int) -> bool:
        """Whether a cost is within the recipe's factor of the target."""
        return self.target <= macs * self.recipe.nas.factor and macs <= self.target * self.recipe.nas.factor

    def reward(self, accuracy: float, macs: int) -> float:
        """Accuracy·(MACs/target)^exponent (Tan et al. 2019, Eq. 2)."""
        return accuracy * trade_off(macs, self.target, self.recipe.nas.exponent)

    def first(self) -> list[Task]:
        """The trials to begin with."""
        return self._first

    def _beginning(self) -> list[Task]:
        count = self.recipe.nas.population if self.recipe.nas.sampler == "nsga2" else STARTUP
        count = count if self.trials is None else min(count, self.trials)
        tasks: list[Task] = []
        stream = self._proposals([])
        begun, own = next(stream), self.space.own_choices
        if own is not None and (task := self._task(Tried(own, None, begun.sampler), {})) is not None:
            tasks.append(task)
        stream = chain([begun], stream)
        while len(tasks) < count and (new := self._new(stream)) is not None:
            tasks.append(new)
        return tasks

    def meet(self, records: Sequence[Record]) -> None:
        """Take up the architectures that an earlier sitting, or another process, has proposed."""
        for record in records:
            task = record.task
            if task.architecture is not None and task.fingerprint not in self.by_network:
                model = network_of(self.recipe, task.architecture.spec)
                if model.fingerprint == task.fingerprint:
                    self._know(model)

    def next(self, records: Sequence[Record], *, workers: int = 1) -> tuple[Task | None, str]:
        """The trial to add, or None and why: the budget is spent, or nothing new is found."""
        self.meet(records)
        failed = sum(r.state == "failed" for r in records)
        if failed >= FAILING and failed > sum(r.state == "complete" for r in records):
            return None, SPENT
        why = SPENT
        if self._goes_on(records, workers):
            if self._exhausted != len(self.by_network):
                if (task := self._new(self._proposals(records))) is not None:
                    return task, "undecided"
                self._exhausted = len(self.by_network)
            why = EXHAUSTED
        return self._further_seed(records), why

    def affords(self, records: Sequence[Record], task: Task | None = None, *, workers: int = 1) -> bool:
        """Whether the architectures, and ``task``, cost no more than the budget; further seeds come on top."""
        search = [r for r in records if r.task.seed == 0]
        if self.trials is not None:
            return len({r.task.fingerprint for r in search} | ({task.fingerprint} if task else set())) <= self.trials
        return super().affords(search, task, workers=workers)

    def _goes_on(self, records: Sequence[Record], workers: int) -> bool:
        """Whether one more of the target's cost can be paid."""
        search = [r for r in records if r.task.seed == 0]
        if self.trials is not None:
            return len({r.task.fingerprint for r in search}) < self.trials
        likely = min(self.by_network.values(), key=lambda c: abs(c.cost.macs - self.target), default=None)
        return likely is None or self.affords(search, Task(UNSCALED, likely.model.fingerprint, 0), workers=workers)

    def _further_seed(self, records: Sequence[Record]) -> Task | None:
        """The next further training of one of the best, once the search itself has ended; at last also of whatever is
        the first by then, so that no single reading wins."""
        search = [r for r in records if r.task.seed == 0]
        if self.recipe.seeds == 1 or any(r.state in UNDER_WAY for r in search):
            return None
        task = self._missing(self.order(search)[: self.finalists], records)
        if task is None and not any(r.state in UNDER_WAY for r in records):
            task = self._missing(self.order(records)[:1], records)
        return task

    def _missing(self, names: Sequence[str], records: Sequence[Record]) -> Task | None:
        """The first of these networks' seeds that has no trial."""
        there = {r.task.key: r.task for r in records}
        for seed in range(1, self.recipe.seeds):
            for name in names:
                if (name, seed) not in there:
                    return Task(UNSCALED, name, seed, there[name, 0].architecture)
        return None

    def order(self, records: Sequence[Record]) -> list[str]:
        """The networks that have a complete trial, highest expected reward first, as the ranking has them."""
        found = sorted(measured(records, self.images), key=lambda m: m.name)
        if not found:
            return []
        expected = pool(found, images=self.images, neighbours=Neighbours.none(len(found))).mean
        rewards = {
            m.name: round(self.reward(float(accuracy), self.by_network[m.name].cost.macs), DECIMALS)
            for m, accuracy in zip(found, expected, strict=True)
        }
        return sorted(rewards, key=lambda name: (-rewards[name], self.by_network[name].cost.macs))

    def _macs(self, record: Record) -> int:
        return self.by_network[record.task.fingerprint].cost.macs

    def _reward_of(self, record: Record) -> float:
        return self.reward(float((record.outcome or {})["accuracy"]), self._macs(record))

    def _proposals(self, records: Sequence[Record]) -> Iterator[Tried]:
        """What the sampler proposes after these records, and what chance does when it does not get there."""
        nas = self.recipe.nas
        told = [r for r in records if r.task.seed == 0 and r.task.architecture and r.state not in ("failed", "lost")]
        objectives = 2 if nas.sampler == "nsga2" else 1
        sampled = proposals(
            self.space.axes,
            [self._tried(r, objectives) for r in told],
            objectives=objectives,
            sampler=nas.sampler,
            seed=nas.seed,
            population=nas.population,
        )
        drawn = (Tried(choices, None) for choices in self.space.draws(nas.seed + len(told)))
        return chain(islice(sampled, ASKED), islice(drawn, DRAWN))

    def _tried(self, record: Record, objectives: int) -> Tried:
        architecture, values = record.task.architecture, None
        assert architecture is not None
        if record.state == "complete":
            accuracy = float((record.outcome or {})["accuracy"])
            values = (self._reward_of(record),) if objectives == 1 else (accuracy, -float(self._macs(record)))
        return Tried(architecture.choices, values, architecture.sampler)

    def _new(self, stream: Iterator[Tried]) -> Task | None:
        """The first proposal that was not made before and is near the target; None where the stream has none."""
        passed_over = {"off target": 0, "known": 0}
        for tried in stream:
            task = self._task(tried, passed_over)
            if task is not None:
                return task
        return None

    def _task(self, tried: Tried, passed_over: dict[str, int]) -> Task | None:
        spec = self.space.realise(tried.choices)
        model = network_of(self.recipe, spec)
        if model.fingerprint in self.by_network:
            passed_over["known"] = passed_over.get("known", 0) + 1
            return None
        if not self.is_near(model.cost(self.classes).macs):
            passed_over["off target"] = passed_over.get("off target", 0) + 1
            return None
        self._know(model)
        return Task(UNSCALED, model.fingerprint, 0, Architecture(spec, tried.choices, tried.sampler, dict(passed_over)))

    def _know(self, model: ScaledModel) -> None:
        """Give a new architecture its place and its name."""
        own = network_of(self.recipe, self.space.skeleton).fingerprint == model.fingerprint
        number = sum(c.label != self.space.skeleton.name for c in self.by_network.values()) + 1
        cost = model.cost(self.classes)
        self.by_network[model.fingerprint] = Candidate(
            UNSCALED,
            model,
            cost,
            cost.macs / self.target,
            labels=(self.space.skeleton.name if own else f"net-{number}",),
        )
