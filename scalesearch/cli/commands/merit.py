"""`scalesearch merit NOMINAL MATCHED`: whether a nominal grid's winner is better, or only dearer."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

from scalesearch.files import write_text
from scalesearch.ranking.finished_run import Run, read_run
from scalesearch.ranking.merit import Merit, MeritEntry, merit
from scalesearch.report.figures.canvas import drawing
from scalesearch.report.figures.files import save
from scalesearch.report.figures.merit import merit_figure
from scalesearch.report.formats import Page, Table
from scalesearch.report.units import interval

FILE = "merit.json"


def merit_command(nominal: Path, matched: Path, *, form: str, read: Callable[[Path], Run] = read_run) -> None:
    """Print the two candidates and the verdict; leave them, and a figure, in the nominal run's folder.

    Raises:
        RunError: a folder holds no finished run, or the two do not go together.
    """
    page, runs = Page(form), (read(nominal), read(matched))
    found = merit(*runs)
    with drawing():
        save(merit_figure(runs[0].ranking, runs[1].ranking, found), nominal / "figures")
    write_text(nominal / FILE, json.dumps(found.to_json(), indent=1, ensure_ascii=False) + "\n")
    page.show([_table(found)], found.to_json())
    console = page.remarks()
    console.print("", *found.words, sep="\n")
    console.print(f"\nwrote {nominal}/{FILE} and figures/merit.png, .svg", soft_wrap=True)


def _table(found: Merit) -> Table:
    rows = [
        ("nominal, first", found.candidates, found.winner),
        ("at equal cost, the nearest", found.matched, found.counterpart),
        ("at equal cost, first", found.matched, found.first),
    ]
    return Table.of(
        ("", "candidate", "rank", "ratio", "acc %", "interval"),
        [(what, *_cells(place, count)) for what, count, place in rows],
        [{"row": what, "of": count, **vars(place)} for what, count, place in rows],
        words=("", "candidate"),
    )


def _cells(place: MeritEntry, count: int) -> tuple[str, ...]:
    return (
        place.name,
        f"{place.rank} of {count}",
        f"{place.ratio:.2f}×",
        f"{100 * place.accuracy:.1f}",
        interval(vars(place)),
    )
