"""Candidates: enumerate the coefficients, realise their networks, collapse the equal ones, admit by cost."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

from scalesearch.candidates.counted_cost import CountMemory, count_of
from scalesearch.candidates.matching import Matched, Measure, axis, matched, range_of
from scalesearch.candidates.quantities import QUANTITIES, Spent
from scalesearch.errors import EmptyGridError, ScaleSearchError
from scalesearch.models.protocols import Baseline, ScaledModel, Survey
from scalesearch.run_contents import MatchedFile
from scalesearch.scaling.changes import Value
from scalesearch.scaling.compound import AXES, Coefficients, Multipliers
from scalesearch.scaling.cost import Cost
from scalesearch.scaling.points import Points
from scalesearch.settings import Row, SearchSettings


@dataclass(frozen=True)
class Candidate:
    """Coefficients, the network they realise, and what it costs; ``also`` realise the very same network.

    ``labels`` are those of a comparison's rows that realise it; a grid's candidates go by their coefficients. ``spent``
    is what it costs by the quantity that candidates were matched by, where that is not MACs.
    """

    coefficients: Coefficients
    model: ScaledModel
    cost: Cost
    ratio: float
    also: tuple[Coefficients, ...] = ()
    latency_ms: float | None = None
    labels: tuple[str, ...] = ()
    spent: Spent | None = None

    @property
    def equal_ratio(self) -> float:
        """Its cost over the baseline's by the matched quantity; by MACs where no other was matched."""
        return self.spent.ratio if self.spent else self.ratio

    @property
    def label(self) -> str | None:
        """What a comparison calls it; None of a grid's."""
        return " = ".join(self.labels) or None

    @property
    def name(self) -> str:
        """What to call it."""
        return self.label or str(self.coefficients)

    @property
    def growth(self) -> float:
        """α·β²·γ² at φ = 1: what it nominally costs over the baseline (Tan & Le 2019, Eq. 3)."""
        return self.coefficients.growth()


@dataclass(frozen=True)
class Rejected:
    """A grid point that does not become a trial, and why."""

    coefficients: Coefficients
    reason: str
    candidate: Candidate | None = None


@dataclass(frozen=True)
class Rejections:
    """Every `Rejected` of a plan, made when it is looked at: a fine grid refuses a million points.

    ``outside`` are those whose nominal growth is refused, ``merged`` the candidates that others realise too, and
    ``realised`` whose network was refused.
    """

    outside: Points
    growth: str
    merged: tuple[Candidate, ...]
    realised: tuple[Rejected, ...]

    def __len__(self) -> int:
        return len(self.outside) + sum(len(first.also) for first in self.merged) + len(self.realised)

    def __iter__(self) -> Iterator[Rejected]:
        for point in self.outside:
            yield Rejected(point, self.growth)
        for first in self.merged:
            reason = same_network(first)
            for other in first.also:
                yield Rejected(other, reason, replace(first, coefficients=other, also=()))
        yield from self.realised


def same_network(first: Candidate) -> str:
    """Why the points in ``first.also`` are no candidates themselves."""
    return f"same network as {first.coefficients}"


