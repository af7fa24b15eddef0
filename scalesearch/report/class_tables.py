"""The best candidates class by class: tables of `classes.json`'s values for the terminal, Markdown and pages."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from scalesearch.report.formats import Column, Table
from scalesearch.report.units import METRIC

MANY = 20
"""Classes up to which all are shown; of more, so many of the least accurate, and so many confused pairs."""

LONG = 28
"""Characters of a class's name that are shown."""


def named(name: str) -> str:
    """A class's name, or as much of it as a table has room for."""
    return name if len(name) <= LONG else name[: LONG - 1] + "…"


def shown_classes(found: Mapping[str, Any]) -> list[int]:
    """The classes that are shown, in order; of more than `MANY`, those of which the first is least often right."""
    classes = found["networks"][0]["classes"]
    measured = [i for i, each in enumerate(classes) if each["images"]]
    if len(measured) <= MANY:
        return measured
    return sorted(measured, key=lambda i: (classes[i]["accuracy"], i))[:MANY]


def by_class(found: Mapping[str, Any]) -> Table:
    """A row for each class, or for the `MANY` worst: its images, and how often each network is right, in per cent, with
    the interval over images."""
    rows, networks = shown_classes(found), found["networks"]
    columns = [
        Column("class", [named(found["class_names"][i]) for i in rows], words=True, folds=True),
        Column("images", [f"{networks[0]['classes'][i]['images']:,}" for i in rows]),
        *(Column(each["name"], [_interval(each["classes"][i]) for i in rows]) for each in networks),
    ]
    records = [
        {"class": name, "images": networks[0]["classes"][i]["images"]}
        | {
            f"{each['name']} {key}".strip(): each["classes"][i][end]
            for each in networks
            for key, end in (("", "accuracy"), ("low", "low"), ("high", "high"))
        }
        for i, name in enumerate(found["class_names"])
    ]
    many = sum(1 for each in networks[0]["classes"] if each["images"])
    left_out = [f"the {MANY} of {many:,} classes of which the first is least often right"] if many > MANY else []
    return Table(columns, records, left_out)


def _interval(own: Mapping[str, Any]) -> str:
    if own["accuracy"] is None:
        return ""
    value, low, high = (100 * own[key] for key in ("accuracy", "low", "high"))
    return f"{value:.1f} ({low:.0f}–{high:.0f})"


def confused(found: Mapping[str, Any]) -> Table:
    """The pairs of classes that the first network confuses most: how many images of the one it takes for the other."""
    network, names = found["networks"][0], found["class_names"]
    pairs = network["confused"][:MANY]
    rows = [
        (
            named(names[true]),
            named(names[taken]),
            f"{count / network['seeds']:,.1f}".removesuffix(".0"),
            f"{100 * count / network['seeds'] / network['classes'][true]['images']:.1f}",
        )
        for true, taken, count in pairs
    ]
    records = [
        {"class": names[true], "taken_for": names[taken], "images": count / network["seeds"]}
        for true, taken, count in network["confused"]
    ]
    headings = ("class", "taken for", "images", "% of the class")
    return Table.of(headings, rows, records, words=headings[:2])


def summaries(found: Mapping[str, Any]) -> list[str]:
    """A sentence for each network: accuracy, and what it is where every class counts alike."""
    keys = {"accuracy": METRIC["accuracy"], "balanced_accuracy": METRIC["balanced_accuracy"], "macro_f1": "macro F1"}
    told = []
    for each in found["networks"]:
        values = [f"{words} {100 * each[key]:.1f} %" for key, words in keys.items()]
        values += [f"top-5 {100 * each['top5']:.1f} %"] if each.get("top5") is not None else []
        told.append(f"{each['name']}: {', '.join(values)}")
    return told


def about(found: Mapping[str, Any]) -> str:
    """What was measured, in a sentence."""
    seeds = sorted({each["seeds"] for each in found["networks"]})
    several = f"{seeds[0]} to {seeds[-1]}" if len(seeds) > 1 else f"{seeds[-1]}"
    over = f", means over {several} seeds" if seeds[-1] > 1 else ""
    split = "validation split" if found["split"] == "val" else "minival, which chose them"
    return (
        f"On the {found['images']:,} images of the {split}{over}; in brackets the {100 * found['confidence']:g} % "
        "interval over a class's images."
    )


def classes_markdown(found: Mapping[str, Any], title: str) -> str:
    """All of it as a page."""
    tables: Sequence[tuple[str, Table]] = [
        ("How often each class is right (%)", by_class(found)),
        (f"What {found['networks'][0]['name']} confuses most", confused(found)),
    ]
    lines = [f"# {title}, class by class", "", about(found), "", *(f"- {words}" for words in summaries(found)), ""]
    for heading, table in tables:
        if table.columns[0].cells:
            lines += [f"## {heading}", "", table.markdown(aligned=False), *table.notes, ""]
    return "\n".join(lines).rstrip() + "\n"
