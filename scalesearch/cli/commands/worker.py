"""`scalesearch worker`: this node's processes work for a search that was started elsewhere."""

from __future__ import annotations

import time
from pathlib import Path

from rich.console import Console

from scalesearch.errors import RunError, ScaleSearchError
from scalesearch.search.engine import Died
from scalesearch.search.ledger.journal import JOURNAL
from scalesearch.search.ledger.leases import LOOK_EVERY
from scalesearch.search.ledger.ledger import Ledger
from scalesearch.search.ledger.urls import storage_url
from scalesearch.search.processes import ProcessPool, warm_up
from scalesearch.search.supervisor import Supervisor


def worker_command(
    run: Path | None,
    storage: str | None,
    study: str | None,
    *,
    data: str | None,
    device: str,
    workers: int | None,
    folder: Path | None,
    patience: float,
) -> None:
    """Work until the search is over, or nothing has been waiting for ``patience`` seconds.

    Raises:
        ScaleSearchError: the study, the images or the device is not there.
    """
    where = _where(run, storage)
    if isinstance(where, str) and study is None:
        raise ScaleSearchError("--storage needs --study: `scalesearch grid` prints its name")
    from scalesearch.files import cache_folder
    from scalesearch.runtime.device import every_device
    from scalesearch.search.work import Terms, Work

    console = Console(highlight=False, markup=False)
    ledger = Ledger(where, study or (run.name if run else ""), create=False)
    pace = Work.of(ledger, data).recipe.run
    devices = every_device(device)
    count = workers or len(devices)
    place = folder or run or cache_folder() / "studies" / ledger.name
    terms = Terms(where, ledger.name, place, device, data=data).dealt(devices, count)
    warm_up()
    console.print(f"{count} worker{'s' * (count != 1)} on {', '.join(devices)} for {ledger.name}", soft_wrap=True)
    supervisor = Supervisor(ledger, lease_seconds=pace.lease_seconds, retries=pace.retries)
    idle_since = time.monotonic()
    pool = ProcessPool(terms, pace.trial_minutes and 60 * pace.trial_minutes)

    def hear(number: int, event: object) -> None:
        if isinstance(event, Died):
            supervisor.died(event)
            console.print(f"worker {number} starts anew: {event.reason}", soft_wrap=True)
        elif (kind := getattr(event, "kind", "")) not in ("step", "ready"):
            console.print(f"{kind}: {' seed '.join(map(str, getattr(event, 'key', ())))}", soft_wrap=True)

    try:
        with pool:
            while True:
                pool.attend(hear, LOOK_EVERY)
                if any(record.state in ("waiting", "running") for record in supervisor.look(pool)):
                    idle_since = time.monotonic()
                elif not ledger.noted("open"):
                    break
                elif time.monotonic() - idle_since > patience:
                    console.print(f"nothing to do for {patience:g} s", soft_wrap=True)
                    break
    finally:
        ledger.release(ledger.held_by(pool.owners))


def _where(run: Path | None, storage: str | None) -> Path | str:
    if (run is None) == (storage is None):
        raise ScaleSearchError("expected a run's folder, or --storage URL with --study NAME")
    if storage is not None:
        return storage_url(storage)
    if run is None or not (run / JOURNAL).is_file():
        raise RunError(f"{run} holds no {JOURNAL}: it is no run's folder, or its trials are on a server (--storage)")
    return run / JOURNAL
