"""A run as it happens: bars and a growing leaderboard on a terminal, plain lines in a log."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from rich.console import Console, Group
from rich.live import Live
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.text import Text

from scalesearch.report.units import duration, percent
from scalesearch.search.watcher import Watcher

if TYPE_CHECKING:
    import pandas as pd

    from scalesearch.candidates.grid import Candidate
    from scalesearch.search.estimate import Quote
    from scalesearch.search.setup import Prepared
    from scalesearch.trials import Task

_NOT_THERE = "its weights are to be kept, and are not here"


class ClosingWatcher(Watcher, Protocol):
    """A watcher that holds a terminal or a page while it is told things."""

    def close(self) -> None:
        """Nothing more will be told."""


def on_console(console: Console) -> ClosingWatcher:
    """Bars on a terminal, lines elsewhere."""
    return LiveWatcher(console) if console.is_terminal else PlainWatcher(console)


def headline(prepared: Prepared) -> str:
    """What is searched, on what, with what."""
    return (
        f"{prepared.aim} · {prepared.source.title} ({prepared.train_images:,} train · "
        f"{prepared.minival_images:,} minival) · {prepared.device} {prepared.precision}"
    )


def price(quotes: Sequence[Quote]) -> str:
    """What searches one after the other will take, by the clock where several workers train side by side."""
    told = duration(sum(quote.seconds for quote in quotes)) + " of training"
    most = max(quote.workers for quote in quotes)
    if most > 1:
        told = f"{duration(sum(quote.wall for quote in quotes))} with {most} workers, {told}"
    return f"about {told} (from a few steps of three candidates)"


def _packing(workers: int) -> str:
    return f"{workers} worker{'s' * (workers != 1)} per device (the fastest of those tried)"


def leaderboard(ranking: pd.DataFrame, most: int = 5) -> Text:
    """The first candidates, a line each."""
    lines = [
        f"  {row['rank']:>2}  {_name(row):<29} {percent(row['accuracy'], row['sd']):>11} %   {row['ratio']:.2f}×"
        for row in ranking.head(most).to_dict("records")
    ]
    return Text("\n".join(["  best so far", *lines]))


def _name(row: Mapping[Any, Any]) -> str:
    label = row.get("label")
    return label if isinstance(label, str) else f"α {row['alpha']:<6.4g} β {row['beta']:<6.4g} γ {row['gamma']:<6.4g}"


class PlainWatcher:
    """One line per event, for logs and pipes."""

    def __init__(self, console: Console) -> None:
        self.console, self.done, self.total = console, 0, 0

    def decoding(self, done: int, total: int) -> None:
        """``done`` of ``total`` images are decoded."""
        if done % 4096 == 0:
            self._say(f"decoded {done:,} of {total:,} images")

    def remarked(self, text: str) -> None:
        """Something the user should know, in a sentence."""
        self._say(text)

    def search_started(self, prepared: Prepared, tasks: Sequence[Task], done: Sequence[Task]) -> None:
        """The trials of a search are known; some may be done already. Called again for a longer schedule."""
        total = prepared.planner.total(tasks)
        if self.total:
            self._say(f"on a longer schedule: {len(tasks) - len(done)} trials")
        else:
            self._say(headline(prepared))
            self.console.print(prepared.about_images, markup=False)
            for line in prepared.tuned:
                self.console.print(line, markup=False)
            if done:
                self._say(f"{len(done)} of {total} trials were done before")
        self.done, self.total = len(done), total

    def quoted(self, quote: Quote) -> None:
        """What the search will take was estimated."""
        self._say(price([quote]))

    def packed(self, workers: int) -> None:
        """A probe decided how many workers share a device."""
        self._say(_packing(workers))

    def trial_started(self, worker: int, candidate: Candidate, seed: int) -> None:
        """A worker began a trial."""

    def trial_step(self, worker: int, step: int, steps: int, loss: float, images_per_second: float) -> None:
        """A trial is at a step: its loss (nats) and its speed."""

    def trial_finished(self, candidate: Candidate, outcome: Mapping[str, Any], ranking: pd.DataFrame) -> None:
        """A trial is complete; the ranking as it is now."""
        self.done += 1
        self._say(
            f"[{self.done}/{self.total}] {candidate.name}  {100 * outcome['accuracy']:.1f} %  "
            f"{candidate.ratio:.2f}×  {outcome['images_per_second']:.0f} img/s  {duration(outcome['seconds'])}"
        )

    def trial_dropped(self, candidate: Candidate, step: int, accuracy: float) -> None:
        """A trial was ended early: its candidate had fallen behind, with this accuracy in [0, 1] at this step."""
        self.done += 1
        told = f"fell behind: {100 * accuracy:.1f} % after {step} steps"
        self._say(f"[{self.done}/{self.total}] {candidate.name}  {told}")

    def wanted(self, total: int) -> None:
        """So many trials are wanted now: a further one, or none of a candidate that was dropped."""
        self.total = total

    def trial_failed(self, candidate: Candidate, reason: str) -> None:
        """A trial failed for good."""
        self.total -= 1
        self._say(f"failed: {candidate.name}: {reason}")

    def trial_lost(self, candidate: Candidate, reason: str) -> None:
        """A trial will be repeated: its worker died."""
        self._say(f"again: {candidate.name}: {reason}")

    def validating(self, candidate: Candidate, seed: int) -> None:
        """A finalist is measured on the validation split."""
        self._say(f"validating {candidate.name}, seed {seed}")

    def training_again(self, candidate: Candidate, seed: int) -> None:
        """A finalist is trained again, since its weights were not kept."""
        self._say(f"training {candidate.name} again, seed {seed}: {_NOT_THERE}")

    def not_kept(self, candidate: Candidate, reason: str) -> None:
        """The weights of a candidate could not be kept."""
        self._say(f"not kept: the weights of {candidate.name}: {reason}")

    def close(self) -> None:
        """Nothing more will be told."""

    def _say(self, text: str) -> None:
        self.console.print(text, soft_wrap=True)


@dataclass
class _Bar:
    """A worker's bar, and how much of its trial's MACs the search's bar has been given."""

    task: TaskID
    macs: int = 0
    part: float = 0.0


