"""Figures as files: PNG for the README, SVG for print and for the page. The same figure is the same bytes."""

from __future__ import annotations

import io
from pathlib import Path

from scalesearch.errors import RunError
from scalesearch.report.figures.canvas import Drawing


def save(drawn: Drawing, folder: Path) -> str:
    """Write ``drawn`` into ``folder`` as PNG and SVG, and return the SVG's text.

    Raises:
        RunError: the folder cannot be written.
    """
    text = svg_of(drawn)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        drawn.figure.savefig(folder / f"{drawn.name}.png", dpi=140, metadata={"Software": None})
        (folder / f"{drawn.name}.svg").write_text(text, encoding="utf-8")
    except OSError as failure:
        raise RunError(f"cannot write {folder}: {failure.strerror}") from failure
    return text


def svg_of(drawn: Drawing) -> str:
    """``drawn`` as SVG, its words kept as words."""
    from matplotlib.layout_engine import ConstrainedLayoutEngine

    ConstrainedLayoutEngine().execute(drawn.figure)  # here and not as the figure's own, which would do it every time
    svg = io.StringIO()
    drawn.figure.savefig(svg, format="svg", metadata={"Date": None, "Creator": None})
    return "\n".join(line.rstrip() for line in svg.getvalue().splitlines()) + "\n"
