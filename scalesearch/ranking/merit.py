"""Does a nominal grid's winner win because it is better, or because it costs more?

Candidates of equal nominal growth cost what rounding makes of it: a dearer one may win by its cost alone. A second run
of the same baseline on the same images, whose candidates cost the same (``--match macs``), has no such excuse.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, astuple, dataclass
from typing import TYPE_CHECKING, Any

from scalesearch.errors import RunError
from scalesearch.ranking.rank_correlation import Correlation, rank_agreement
from scalesearch.scaling.compound import AXES, Coefficients
from scalesearch.scaling.shares import Shares, shares

if TYPE_CHECKING:
    import pandas as pd

    from scalesearch.ranking.finished_run import Run

OWN = ("search.", "data.cache_resolution")
"""Settings in which the two runs may differ: which candidates, and how large their images are kept."""

SAME = ("search.target",)
"""Of those settings the ones in which they may not differ: how much is to be grown."""

FAR = 0.25
"""The share of the growth spent differently from which on two divisions of it are not alike."""


@dataclass(frozen=True)
class MeritEntry:
    """A candidate in its run: its rank, what it costs and reaches, and whether it may be the run's best."""

    name: str
    rank: int
    ratio: float
    accuracy: float
    low: float
    high: float
    contender: bool


@dataclass(frozen=True)
class Merit:
    """The nominal winner in its own run, and the candidate that divides its growth most nearly so at equal cost.

    ``dearer``: how many nominal candidates cost more than the winner. ``cost``: Spearman's ρ of measured cost and
    accuracy among the nominal candidates. ``apart``: the share of the growth that the counterpart spends differently.
    """

    target: float
    candidates: int
    ratios: tuple[float, float]
    winner: MeritEntry
    dearer: int
    cost: Correlation
    matched: int
    matched_ratios: tuple[float, float]
    counterpart: MeritEntry
    apart: float
    first: MeritEntry

    @property
    def alike(self) -> bool:
        """Whether the counterpart does divide its growth as the winner does."""
        return self.apart <= FAR

    @property
    def words(self) -> tuple[str, ...]:
        """What there is to say, a sentence each; the last is the verdict."""
        w, c, f = self.winner, self.counterpart, self.first
        rho = self.cost
        costs = "the dearest" if self.dearer == 0 else f"{self.dearer} of the others cost more"
        there = "first there too" if c.rank == 1 else f"number {c.rank} of {self.matched}"
        behind = "" if c.rank == 1 else f", the first, {f.name}, {100 * f.accuracy:.1f} %"
        return (
            f"{self.candidates} candidates of nominal growth {self.target:.3g} cost {self.ratios[0]:.2f}× to "
            f"{self.ratios[1]:.2f}×. "
            f"The first of them, {w.name}, costs {w.ratio:.2f}× ({costs}) and has {100 * w.accuracy:.1f} %.",
            f"Cost and accuracy go together with ρ = {rho.value:.2f} (95 %: {rho.low:.2f} … {rho.high:.2f}; "
            f"p = {rho.p_value:.2f}).",
            f"At {self.matched_ratios[0]:.2f}× to {self.matched_ratios[1]:.2f}× the nearest division of growth, "
            f"{c.name} ({100 * self.apart:.0f} % of it spent otherwise), is {there}: {100 * c.accuracy:.1f} %{behind}.",
            self._verdict,
        )

    @property
    def _verdict(self) -> str:
        by_cost = self.cost.low > 0
        if not self.alike:
            cheaper = self.first.ratio < self.winner.ratio and self.first.accuracy >= self.winner.accuracy
            beside = f"; {self.first.name}, which costs less, has no less" if cheaper else ""
            return f"No candidate of equal cost divides its growth alike, so its place there is not known{beside}."
        if self.counterpart.rank == 1 and not by_cost:
            return "It is first at equal cost as well: by merit, as far as these two runs tell."
        if not self.counterpart.contender:
            return "At equal cost it is not among the likely best: as far as these runs tell, it won by what it cost."
        if by_cost:
            return "Dearer candidates tend to be better, and at equal cost it may still be the best: both, perhaps."
        return "At equal cost it may still be the best, and so may others: merit and cost are not told apart."

    def to_json(self) -> dict[str, Any]:
        """Everything measured, and the words for it, as plain values."""
        return asdict(self) | {"words": self.words}


def merit(nominal: Run, matched: Run) -> Merit:
    """Hold ``nominal``'s winner against ``matched``.

    Raises:
        RunError: the runs differ in more than their candidates, or are too small to say anything.
    """
    _check(nominal.settings, matched.settings)
    if nominal.metric != matched.metric:
        raise RunError(f"the two runs are ranked by different things: {nominal.metric} and {matched.metric}")
    few, equal = (_growing(run.ranking) for run in (nominal, matched))
    if min(len(few), len(equal)) < 3:
        raise RunError("three candidates in each run are the least that cost and accuracy can be compared over")
    if few["contender"].isna().any() or equal["contender"].isna().any():
        raise RunError("a run of before intervals: run its command again, which trains nothing twice")
    winner = few.iloc[0]
    divided = _shares(winner)
    apart = [_apart(divided, _shares(row)) for _, row in equal.iterrows()]
    nearest = min(range(len(apart)), key=apart.__getitem__)
    return Merit(
        target=float(nominal.settings["search.target"]) ** float(nominal.settings["phi"]),
        candidates=len(few),
        ratios=(float(few["ratio"].min()), float(few["ratio"].max())),
        winner=_place(winner),
        dearer=int((few["ratio"] > winner["ratio"]).sum()),
        cost=rank_agreement(few["ratio"].tolist(), few["accuracy"].tolist()).rho,
        matched=len(equal),
        matched_ratios=(float(equal["ratio"].min()), float(equal["ratio"].max())),
        counterpart=_place(equal.iloc[nearest]),
        apart=apart[nearest],
        first=_place(equal.iloc[0]),
    )


def _growing(ranking: pd.DataFrame) -> pd.DataFrame:
    """Without what does not grow, such as the baseline itself, which divides nothing."""
    products = ranking["alpha"] * ranking["beta"] ** 2 * ranking["gamma"] ** 2
    return ranking[products > 1].reset_index(drop=True)


def _check(one: Mapping[str, Any], other: Mapping[str, Any]) -> None:
    kinds = [settings.get("search.match") for settings in (one, other)]
    if kinds != ["nominal", "macs"] or any(key.startswith("search.rows") for key in (*one, *other)):
        raise RunError("expected a grid of equal nominal growth first, and one with --match macs second")
    changed = [
        f"{key}: {one.get(key)!r} and {other.get(key)!r}"
        for key in sorted(one.keys() | other.keys())
        if (key in SAME or not key.startswith(OWN)) and one.get(key) != other.get(key)
    ]
    if changed:
        shown = "; ".join(changed[:3]) + ("; …" if len(changed) > 3 else "")
        raise RunError(f"the two runs differ in more than their candidates ({shown})")


def _shares(row: pd.Series[Any]) -> Shares:
    return shares(Coefficients(*(float(row[axis]) for axis in AXES)))


def _apart(one: Shares, other: Shares) -> float:
    differences = [abs(a - b) for a, b in zip(astuple(one), astuple(other), strict=True)]
    return float(sum(differences)) / 2


def _place(row: pd.Series[Any]) -> MeritEntry:
    numbers = {key: float(row[key]) for key in ("ratio", "accuracy", "low", "high")}
    return MeritEntry(str(row["name"]), int(row["rank"]), **numbers, contender=bool(row["contender"]))
