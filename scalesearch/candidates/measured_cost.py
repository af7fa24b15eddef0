"""Candidates of equal measured cost: solved by an estimate, measured, solved again by what that said."""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np

from scalesearch.candidates.cost_estimate import Estimate, sample
from scalesearch.candidates.counted_cost import Ratio
from scalesearch.candidates.equal_cost import solve
from scalesearch.candidates.quantities import Quantity
from scalesearch.errors import EmptyGridError
from scalesearch.models.protocols import Networks, ScaledModel, Survey
from scalesearch.run_contents import MatchedFile, MatchedPoint
from scalesearch.scaling.compound import Coefficients
from scalesearch.scaling.cost import Cost
from scalesearch.scaling.points import Floats, Points

FIRST, FINAL, MOST = 3, 7, 19
"""Turns in which a network is measured: at first, those that are to be admitted in the end, and at most, where turns
differ so much that more of them are needed."""
MORE = 4
"""Turns that are added at a time."""
SURE = 0.3
"""Standard error that a candidate's cost may have, over the tolerance, before it is measured in more turns."""
ROUNDS = 3
"""How often a candidate is solved for and measured before the last turns; once more after them."""
AIM = 0.6
"""Share of the tolerance within which a candidate has to be before the last turns, which move it."""
TO_NORMAL = 1.4826 * math.sqrt(math.pi / 2)
"""Of normal errors: the standard deviation over the median absolute one, times the median's error over the mean's."""
MARGIN = 0.2
"""Relative miss by the estimate beyond which a network is not measured: the range ends before the target."""


class Meter(Protocol):
    """Measures networks in turns with the baseline."""

    @property
    def base(self) -> float:
        """What the baseline costs, in the quantity's unit: the median of all its turns so far."""

    @property
    def seconds(self) -> float:
        """How long measuring took so far."""

    @property
    def place(self) -> Mapping[str, str | int]:
        """Where it measures: device, threads, batch, precision."""

    def measure(self, models: Sequence[ScaledModel], turns: int) -> Sequence[Sequence[float]]:
        """Of each network, its cost over the baseline's of the same turn, turn by turn."""


@dataclass
class Readings:
    """What was measured so far, by network: its cost over the baseline's in every turn."""

    meter: Meter
    turns: dict[str, list[float]] = field(default_factory=dict)

    def of(self, models: Sequence[ScaledModel], turns: int) -> Floats:
        """Medians, (N,), of at least so many turns each: those that lack some are measured, each network once."""
        lacking: dict[int, dict[str, ScaledModel]] = {}
        for model in models:
            missing = turns - len(self.turns.get(model.fingerprint, ()))
            if missing > 0:
                lacking.setdefault(missing, {})[model.fingerprint] = model
        for missing, group in lacking.items():
            for name, found in zip(group, self.meter.measure(list(group.values()), missing), strict=True):
                self.turns.setdefault(name, []).extend(found)
        return np.array([self.ratio(model) for model in models], np.float64)

    def ratio(self, model: ScaledModel) -> float:
        """The median of what was measured of it."""
        return statistics.median(self.turns[model.fingerprint])

    def error(self, model: ScaledModel) -> float:
        """Standard error of the median over the median, from the turns' median absolute deviation."""
        turns, middle = self.turns[model.fingerprint], self.ratio(model)
        deviation = statistics.median(abs(each - middle) for each in turns)
        return TO_NORMAL * deviation / math.sqrt(len(turns)) / middle

    def enough(self, model: ScaledModel) -> bool:
        """Whether it has been measured in as many turns as a candidate has to be."""
        return len(self.turns[model.fingerprint]) >= FINAL


@dataclass(frozen=True)
class Wish:
    """What is to be equal: the quantity, times the baseline's, within which tolerance, and what is said meanwhile."""

    quantity: Quantity
    target: float
    tolerance: float
    told: Callable[[str], None] = lambda _: None

    def miss(self, ratio: float) -> float:
        """Relative distance from the target."""
        return abs(ratio / self.target - 1)


@dataclass(frozen=True)
class Tried:
    """A point that was measured, and what the estimate had said of it."""

    point: Coefficients
    model: ScaledModel
    estimated: float


@dataclass(frozen=True)
class Solved:
    """One coefficient to solve for: its range, and the values of the others."""

    name: str
    low: float
    high: float
    others: Mapping[str, Sequence[float]]


