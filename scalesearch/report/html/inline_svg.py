"""A figure as a page shows it: SVG among the HTML, its colours the page's own, drawn for a wide and a narrow screen."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree

from scalesearch.report.figures.canvas import NARROW, Drawing, drawing
from scalesearch.report.figures.colours import EVERY
from scalesearch.report.figures.files import save, svg_of

Maker = Callable[[], Drawing | None]

SVG, LINK = "http://www.w3.org/2000/svg", "http://www.w3.org/1999/xlink"
ElementTree.register_namespace("", SVG)
ElementTree.register_namespace("xlink", LINK)

VARIABLES = {colour.light: f"var(--{colour.name})" for colour in EVERY}


@dataclass(frozen=True)
class Shown:
    """A figure's words and its two SVG elements."""

    name: str
    title: str
    caption: str
    wide: str
    narrow: str


def shown(makers: Iterable[Maker], folder: Path) -> list[Shown]:
    """Draw each figure twice, write the wide one into ``folder`` as PNG and SVG, and return what there is to show.

    Raises:
        RunError: the folder cannot be written.
    """
    makers = list(makers)
    with drawing():
        wide = [(d, inlined(save(d, folder), d.name, d.alt)) for make in makers if (d := make())]
    with drawing(NARROW):
        narrow = [inlined(svg_of(d), f"{d.name}-narrow", d.alt) for make in makers if (d := make())]
    return [Shown(d.name, d.title, d.caption, large, small) for (d, large), small in zip(wide, narrow, strict=True)]


def inlined(svg: str, prefix: str, words: str) -> str:
    """An SVG file's text as an element for a page: it takes the page's type and colours, and shares no id with others.

    Args:
        prefix: of its ids.
        words: what the figure shows, for those who do not see it.
    """
    root = ElementTree.fromstring(svg.encode())
    for parent in root.iter():
        for child in list(parent):
            if child.tag in (f"{{{SVG}}}metadata", f"{{{SVG}}}style"):
                parent.remove(child)
    for element in root.iter():
        for key, value in element.attrib.items():
            element.set(key, _mine(key, value, prefix))
    for size in ("width", "height"):
        del root.attrib[size]
    root.attrib |= {"role": "img", "aria-label": words}
    return ElementTree.tostring(root, encoding="unicode")


def _mine(key: str, value: str, prefix: str) -> str:
    if key == "id":
        return f"{prefix}-{value}"
    if key == "style":
        value = re.sub(r"font-family:[^;]*;? ?", "", value)
        return re.sub(r"#[0-9a-f]{6}", lambda found: VARIABLES.get(found[0], found[0]), value)
    if key == "d":
        return " ".join(value.split())
    return re.sub(r"^(url\()?#", lambda found: f"{found[0]}{prefix}-", value)
