"""A comparison's rows: each with its interval, and as lines of accuracy against MACs (the paper's Figs. 3, 4 and 8)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from scalesearch.report.figures.canvas import Drawing, sheet, short, spread
from scalesearch.report.figures.colours import ACCENT, BLUE, GOLD, GREY, INK, MUTED, PAPER, SERIES, TEAL, VIOLET, Colour
from scalesearch.report.units import METRIC

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from scalesearch.ranking.finished_comparison import FinishedRow

DIMENSIONS = {"depth": BLUE, "width": TEAL, "resolution": VIOLET, "compound": ACCENT, "dWr": GOLD, "baseline": INK}
MARKERS = "osD^vP"
WIDE_RANGE = 10
"""Times the cheapest: from here on costs are shown by their logarithm."""


def intervals(rows: Sequence[FinishedRow], name: str, baseline: str, metric: str = "accuracy") -> Drawing | None:
    """Every measured row as a point with its interval, in the comparison's order; None when none was measured."""
    shown = [row for row in rows if row.accuracy is not None]
    if not shown:
        return None
    figure, axes = sheet(0.95 + 0.29 * len(shown))
    axes.grid(False, axis="y")
    for place, row in enumerate(shown):
        at, colour = 100 * (row.accuracy or 0), DIMENSIONS.get(row.dimension, GREY).light
        if row.low is not None and row.high is not None:
            axes.plot([100 * row.low, 100 * row.high], [place, place], color=colour, linewidth=1.6, zorder=2)
        axes.plot(at, place, "o", color=colour, markersize=7, markeredgecolor=PAPER.light, zorder=3)
    axes.set_yticks(range(len(shown)), [short(row.label) for row in shown])
    axes.tick_params(axis="y", labelcolor=INK.light)
    axes.spines["left"].set_visible(False)
    axes.set_ylim(len(shown) - 0.4, -0.6)
    axes.set_xlabel(f"minival {METRIC[metric]} (%)")
    best = max(shown, key=lambda row: row.accuracy or 0)
    missing = len(rows) - len(shown)
    return Drawing(
        name,
        "The rows with their intervals",
        "Points are means over seeds, bars the interval of each; a colour is a dimension."
        + (f" {missing} rows have no result." * bool(missing)),
        f"{len(shown)} rows of {baseline}; {best.label} is highest at {100 * (best.accuracy or 0):.1f} %.",
        figure,
    )


def scaling_curves(rows: Sequence[FinishedRow], name: str, baseline: str, metric: str = "accuracy") -> Drawing | None:
    """A line per series, or per dimension where rows name none, from the baseline on; None with fewer than two rows."""
    measured = [row for row in rows if row.accuracy is not None]
    start = next((row for row in measured if row.dimension == "baseline"), None)
    lines: dict[str, list[FinishedRow]] = {}
    for row in measured:
        if row is not start:
            lines.setdefault(row.series or row.dimension, []).append(row)
    if not lines or len(measured) < 2:
        return None
    figure, axes = sheet(3.9)
    colours, ends, together = _colours(lines), [], True
    for number, (words, members) in enumerate(lines.items()):
        path = sorted(members, key=lambda row: row.macs)
        if start is not None and _leaves_from(start, path):
            path = [start, *path]
        together &= path[0] is start
        macs, accuracies = [row.macs / 1e6 for row in path], [100 * (row.accuracy or 0) for row in path]
        compound = path[-1].dimension == "compound"
        axes.plot(
            macs, accuracies, f"{MARKERS[number % len(MARKERS)]}-", color=colours[words].light, markersize=5.5,
            linewidth=2.2 if compound else 1.5, markeredgecolor=PAPER.light, zorder=4 if compound else 3,
        )  # fmt: skip
        ends.append((words, macs[-1], accuracies[-1]))
    axes.margins(x=0.06, y=0.1)
    if start is not None:
        at = start.macs / 1e6, 100 * (start.accuracy or 0)
        axes.plot(*at, "o", color=INK.light, markersize=7.5, markeredgecolor=PAPER.light, zorder=5)
        axes.annotate(
            short(start.label), at, textcoords="offset points", xytext=(4, -12), color=INK.light, fontsize=8.5, zorder=6
        )
    if max(x for _, x, _ in ends) > WIDE_RANGE * min(row.macs for row in measured) / 1e6:
        _logarithmic(axes)
    low, high = axes.get_ylim()
    right = axes.get_xlim()[1]
    for (words, x, y), height in zip(ends, spread([y for _, _, y in ends], (high - low) / 17), strict=True):
        axes.plot([x, right], [y, height], color=colours[words].light, linewidth=0.6, alpha=0.5, clip_on=False)
        axes.annotate(
            short(words), (right, height), textcoords="offset points", xytext=(4, 0), va="center",
            color=colours[words].light, fontsize=8.5, annotation_clip=False,
        )  # fmt: skip
    axes.set_xlim(right=right)
    axes.spines["bottom"].set_color(MUTED.light)
    axes.set_xlabel("measured MACs per image (millions)")
    axes.set_ylabel(f"minival {METRIC[metric]} (%)")
    return Drawing(
        name,
        "Accuracy as it grows",
        f"One line for each way of scaling{f', from the {start.label} on' if start and together else ''}.",
        f"{baseline}: "
        + "; ".join(f"{words} ends at {y:.1f} % and {x:.4g} million MACs" for words, x, y in ends)
        + ".",
        figure,
    )


def _logarithmic(axes: Axes) -> None:
    """MACs by their logarithm, with plain numbers below."""
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    axes.set_xscale("log")
    axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}" if value >= 1 else f"{value:g}"))
    axes.xaxis.set_minor_formatter(NullFormatter())


def _colours(lines: Mapping[str, Sequence[FinishedRow]]) -> dict[str, Colour]:
    """A dimension's own colour, as long as no two lines would share it."""
    own = {words: DIMENSIONS.get(members[0].dimension, GREY) for words, members in lines.items()}
    if len(set(own.values())) == len(own):
        return own
    return {words: SERIES[index % len(SERIES)] for index, words in enumerate(lines)}


def _leaves_from(start: FinishedRow, path: Sequence[FinishedRow]) -> bool:
    """Whether a line begins at the baseline: not if all its rows hold a multiplier at the same other value (Fig. 4)."""
    if len(path) < 2:
        return True
    for axis in ("depth", "width", "resolution"):
        values = {getattr(row, axis) for row in path}
        if len(values) == 1 and getattr(start, axis) not in values:
            return False
    return True
