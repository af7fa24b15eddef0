"""Where the time went: seconds of training by candidate, a segment per seed."""

from __future__ import annotations

from typing import TYPE_CHECKING

from scalesearch.report.figures.canvas import Drawing, sheet, short
from scalesearch.report.figures.colours import BLUE, INK, PAPER
from scalesearch.report.units import duration

if TYPE_CHECKING:
    import pandas as pd

MOST = 30
"""Bars; of more candidates, those that took longest are shown."""

UNITS = ((3600, "hours"), (60, "minutes"), (1, "seconds"))


def times(trials: pd.DataFrame, ranking: pd.DataFrame) -> Drawing | None:
    """Bars in the order of the ranking; None when no trial measured its time."""
    timed = trials[(trials["state"] == "complete") & trials["seconds"].notna()]
    known = ranking[ranking["network"].isin(set(timed["network"]))]
    if known.empty:
        return None
    totals = timed.groupby("network")["seconds"].sum()
    longest = set(totals.sort_values(ascending=False).head(MOST).index)
    shown = [row for row in known.to_dict("records") if row["network"] in longest]
    unit, word = next((u, w) for u, w in UNITS if totals.max() >= 2 * u or u == 1)
    figure, axes = sheet(0.9 + 0.235 * len(shown))
    axes.grid(False, axis="y")
    for place, row in enumerate(shown):
        start = 0.0
        for seconds in timed[timed["network"] == row["network"]].sort_values("seed")["seconds"]:
            axes.barh(
                place,
                seconds / unit,
                left=start / unit,
                height=0.66,
                color=BLUE.light,
                edgecolor=PAPER.light,
                linewidth=1,
            )
            start += float(seconds)
        axes.annotate(
            duration(start), (start / unit, place), textcoords="offset points", xytext=(5, 0), va="center", fontsize=8
        )
    axes.set_yticks(range(len(shown)), [short(row["name"]) for row in shown])
    axes.tick_params(axis="y", labelcolor=INK.light)
    axes.spines["left"].set_visible(False)
    axes.set_ylim(len(shown) - 0.4, -0.6)
    axes.margins(x=0.09)
    axes.set_xlabel(f"{word} of training")
    total, count = float(timed["seconds"].sum()), len(timed)
    kept = f" The {len(shown)} that took longest, of {len(known)}." if len(known) > len(shown) else ""
    return Drawing(
        "times",
        "Where the time went",
        f"{duration(total)} of training in {count} complete trial{'s' * (count != 1)}, best candidate first; a segment "
        f"is a seed. Trials that did not finish left no time.{kept}",
        f"{len(known)} candidates took from {duration(totals.min())} to {duration(totals.max())}, {duration(total)} in "
        "all.",
        figure,
    )
