"""Accuracy over the length of training: what each candidate comes to on shorter schedules and on the whole one."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from scalesearch.report.figures.canvas import Drawing, sheet, short, spread
from scalesearch.report.figures.colours import ACCENT, BLUE, GREY, TEAL
from scalesearch.report.units import METRIC

if TYPE_CHECKING:
    import pandas as pd

NAMED = (ACCENT, BLUE, TEAL)


def accuracy_over_length(
    lengths: Mapping[str, Any] | None, ranking: pd.DataFrame, metric: str = "accuracy"
) -> Drawing | None:
    """Expected accuracy of every candidate at each of the run's lengths; None where it has one alone.

    Args:
        lengths: of `lengths.json`.
        ranking: with the columns network and name.
        metric: what stands as accuracy.
    """
    if not lengths:
        return None
    every = lengths["lengths"]
    curves: dict[str, list[tuple[float, float, float]]] = {}
    for each in every:
        for row in each["networks"]:
            curves.setdefault(row["network"], []).append(tuple(100 * row[key] for key in ("accuracy", "low", "high")))
    names = dict(zip(ranking["network"], ranking["name"], strict=True))
    steps = [each["steps"] for each in every]
    leaders = [max(each["networks"], key=lambda row: row["p_best"])["network"] for each in every]
    named = [network for network in dict.fromkeys(reversed(leaders)) if network in names][: len(NAMED)]
    figure, axes = sheet()
    for network, curve in curves.items():
        if network not in named:
            axes.plot(steps, [at[0] for at in curve], color=GREY.light, linewidth=0.9, alpha=0.75, zorder=2)
    for network, colour in reversed(list(zip(named, NAMED, strict=False))):
        mean, low, high = zip(*curves[network], strict=True)
        axes.vlines(steps, low, high, color=colour.light, linewidth=1, alpha=0.6, zorder=3)
        axes.plot(steps, mean, "-o", color=colour.light, linewidth=1.8, markersize=3.5, zorder=5)
    axes.set_xscale("log", base=2)
    axes.set_xticks(steps, [each["label"] for each in every])
    axes.set_xlabel("length of training")
    axes.set_ylabel(f"minival {METRIC[metric]} (%)")
    bottom, top = axes.get_ylim()
    ends = spread([curves[network][-1][0] for network in named], (top - bottom) / 17)
    for network, colour, height in zip(named, NAMED, ends, strict=False):
        axes.annotate(
            short(names[network]), (steps[-1], height), textcoords="offset points", xytext=(7, 0), va="center",
            color=colour.light, fontsize=8.5, annotation_clip=False,
        )  # fmt: skip
    return Drawing(
        "lengths",
        "Accuracy over the length of training",
        f"Expected accuracy of {len(curves)} candidates; those that are first after one of the lengths are named, with "
        "their intervals.",
        str(lengths["words"]),
        figure,
    )
