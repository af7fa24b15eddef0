"""Accuracy over the shares that depth, width and resolution have of the growth: a triangle, one corner for each."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import astuple
from typing import TYPE_CHECKING, Any

from scalesearch.report.figures.canvas import Drawing, is_narrow, sheet
from scalesearch.report.figures.colours import ACCENT, INK, MUTED, PAPER, RAMP, RULE, step
from scalesearch.report.units import METRIC
from scalesearch.scaling.compound import Coefficients

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes

    from scalesearch.scaling.shares import Shares

HEIGHT = math.sqrt(3) / 2
FEWEST, MANY = 3, 30
"""Candidates that make a map, and those up to which there is room for large points."""
SIDE = 0.055
"""Of a square of the colour scale."""


def simplex(ranking: pd.DataFrame, fitted: Mapping[str, Any] | None, metric: str = "accuracy") -> Drawing | None:
    """Where on the simplex the accuracy is; None when fewer than three candidates lie on it.

    Candidates that shrink a dimension, or do not grow, have no place there and are left out.
    """
    from scalesearch.scaling.shares import DWR, PAPER_SHARES, Shares, shares

    placed: list[tuple[dict[str, Any], Shares]] = []
    for row in ranking.to_dict("records"):
        c = Coefficients(float(row["alpha"]), float(row["beta"]), float(row["gamma"]))
        if c.growth() > 1 and min(astuple(c)) >= 1:
            placed.append(({str(key): value for key, value in row.items()}, shares(c)))
    if len({at for _, at in placed}) < FEWEST:
        return None
    below = is_narrow()
    figure, axes = sheet(4.65 if below else 3.8)
    _triangle(axes)
    axes.set_xlim(*((-0.17, 1.17) if below else (-0.2, 1.66)))
    axes.set_ylim(-0.71 if below else -0.12, HEIGHT + 0.11)
    values = [100 * float(row["accuracy"]) for row, _ in placed]
    low, high = min(values), max(values)
    for (candidate, at), value in sorted(zip(placed, values, strict=True), key=lambda item: item[1]):
        first = candidate["rank"] == 1
        edge, size = (ACCENT.light, 11) if first else (MUTED.light, 9 if len(placed) <= MANY else 6)
        colour = RAMP[step(value, low, high)].light
        axes.plot(
            *_xy(at), "o", color=colour, markersize=size, markeredgecolor=edge, markeredgewidth=2 if first else 0.6,
            zorder=4 + first, clip_on=False,
        )  # fmt: skip
    known = {"the paper's, 28 · 29 · 43": (PAPER_SHARES, "P"), "dWr, 10 · 80 · 10": (DWR, "D")}
    if fitted is not None:
        known["fitted optimum"] = (Shares(**fitted["shares"]), "X")
    mark: dict[str, Any] = {
        "color": INK.light,
        "markersize": 7,
        "markeredgecolor": PAPER.light,
        "zorder": 6,
        "clip_on": False,
    }
    for at, marker in known.values():
        axes.plot(*_xy(at), marker, **mark)
    _scale(axes, low, high, METRIC[metric].removeprefix("top-1 "), (-0.1, -0.64) if below else (1.2, 0.42))
    left, top = (0.33, -0.3) if below else (1.23, 0.3)
    for place, (words, marker) in enumerate([*((w, m) for w, (_, m) in known.items()), ("first", "o")]):
        height = top - 0.075 * place
        ring: dict[str, Any] = (
            {"markerfacecolor": "none", "markeredgecolor": ACCENT.light, "markeredgewidth": 2} if marker == "o" else {}
        )
        axes.plot(left, height, marker, **mark | ring)
        axes.text(left + 0.055, height, words, color=INK.light, fontsize=8.5, va="center")
    left_out = len(ranking) - len(placed)
    return Drawing(
        "simplex",
        "Accuracy over the shares of the growth",
        "The logarithms of α, β² and γ² as shares of that of the growth: a corner is all of it for one dimension, the "
        "opposite edge none. dWr is pycls's rule (Dollár, Singh & Girshick 2021). Cost differs between the points."
        + (f" {left_out} candidates that do not grow every dimension are left out." if left_out else ""),
        f"{len(placed)} candidates on a triangle of depth, width and resolution, from {low:.1f} to {high:.1f} %"
        + (f"; the first gives {placed[0][1]}." if placed[0][0]["rank"] == 1 else "."),
        figure,
    )


def _xy(at: Shares) -> tuple[float, float]:
    """Depth at the lower left, resolution at the lower right, width on top."""
    return at.resolution + at.width / 2, HEIGHT * at.width


def _triangle(axes: Axes) -> None:
    axes.grid(False)
    axes.set_axis_off()
    axes.set_aspect("equal")
    for fifth in range(1, 5):
        t = fifth / 5
        for a, b in (
            ((t / 2, HEIGHT * t), (1 - t / 2, HEIGHT * t)),
            ((t, 0.0), (t + (1 - t) / 2, HEIGHT * (1 - t))),
            ((1 - t, 0.0), ((1 - t) / 2, HEIGHT * (1 - t))),
        ):
            axes.plot(*zip(a, b, strict=True), color=RULE.light, linewidth=0.8, zorder=1)
        tick: dict[str, Any] = {"color": MUTED.light, "fontsize": 7.5, "va": "center"}
        axes.text(1 - t, -0.035, f"{100 * t:.0f}", ha="center", **tick)  # depth, along the lower edge
        axes.text(t / 2 - 0.025, HEIGHT * t, f"{100 * t:.0f}", ha="right", **tick)  # width, up the left one
        axes.text((1 + t) / 2 + 0.025, HEIGHT * (1 - t), f"{100 * t:.0f}", ha="left", **tick)  # resolution, down
    axes.plot([0, 1, 0.5, 0], [0, 0, HEIGHT, 0], color=MUTED.light, linewidth=1, zorder=2)
    corner: dict[str, Any] = {"color": INK.light, "fontsize": 9.5, "fontweight": "bold"}
    axes.text(0, -0.085, "all depth (α)", ha="center", va="center", **corner)
    axes.text(1, -0.085, "all resolution (γ)", ha="center", va="center", **corner)
    axes.text(0.5, HEIGHT + 0.075, "all width (β)", ha="center", va="center", **corner)


def _scale(axes: Axes, low: float, high: float, words: str, at: tuple[float, float]) -> None:
    """What the colours stand for; ``at`` is the lower left corner."""
    from matplotlib.patches import Rectangle

    left, bottom = at
    for index, colour in enumerate(RAMP):
        square = Rectangle((left, bottom + index * SIDE), SIDE, SIDE, facecolor=colour.light, edgecolor="none")
        axes.add_patch(square)
    tick: dict[str, Any] = {"color": MUTED.light, "fontsize": 8.5, "va": "center"}
    axes.text(left + SIDE + 0.03, bottom + 0.01, f"{low:.1f} %", **tick)
    axes.text(left + SIDE + 0.03, bottom + len(RAMP) * SIDE - 0.01, f"{high:.1f} %", **tick)
    axes.text(left, bottom + (len(RAMP) + 1) * SIDE, words, color=INK.light, fontsize=8.5, va="center")
