"""What kept runs were made of: network, images, trials, the signal in them, and what they cost."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch

from scalesearch.ranking.signal import signal_of
from scalesearch.report.units import pixels
from scalesearch.run_files import read_recipe_settings, read_sessions, read_table
from tests.benchmarks.common import write_page

HEADER = ("run", "network", "trained on", "seen per trial", "trials", "F", "hours of training", "on")
KEPT = Path(__file__).parents[2] / "results"


def kept(runs: Sequence[Path]) -> None:
    """Describe every run, print, and write the page."""
    notes = (
        "Images that a trial is trained on, and how many it sees on the whole; complete trials; the variance between "
        "candidates over what seeds leave, with its degrees of freedom (none without a second seed); the sum of all "
        "trials' hours, of which several ran side by side."
    )
    named = " ".join(map(str, runs))
    write_page("kept-runs", "The kept runs", HEADER, rows(runs), notes, f"kept {named}", torch.device("cpu"))


def rows(runs: Sequence[Path]) -> list[list[str]]:
    """A row for each, from nothing but its folder."""
    return [_row(run) for run in runs]


def _row(run: Path) -> list[str]:
    settings, sessions = read_recipe_settings(run), read_sessions(run)
    trials = read_table(run, "trials.csv")
    complete = trials[trials["state"] == "complete"]
    steps = int(str(complete["curve"].iloc[0]).rsplit(" ", 1)[-1].split(":")[0])
    found = signal_of(trials)
    inside = run.resolve().relative_to(KEPT) if run.resolve().is_relative_to(KEPT) else Path(run.name)
    return [
        f"`{inside}`",
        f"{Path(str(settings['baseline'])).stem}, {pixels(settings['resolution'])} px",
        f"{sessions[-1]['data']['train']:,}",
        f"{steps * int(settings['train']['batch_size']):,}",
        f"{len(complete)} of {complete['network'].nunique()}",
        "" if found is None else f"{found.f:.3g} ({found.between} and {found.within})",
        f"{trials['seconds'].sum() / 3600:.2g}",
        ", ".join(dict.fromkeys(str(each["device"]).removeprefix("cpu: ") for each in sessions)),
    ]
