"""Does the answer depend on how long one trains? The ranking after each of several lengths, and who overtakes whom.

Wide networks win short trainings and deep ones long ones (Bello et al. 2021, "Revisiting ResNets", §5). Where shorter
schedules branched off every training, each length is judged by the same model as the whole one.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import combinations
from typing import TYPE_CHECKING, Any

import numpy as np

from scalesearch.ranking.seed_scores import Floats
from scalesearch.ranking.standings import Standing, shares_of_wins
from scalesearch.scaling.shares import NAMES

if TYPE_CHECKING:
    from scalesearch.ranking.certainty import Judgement
    from scalesearch.trials import Record

LONGER = 2.0
"""Of the whole schedule: how long the training is for which an order is foretold."""

TOLD = 3
"""Overtakings that are told in words."""


@dataclass(frozen=True)
class Length:
    """The ranking after one length: its steps, what to call it, and a standing by network."""

    steps: int
    label: str
    standings: Mapping[str, Standing]

    @property
    def first(self) -> str:
        """The network with the highest score."""
        return max(self.standings, key=lambda name: self.standings[name].score)


@dataclass(frozen=True)
class Overtaking:
    """``who`` is behind ``whom`` after the shorter length and ahead after the longer: the differences in accuracy,
    who less whom, and their intervals; neither holds zero."""

    who: str
    whom: str
    shorter: str
    longer: str
    before: tuple[float, float, float]
    after: tuple[float, float, float]


@dataclass(frozen=True)
class Shift:
    """How much more of the growth a dimension gets from the best candidate of the longest length than from that of the
    shortest, in [−1, 1], and the interval of that."""

    dimension: str
    by: float
    low: float
    high: float


@dataclass(frozen=True)
class Lengths:
    """What several lengths say: the lengths, shortest first, who overtakes whom, which dimensions gain by longer
    training, and P(best) by network after ``LONGER`` times the longest, foretold."""

    lengths: tuple[Length, ...]
    overtakings: tuple[Overtaking, ...]
    shifts: tuple[Shift, ...]
    longer_label: str
    longer_p_best: Mapping[str, float]
    words: str

    def to_json(self) -> dict[str, Any]:
        """As plain values."""
        return {
            "words": self.words,
            "lengths": [
                {
                    "steps": each.steps,
                    "label": each.label,
                    "networks": [
                        {"network": s.name, "accuracy": s.pooled, "low": s.low, "high": s.high, "p_best": s.p_best}
                        for s in each.standings.values()
                    ],
                }
                for each in self.lengths
            ],
            "overtakings": [asdict(each) for each in self.overtakings],
            "shifts": [asdict(each) for each in self.shifts],
            "longer": {"label": self.longer_label, "p_best": dict(self.longer_p_best)},
        }


def at_length(records: Sequence[Record], steps: int) -> list[Record]:
    """The complete trials as if they had ended after so many steps: those of which a shorter schedule branched off.

    Their curves are its end alone."""
    found = []
    for record in records:
        for each in (record.outcome or {}).get("shorter", ()) if record.state == "complete" else ():
            if int(each["steps"]) == steps:
                end = [[steps, each["accuracy"], each["loss"]]]
                found.append(replace(record, outcome={**each, "curve": end}))
    return found


def by_length(
    records: Sequence[Record],
    whole: Judgement,
    judged: Callable[[Sequence[Record]], Judgement],
    *,
    label: Callable[[int], str],
    names: Mapping[str, str],
    points: Mapping[str, Floats],
) -> Lengths | None:
    """Every length's ranking, and what changes from one to the next; None where no shorter schedule branched off.

    Args:
        whole: the ranking after the whole schedule.
        judged: makes one of the trials of another length.
        label: what to call a length, from its steps.
        names: what to call the candidates, by network.
        points: their shares of depth, width and resolution (3,) by network; may be none.
    """
    complete = [r for r in records if r.state == "complete" and r.outcome]
    shorter = sorted({int(each["steps"]) for r in complete for each in (r.outcome or {}).get("shorter", ())})
    if not shorter:
        return None
    last = max(int(step) for r in complete for step, *_ in (r.outcome or {})["curve"])
    judgements = [*(judged(at_length(records, steps)) for steps in shorter), whole]
    common = sorted(set.intersection(*(set(j.standings) for j in judgements)))
    lengths = tuple(
        Length(steps, label(steps), {name: j.standings[name] for name in common})
        for steps, j in zip([*shorter, last], judgements, strict=True)
    )
    drawn = [np.stack([j.drawn[name] for name in common], axis=1) for j in judgements]
    overtakings = _overtakings(lengths, drawn, common, whole.confidence)
    shifts = _shifts(drawn, common, points, whole.confidence)
    longer = shares_of_wins(_foretold([each.steps for each in lengths], drawn)).tolist()
    p_best, longer_label = dict(zip(common, longer, strict=True)), label(round(LONGER * last))
    words = _words(lengths, overtakings, shifts, names, longer_label, p_best, whole.confidence)
    return Lengths(lengths, overtakings, shifts, longer_label, p_best, words)


def _overtakings(
    lengths: Sequence[Length], drawn: Sequence[Floats], names: Sequence[str], confidence: float
) -> tuple[Overtaking, ...]:
    """Between the shortest length and each later one, those that are told: largest change first, each pair once."""
    found: dict[tuple[str, str], Overtaking] = {}
    tails = [(1 - confidence) / 2, (1 + confidence) / 2]
    for later in range(1, len(lengths)):
        for i, j in combinations(range(len(names)), 2):
            one, other = (_difference(drawn[at][:, i] - drawn[at][:, j], tails) for at in (0, later))
            who, whom = (names[i], names[j]) if one[0] < 0 else (names[j], names[i])
            before, after = (one, other) if one[0] < 0 else (_turned(one), _turned(other))
            if before[2] < 0 < after[1]:
                made = Overtaking(who, whom, lengths[0].label, lengths[later].label, before, after)
                found.setdefault((who, whom), made)
    return tuple(sorted(found.values(), key=lambda o: o.before[0] - o.after[0]))


def _difference(drawn: Floats, tails: Sequence[float]) -> tuple[float, float, float]:
    low, high = np.quantile(drawn, tails).tolist()
    return round(float(drawn.mean()), 6), round(low, 6), round(high, 6)


def _turned(difference: tuple[float, float, float]) -> tuple[float, float, float]:
    return -difference[0], -difference[2], -difference[1]


def _shifts(
    drawn: Sequence[Floats], names: Sequence[str], points: Mapping[str, Floats], confidence: float
) -> tuple[Shift, ...]:
    """From the shortest length's best to the longest's, draw by draw; the lengths' draws know nothing of each other."""
    if any(name not in points for name in names):
        return ()
    at = np.array([points[name] for name in names])
    moved = at[drawn[-1].argmax(axis=1)] - at[drawn[0].argmax(axis=1)]
    low, high = np.quantile(moved, [(1 - confidence) / 2, (1 + confidence) / 2], axis=0)
    mean = moved.mean(axis=0)
    return tuple(Shift(n, *(round(float(v[i]), 6) for v in (mean, low, high))) for i, n in enumerate(NAMES))


