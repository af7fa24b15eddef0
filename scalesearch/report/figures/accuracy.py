"""Accuracy against measured MACs: every candidate with its interval, and the front that no cheaper one beats."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from scalesearch.report.figures.canvas import Drawing, is_narrow, label, sheet, short, side_of
from scalesearch.report.figures.colours import ACCENT, BLUE, GREY, INK, MUTED, PAPER
from scalesearch.report.units import METRIC

if TYPE_CHECKING:
    import pandas as pd

NUMBERED = 20
"""Candidates up to which each has its rank beside it."""


@dataclass(frozen=True)
class _Cost:
    """What stands on the horizontal axis: a column over a divisor, and what to call it."""

    name: str
    title: str
    column: str
    divisor: float
    axis: str
    words: str
    unit: str


MACS = _Cost(
    "accuracy-macs", "Accuracy against measured cost", "macs", 1e6, "measured MACs per image (millions)", "MACs",
    "million",
)  # fmt: skip


def accuracy_macs(ranking: pd.DataFrame, bars: str, metric: str = "accuracy") -> Drawing:
    """Accuracy against MACs, the winner and the paper's point named.

    Args:
        ranking: with the columns name, papers, low and high of `report.run.Run`.
        bars: what low and high are.
        metric: what the column accuracy is.
    """
    return _accuracy(ranking, bars, MACS, metric)


def accuracy_measured(
    ranking: pd.DataFrame, bars: str, match: Mapping[str, Any] | None, metric: str = "accuracy"
) -> Drawing | None:
    """Accuracy against what candidates were measured to cost on a machine, as `accuracy_macs`; None where that was not
    measured of every one.

    Args:
        match: of `ranking.json`, what was matched.
    """
    words, unit, column = "latency", "ms", "latency_ms"
    if match and "device" in match and "matched" in ranking:
        words, unit, column = str(match["cost"]), str(match["unit"]), "matched"
    if column not in ranking or ranking[column].isna().any():
        return None
    where = f", {match['device']}" if match and "device" in match else ""
    cost = _Cost(
        "accuracy-measured", f"Accuracy against {words}", column, 1.0, f"measured {words} ({unit}{where})", words, unit
    )
    return _accuracy(ranking, bars, cost, metric)


def _accuracy(ranking: pd.DataFrame, bars: str, cost: _Cost, metric: str) -> Drawing:
    figure, axes = sheet()
    macs, accuracy = ranking[cost.column].astype(float) / cost.divisor, 100 * ranking["accuracy"]
    axes.vlines(macs, 100 * ranking["low"], 100 * ranking["high"], color=GREY.light, linewidth=1, zorder=2)
    front = _front(ranking, cost.column)
    axes.plot(
        macs[front], accuracy[front], color=BLUE.light, linewidth=1.2, linestyle=(0, (4, 2)), zorder=3, label="front"
    )
    axes.plot(macs, accuracy, "o", color=BLUE.light, markersize=5.5, markeredgecolor=PAPER.light, zorder=4)
    axes.plot(macs[:1], accuracy[:1], "o", color=ACCENT.light, markersize=7.5, markeredgecolor=PAPER.light, zorder=5)
    axes.margins(x=0.09, y=0.08)
    rows = ranking.to_dict("records")
    points = list(zip(macs, accuracy, strict=True))
    for row, at in zip(rows, points, strict=True):
        if row["papers"] and row["rank"] > 1:
            axes.plot(*at, "o", markersize=10, markerfacecolor="none", markeredgecolor=INK.light, zorder=5)
        if row["rank"] == 1 or row["papers"]:
            told = [word for word, so in (("first", row["rank"] == 1), ("the paper's", row["papers"])) if so]
            words = ", ".join(told if is_narrow() else [short(row["name"]), *told])
            colour = ACCENT if row["rank"] == 1 else INK
            label(axes, words, at, color=colour.light, side=side_of(axes, words, at, points))
        elif len(rows) <= NUMBERED:
            label(axes, f"{row['rank']}", at, color=MUTED.light, lift=3)
    axes.set_xlabel(cost.axis)
    axes.set_ylabel(f"minival {METRIC[metric]} (%)")
    first = rows[0]
    return Drawing(
        cost.name,
        cost.title,
        f"Bars: {bars}. Dashed: the Pareto front of accuracy and {cost.words}; no cheaper candidate is better than "
        "one on it. " + ("Numbers are ranks." if len(rows) <= NUMBERED else ""),
        f"{len(rows)} candidates between {macs.min():.4g} and {macs.max():.4g} {_of(cost)}; the first, "
        f"{first['name']}, at {100 * first['accuracy']:.1f} % and {macs.iloc[0]:.4g} {cost.unit}.",
        figure,
    )


def _of(cost: _Cost) -> str:
    return "million MACs" if cost is MACS else f"{cost.unit} of {cost.words}"


def _front(ranking: pd.DataFrame, cost: str) -> list[int]:
    """Rows on the front of accuracy and a cost, cheapest first."""
    best, front = -1.0, []
    for index, row in ranking.sort_values([cost, "accuracy"], ascending=[True, False]).iterrows():
        if row["accuracy"] > best:
            best = float(row["accuracy"])
            front.append(int(str(index)))
    return front
