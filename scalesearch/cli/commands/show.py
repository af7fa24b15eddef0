"""`scalesearch show RUN`: a finished run's table again, in any form."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

from scalesearch.errors import RunError
from scalesearch.report.comparison_tables import comparison_tables
from scalesearch.report.formats import Page
from scalesearch.report.tables import architectures_table, ranking_table, verified_table
from scalesearch.run_files import read_result


def show_command(run: Path, *, verified: bool, form: str) -> None:
    """Print a search's ranking, or a comparison's rows, or how a longer schedule ranked some of the candidates.

    Raises:
        RunError: the folder holds no such result, or one of another shape.
    """
    try:
        _show(run, Page(form), verified=verified)
    except (KeyError, TypeError, IndexError, AttributeError) as failure:
        name = "comparison.json" if (run / "comparison.json").is_file() and not verified else "ranking.json"
        raise RunError(f"{run / name} has another shape than a finished run's: {failure}") from failure


def _show(run: Path, page: Page, *, verified: bool) -> None:
    if (run / "comparison.json").is_file() and not verified:
        _comparison(read_result(run, "comparison.json"), page)
        return
    found = read_result(run, "ranking.json")
    console = page.remarks()
    if verified:
        told = read_result(run, "verify.json")
        page.show([verified_table(told, found["ranking"])], told, indent=1)
        console.print(f"\n{told['words']}", style="dim")
        return
    if page.is_terminal:
        console.print(f"{found['title']}\n", style="bold")
    table = architectures_table if "nas" in found else partial(ranking_table, match=found.get("match"))
    page.show([table(found["ranking"])], found, indent=1)
    console.print()
    for note in found["notes"]:
        console.print(note, style="dim")


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
