"""`scalesearch runs [FOLDER…]`: the runs that lie in folders, a line each."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from scalesearch.errors import RunError
from scalesearch.report.formats import Page, Table
from scalesearch.report.units import amount, since
from scalesearch.search.run_states import RunState, runs_in, state_of_run

DEFAULT = Path("results")
HEADINGS = ("what", "state", "trials", "best", "acc %", "MACs", "age")
WORDS = ("what", "state", "best")


def runs_command(folders: Sequence[Path], *, form: str) -> None:
    """Print what runs there are, newest first; broken ones last, each with what is wrong with it.

    Raises:
        RunError: a folder is not there, or there is no run in any of them.
    """
    page = Page(form)
    if not folders and not DEFAULT.is_dir():
        raise RunError(f"no folder at {DEFAULT}: name the one with your runs, `scalesearch runs FOLDER`")
    places = list(folders) or [DEFAULT]
    found = [state_of_run(path) for path in dict.fromkeys(path for place in places for path in runs_in(place))]
    if not found:
        raise RunError(f"no run in {', '.join(map(str, places))}")
    found.sort(key=lambda run: (run.problem is not None, float("inf") if run.age is None else run.age, run.path))
    if page.is_terminal:
        _draw(found, page)
    else:
        page.show([runs_table(found)], [_record(run) for run in found], indent=1)


def _draw(found: Sequence[RunState], page: Page) -> None:
    """Two lines for each run: where it is, and how."""
    console, rows = page.remarks(), [_cells(run) for run in found]
    widths = [max(map(len, column)) for column in zip(HEADINGS, *rows, strict=True)]

    def aligned(cells: Sequence[str]) -> str:
        sides = ["<" if heading in WORDS else ">" for heading in HEADINGS]
        return " ".join(
            f"{cell:{side}{width}}" for cell, side, width in zip(cells, sides, widths, strict=True)
        ).rstrip()

    console.print(f"  {aligned(HEADINGS)}", style="bold", soft_wrap=True)
    for run, cells in zip(found, rows, strict=True):
        console.print(str(run.path), soft_wrap=True)
        console.print(f"  {run.state}: {run.problem}" if run.problem else f"  {aligned(cells)}", soft_wrap=True)


def runs_table(found: Sequence[RunState]) -> Table:
    """A line for each run, and below them what is wrong with the broken ones."""
    rows = [[str(run.path), *_cells(run)] for run in found]
    notes = [f"{run.path}: {run.problem}" for run in found if run.problem]
    return Table.of(("run", *HEADINGS), rows, map(_record, found), words=("run", *WORDS), notes=notes)


def _cells(run: RunState) -> list[str]:
    return [
        run.what,
        run.state,
        "" if run.done is None else f"{run.done}/{run.total}",
        re.sub(r"([αβγ]) ", r"\1", run.best or ""),
        "" if run.accuracy is None else f"{100 * run.accuracy:.1f}",
        "" if run.macs is None else amount(run.macs),
        "" if run.age is None else since(run.age),
    ]


def _record(run: RunState) -> dict[str, object]:
    return {
        "run": str(run.path),
        "what": run.what,
        "state": run.state,
        "done": run.done,
        "total": run.total,
        "best": run.best,
        "accuracy": run.accuracy,
        "macs": run.macs,
        "ratio": run.ratio,
        "age_seconds": None if run.age is None else round(run.age),
        "problem": run.problem,
    }
