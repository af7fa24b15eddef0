"""How `show --watch` looks: a screen that is drawn again and again, or a line for each change."""

from __future__ import annotations

import socket
from collections.abc import Sequence
from types import TracebackType

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from scalesearch.report.units import duration
from scalesearch.search.ledger.leases import host_of
from scalesearch.search.watching import Change, Look, changes

MOST = 8
"""Lines of running trials, and of leaders, on a screen."""


class Lines:
    """For a pipe or a file: how it was found, then a line for each change, then how it ended."""

    def __init__(self, console: Console) -> None:
        self.console = console
        self._before: dict[str, Look] = {}

    def __enter__(self) -> Lines:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        return

    def update(self, looks: Sequence[Look]) -> None:
        """Say what is new since the last time."""
        for look in looks:
            before = self._before.get(look.name)
            told = [f"{look.name}: {words}" if len(looks) > 1 else words for words in self._news(before, look)]
            for line in told:
                self.console.print(line, soft_wrap=True)
            self._before[look.name] = look

    @staticmethod
    def _news(before: Look | None, look: Look) -> list[str]:
        if before is None:
            found = [f"{look.about}: {look.state}, {_so_far(look)}"]
            found += [_line(look, Change(r, False)) for r in look.records if r.state == "running"]
            return found
        found = [_line(look, change) for change in changes(before, look)]
        if look.remark and look.remark != before.remark:
            found.append(look.remark)
        if look.state != before.state:
            found.append(f"{look.state}: {_so_far(look)}")
        return [line for line in found if line]


def _so_far(look: Look) -> str:
    words = f"{look.done} of {look.total} trials done"
    if look.leaders:
        _, name, accuracy, _ = look.leaders[0]
        words += f"; best by mean accuracy: {name}, {100 * accuracy:.1f} %"
    return words


def _line(look: Look, change: Change) -> str:
    record, name = change.record, look.name_of(change.record)
    counted = f"[{look.done}/{look.total}] {name}"
    if record.state == "running":
        return f"begun: {name}"
    if record.state == "complete" and record.outcome:
        told = f"{counted}  {100 * record.outcome['accuracy']:.1f} %  {duration(record.outcome['seconds'])}"
        return f"{told}  (the best so far)" if change.best else told
    if record.state == "dropped" and record.curve:
        step, accuracy = max(record.curve.items())
        return f"{counted}  fell behind: {100 * accuracy:.1f} % after {step} steps"
    if record.state in ("failed", "lost"):
        return f"{record.state}: {name}: {record.reason}"
    return ""


class Screen:
    """For a terminal: one picture of each search, in the place of the last."""

    def __init__(self, console: Console) -> None:
        self.live = Live(console=console, refresh_per_second=2, auto_refresh=False)

    def __enter__(self) -> Screen:
        self.live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.live.stop()

    def update(self, looks: Sequence[Look]) -> None:
        """Draw how it is now: what goes on in full, of what has ended a line."""
        going = [look for look in looks if look.state == "running"] or list(looks[-1:])
        parts: list[RenderableType] = [
            Text(f"{look.name}: {look.state}, {_so_far(look)}", style="dim") for look in looks if look not in going
        ]
        self.live.update(Group(*parts, *(picture(look) for look in going)), refresh=True)


def picture(look: Look) -> RenderableType:
    """A search: how far it is, what is being trained, who leads."""
    bar = Table.grid(padding=(0, 1))
    bar.add_row(
        ProgressBar(total=max(look.total, 1), completed=look.done, width=30),
        f"{look.done}/{look.total} trials",
        Text(look.remark or look.state, style="yellow" if look.remark else "dim"),
    )
    parts: list[RenderableType] = [Text(f"{look.name} · {look.about}", style="bold"), bar]
    running = [record for record in look.records if record.state == "running"]
    if running:
        table = Table(box=None, pad_edge=False, padding=(0, 1, 0, 0))
        for heading, side in (("training", "left"), ("step", "right"), ("acc %", "right"), ("on", "left")):
            table.add_column(heading, justify=side)  # type: ignore[arg-type]
        here = socket.gethostname()
        for record in running[:MOST]:
            step, accuracy = max(record.curve.items()) if record.curve else (0, None)
            host = host_of(record.owner or "")
            table.add_row(
                look.name_of(record),
                str(step) if step else "",
                "" if accuracy is None else f"{100 * accuracy:.1f}",
                "this machine" if host == here else host,
            )
        parts += [Text(), table]
    failed = sum(record.state == "failed" for record in look.records)
    if look.leaders:
        table = Table(box=None, pad_edge=False, padding=(0, 1, 0, 0))
        for heading, side in (("best so far", "left"), ("acc %", "right"), ("seeds", "right")):
            table.add_column(heading, justify=side)  # type: ignore[arg-type]
        for _, name, accuracy, seeds in look.leaders[:MOST]:
            table.add_row(name, f"{100 * accuracy:.1f}", str(seeds))
        parts += [Text(), table]
    if failed:
        parts.append(Text(f"{failed} failed", style="yellow"))
    return Group(*parts)
