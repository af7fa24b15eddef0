"""Candidates: enumerate the coefficients, realise their networks, collapse the equal ones, admit by cost."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from fractions import Fraction
from itertools import product

from scalesearch.baselines import Baseline, ScaledModel
from scalesearch.cost import Cost
from scalesearch.errors import EmptyGridError, ScaleSearchError, ScalingError
from scalesearch.recipe import SearchSettings
from scalesearch.scaling import Coefficients, Multipliers

AXES = ("alpha", "beta", "gamma")


@dataclass(frozen=True)
class Candidate:
    """Coefficients, the network they realise, and what it costs; ``also`` realise the very same network."""

    coefficients: Coefficients
    model: ScaledModel
    cost: Cost
    ratio: float
    also: tuple[Coefficients, ...] = ()
    latency_ms: float | None = None

    @property
    def growth(self) -> float:
        return self.coefficients.growth()


@dataclass(frozen=True)
class Rejected:
    """A grid point that does not become a trial, and why."""

    coefficients: Coefficients
    reason: str
    candidate: Candidate | None = None


@dataclass(frozen=True)
class Plan:
    """What a search will try: distinct admitted networks, everything that was not admitted, and the baseline's cost."""

    baseline_cost: Cost
    candidates: tuple[Candidate, ...]
    rejected: tuple[Rejected, ...] = field(repr=False)
    points: int
    by_hand: int = 0
    fixed: Mapping[str, str] = field(default_factory=dict)


def axis(low: float, high: float, step: float) -> list[Fraction]:
    """``low``, ``low + step``, … up to ``high`` included, without float noise."""
    start, stop, stride = (Fraction(repr(value)) for value in (low, high, step))
    return [start + stride * i for i in range(math.floor((stop - start) / stride) + 1)]


def enumerate_points(search: SearchSettings) -> Iterator[Coefficients]:
    """Every point of the grid, sorted, whatever it costs."""
    ranges = [axis(*_range(search, name), search.step) for name in AXES]
    for alpha, beta, gamma in product(*[[float(value) for value in values] for values in ranges]):
        yield Coefficients(alpha, beta, gamma)


def select(
    points: Iterable[Coefficients], *, target: float = 2.0, tolerance: float = 0.1
) -> tuple[tuple[Coefficients, ...], tuple[Coefficients, ...]]:
    """Part the points whose α·β²·γ² lies within ``tolerance`` of ``target``, boundary included, from the rest.

    Decided in exact arithmetic: (1.9, 1, 1) is exactly 0.1 away from 2 and stays.

    Raises:
        EmptyGridError: no point qualifies; the message names the nearest one.
    """
    centre, width = Fraction(repr(float(target))), Fraction(repr(float(tolerance)))
    inside: list[Coefficients] = []
    outside: list[Coefficients] = []
    nearest: tuple[Fraction, Coefficients] | None = None
    for point in points:
        distance = abs(point.exact_growth() - centre)
        (inside if distance <= width else outside).append(point)
        if nearest is None or distance < nearest[0]:
            nearest = (distance, point)
    if not inside:
        found = (
            ""
            if nearest is None
            else (
                f" The nearest is α {nearest[1].alpha:.2f}, β {nearest[1].beta:.2f}, γ {nearest[1].gamma:.2f} "
                f"(growth {nearest[1].growth():.4g}): widen --tolerance, or use a finer --step."
            )
        )
        raise EmptyGridError(f"no point with |αβ²γ² − {target:g}| ≤ {tolerance:g}.{found}")
    return tuple(inside), tuple(outside)


def plan(
    baseline: Baseline,
    phi: float,
    search: SearchSettings,
    *,
    num_classes: int,
    dropout: float | None = None,
    training_memory: Callable[[Cost], int] | None = None,
    latency: Callable[[Sequence[Candidate]], Sequence[float]] | None = None,
) -> Plan:
    """Everything that a search at φ will try, and everything it will not, with the reason.

    Args:
        num_classes: of the data, since the classifier is part of the cost.
        dropout: the head's, the same for every candidate.
        training_memory: bytes that one training step of a network takes, for ``target_memory``.
        latency: milliseconds of one image through each candidate, for ``target_latency``.

    Raises:
        EmptyGridError: nothing is admitted; the message says what came nearest.
    """
    base = baseline.scaled(Multipliers(1, 1, 1)).cost(num_classes)
    search = _without(search, baseline.fixed)

    def realise(point: Coefficients) -> Candidate:
        model = baseline.scaled(point.at(phi), dropout=dropout)
        cost = model.cost(num_classes)
        return Candidate(point, model, cost, cost.macs / base.macs)

    rejected: list[Rejected] = []
    if search.match == "macs":
        points, count = _matched(realise, phi, search, rejected)
    else:
        inside, outside = select(enumerate_points(search), target=search.target, tolerance=search.tolerance)
        rejected += [Rejected(p, f"growth outside {search.target:g} ± {search.tolerance:g}") for p in outside]
        points, count = list(inside), len(inside)
    by_hand = [point for point in dict.fromkeys(Coefficients(*p) for p in search.also) if point not in points]
    points += by_hand
    candidates = _distinct([realise(point) for point in sorted(points)], rejected)
    budgets = _budgets(search, training_memory)
    admitted = _in_time(_within(candidates, budgets, rejected), search.target_latency, latency, rejected)
    return Plan(base, admitted, tuple(rejected), count, len(by_hand), baseline.fixed)


