"""Two runs of one baseline over measured cost: candidates of equal nominal growth, and candidates of equal cost."""

from __future__ import annotations

from typing import TYPE_CHECKING

from scalesearch.report.figures.canvas import Drawing, label, sheet, short, side_of
from scalesearch.report.figures.colours import ACCENT, BLUE, GREY, MUTED, PAPER, TEAL

if TYPE_CHECKING:
    import pandas as pd

    from scalesearch.ranking.merit import Merit


def merit_figure(nominal: pd.DataFrame, matched: pd.DataFrame, found: Merit) -> Drawing:
    """Accuracy over measured cost; a line leads from the nominal winner to what divides its growth so at equal cost,
    if anything does; if not, the first at equal cost is named.

    Args:
        nominal, matched: rankings with the columns name, ratio, accuracy, low and high.
    """
    figure, axes = sheet()
    points: list[tuple[float, float]] = []
    for ranking, colour, words in (
        (nominal, BLUE, "equal nominal growth"),
        (matched, TEAL, "equal measured cost"),
    ):
        ratio, accuracy = ranking["ratio"], 100 * ranking["accuracy"]
        axes.vlines(ratio, 100 * ranking["low"], 100 * ranking["high"], color=GREY.light, linewidth=1, zorder=2)
        axes.plot(ratio, accuracy, "o", color=colour.light, markeredgecolor=PAPER.light, zorder=4, label=words)
        points += list(zip(ratio, accuracy, strict=True))
    winner, other = found.winner, found.counterpart if found.alike else found.first
    ends = [(place.ratio, 100 * place.accuracy) for place in (winner, other)]
    if found.alike:
        axes.plot(*zip(*ends, strict=True), color=MUTED.light, linewidth=1, linestyle=(0, (4, 2)), zorder=3)
    axes.plot(*ends[0], "o", color=ACCENT.light, markersize=7.5, markeredgecolor=PAPER.light, zorder=5)
    axes.plot(*ends[1], "o", color=TEAL.light, markersize=7.5, markeredgecolor=ACCENT.light, zorder=5)
    axes.margins(x=0.12, y=0.08)
    for at, name, colour in ((ends[0], f"{short(winner.name)}, first", ACCENT), (ends[1], short(other.name), TEAL)):
        label(axes, name, at, color=colour.light, side=side_of(axes, name, at, points))
    axes.set_xlabel("measured MACs, times the baseline's")
    axes.set_ylabel("minival top-1 accuracy (%)")
    axes.legend(loc="best", frameon=False, fontsize=8.5, labelcolor="linecolor", handletextpad=0.2)
    marked = (
        "Dashed: from the nominal winner to the candidate that divides its growth most nearly so at equal cost."
        if found.alike
        else "Named: each run's first; no candidate of equal cost divides its growth as the nominal winner does."
    )
    return Drawing(
        "merit",
        "Better, or dearer?",
        f"Bars: each run's intervals. {marked}",
        " ".join(found.words),
        figure,
    )
