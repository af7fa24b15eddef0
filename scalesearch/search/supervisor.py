"""Trials whose workers are gone are ended here, and wait again: for a search, and for a node that helps one."""

from __future__ import annotations

from collections.abc import Callable

from scalesearch.search.engine import Died, Workers
from scalesearch.search.ledger.leases import Watch
from scalesearch.search.ledger.ledger import Ledger
from scalesearch.trials import Record

Lost = Callable[[Record, str, bool], None]
"""Told of a trial that was ended, why, and whether it will be repeated."""


class Supervisor:
    """Ends the trials of workers that died or no longer renew their leases, and has them repeated."""

    def __init__(self, ledger: Ledger, *, lease_seconds: float, retries: int, lost: Lost | None = None) -> None:
        self._ledger, self._retries, self._lost = ledger, retries, lost
        self._watch = Watch(lease_seconds)

    def died(self, death: Died) -> None:
        """End the trial that a dead worker held; one that was overdue is not repeated."""
        for record in self._ledger.held_by([death.owner] if death.owner else []):
            self._end(record, death.reason, repeat=not death.overdue)

    def look(self, workers: Workers) -> list[Record]:
        """End what is no longer worked on, enqueue what was lost; all records as they are afterwards."""
        records = self._ledger.records()
        expired = list(self._watch.expired(records))
        for record, reason in expired:
            workers.kill(record.owner)
            self._end(record, reason, repeat=True)
        if expired:
            records = self._ledger.records()
        return self._ledger.records() if self._ledger.repeat_lost(self._retries, records) else records

    def _end(self, record: Record, reason: str, *, repeat: bool) -> None:
        if self._ledger.lose(record, reason, repeat=repeat) and self._lost:
            self._lost(record, reason, repeat and record.attempt <= self._retries)
