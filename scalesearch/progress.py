"""A run as it happens: bars and a growing leaderboard on a terminal, plain lines in a log."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from rich.console import Console, Group
from rich.live import Live
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.text import Text

from scalesearch.report import duration, percent

if TYPE_CHECKING:
    import pandas as pd

    from scalesearch.grid import Candidate
    from scalesearch.prepare import Prepared
    from scalesearch.study import Task
    from scalesearch.train import Outcome


def headline(prepared: Prepared) -> str:
    """What is searched, on what, with what."""
    recipe = prepared.recipe
    return (
        f"{prepared.baseline.name} · φ {recipe.phi:g} · {prepared.source.title} ({prepared.train_images:,} train · "
        f"{prepared.minival_images:,} minival) · {prepared.device} {prepared.precision}"
    )


def leaderboard(ranking: pd.DataFrame, most: int = 5) -> Text:
    lines = [
        f"  {row['rank']:>2}  α {row['alpha']:<6.4g} β {row['beta']:<6.4g} γ {row['gamma']:<6.4g} "
        f"{percent(row['accuracy'], row['sd']):>11} %   {row['ratio']:.2f}×"
        for row in ranking.head(most).to_dict("records")
    ]
    return Text("\n".join(["  best so far", *lines]))


class PlainWatcher:
    """One line per event, for logs and pipes."""

    def __init__(self, console: Console) -> None:
        self.console, self.done, self.total = console, 0, 0

    def decoding(self, done: int, total: int) -> None:
        if done % 4096 == 0:
            self._say(f"decoded {done:,} of {total:,} images")

    def search_started(self, prepared: Prepared, done: Sequence[Task], total: int) -> None:
        self.done, self.total = len(done), total
        self._say(headline(prepared))
        if done:
            self._say(f"{len(done)} of {total} trials were done before")

    def trial_started(self, candidate: Candidate, seed: int) -> None:
        pass

    def trial_step(self, step: int, steps: int, loss: float, images_per_second: float) -> None:
        pass

    def trial_finished(self, candidate: Candidate, outcome: Outcome, ranking: pd.DataFrame) -> None:
        self.done += 1
        self._say(
            f"[{self.done}/{self.total}] {candidate.coefficients}  {100 * outcome.accuracy:.1f} %  "
            f"{candidate.ratio:.2f}×  {outcome.images_per_second:.0f} img/s  {duration(outcome.seconds)}"
        )

    def trial_failed(self, candidate: Candidate, reason: str) -> None:
        self.total -= 1
        self._say(f"failed: {candidate.coefficients}: {reason}")

    def validating(self, candidate: Candidate, seed: int) -> None:
        self._say(f"validating {candidate.coefficients}, seed {seed}")

    def close(self) -> None:
        pass

    def _say(self, text: str) -> None:
        self.console.print(text, soft_wrap=True)


class LiveWatcher:
    """Two bars and a leaderboard. The search's bar advances by MACs, so that its estimate knows dear candidates."""

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
        self.trial = self.bars.add_task("trial ", total=None, told="")
        self.done = 0
        self.macs, self.part = 0, 0.0

    def decoding(self, done: int, total: int) -> None:
        self.live.start()
        self.bars.update(self.trial, completed=done, total=total, told="decoding images")

    def search_started(self, prepared: Prepared, done: Sequence[Task], total: int) -> None:
        macs = {c.model.fingerprint: c.cost.macs for c in prepared.plan.candidates}
        self.done = len(done)
        self.console.print(headline(prepared))
        work = sum(macs[task.fingerprint] for task in prepared.tasks)
        before = sum(macs[task.fingerprint] for task in done)
        self.bars.reset(self.search, total=work - before, told=f"{self.done}/{total}", total_trials=total)
        if done:
            self.console.print(f"{len(done)} of {total} trials were done before")
        self.live.start()

    def trial_started(self, candidate: Candidate, seed: int) -> None:
        self.bars.reset(self.trial, told=f"{candidate.coefficients}")
        self.macs, self.part = candidate.cost.macs, 0.0

    def trial_step(self, step: int, steps: int, loss: float, images_per_second: float) -> None:
        told = f"step {step}/{steps} · loss {loss:.2f} · {images_per_second:.0f} img/s"
        self.bars.update(self.trial, completed=step, total=steps, told=told)
        part = self.macs * step / steps
        self.bars.advance(self.search, part - self.part)
        self.part = part

    def trial_finished(self, candidate: Candidate, outcome: Outcome, ranking: pd.DataFrame) -> None:
        self.done += 1
        self.bars.update(self.search, told=f"{self.done}/{self.bars.tasks[0].fields['total_trials']}")
        self.live.update(Group(self.bars, leaderboard(ranking)))

    def trial_failed(self, candidate: Candidate, reason: str) -> None:
        self.console.print(f"failed: {candidate.coefficients}: {reason}", style="yellow")

    def validating(self, candidate: Candidate, seed: int) -> None:
        self.macs = 0  # what is trained again here was counted before
        self.bars.update(self.trial, told=f"validating {candidate.coefficients}")

    def close(self) -> None:
        self.live.stop()