@dataclass(frozen=True)
class Plan:
    """What a search will try: distinct admitted networks, everything that was not admitted, and the baseline's cost."""

    baseline_cost: Cost
    candidates: tuple[Candidate, ...]
    rejected: Rejections = field(repr=False)
    points: int
    by_hand: int = 0
    fixed: Mapping[str, str] = field(default_factory=dict)
    measured: MatchedFile | None = field(default=None, repr=False)

    @property
    def by_cost(self) -> list[Candidate]:
        """The candidates, those of fewest MACs first."""
        return sorted(self.candidates, key=lambda c: c.cost.macs)

    @property
    def median(self) -> Candidate:
        """The candidate in the middle of `by_cost`: what is measured on it holds for most."""
        return self.by_cost[len(self.candidates) // 2]


MOST_POINTS = 2_000_000
"""Points of a grid that are looked at: some hundred bytes each."""


def enumerate_points(search: SearchSettings) -> Points:
    """Every point of the grid, sorted, whatever it costs.

    Raises:
        ScaleSearchError: they are too many to be looked at.
    """
    ranges = [range_of(search, name) for name in AXES]
    count = math.prod((high - low) / search.step + 1 for low, high in ranges)
    if count > MOST_POINTS:
        raise ScaleSearchError(f"search.step: {search.step:g} makes {count:.3g} points, of at most {MOST_POINTS:,}")
    return Points.product(*(axis(*range_of(search, name), search.step) for name in AXES))


def select(points: Points, *, target: float = 2.0, tolerance: float = 0.1) -> tuple[Points, Points]:
    """Part the points whose α·β²·γ² lies within ``tolerance`` of ``target``, boundary included, from the rest.

    Decided in exact arithmetic: (1.9, 1, 1) is exactly 0.1 away from 2 and stays.

    Raises:
        EmptyGridError: no point qualifies; the message names the nearest one.
    """
    inside = points.within(target, tolerance)
    if not inside.any():
        found = ""
        if len(points):
            nearest = points.nearest(target)
            found = (
                f" The nearest is α {nearest.alpha:.2f}, β {nearest.beta:.2f}, γ {nearest.gamma:.2f} "
                f"(growth {nearest.growth():.4g}): widen --tolerance, or use a finer --step."
            )
        raise EmptyGridError(f"no point with |αβ²γ² − {target:g}| ≤ {tolerance:g}.{found}")
    return points.where(inside), points.where(~inside)


def plan(
    baseline: Baseline,
    phi: float,
    search: SearchSettings,
    *,
    num_classes: int,
    dropout: float | None = None,
    training_memory: CountMemory | None = None,
    latency: Callable[[Sequence[Candidate]], Sequence[float]] | None = None,
    measure: Measure | None = None,
    measured: MatchedFile | None = None,
) -> Plan:
    """Everything that a search at φ will try, and everything it will not, with the reason.

    Args:
        num_classes: of the data, since the classifier is part of the cost.
        dropout: the head's, the same for every candidate.
        training_memory: bytes that one training step of a network takes, for ``target_memory`` and a match by memory.
        latency: milliseconds of one image through each candidate, for ``target_latency``.
        measure: finds the points of equal measured cost, for a match by what is measured.
        measured: what rows were measured to cost.

    Raises:
        EmptyGridError: nothing is admitted; the message says what came nearest.
    """
    base = baseline.scaled(Multipliers(1, 1, 1)).cost(num_classes)
    search = _without(search, baseline.fixed)

    def survey(changes: Mapping[str, Value]) -> Survey:
        return baseline.changed(changes).survey(phi, num_classes=num_classes, dropout=dropout)

    rejected: list[Rejected] = []
    outside, count, by_hand = Points.of([]), 0, 0
    if search.rows:
        distinct = _named(search.rows, base, survey)
    else:
        every = survey({})
        if search.match == "nominal":
            inside, outside = select(enumerate_points(search), target=search.target, tolerance=search.tolerance)
            count = len(inside)
        else:
            equal = matched(every, base, phi, search, training_memory, measure)
            inside, count, measured = equal.points, equal.pairs, equal.file
            rejected += _missed(every, base, equal)
        there = set(inside)
        added = dict.fromkeys(point for each in search.also if (point := Coefficients(*each)) not in there)
        by_hand, inside = len(added), inside + Points.of(added)
        distinct = _distinct(every, inside.sorted(), base)
    if search.match not in ("nominal", "macs"):
        distinct = _with_spent(distinct, base, search, measured, training_memory)
    admitted = _within(distinct, _budgets(search, training_memory), rejected)
    admitted = _in_time(admitted, search.target_latency, latency, rejected)
    growth = f"growth outside {search.target:g} ± {search.tolerance:g}"
    rejections = Rejections(outside, growth, distinct, tuple(rejected))
    return Plan(base, admitted, rejections, count, by_hand, baseline.fixed, measured)


def _without(search: SearchSettings, fixed: Mapping[str, str]) -> SearchSettings:
    """The search over what the baseline can scale: a coefficient that does nothing stays 1.

    Raises:
        EmptyGridError: nothing is left to search, or the coefficient to solve is a fixed one.
    """
    if len(fixed) == len(AXES):
        raise EmptyGridError(f"this network cannot be scaled: {'; '.join(fixed.values())}")
    if search.match != "nominal" and search.solve in fixed:
        raise EmptyGridError(f"--solve {search.solve}: {fixed[search.solve]}; solve another coefficient")
    ranges = {f"{end}_{name}": 1.0 for name in fixed for end in ("min", "max")}
    return search.model_copy(update=ranges)


def _missed(survey: Survey, base: Cost, equal: Matched) -> list[Rejected]:
    networks = survey.networks(equal.missed)
    found = []
    for point, index, reason in zip(equal.missed, networks.index.tolist(), equal.reasons, strict=True):
        cost = networks.costs[index]
        found.append(Rejected(point, reason, Candidate(point, networks.models[index], cost, cost.macs / base.macs)))
    return found


def _with_spent(
    candidates: tuple[Candidate, ...],
    base: Cost,
    search: SearchSettings,
    measured: MatchedFile | None,
    memory: CountMemory | None,
) -> tuple[Candidate, ...]:
    """Each with what it costs by the matched quantity."""
    if measured is None:
        quantity = QUANTITIES[search.match]
        if quantity.measured:
            return candidates
        count = count_of(search.match, memory)
        spent = [Spent(quantity, count(c.cost), count(c.cost) / count(base)) for c in candidates]
        return tuple(replace(c, spent=each) for c, each in zip(candidates, spent, strict=True))
    quantity = QUANTITIES[measured.cost]
    known = {p.network: Spent(quantity, p.value, p.ratio) for p in measured.points if p.value is not None}
    found = [replace(c, spent=known.get(c.model.fingerprint)) for c in candidates]
    if measured.cost == "latency":
        found = [replace(c, latency_ms=c.spent.value if c.spent else None) for c in found]
    return tuple(found)


def _distinct(survey: Survey, points: Points, base: Cost) -> tuple[Candidate, ...]:
    """One candidate per network: the first in order keeps its place, the others are named in its ``also``."""
    networks = survey.networks(points)
    groups: list[list[Coefficients]] = [[] for _ in networks.models]
    for point, index in zip(points, networks.index.tolist(), strict=True):
        groups[index].append(point)
    return tuple(
        Candidate(first, model, cost, cost.macs / base.macs, tuple(others))
        for (first, *others), model, cost in zip(groups, networks.models, networks.costs, strict=True)
    )


def _named(rows: Sequence[Row], base: Cost, survey: Callable[[Mapping[str, Value]], Survey]) -> tuple[Candidate, ...]:
    """One candidate per network, in the order of the rows, with the labels of all those that realise it.

    Args:
        survey: of the baseline with some changes.
    """
    surveys: dict[str, Survey] = {}
    found: dict[str, Candidate] = {}
    for row in rows:
        key, at = repr(row.changes), Coefficients(row.depth, row.width, row.resolution)
        if key not in surveys:
            surveys[key] = survey(row.changes)
        networks = surveys[key].networks(Points.of([at]))
        model, cost = networks.models[0], networks.costs[0]
        first = found.get(model.fingerprint, Candidate(at, model, cost, cost.macs / base.macs))
        also = () if at in (first.coefficients, *first.also) else (at,)
        found[model.fingerprint] = replace(first, also=first.also + also, labels=(*first.labels, row.label))
    return tuple(found.values())


Budget = tuple[str, int, Callable[[Cost], int]]


def _budgets(search: SearchSettings, training_memory: Callable[[Cost], int] | None) -> list[Budget]:
    if search.target_memory and training_memory is None:
        raise ScaleSearchError("target_memory needs a batch size and an optimiser: use grid --dry-run")
    budgets: list[Budget] = []
    if search.target_macs:
        budgets.append(("MACs", search.target_macs, lambda cost: cost.macs))
    if search.target_params:
        budgets.append(("parameters", search.target_params, lambda cost: cost.params))
    if search.target_memory and training_memory:
        budgets.append(("bytes of training memory", search.target_memory, training_memory))
    if search.target_activations:
        budgets.append(("activations", search.target_activations, lambda cost: cost.activations))
    return budgets


def _within(
    candidates: tuple[Candidate, ...], budgets: list[Budget], rejected: list[Rejected]
) -> tuple[Candidate, ...]:
    for name, limit, measure in budgets:
        over = [c for c in candidates if measure(c.cost) > limit]
        rejected += [Rejected(c.coefficients, f"{measure(c.cost):,} {name}, over {limit:,}", c) for c in over]
        if over and len(over) == len(candidates):
            nearest = min(over, key=lambda c: measure(c.cost))
            raise EmptyGridError(
                f"no candidate within {limit:,} {name}. The nearest is {nearest.coefficients} "
                f"with {measure(nearest.cost):,}."
            )
        candidates = tuple(c for c in candidates if measure(c.cost) <= limit)
    return candidates


def _in_time(
    candidates: tuple[Candidate, ...],
    limit: float | None,
    latency: Callable[[Sequence[Candidate]], Sequence[float]] | None,
    rejected: list[Rejected],
) -> tuple[Candidate, ...]:
    """Those that are fast enough, each with its measured latency; as they come if there is no limit."""
    if limit is None:
        return candidates
    if latency is None:
        raise ScaleSearchError("target_latency needs a device to measure on: use grid --dry-run")
    times = latency(candidates)
    timed = [replace(c, latency_ms=ms) for c, ms in zip(candidates, times, strict=True)]
    slow = [c for c, ms in zip(timed, times, strict=True) if ms > limit]
    rejected += [Rejected(c.coefficients, f"{c.latency_ms:.3g} ms, over {limit:g}", c) for c in slow]
    if len(slow) == len(timed):
        at, ms = min(zip(slow, times, strict=True), key=lambda pair: pair[1])
        raise EmptyGridError(f"no candidate within {limit:g} ms. The nearest is {at.coefficients} with {ms:.3g} ms.")
    return tuple(c for c, ms in zip(timed, times, strict=True) if ms <= limit)