class LiveWatcher:
    """A bar for the search, one for each worker, and a leaderboard.

    The search's bar advances by MACs, so that its estimate knows dear candidates.
    """

    def __init__(self, console: Console) -> None:
        self.console = console
        self.bars = Progress(
            TextColumn("{task.description}", markup=False),
            BarColumn(bar_width=None),
            TextColumn("{task.fields[told]}", markup=False),
            TimeElapsedColumn(),
            TextColumn("·"),
            TimeRemainingColumn(),
            TextColumn("left"),
            console=console,
            expand=True,
        )
        self.live = Live(self.bars, console=console, refresh_per_second=4)
        self.search = self.bars.add_task("search", total=None, told="")
        self.trials: dict[int, _Bar] = {}
        self.done = self.total = 0

    def decoding(self, done: int, total: int) -> None:
        """``done`` of ``total`` images are decoded."""
        self.live.start()
        self.bars.update(self._bar(0).task, completed=done, total=total, told="decoding images")

    def remarked(self, text: str) -> None:
        """Something the user should know, in a sentence."""
        self.console.print(text, style="yellow", soft_wrap=True)

    def search_started(self, prepared: Prepared, tasks: Sequence[Task], done: Sequence[Task]) -> None:
        """The trials of a search are known; some may be done already. Called again for a longer schedule."""
        macs = {name: c.cost.macs for name, c in prepared.planner.by_network.items()}
        total = prepared.planner.total(tasks)
        if self.total:
            self.console.print(f"on a longer schedule: {len(tasks) - len(done)} trials")
        else:
            self.console.print(headline(prepared), prepared.about_images, *prepared.tuned, sep="\n", soft_wrap=True)
            if done:
                self.console.print(f"{len(done)} of {total} trials were done before")
        self.done, self.total = len(done), total
        left = sum(macs[t.fingerprint] for t in tasks) * total / max(1, len(tasks)) - sum(
            macs[t.fingerprint] for t in done
        )
        self.bars.reset(self.search, total=left, told=f"{self.done}/{self.total}")
        self.live.start()

    def quoted(self, quote: Quote) -> None:
        """What the search will take was estimated."""
        self.console.print(price([quote]))

    def packed(self, workers: int) -> None:
        """A probe decided how many workers share a device."""
        self.console.print(_packing(workers))

    def _bar(self, worker: int) -> _Bar:
        if worker not in self.trials:
            self.trials[worker] = _Bar(self.bars.add_task("trial ", total=None, told=""))
        return self.trials[worker]

    def trial_started(self, worker: int, candidate: Candidate, seed: int) -> None:
        """A worker began a trial."""
        bar = self._bar(worker)
        self.bars.reset(bar.task, told=f"{candidate.name}")
        bar.macs, bar.part = candidate.cost.macs, 0.0

    def trial_step(self, worker: int, step: int, steps: int, loss: float, images_per_second: float) -> None:
        """A trial is at a step: its loss (nats) and its speed."""
        told, bar = f"step {step}/{steps} · loss {loss:.2f} · {images_per_second:.0f} img/s", self._bar(worker)
        self.bars.update(bar.task, completed=step, total=steps, told=told)
        part = bar.macs * step / steps
        self.bars.advance(self.search, part - bar.part)
        bar.part = part

    def trial_finished(self, candidate: Candidate, outcome: Mapping[str, Any], ranking: pd.DataFrame) -> None:
        """A trial is complete; the ranking as it is now."""
        self.done += 1
        self.bars.update(self.search, told=f"{self.done}/{self.total}")
        self.live.update(Group(self.bars, leaderboard(ranking)))

    def trial_dropped(self, candidate: Candidate, step: int, accuracy: float) -> None:
        """A trial was ended early: its candidate had fallen behind, with this accuracy in [0, 1] at this step."""
        self.done += 1
        self.bars.update(self.search, told=f"{self.done}/{self.total}")
        told = f"fell behind: {100 * accuracy:.1f} % after {step} steps"
        self.console.print(f"{candidate.name} {told}", style="dim")

    def wanted(self, total: int) -> None:
        """So many trials are wanted now: a further one, or none of a candidate that was dropped."""
        if self.total and (expected := self.bars.tasks[self.search].total):
            self.bars.update(self.search, total=expected * total / self.total)
        self.total = total
        self.bars.update(self.search, told=f"{self.done}/{self.total}")

    def trial_failed(self, candidate: Candidate, reason: str) -> None:
        """A trial failed for good."""
        self.console.print(f"failed: {candidate.name}: {reason}", style="yellow")

    def trial_lost(self, candidate: Candidate, reason: str) -> None:
        """A trial will be repeated: its worker died."""
        self.console.print(f"again: {candidate.name}: {reason}", style="dim")

    def validating(self, candidate: Candidate, seed: int) -> None:
        """A finalist is measured on the validation split."""
        bar = self._bar(0)
        bar.macs = 0  # what is trained again here was counted before
        self.bars.update(bar.task, told=f"validating {candidate.name}")

    def training_again(self, candidate: Candidate, seed: int) -> None:
        """A finalist is trained again, since its weights were not kept."""
        self.console.print(f"training {candidate.name} again, seed {seed}: {_NOT_THERE}", style="dim")

    def not_kept(self, candidate: Candidate, reason: str) -> None:
        """The weights of a candidate could not be kept."""
        self.console.print(f"not kept: the weights of {candidate.name}: {reason}", style="yellow")

    def close(self) -> None:
        """Nothing more will be told."""
        self.live.stop()
