"""`scalesearch report RUN`."""

from __future__ import annotations

from pathlib import Path

from rich.console import Console

from scalesearch.report.html.write import write_report


def report_command(run: Path) -> None:
    """Write the report of a run or a comparison, and say where it is."""
    page = write_report(run)
    Console(highlight=False, markup=False).print(f"wrote {page} · figures/", soft_wrap=True)