class MeasuredCost:
    """A baseline's networks, their measured cost estimated after a few of them, and measured where that matters."""

    def __init__(
        self, survey: Survey, base: Cost, blocks: int, wish: Wish, meter: Meter, ranges: Sequence[tuple[float, float]],
        growth: float,
    ) -> None:  # fmt: skip
        """
        Args:
            blocks: of the baseline.
            ranges: of α, β and γ.
            growth: at φ = 1, that candidates are about to have.
        """
        self.wish, self.meter, self.readings = wish, meter, Readings(meter)
        networks = sample(survey, growth, ranges)
        wish.told(f"measuring the {wish.quantity.words} of {len(networks.models)} networks to estimate others by")
        ratios = self.readings.of(networks.models, FIRST)
        self.estimate = Estimate.fitted(networks, ratios, base, blocks)
        self._known = set(self.readings.turns)
        self._off: dict[str, float] = {}

    def ratio(self, survey: Survey) -> Ratio:
        """The estimate of each point's cost over the baseline's."""
        return lambda points: self.estimate.of(survey, points)

    def try_out(self, networks: Networks, turns: int) -> Floats:
        """The measured ratios of some networks, held against the estimate."""
        ratios, estimated = self.readings.of(networks.models, turns), self.estimate.of_networks(networks)
        for model, ratio, expected in zip(networks.models, ratios.tolist(), estimated.tolist(), strict=True):
            if model.fingerprint not in self._known:
                self._off[model.fingerprint] = ratio / expected
        return ratios

    def file(self, points: Sequence[MatchedPoint], admitted: Sequence[ScaledModel], pairs: int) -> MatchedFile:
        """What was measured, as a run keeps it."""
        off = sorted(self._off.values(), key=lambda each: abs(np.log(each)))
        return MatchedFile(
            cost=self.wish.quantity.name,  # type: ignore[arg-type]
            unit=self.wish.quantity.unit,
            **self.meter.place,  # type: ignore[arg-type]
            base=self.meter.base,
            target=self.wish.target,
            tolerance=self.wish.tolerance,
            pairs=pairs,
            networks=len(self.readings.turns),
            seconds=round(self.meter.seconds, 1),
            off_median=statistics.median(off) if off else None,
            off_worst=off[-1] if off else None,
            error=statistics.median(self.readings.error(model) for model in admitted) if admitted else None,
            points=list(points),
        )

    def point(self, at: Coefficients, model: ScaledModel, *, admitted: bool | None) -> MatchedPoint:
        """A measured network as a run keeps it."""
        ratio = self.readings.ratio(model)
        return MatchedPoint(
            alpha=at.alpha, beta=at.beta, gamma=at.gamma, network=model.fingerprint, ratio=ratio,
            value=ratio * self.meter.base, admitted=admitted,
        )  # fmt: skip


def match_measured(
    cost: MeasuredCost, survey: Survey, wanted: Sequence[Solved], growth: float, also: Sequence[Coefficients] = ()
) -> MatchedFile:
    """For every pair of the other two coefficients, the third whose network is measured to cost the target.

    Each round solves by the estimate, corrected for each pair by what its last network was measured to cost over its
    estimate, and measures what is new. In the end those that are to be admitted are measured in more turns; of those
    that this moves out of the tolerance another is tried.

    Args:
        also: points that are measured whatever they cost.

    Raises:
        EmptyGridError: nothing is measured to cost that; the message names what came nearest.
    """
    parts = [_Part(cost, survey, each, growth) for each in wanted]
    for number in range(ROUNDS):
        for part in parts:
            part.solve_and_measure(FIRST, AIM, number)
    for part in parts:
        part.measure_chosen()
        part.solve_and_measure(FINAL, 1.0, ROUNDS)
        part.measure_chosen()
    beside = survey.networks(Points.of(also))
    if len(beside.models):
        cost.try_out(beside, FINAL)
    found = {tried.point: tried for part in parts for tried in part.chosen()}
    good = [t.model for t in found.values() if cost.wish.miss(cost.readings.ratio(t.model)) <= cost.wish.tolerance]
    points = [cost.point(point, tried.model, admitted=tried.model in good) for point, tried in found.items()]
    if not good:
        raise EmptyGridError(_nothing(cost.wish, points))
    by_hand = zip(also, beside.index.tolist(), strict=True)
    points += [cost.point(c, beside.models[i], admitted=None) for c, i in by_hand if c not in found]
    points += [beyond for part in parts for beyond in part.beyond]
    return cost.file(points, good, sum(len(part) for part in parts))


