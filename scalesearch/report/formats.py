"""One table in every form that it is asked for: the terminal's, Markdown, LaTeX, CSV and JSON."""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import TYPE_CHECKING

from rich.cells import cell_len
from rich.segment import Segment
from rich.style import Style

from scalesearch.errors import RecipeError

if TYPE_CHECKING:
    from rich.console import Console, ConsoleOptions, RenderResult

FORMATS = ("table", "markdown", "latex", "csv", "json")
MANY_ROWS = 1000
"""Rows from which on a table is printed without rich's."""

INDENT = "   "
"""Before what goes on in a row's next line."""

MATHS = {
    "α": r"\alpha", "β": r"\beta", "γ": r"\gamma", "φ": r"\varphi", "τ": r"\tau", "ρ": r"\rho", "×": r"\times",
    "±": r"\pm", "·": r"\cdot", "−": "-", "≤": r"\leq", "←": r"\leftarrow", "²": "^2", "✓": r"\surd", "✗": r"\times",
}  # fmt: skip
WORDS = {
    "\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "–": "--", "—": "---",
    "…": r"\dots{}", "“": "``", "”": "''",
} | {sign: f"\\{sign}" for sign in "&%$#_{}"}  # fmt: skip
"""What LaTeX has other words for, in maths and outside."""


@dataclass(frozen=True)
class Column:
    """A heading and a cell for every row; ``words`` start flush left, numbers end flush right.

    Cells keep their line, unless the column ``folds``. A ``spare`` one is left out, and that is said, where a terminal
    is too narrow for all; the other forms have it.
    """

    heading: str
    cells: Sequence[str]
    words: bool = False
    folds: bool = False
    spare: bool = False

    @property
    def narrowest(self) -> int:
        """Places on a line that it needs at least."""
        cells = [self.heading, *self.cells]
        return max(map(cell_len, " ".join(cells).split() if self.folds else cells), default=0)


@dataclass(frozen=True)
class Table:
    """What is shown, column by column, and the same as values for machines, record by record; ``notes`` go below.

    On a terminal no cell is ever cut: what has no place on a row's line goes on in the next.

    A record's values are plain: numbers in full precision, words, truths, or None where nothing is known. Records are
    read at most once, so that they may be made on the way.
    """

    columns: Sequence[Column]
    records: Iterable[Mapping[str, object]] = ()
    notes: Sequence[str] = ()
    title: str | None = None

    @classmethod
    def of(
        cls,
        headings: Sequence[str],
        rows: Sequence[Sequence[str]],
        records: Iterable[Mapping[str, object]] = (),
        *,
        words: Collection[str] = (),
        notes: Sequence[str] = (),
        title: str | None = None,
    ) -> Table:
        """From rows of cells; the columns of ``words`` are named by their headings."""
        cells = [[row[place] for row in rows] for place in range(len(headings))]
        columns = [Column(name, each, name in words) for name, each in zip(headings, cells, strict=True)]
        return cls(columns, records, notes, title)

    @property
    def rows(self) -> Iterable[tuple[str, ...]]:
        """The cells, row by row."""
        return zip(*(column.cells for column in self.columns), strict=True)

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        from rich.table import Table as Shown
        from rich.text import Text

        columns, notes = self.columns, list(self.notes)
        if not _fit(columns, options.max_width):
            columns = [column for column in columns if not column.spare]
            left_out = [column.heading for column in self.columns if column.spare]
            notes += [f"for want of width without {', '.join(left_out)}"] if left_out else []
        if len(columns[0].cells) > MANY_ROWS or not _fit(columns, options.max_width):
            yield Listing(columns, notes)
            return
        shown = Shown(box=None, pad_edge=False, padding=(0, 1, 0, 0), header_style="bold")
        for each in columns:
            side = "left" if each.words else "right"
            shown.add_column(each.heading, justify=side, no_wrap=not each.folds, overflow="fold")  # type: ignore[arg-type]
        for row in zip(*(column.cells for column in columns), strict=True):
            shown.add_row(*row)
        yield shown
        yield from (Text(note, style="dim") for note in notes)

    def markdown(self, *, aligned: bool = True) -> str:
        """GitHub's Markdown; ``aligned`` numbers end flush right."""
        rules = "".join("--|" if each.words or not aligned else "--:|" for each in self.columns)
        rows = [tuple(each.heading for each in self.columns), *self.rows]
        lines = ["| " + " | ".join(cell.strip().replace("|", r"\|") for cell in row) + " |" for row in rows]
        return "\n".join([lines[0], f"|{rules}", *lines[1:]]) + "\n"

    def latex(self) -> str:
        """A tabular for the package booktabs, its title a comment."""
        sides = "".join("l" if each.words else "r" for each in self.columns)
        head, *rows = (
            " & ".join(tex(cell.strip()) for cell in row) + r" \\"
            for row in ([each.heading for each in self.columns], *map(list, self.rows))
        )
        begin, end = rf"\begin{{tabular}}{{{sides}}}", r"\end{tabular}"
        above = [f"% {self.title}"] if self.title else []
        return "\n".join([*above, begin, r"\toprule", head, r"\midrule", *rows, r"\bottomrule", end]) + "\n"


