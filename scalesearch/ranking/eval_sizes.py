"""Is a candidate better, or only tested on images of a better size? The ranking with each at the size that suits it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from scalesearch.ranking.schedules import mean_interval
from scalesearch.ranking.standings import Standing

if TYPE_CHECKING:
    from scalesearch.ranking.certainty import Judgement
    from scalesearch.trials import Record


@dataclass(frozen=True)
class Gain:
    """What trained networks gain by being tested at ``factor`` times their own size, in accuracy: the mean over trials
    and its interval (nan for one trial), with norm statistics of that size, and the mean with those of training."""

    factor: float
    mean: float
    low: float
    high: float
    kept: float


@dataclass(frozen=True)
class Sizes:
    """What other test sizes say: gains, each network's best factor, and the standings with each at its best."""

    gains: tuple[Gain, ...]
    best: Mapping[str, float]
    standings: Mapping[str, Standing]
    words: str

    def to_json(self) -> dict[str, Any]:
        """As plain values."""
        return {
            "words": self.words,
            "gains": [asdict(gain) for gain in self.gains],
            "networks": [
                {"network": s.name, "factor": self.best[s.name], "accuracy": s.mean, "p_best": s.p_best}
                for s in self.standings.values()
            ],
        }


def by_size(
    records: Sequence[Record],
    own: Judgement,
    judged: Callable[[Sequence[Record]], Judgement],
    *,
    names: Mapping[str, str],
) -> Sizes | None:
    """What other test sizes say; None where none were measured.

    Args:
        own: the ranking with each at its own size.
        judged: makes one of other trials.
        names: what to call the candidates, by network.
    """
    measured = [(r, _sizes(r)) for r in records if r.state == "complete" and _sizes(r)]
    factors = sorted({factor for _, sizes in measured for factor in sizes} - {1.0})
    if not factors:
        return None
    gains = tuple(
        _gain(factor, [sizes for _, sizes in measured if factor in sizes], own.confidence) for factor in factors
    )
    best = {}
    for name in dict.fromkeys(r.task.fingerprint for r, _ in measured):
        every = [sizes for r, sizes in measured if r.task.fingerprint == name]
        means = {f: float(np.mean([sizes[f]["accuracy"] for sizes in every])) for f in every[0]}
        best[name] = max(means, key=lambda f: (means[f], -abs(f - 1)))
    there = judged([replace(r, outcome=dict(sizes[best[r.task.fingerprint]])) for r, sizes in measured])
    words = _words(gains, best, own.standings, there.standings, names, own.confidence)
    return Sizes(gains, best, there.standings, words)


def _sizes(record: Record) -> dict[float, Mapping[str, Any]]:
    return {float(each["factor"]): each for each in (record.outcome or {}).get("sizes", ())}


def _gain(factor: float, trials: Sequence[Mapping[float, Mapping[str, Any]]], confidence: float) -> Gain:
    differences = np.array([sizes[factor]["accuracy"] - sizes[1.0]["accuracy"] for sizes in trials])
    kept = float(np.mean([sizes[factor]["kept"] - sizes[1.0]["accuracy"] for sizes in trials]))
    low, mean, high = mean_interval(differences, confidence)
    return Gain(factor, mean, low, high, kept)


def _words(
    gains: Sequence[Gain],
    best: Mapping[str, float],
    own: Mapping[str, Standing],
    there: Mapping[str, Standing],
    names: Mapping[str, str],
    confidence: float,
) -> str:
    told = [
        f"{100 * g.mean:+.1f} points"
        + (f" ({100 * g.low:+.1f} to {100 * g.high:+.1f})" if g.low == g.low else "")
        + f" at {g.factor:g} times ({100 * g.kept:+.1f} with training's statistics)"
        for g in gains
    ]
    before, after = (max(s, key=lambda name: s[name].score) for s in (own, there))
    p = f"P {own[before].p_best:.2f}, then {there[before].p_best:.2f}" if before in there else ""
    if before == after:
        verdict = f"with each at its best, {names[before]} stays the first ({p})"
    else:
        verdict = (
            f"with each at its best, the first is {names[after]} (at {best[after]:g} times its size, "
            f"P {there[after].p_best:.2f}), not {names[before]} ({p}): its lead is no more than its size in the test"
        )
    return (
        f"Tested at other sizes than their own, networks gain {', '.join(told)}; {verdict}. Intervals at "
        f"{100 * confidence:g} % are over trials."
    )