def _nothing(wish: Wish, points: Sequence[MatchedPoint]) -> str:
    if not points:
        return (
            f"no candidate reaches {wish.target:.3g}× the baseline's {wish.quantity.words} within the ranges: widen "
            "them, or solve another coefficient"
        )
    nearest = min(points, key=lambda point: wish.miss(point.ratio))
    at = Coefficients(nearest.alpha, nearest.beta, nearest.gamma)
    return (
        f"no candidate has {wish.target:.3g}× the baseline's {wish.quantity.words} within {wish.tolerance:.1%}. The "
        f"nearest is {at}, measured at {nearest.ratio:.3f}×: widen --match-tolerance, or solve another coefficient."
    )


def _beyond(c: Coefficients, ratio: float) -> MatchedPoint:
    """A point that is not measured, since the estimate is far from the target."""
    return MatchedPoint(alpha=c.alpha, beta=c.beta, gamma=c.gamma, ratio=ratio, admitted=False)


class _Part:
    """The pairs of one solved coefficient: what was tried for each."""

    def __init__(self, cost: MeasuredCost, survey: Survey, solved: Solved, growth: float) -> None:
        self.cost, self.survey, self.solved, self.growth = cost, survey, solved, growth
        count = int(np.prod([len(values) for values in solved.others.values()]))
        self.targets = np.full(count, cost.wish.target)
        self.tried: list[dict[str, Tried]] = [{} for _ in range(count)]
        self.beyond: list[MatchedPoint] = []

    def __len__(self) -> int:
        return len(self.tried)

    def chosen(self) -> list[Tried]:
        """Of each pair that came near, the network that came nearest, of those measured most."""
        return [best for pair in self.tried if (best := self._best(pair)) is not None]

    def _best(self, pair: Mapping[str, Tried]) -> Tried | None:
        readings = self.cost.readings
        most = [each for each in pair.values() if readings.enough(each.model)] or list(pair.values())
        return min(most, key=lambda each: self.cost.wish.miss(readings.ratio(each.model)), default=None)

    def measure_chosen(self) -> None:
        """Let every network that is to be admitted have its last turns."""
        wish, readings = self.cost.wish, self.cost.readings
        near = [each.model for each in self.chosen() if wish.miss(readings.ratio(each.model)) <= 2 * wish.tolerance]
        if missing := len({model.fingerprint for model in near if not readings.enough(model)}):
            wish.told(f"measuring {missing} candidates in more turns")
        readings.of(near, FINAL)
        for turns in range(FINAL + MORE, MOST + 1, MORE):
            near = [model for model in near if readings.error(model) > SURE * wish.tolerance]
            readings.of(near, turns)

    def solve_and_measure(self, turns: int, share: float, number: int) -> None:
        """Solve for those that are not within that ``share`` of the tolerance, and measure what is new."""
        wish, readings = self.cost.wish, self.cost.readings
        open_pairs = []
        for i, pair in enumerate(self.tried):
            best = self._best(pair)
            if best is None:
                if number == 0:
                    open_pairs.append(i)
            elif wish.miss(ratio := readings.ratio(best.model)) > share * wish.tolerance:
                self.targets[i] = wish.target * best.estimated / ratio
                open_pairs.append(i)
        if not open_pairs:
            return
        points, estimated = solve(
            self.cost.ratio(self.survey), self.solved.name, self.solved.low, self.solved.high, self.solved.others,
            target=self.targets, growth=self.growth, quantity=wish.quantity,
        )  # fmt: skip
        near = [i for i in open_pairs if abs(estimated[i] / self.targets[i] - 1) <= MARGIN]
        if number == 0:
            self.beyond = [_beyond(points[i], float(estimated[i])) for i in open_pairs if i not in set(near)]
        networks = self.survey.networks(points.where(np.array(near, np.int64)))
        new = {model.fingerprint for model in networks.models} - set(readings.turns)
        if new:
            wish.told(f"measuring {len(new)} candidates" + (f", round {number + 1}" if number else ""))
        self.cost.try_out(networks, turns)
        for i, index in zip(near, networks.index.tolist(), strict=True):
            model = networks.models[index]
            self.tried[i].setdefault(model.fingerprint, Tried(points[i], model, float(estimated[i])))
