"""A search, looked at while it goes on: from its ledger alone, again and again, without a lock and without a write."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from scalesearch.errors import RunError, UnreachableError
from scalesearch.recipe import Recipe
from scalesearch.search.ledger.journal import JOURNAL
from scalesearch.search.ledger.reader import LedgerReader
from scalesearch.search.run_states import about, labels, leaders, name_of, progress, runs_in, state_of
from scalesearch.trials import Record

GRACE = 10.0
"""Seconds in which the next search of a comparison has to begin once one has ended."""


@dataclass(frozen=True)
class Look:
    """A search at one moment.

    ``state`` is running, finished or stopped; ``remark`` is what else there is to say of it.
    """

    name: str
    about: str
    state: str
    records: Sequence[Record]
    done: int
    total: int
    named: Mapping[str, str] = field(default_factory=dict)
    remark: str = ""

    @property
    def leaders(self) -> list[tuple[str, str, float, int]]:
        """As `run_states.leaders`."""
        return leaders(self.records, self.named)

    def name_of(self, record: Record) -> str:
        """A trial's candidate and seed."""
        return f"{name_of(record.task, self.named)}, seed {record.task.seed}"


@dataclass(frozen=True)
class Change:
    """What became of a trial between two looks: its record now, and whether its candidate is the best so far."""

    record: Record
    best: bool


def changes(before: Look | None, now: Look) -> list[Change]:
    """The trials whose state is another than at the look before, in the order of the trials."""
    known = {record.number: record.state for record in before.records} if before else {}
    best = now.leaders[0][0] if now.leaders else None
    return [
        Change(record, record.task.fingerprint == best)
        for record in now.records
        if known.get(record.number, "waiting") != record.state
    ]


class FolderWatch:
    """The searches that lie in a folder, itself included: a run, its longer schedule, a comparison's baselines."""

    def __init__(self, folder: Path) -> None:
        """Find them.

        Raises:
            RunError: there is none, or its trials are on a server.
        """
        self.folder = folder
        self._readers: dict[Path, LedgerReader] = {}
        self._named: dict[Path, Mapping[str, str]] = {}
        self._ended: float | None = None
        found = list(runs_in(folder))
        if not found:
            raise RunError(f"no run in {folder}")
        if not any((path / JOURNAL).is_file() for path in found):
            raise RunError(
                f"{folder} holds no {JOURNAL}: if its trials are on a server, --storage and --study name them"
            )

    def look(self) -> list[Look]:
        """How each of them is now.

        Raises:
            RunError: a ledger cannot be read.
        """
        paths = [path for path in runs_in(self.folder) if (path / JOURNAL).is_file()]
        return [self._look(path) for path in paths]

    def over(self, looks: Sequence[Look]) -> bool:
        """Whether none of them goes on, nor another begins."""
        if any(look.state == "running" for look in looks):
            self._ended = None
            return False
        self._ended = self._ended or time.monotonic()
        alone = (self.folder / JOURNAL).is_file() or not any(look.state == "finished" for look in looks)
        return alone or time.monotonic() - self._ended > GRACE

    def _look(self, path: Path) -> Look:
        reader = self._readers.get(path) or self._readers.setdefault(path, LedgerReader(path / JOURNAL))
        if not self._named.get(path):
            self._named[path] = labels(path)
        records, recipe = reader.records(), _recipe(reader)
        state = state_of(path, reader, records, recipe)
        return Look(str(path), about(recipe), state, records, *progress(records, recipe), self._named[path])


class StudyWatch:
    """One search whose ledger is on a server. While that does not answer, what was seen last stays."""

    def __init__(self, url: str, study: str | None) -> None:
        """Open it.

        Raises:
            RunError: it is not there, or the server does not answer.
        """
        self._reader = LedgerReader(url, study)
        self._seen: Look | None = None
        self._signs: object = None
        self._alive = time.monotonic()

    def look(self) -> list[Look]:
        """How it is now.

        Raises:
            UnreachableError: the server did not answer the first time.
        """
        try:
            records, recipe, going = self._reader.records(), _recipe(self._reader), self._reader.noted("open")
        except UnreachableError as failure:
            if self._seen is None:
                raise
            seen = self._seen
            return [Look(seen.name, seen.about, seen.state, seen.records, seen.done, seen.total, remark=str(failure))]
        signs = [(record.state, record.beat) for record in records]
        if signs != self._signs:
            self._signs, self._alive = signs, time.monotonic()
        silent = time.monotonic() - self._alive
        quiet = going is not False and silent > 2 * float(recipe["run"]["lease_seconds"])
        remark = f"no worker has shown itself for {silent / 60:.0f} min" if quiet else ""
        state = "finished" if going is False else "running"
        self._seen = Look(self._reader.name, about(recipe), state, records, *progress(records, recipe), remark=remark)
        return [self._seen]

    def over(self, looks: Sequence[Look]) -> bool:
        """Whether it has ended."""
        return all(look.state == "finished" for look in looks)


def _recipe(reader: LedgerReader) -> dict[str, Any]:
    """The search's recipe as plain values, what older ones lack at its default."""
    return Recipe().model_dump(mode="json") | (reader.noted("recipe") or {})
