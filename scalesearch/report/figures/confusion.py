"""What images are taken for: the confusion matrix, or, of many classes, the pairs that are confused most."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from scalesearch.ranking.confusions import matrix
from scalesearch.report.class_tables import MANY
from scalesearch.report.figures.canvas import Drawing, is_narrow, label, sheet, short
from scalesearch.report.figures.colours import BLUE, INK, MUTED, PAPER, RAMP, RULE, step

if TYPE_CHECKING:
    from matplotlib.axes import Axes

ROOM = 9
"""Classes up to which a narrow figure has room for numbers."""

DEEP = 4
"""From which of `RAMP` on words are written in the colour of paper."""


def confusion(found: Mapping[str, Any] | None) -> Drawing | None:
    """Of the first network: a matrix of up to `MANY` classes, else its most confused pairs; None if none is known.

    Args:
        found: of `classes.json`.
    """
    if not found or not found["networks"]:
        return None
    if len(found["class_names"]) <= MANY:
        return _matrix(found)
    return _pairs(found) if found["networks"][0]["confused"] else None


def _matrix(found: Mapping[str, Any]) -> Drawing:
    from matplotlib.patches import Rectangle

    network, names = found["networks"][0], found["class_names"]
    shares, count = matrix(network), len(names)
    side = 3.0 if is_narrow() else min(4.9, 1.6 + 0.36 * count)
    figure, axes = sheet(side + 1.0)
    axes.grid(False)
    numbered = count <= (ROOM if is_narrow() else MANY)
    for true in range(count):
        for taken in range(count):
            share = float(shares[true, taken])
            if share <= 0:
                continue
            shade = step(share, 0, 1)
            axes.add_patch(Rectangle((taken - 0.5, true - 0.5), 1, 1, facecolor=RAMP[shade].light, edgecolor="none"))
            if numbered:
                ink = PAPER if shade >= DEEP else INK
                axes.text(
                    taken, true, f"{100 * share:.0f}", ha="center", va="center", color=ink.light,
                    fontsize=8.5 if count <= 12 else 6.5,
                )  # fmt: skip
    _frame(axes, names)
    correct = f"{100 * network['accuracy']:.1f} %"
    worst = network["confused"][0] if network["confused"] else None
    told = f"; most confused: {names[worst[0]]}, taken for {names[worst[1]]}" if worst else ""
    return Drawing(
        "confusion",
        "What images are taken for",
        f"{network['name']}: of the images of a row's class, how many per cent are taken for a column's. The darker on "
        "paper, or the brighter on a dark page, the more; empty: none.",
        f"A matrix of {count} classes; {correct} of the images are right{told}.",
        figure,
    )


def _frame(axes: Axes, names: list[str]) -> None:
    count = len(names)
    axes.set_xlim(-0.5, count - 0.5)
    axes.set_ylim(count - 0.5, -0.5)
    axes.set_aspect("equal")
    size = 8.5 if count <= 12 else 7
    head, tail = (6, 4) if is_narrow() else (9, 6)  # what tells names apart is often their end
    shown = [name if len(name) <= head + tail + 1 else f"{name[:head]}…{name[-tail:]}" for name in names]
    axes.set_xticks(range(count), shown, rotation=90, fontsize=size)
    axes.set_yticks(range(count), shown, fontsize=size)
    axes.tick_params(labelcolor=INK.light, pad=3)
    for edge in axes.spines.values():
        edge.set_visible(True)
        edge.set_color(RULE.light)
    axes.set_xlabel("taken for")
    axes.set_ylabel("class")


def _pairs(found: Mapping[str, Any]) -> Drawing:
    network, names = found["networks"][0], found["class_names"]
    pairs = network["confused"][:MANY]
    counts = [n / network["seeds"] for _, _, n in pairs]
    words = [f"{short(names[true])} → {short(names[taken])}" for true, taken, _ in pairs]
    if is_narrow():
        words = [f"{names[true][:13]} → {names[taken][:13]}" for true, taken, _ in pairs]
    figure, axes = sheet(0.9 + 0.24 * len(pairs))
    axes.grid(False, axis="y")
    axes.barh(range(len(pairs)), counts, color=BLUE.light, height=0.6, zorder=2)
    for place, ((true, _, _), count) in enumerate(zip(pairs, counts, strict=True)):
        share = f"{100 * count / network['classes'][true]['images']:.0f} %"
        label(axes, share, (count, place), color=MUTED.light)
    axes.margins(x=0.16 if is_narrow() else 0.1)
    axes.set_yticks(range(len(pairs)), words)
    axes.tick_params(axis="y", labelcolor=INK.light, labelsize=8 if is_narrow() else 8.5)
    axes.set_ylim(len(pairs) - 0.4, -0.6)
    axes.spines["left"].set_visible(False)
    axes.set_xlabel("images" if network["seeds"] == 1 else "images, mean over seeds")
    first = f"{names[pairs[0][0]]} taken for {names[pairs[0][1]]}"
    return Drawing(
        "confusion",
        "What images are taken for",
        f"{network['name']}: the {len(pairs)} of {len(network['confused']):,} pairs of classes that are confused in "
        "most images; a class → what it is taken for, and how many per cent of its images are.",
        f"The {len(pairs)} most confused pairs of {len(names):,} classes; the first is {first}.",
        figure,
    )
