"""Accuracy while training: the mean curve of every candidate, the first ones named, those dropped ending early."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING

from scalesearch.report.figures.canvas import Drawing, sheet, short, spread
from scalesearch.report.figures.colours import ACCENT, BLUE, GREY, MUTED, PAPER, TEAL
from scalesearch.report.units import METRIC

if TYPE_CHECKING:
    import pandas as pd

NAMED = (ACCENT, BLUE, TEAL)


def learning_curves(
    trials: pd.DataFrame, ranking: pd.DataFrame, name: str = "learning-curves", metric: str = "accuracy"
) -> Drawing | None:
    """Minival accuracy, or what stands as it, against steps, mean over seeds; None when no trial kept a curve."""
    complete = _means(trials[trials["state"] == "complete"])
    dropped = {name: c for name, c in _means(trials[trials["state"] == "dropped"]).items() if name not in complete}
    if not complete:
        return None
    figure, axes = sheet()
    named = [str(name) for name in ranking["network"].head(len(NAMED)) if str(name) in complete]
    for network, curve in complete.items():
        if network not in named:
            axes.plot(*zip(*curve, strict=True), color=GREY.light, linewidth=0.9, alpha=0.75, zorder=2)
    for curve in dropped.values():
        axes.plot(*zip(*curve, strict=True), color=MUTED.light, linewidth=1.1, linestyle=(0, (2, 2)), zorder=3)
        axes.plot(*curve[-1], "X", color=MUTED.light, markeredgecolor=PAPER.light, markersize=7, zorder=4)
    for network, colour in reversed(list(zip(named, NAMED, strict=False))):
        axes.plot(
            *zip(*complete[network], strict=True), "-o", color=colour.light, linewidth=1.8, markersize=3.5, zorder=5
        )
    axes.set_xlabel("training steps")
    axes.set_ylabel(f"minival {METRIC[metric]} (%)")
    low, high = axes.get_ylim()
    last = max(curve[-1][0] for curve in complete.values())
    names = dict(zip(ranking["network"], ranking["name"], strict=True))
    ends = spread([complete[network][-1][1] for network in named], (high - low) / 17)
    for network, colour, height in zip(named, NAMED, ends, strict=False):
        axes.annotate(
            short(names[network]), (last, height), textcoords="offset points", xytext=(7, 0), va="center",
            color=colour.light, fontsize=8.5, annotation_clip=False,
        )  # fmt: skip
    return Drawing(
        name,
        "Accuracy while training",
        f"Mean over seeds of {len(complete)} candidates; the first {len(named)} are named."
        + (" Dashed, ending in a cross: fell behind the leader and not trained to the end." if dropped else ""),
        f"Curves of {len(complete)} candidates over {last:,} steps, {len(dropped)} more that end early; "
        + "; ".join(f"{names[network]} ends at {complete[network][-1][1]:.1f} %" for network in named),
        figure,
    )


def _means(trials: pd.DataFrame) -> dict[str, list[tuple[int, float]]]:
    """Steps and per cent by network, at the steps that all its trials reached."""
    curves: dict[str, list[dict[int, float]]] = defaultdict(list)
    for network, text in zip(trials["network"], trials["curve"].fillna(""), strict=True):
        points = (point.split(":") for point in str(text).split())
        if curve := {int(step): 100 * float(accuracy) for step, accuracy in points}:
            curves[str(network)].append(curve)
    means = {}
    for network, every in curves.items():
        steps = sorted(set.intersection(*(set(curve) for curve in every)))
        if steps:
            means[network] = [(s, sum(curve[s] for curve in every) / len(every)) for s in steps]
    return means