def tex(text: str) -> str:
    """The text with what LaTeX reads as commands escaped, and signs as maths."""
    runs = ("".join(run) for _, run in groupby(text, MATHS.__contains__))
    return "".join(f"${_each(run, MATHS)}$" if run[0] in MATHS else _each(run, WORDS) for run in runs)


def _each(text: str, words: Mapping[str, str]) -> str:
    return "".join(words.get(sign, sign) for sign in text)


def comma_separated(tables: Iterable[Table]) -> str:
    """The records of all tables under the names of their keys, which come once for tables that share them."""
    import csv
    import io

    text, head = io.StringIO(), None
    writer = csv.writer(text, lineterminator="\n")
    for table in tables:
        for record in table.records:
            if list(record) != head:
                head = list(record)
                writer.writerow(head)
            writer.writerow("" if value is None else value for value in record.values())
    return text.getvalue()


@dataclass(frozen=True)
class Page:
    """Where a command's tables go, in the form that was asked for: to stdout, alone unless it is the terminal's.

    Raises:
        RecipeError: there is no such form.
    """

    form: str = "table"

    def __post_init__(self) -> None:
        if self.form not in FORMATS:
            raise RecipeError("--format", f"{', '.join(FORMATS[:-1])} or {FORMATS[-1]}", self.form)

    @property
    def is_terminal(self) -> bool:
        """Whether a person reads it: tables are drawn, and remarks go to stdout."""
        return self.form == "table"

    def remarks(self) -> Console:
        """For all that is no table. Plain text: what users and exceptions say may look like markup."""
        from rich.console import Console

        return Console(highlight=False, markup=False, stderr=not self.is_terminal)

    def show(self, tables: Sequence[Table], document: object = None, *, indent: int | None = None) -> None:
        """Print the tables; as JSON the ``document``, by default all records. What is only noted is then a remark."""
        if self.is_terminal:
            for table in tables:
                self.remarks().print(table)
            return
        if self.form == "json":
            every = [record for table in tables for record in table.records]
            print(json.dumps(every if document is None else document, ensure_ascii=False, indent=indent))
        elif self.form == "csv":
            print(comma_separated(tables), end="")
        else:
            print("\n".join(table.latex() if self.form == "latex" else titled(table) for table in tables), end="")
        for table in tables:
            for note in table.notes:
                self.remarks().print(note, style="dim")


def titled(table: Table) -> str:
    """A table in Markdown below its title, if it has one."""
    return (f"**{table.title}**\n\n" if table.title else "") + table.markdown()


@dataclass(frozen=True)
class Listing:
    """Columns under their headings, and dim notes below. Nothing is cut: what has no place on a row's line goes on in
    the next one."""

    columns: Sequence[Column]
    notes: Sequence[str] = ()

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        from rich.text import Text

        cells = [[column.heading, *column.cells] for column in self.columns]
        widths = [max(map(len, column)) for column in cells]
        lines: list[list[str]] = [[]]
        taken = 0
        for column, width in zip(self.columns, widths, strict=True):
            if lines[-1] and taken + width > options.max_width:
                lines.append([INDENT])
                taken = len(INDENT) + 1
            lines[-1].append(f"{{:{'<' if column.words else '>'}{width}}}")
            taken += width + 1
        line = "\n".join(map(" ".join, lines)) + "\n"
        heading, *rows = zip(*cells, strict=True)
        yield Segment(_folded(line.format(*heading), options.max_width), Style(bold=True))
        for row in rows:
            yield Segment(_folded(line.format(*row), options.max_width))
        yield from (Text(note, style="dim") for note in self.notes)


def _folded(lines: str, width: int) -> str:
    """With a new line wherever one is longer than ``width``."""
    return re.sub(f"(.{{{width}}})(?=.*\\S)", r"\1\n", lines) if max(map(len, lines.splitlines())) > width else lines


def _fit(columns: Sequence[Column], width: int) -> bool:
    """Whether every cell has its place on a line of so many."""
    return sum(column.narrowest for column in columns) + len(columns) - 1 <= width
