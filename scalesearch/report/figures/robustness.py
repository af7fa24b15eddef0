"""Accuracy over the severity of a corruption, a line for each network, with its intervals."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from scalesearch.report.figures.canvas import Drawing, sheet, short, spread
from scalesearch.report.figures.colours import SERIES

if TYPE_CHECKING:
    from scalesearch.ranking.robustness import Robustness


def severity_curve(rows: Sequence[Robustness], levels: Mapping[int, str], images: str) -> Drawing:
    """The networks under one corruption, from clean images (severity 0) on.

    Args:
        rows: of `ranking.robustness.robustness`, those of one corruption.
        levels: what each severity comes to, in words.
        images: which images these are.
    """
    figure, axes = sheet()
    under, last = rows[0].under, max(rows[0].severities)
    ends, words = [], []
    for number, row in enumerate(rows):
        colour = SERIES[number % len(SERIES)].light
        every = {0: row.clean, **row.severities}
        steps = sorted(every)
        values, low, high = ([100 * getattr(every[s], key) for s in steps] for key in ("value", "low", "high"))
        axes.vlines(steps, low, high, color=colour, linewidth=1, alpha=0.6, zorder=3)
        axes.plot(steps, values, "-o", color=colour, linewidth=1.8, markersize=3.5, zorder=5)
        ends.append((row.network, values[-1], colour))
        words.append(f"{row.network} falls from {values[0]:.1f} to {values[-1]:.1f} %")
    axes.set_ylim(bottom=0)
    axes.set_xticks([0, *rows[0].severities], ["clean", *(f"{s}\n{levels[s]}" for s in rows[0].severities)])
    axes.set_xlabel(f"severity of {_plain(under)}")
    axes.set_ylabel("top-1 accuracy (%)")
    bottom, top = axes.get_ylim()
    heights = spread([value for _, value, _ in ends], (top - bottom) / 17)
    for (name, _, colour), height in zip(ends, heights, strict=True):
        axes.annotate(
            short(name), (last, height), textcoords="offset points", xytext=(7, 0), va="center", color=colour,
            fontsize=8.5, annotation_clip=False,
        )  # fmt: skip
    return Drawing(
        under,
        f"Accuracy under {_plain(under)}",
        f"{images}; every network saw the same corrupted images. Bars are intervals over images.",
        "; ".join(words) + ".",
        figure,
    )


def _plain(name: str) -> str:
    return name.replace("_", " ")
