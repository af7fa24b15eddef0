"""A run as it happens, in a notebook: one bar and a growing leaderboard, in the place where the cell began it."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from html import escape
from typing import TYPE_CHECKING, Any

from scalesearch.report.units import duration
from scalesearch.search.progress import PlainWatcher, leaderboard

if TYPE_CHECKING:
    import pandas as pd
    from rich.console import Console

    from scalesearch.candidates.grid import Candidate
    from scalesearch.search.setup import Prepared
    from scalesearch.trials import Task

EVERY = 0.5
"""Seconds between two pictures of a trial's steps."""


def displayed() -> Callable[[str], None]:
    """Shows HTML in the cell that runs, each time in the place of what was there."""
    from IPython.display import HTML, display

    handle = display(HTML(""), display_id=True)

    def show(html: str) -> None:
        handle.update(HTML(html))

    return show


class NotebookWatcher(PlainWatcher):
    """Lines for what should be kept, a bar and the leaderboard for the rest."""

    def __init__(self, console: Console, show: Callable[[str], None]) -> None:
        super().__init__(console)
        self._show, self._began, self._shown = show, time.monotonic(), 0.0
        self._best, self._at, self._parts = "", "", {0: 0.0}

    def decoding(self, done: int, total: int) -> None:
        """``done`` of ``total`` images are decoded."""
        self._draw(done, total, f"decoding images: {done:,} of {total:,}")

    def search_started(self, prepared: Prepared, tasks: Sequence[Task], done: Sequence[Task]) -> None:
        """The trials of a search are known; some may be done already. Called again for a longer schedule."""
        super().search_started(prepared, tasks, done)
        self._draw_search(at_once=True)

    def trial_started(self, worker: int, candidate: Candidate, seed: int) -> None:
        """A worker began a trial."""
        self._at, self._parts[worker] = f"{candidate.name}, seed {seed}", 0.0
        self._draw_search(at_once=True)

    def trial_step(self, worker: int, step: int, steps: int, loss: float, images_per_second: float) -> None:
        """A trial is at a step: its loss (nats) and its speed."""
        self._parts[worker] = step / steps
        told = f"{self._at}: step {step}/{steps} · loss {loss:.2f} · {images_per_second:.0f} img/s"
        self._draw_search(told)

    def trial_finished(self, candidate: Candidate, outcome: Mapping[str, Any], ranking: pd.DataFrame) -> None:
        """A trial is complete; the ranking as it is now."""
        self.done += 1
        self._best = f"<pre>{escape(leaderboard(ranking).plain)}</pre>"
        self._parts = dict.fromkeys(self._parts, 0.0)
        self._draw_search(at_once=True)

    def validating(self, candidate: Candidate, seed: int) -> None:
        """A finalist is measured on the validation split."""
        self._at = f"validating {candidate.name}, seed {seed}"
        self._draw_search(at_once=True)

    def close(self) -> None:
        """Nothing more will be told."""
        self._at = ""
        self._draw_search(at_once=True)

    def _draw_search(self, told: str | None = None, *, at_once: bool = False) -> None:
        done = self.done + sum(self._parts.values())
        since = duration(time.monotonic() - self._began)
        words = f"{self.done}/{self.total} trials · {since}" + (f" · {told or self._at}" if told or self._at else "")
        self._draw(done, self.total, words, at_once=at_once)

    def _draw(self, done: float, total: float, words: str, *, at_once: bool = False) -> None:
        now = time.monotonic()
        if not at_once and now - self._shown < EVERY:
            return
        self._shown = now
        bar = f'<progress max="{max(total, 1)}" value="{min(done, total):.3f}" style="width: 40%"></progress>'
        self._show(f"{bar} {escape(words)}{self._best}")
