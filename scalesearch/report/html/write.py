"""A folder's report: read it, draw it, write it down."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from scalesearch.errors import RunError
from scalesearch.files import write_text

FILE = "report.html"


def write_report(path: Path) -> Path:
    """Write ``report.html`` and ``figures/`` into the folder of a finished run or of a comparison.

    The same folder gives the same page. Nothing else in it is touched.

    Raises:
        RunError: it is no such folder, or the report cannot be written; what the folder holds is as it was.
    """
    from scalesearch.ranking.finished_comparison import is_comparison

    try:
        page = _comparison(path) if is_comparison(path) else _run(path)
        return write_text(path / FILE, page)
    except RunError as failure:
        raise RunError(f"no report: {failure}") from failure


def _run(path: Path) -> str:
    from scalesearch.ranking.finished_run import read_run
    from scalesearch.report.html import answers, sections
    from scalesearch.report.html.page import rendered

    run = read_run(path)
    return rendered(
        title=run.title,
        about=f"Recipe {run.recipe.get('name')}: {run.recipe['about']}" if run.recipe.get("about") else "",
        made=_made([run.sessions[-1]] if run.sessions else []),
        answers=answers.of_run(run),
        sections=sections.of_run(run),
    )


def _comparison(path: Path) -> str:
    from scalesearch.ranking.finished_comparison import read_comparison
    from scalesearch.ranking.finished_run import read_run
    from scalesearch.report.html import answers, sections
    from scalesearch.report.html.page import rendered

    comparison = read_comparison(path)
    groups = [
        (group, read_run(path / group.folder) if (path / group.folder / "ranking.json").is_file() else None)
        for group in comparison.groups
    ]
    source = f"Source: {comparison.source}." if comparison.source else ""
    return rendered(
        title=comparison.title,
        about=" ".join(filter(None, (comparison.about, source))),
        made=_made([run.sessions[-1] for _, run in groups if run and run.sessions]),
        answers=answers.of_comparison(comparison, groups),
        sections=sections.of_comparison(comparison, groups, path),
    )


def _made(sessions: Sequence[Mapping[str, Any]]) -> str:
    """When it was made, and with what."""
    if not sessions:
        return ""
    last = max(sessions, key=lambda session: str(session["started"]))
    return f"{str(last['started'])[:10]} · scalesearch {last['scalesearch']}"
