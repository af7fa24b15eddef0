"""The sheet every figure is drawn on, without pyplot: axes without a box, small type, colours that can be themed."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from scalesearch.report.figures.colours import INK, MUTED, PAPER, RULE

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

WIDTH, NARROW = 6.4, 3.7
"""Inches: for files and a page of 700 px, where 9 points are 13 px, and for a telephone's 350 px, where they are 12."""

STYLE: dict[Any, Any] = {
    "svg.hashsalt": "scalesearch",  # the same figure is the same file
    "svg.fonttype": "none",  # words stay words: they can be searched, read aloud, and set in the page's type
    "text.parse_math": False,  # a dollar in a name is a dollar
    "font.size": 9,
    "font.family": "sans-serif",
    "text.color": INK.light,
    "axes.edgecolor": MUTED.light,
    "axes.labelcolor": MUTED.light,
    "axes.linewidth": 0.8,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "axes.facecolor": PAPER.light,
    "figure.facecolor": PAPER.light,
    "xtick.color": MUTED.light,
    "ytick.color": MUTED.light,
    "xtick.labelsize": 8.5,
    "ytick.labelsize": 8.5,
    "grid.color": RULE.light,
    "grid.linewidth": 0.8,
}


@dataclass(frozen=True)
class Drawing:
    """A figure, the name of its files, what it shows in a line (``title``), how to read it, and its words alone."""

    name: str
    title: str
    caption: str
    alt: str
    figure: Figure


@contextmanager
def drawing(width: float = WIDTH) -> Iterator[None]:
    """Draw and save in here: the figures' style is in force, and no one else's settings."""
    import matplotlib as mpl

    with mpl.rc_context():
        mpl.rcdefaults()
        mpl.rcParams.update(STYLE | {"figure.figsize": (width, width)})
        yield


def is_narrow() -> bool:
    """Whether what is drawn now is for a small screen, so that words must go below and not beside."""
    import matplotlib as mpl

    return bool(mpl.rcParams["figure.figsize"][0] < WIDTH)


def short(name: str) -> str:
    """``name``, or as much of it as leaves room for the figure."""
    most = 24 if is_narrow() else 36
    return name if len(name) <= most else name[: most - 1].rstrip() + "…"


def sheet(height: float = 3.7) -> tuple[Figure, Axes]:
    """A figure of one pair of axes, ``height`` inches high."""
    import matplotlib as mpl
    from matplotlib.figure import Figure

    figure = Figure(figsize=(mpl.rcParams["figure.figsize"][0], height))
    axes = figure.add_subplot()
    axes.grid(True)
    axes.tick_params(length=0, pad=5)
    return figure, axes


def label(
    axes: Axes, text: str, at: tuple[float, float], *, color: str = INK.light, side: str = "right", lift: float = 0
) -> None:
    """Words beside a point, over lines, on a ground of paper that keeps these from crossing them out; under points."""
    offset = {"right": (7, lift), "left": (-7, lift), "above": (0, 7 + lift), "below": (0, -7 + lift)}[side]
    across = {"right": "left", "left": "right"}.get(side, "center")
    down = {"above": "bottom", "below": "top"}.get(side, "center")
    axes.annotate(
        text,
        at,
        textcoords="offset points",
        xytext=offset,
        ha=across,
        va=down,
        color=color,
        fontsize=8.5,
        bbox={"facecolor": PAPER.light, "edgecolor": "none", "pad": 0.6, "alpha": 0.8},
        zorder=3.5,
    )


def side_of(axes: Axes, words: str, at: tuple[float, float], others: Iterable[tuple[float, float]]) -> str:
    """Where ``words`` hide the fewest of ``others`` and stay inside: right of ``at``, left, above or below."""
    (left, right), (bottom, top) = axes.get_xlim(), axes.get_ylim()
    across = 60 * axes.figure.get_figwidth()  # type: ignore[union-attr]
    wide, high = 4.9 * len(words) / across, 0.055  # of the axes: about what 8.5 points come to
    x, y = (at[0] - left) / (right - left), (at[1] - bottom) / (top - bottom)
    points = [((a - left) / (right - left), (b - bottom) / (top - bottom)) for a, b in others if (a, b) != at]
    centres = {
        "right": (x + wide / 2 + 0.02, y),
        "left": (x - wide / 2 - 0.02, y),
        "above": (x, y + high),
        "below": (x, y - high),
    }

    def hidden(side: str) -> tuple[float, int]:
        a, b = centres[side]
        outside = max(0.0, wide / 2 - a) + max(0.0, a + wide / 2 - 1) + max(0.0, -b) + max(0.0, b - 1)
        covered = sum(abs(px - a) < wide / 2 + 0.015 and abs(py - b) < high * 0.8 for px, py in points)
        return covered + 20 * outside, list(centres).index(side)

    return min(centres, key=hidden)


def spread(heights: Sequence[float], gap: float) -> list[float]:
    """``heights`` moved apart as little as it takes to have ``gap`` between neighbours, order kept."""
    order = sorted(range(len(heights)), key=lambda i: heights[i])
    placed = [heights[i] for i in order]
    for _ in range(50):
        for low in range(len(placed) - 1):
            missing = gap - (placed[low + 1] - placed[low])
            if missing > 0:
                placed[low] -= missing / 2
                placed[low + 1] += missing / 2
    moved = dict(zip(order, placed, strict=True))
    return [moved[i] for i in range(len(heights))]