def _without(search: SearchSettings, fixed: Mapping[str, str]) -> SearchSettings:
    """The search over what the baseline can scale: a coefficient that does nothing stays 1.

    Raises:
        EmptyGridError: nothing is left to search, or the coefficient to solve is a fixed one.
    """
    if len(fixed) == len(AXES):
        raise EmptyGridError(f"this network cannot be scaled: {'; '.join(fixed.values())}")
    if search.match == "macs" and search.solve in fixed:
        raise EmptyGridError(f"--solve {search.solve}: {fixed[search.solve]}; solve another coefficient")
    ranges = {f"{end}_{name}": 1.0 for name in fixed for end in ("min", "max")}
    return search.model_copy(update=ranges)


def _distinct(realised: list[Candidate], rejected: list[Rejected]) -> list[Candidate]:
    """One candidate per network: the first in order keeps its place, the others are named in its ``also``."""
    groups: dict[str, list[Candidate]] = {}
    for candidate in realised:
        groups.setdefault(candidate.model.fingerprint, []).append(candidate)
    for first, *others in groups.values():
        rejected += [Rejected(o.coefficients, f"same network as {first.coefficients}", o) for o in others]
    return [replace(first, also=tuple(o.coefficients for o in others)) for first, *others in groups.values()]


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


def _within(candidates: list[Candidate], budgets: list[Budget], rejected: list[Rejected]) -> tuple[Candidate, ...]:
    admitted = candidates
    for name, limit, measure in budgets:
        over = [c for c in admitted if measure(c.cost) > limit]
        rejected += [Rejected(c.coefficients, f"{measure(c.cost):,} {name}, over {limit:,}", c) for c in over]
        if over and len(over) == len(admitted):
            nearest = min(over, key=lambda c: measure(c.cost))
            raise EmptyGridError(
                f"no candidate within {limit:,} {name}. The nearest is {nearest.coefficients} "
                f"with {measure(nearest.cost):,}."
            )
        admitted = [c for c in admitted if c not in over]
    return tuple(admitted)


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
    return tuple(c for c in timed if c not in slow)


def _matched(
    realise: Callable[[Coefficients], Candidate], phi: float, search: SearchSettings, rejected: list[Rejected]
) -> tuple[list[Coefficients], int]:
    """For every pair of the other two coefficients, the third whose network costs target^φ, if it lies in its range."""
    target = search.target**phi
    found: list[Coefficients] = []
    tried: list[Candidate] = []
    for solved in AXES if search.solve == "any" else (search.solve,):
        if _range(search, solved) == (1, 1):
            continue
        free = [name for name in AXES if name != solved]
        low, high = _range(search, solved)
        for pair in product(*[axis(*_range(search, name), search.step) for name in free]):
            fixed = {name: float(value) for name, value in zip(free, pair, strict=True)}
            around = _around_crossing(realise, fixed, solved, low, high, target)
            best = min(around, key=lambda candidate: abs(candidate.ratio / target - 1))
            tried.append(best)
            if abs(best.ratio / target - 1) <= search.match_tolerance:
                found.append(best.coefficients)
            else:
                rejected.append(Rejected(best.coefficients, f"costs {best.ratio:.3f}×, not {target:.3g}×", best))
    if not found:
        nearest = min(tried, key=lambda candidate: abs(candidate.ratio - target))
        raise EmptyGridError(
            f"no candidate costs {target:.3g}× the baseline within {search.match_tolerance:.1%}. The nearest is "
            f"{nearest.coefficients} at {nearest.ratio:.3f}×: widen --match-tolerance, or solve another coefficient."
        )
    return list(dict.fromkeys(found)), len(tried)


def _range(search: SearchSettings, name: str) -> tuple[float, float]:
    return getattr(search, f"min_{name}"), getattr(search, f"max_{name}")


def _around_crossing(
    realise: Callable[[Coefficients], Candidate],
    fixed: dict[str, float],
    name: str,
    low: float,
    high: float,
    target: float,
) -> list[Candidate]:
    """The networks just below and just above the ratio ``target``; cost is a monotone staircase in one coefficient."""

    def at(value: float) -> Candidate:
        return realise(Coefficients(**fixed, **{name: value}))

    try:
        left, right = at(low), at(high)
    except ScalingError as failure:
        raise EmptyGridError(f"the range of {name} leaves nothing of the network: {failure}") from failure
    if (left.ratio - target) * (right.ratio - target) > 0:
        return [left, right]
    # Coefficients are kept to four decimals, so that what is printed realises the same network again.
    below, above = round(low * 10**4), round(high * 10**4)
    while above - below > 1:
        middle = (below + above) // 2
        here = at(middle / 10**4)
        if (here.ratio - target) * (left.ratio - target) > 0:
            below, left = middle, here
        else:
            above, right = middle, here
    return [left, right]
