"""Whoever wants to be told what a search does."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    import pandas as pd

    from scalesearch.candidates.grid import Candidate
    from scalesearch.search.estimate import Quote
    from scalesearch.search.setup import Prepared
    from scalesearch.trials import Task


class Watcher(Protocol):
    """Told what happens; the terminal's bars and a log's plain lines are two of them."""

    def decoding(self, done: int, total: int) -> None:
        """``done`` of ``total`` images are decoded."""

    def remarked(self, text: str) -> None:
        """Something the user should know, in a sentence."""

    def search_started(self, prepared: Prepared, tasks: Sequence[Task], done: Sequence[Task]) -> None:
        """The trials of a search are known; some may be done already. Called again for a longer schedule."""

    def quoted(self, quote: Quote) -> None:
        """What the search will take was estimated."""

    def packed(self, workers: int) -> None:
        """A probe decided how many workers share a device."""

    def trial_started(self, worker: int, candidate: Candidate, seed: int) -> None:
        """A worker began a trial."""

    def trial_step(self, worker: int, step: int, steps: int, loss: float, images_per_second: float) -> None:
        """A trial is at a step: its loss (nats) and its speed."""

    def trial_finished(self, candidate: Candidate, outcome: Mapping[str, Any], ranking: pd.DataFrame) -> None:
        """A trial is complete; the ranking as it is now."""

    def trial_dropped(self, candidate: Candidate, step: int, accuracy: float) -> None:
        """A trial was ended early: its candidate had fallen behind, with this accuracy in [0, 1] at this step."""

    def wanted(self, total: int) -> None:
        """So many trials are wanted now: a further one, or none of a candidate that was dropped."""

    def trial_failed(self, candidate: Candidate, reason: str) -> None:
        """A trial failed for good."""

    def trial_lost(self, candidate: Candidate, reason: str) -> None:
        """A trial will be repeated: its worker died."""

    def validating(self, candidate: Candidate, seed: int) -> None:
        """A finalist is measured on the validation split."""

    def training_again(self, candidate: Candidate, seed: int) -> None:
        """A finalist is trained again, since its weights were not kept."""

    def not_kept(self, candidate: Candidate, reason: str) -> None:
        """The weights of a candidate could not be kept."""
