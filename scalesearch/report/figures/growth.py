"""Nominal growth against measured cost: what rounding layers and channels makes of (α·β²·γ²)^φ."""

from __future__ import annotations

from typing import TYPE_CHECKING

from scalesearch.report.figures.canvas import Drawing, label, sheet, short, side_of
from scalesearch.report.figures.colours import ACCENT, BLUE, GREY, MUTED, PAPER

if TYPE_CHECKING:
    import pandas as pd


def growth(candidates: pd.DataFrame, ranking: pd.DataFrame, phi: float) -> Drawing | None:
    """Every grid point that was counted, those that were ranked in colour; None when there is none.

    Args:
        candidates: of candidates.csv.
    """
    counted = candidates[candidates["ratio"].notna()]
    if counted.empty:
        return None
    figure, axes = sheet()
    nominal = counted["growth"] ** phi
    ranked = counted["network"].isin(set(ranking["network"]))
    low, high = float(nominal.min()), float(nominal.max())
    room = max(0.06 * (high - low), 0.01 * high)
    ends = [low - room, high + room]
    axes.plot(ends, ends, color=MUTED.light, linewidth=1, linestyle=(0, (4, 2)), zorder=2)
    axes.plot(nominal[~ranked], counted["ratio"][~ranked], "o", color=GREY.light, markersize=4.5, zorder=3)
    axes.plot(
        nominal[ranked], counted["ratio"][ranked], "o", color=BLUE.light, markersize=5.5,
        markeredgecolor=PAPER.light, zorder=4,
    )  # fmt: skip
    first = ranking.iloc[0]
    at = float(first["growth"]) ** phi, float(first["ratio"])
    axes.plot(*at, "o", color=ACCENT.light, markersize=7.5, markeredgecolor=PAPER.light, zorder=5)
    axes.set_xlim(*ends)
    words, others = f"{short(first['name'])}, first", list(zip(nominal, counted["ratio"], strict=True))
    label(axes, words, at, color=ACCENT.light, side=side_of(axes, words, at, others), lift=6)
    middle = (ends[0] + ends[1]) / 2
    label(axes, "measured = nominal", (middle, middle), color=MUTED.light, side="below")
    axes.set_xlabel(f"nominal growth (α·β²·γ²)^{phi:g}" if phi != 1 else "nominal growth α·β²·γ²")
    axes.set_ylabel("measured MACs, times the baseline's")
    ratios = counted["ratio"][ranked] if ranked.any() else counted["ratio"]
    return Drawing(
        "growth",
        "Nominal growth against measured cost",
        "A point on the dashed line costs what the formula says. "
        + ("Grey points were counted and not trained." if (~ranked).any() else "Every point counted was ranked."),
        f"{len(counted)} grid points of nominal growth {low:.2f} to {high:.2f}; those ranked really cost "
        f"{ratios.min():.2f} to {ratios.max():.2f} times the baseline.",
        figure,
    )