def _foretold(steps: Sequence[int], drawn: Sequence[Floats]) -> Floats:
    """Differences to the mean candidate after `LONGER` times the last length: what they were last, and as much change
    as from the length before, in any direction.

    A line through the lengths would have those that have caught up so far overtake all others; it was tried, and tells
    less than the last length as it is (`tests.benchmarks forecast`).
    """
    before, last = (each - each.mean(axis=1, keepdims=True) for each in drawn[-2:])
    change = float(np.sqrt(np.square(last.mean(axis=0) - before.mean(axis=0)).mean()))
    doublings = np.log2(LONGER) / np.log2(steps[-1] / steps[-2])
    noise = np.random.default_rng(0).standard_normal(last.shape)
    return np.asarray(last + change * np.sqrt(doublings) * noise)


def _words(
    lengths: Sequence[Length],
    overtakings: Sequence[Overtaking],
    shifts: Sequence[Shift],
    names: Mapping[str, str],
    longer: str,
    longer_p_best: Mapping[str, float],
    confidence: float,
) -> str:
    """What a reader wants to know of it, in a few sentences."""
    told = [_firsts(lengths, names)]
    for each in overtakings[:TOLD]:
        told.append(
            f"{names[each.who]} overtakes {names[each.whom]}: {_points(each.before)} after {each.shorter}, "
            f"{_points(each.after)} after {each.longer}."
        )
    if len(overtakings) > TOLD:
        told.append(f"So do {len(overtakings) - TOLD} more pairs.")
    if not overtakings:
        told.append(f"No two candidates change places by more than chance at {100 * confidence:g} %.")
    moved = [s for s in shifts if s.low > 0 or s.high < 0]
    told += [
        f"The longer the training, the {'more' if s.by > 0 else 'less'} {s.dimension} pays: {100 * s.by:+.0f} % of the "
        f"growth ({100 * s.low:+.0f} to {100 * s.high:+.0f})."
        for s in moved
    ]
    best = max(longer_p_best, key=lambda name: longer_p_best[name])
    told.append(f"After {longer}, if as much changes again, {names[best]} (P {longer_p_best[best]:.2f}).")
    return " ".join(told)


def _firsts(lengths: Sequence[Length], names: Mapping[str, str]) -> str:
    p = {x.label: f"{x.standings[x.first].p_best:.2f}" for x in lengths}
    if len({x.first for x in lengths}) > 1:
        return f"First: {', '.join(f'{names[x.first]} after {x.label} (P {p[x.label]})' for x in lengths)}."
    *others, last = p
    return f"{names[lengths[0].first]} is first after {', '.join(others)} and {last} (P {', '.join(p.values())})."


def _points(difference: tuple[float, float, float]) -> str:
    mean, low, high = (100 * value for value in difference)
    return f"{mean:+.1f} points ({low:+.1f} to {high:+.1f})"
