"""Thousands of rows for the terminal: rich measures and wraps every cell of its tables, a millisecond a row."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from rich.console import Console, ConsoleOptions
from rich.segment import Segment
from rich.style import Style


@dataclass(frozen=True)
class Listing:
    """Rows under headings and dim notes below, one line each, as wide as they are. Columns named in ``left`` start
    flush left, the others end flush right."""

    headings: Sequence[str]
    rows: Sequence[Sequence[str]]
    notes: Sequence[str] = ()
    left: Sequence[str] = ()

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> Iterator[Segment]:
        widths = [max(map(len, column)) for column in zip(self.headings, *self.rows, strict=True)]
        sides = ["<" if heading in self.left else ">" for heading in self.headings]
        line = " ".join(f"{{:{side}{width}}}" for side, width in zip(sides, widths, strict=True)) + " \n"
        yield Segment(line.format(*self.headings), Style(bold=True))
        for row in self.rows:
            yield Segment(line.format(*row))
        for note in self.notes:
            yield Segment(f"{note}\n", Style(dim=True))
