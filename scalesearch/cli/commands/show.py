"""`scalesearch show RUN`: a finished run's table again, in any form."""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from scalesearch.errors import RunError, ScaleSearchError
from scalesearch.ranking.confusions import CLASSES
from scalesearch.ranking.metric_columns import as_ranked, comparison_as_ranked
from scalesearch.report.class_tables import about, by_class, confused, summaries
from scalesearch.report.comparison_tables import comparison_tables
from scalesearch.report.formats import Page
from scalesearch.report.tables import architectures_table, ranking_table, verified_table
from scalesearch.run_files import read_result

EVERY = 1.0
"""Seconds between two looks of --watch."""


def show_command(run: Path, *, verified: bool, classes: bool, form: str) -> None:
    """Print a search's ranking, or a comparison's rows, or how a longer schedule ranked some of the candidates, or how
    the best do class by class.

    Raises:
        RunError: the folder holds no such result, or one of another shape.
    """
    if classes:
        _classes(run, Page(form))
        return
    try:
        _show(run, Page(form), verified=verified)
    except (KeyError, TypeError, IndexError, AttributeError) as failure:
        name = "comparison.json" if (run / "comparison.json").is_file() and not verified else "ranking.json"
        raise RunError(f"{run / name} has another shape than a finished run's: {failure}") from failure


def watch_command(run: Path | None, storage: str | None, study: str | None) -> None:
    """Show a search, or all that lie in a folder, while it goes on; until it ends, or Ctrl-C.

    Raises:
        RunError: there is no such search.
    """
    from rich.console import Console

    from scalesearch.cli.commands.watch import Lines, Screen
    from scalesearch.search.ledger.urls import storage_url
    from scalesearch.search.watching import FolderWatch, StudyWatch

    console = Console(highlight=False, markup=False)
    if storage is None and run is None:
        raise ScaleSearchError("--watch: expected a run's folder, or --storage URL with --study NAME")
    if storage is not None:
        watched: FolderWatch | StudyWatch = StudyWatch(storage_url(storage), study or (run.name if run else None))
    else:
        assert run is not None
        watched = FolderWatch(run)
    shown = Screen(console) if console.is_terminal else Lines(console)
    try:
        with shown:
            while True:
                looks = watched.look()
                shown.update(looks)
                if watched.over(looks):
                    break
                time.sleep(EVERY)
    except KeyboardInterrupt:
        console.print("no longer watched: the search itself goes on")


def _show(run: Path, page: Page, *, verified: bool) -> None:
    if (run / "comparison.json").is_file() and not verified:
        _comparison(comparison_as_ranked(read_result(run, "comparison.json")), page)
        return
    found = read_result(run, "ranking.json")
    console, metric = page.remarks(), found.get("metric") or "accuracy"
    if verified:
        told = read_result(run, "verify.json")
        page.show([verified_table(told, found["ranking"], metric)], told, indent=1)
        console.print(f"\n{told['words']}", style="dim")
        return
    if page.is_terminal:
        console.print(f"{found['title']}\n", style="bold")
    rows = [as_ranked(row, metric) for row in found["ranking"]]
    if "nas" in found:
        table = architectures_table(rows, metric)
    else:
        table = ranking_table(rows, metric, match=found.get("match"), brief=page.is_terminal)
    page.show([table], found, indent=1)
    console.print()
    for note in found["notes"]:
        console.print(note, style="dim")


def _classes(run: Path, page: Page) -> None:
    if not (run / CLASSES).is_file():
        whole = (run / "comparison.json").is_file()
        raise RunError(
            f"{run} has no {CLASSES}: "
            + ("name the folder of one of its baselines" if whole else "a version that writes it has to finish the run")
        )
    found, console = read_result(run, CLASSES), page.remarks()
    console.print(about(found), *summaries(found), "", sep="\n", style="dim", soft_wrap=True)
    page.show([by_class(found), confused(found)], found, indent=1)


def _comparison(plain: Mapping[str, Any], page: Page) -> None:
    console, tables = page.remarks(), comparison_tables(plain)
    if not page.is_terminal:
        page.show(tables, plain, indent=1)
    for group, table in zip(plain["groups"], tables, strict=True):
        if page.is_terminal:
            console.print(table.title, style="bold")
            page.show([table])
        said = filter(None, ((group["gain"] or {}).get("words"), group["words"]))
        console.print(*said, "", sep="\n", style="dim")
    for note in plain["notes"]:
        console.print(note, style="dim")
