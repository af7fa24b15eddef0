"""`--notify CMD`: a command of the user's own, run when a command of ours has ended, however it ended."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from types import FrameType

PATIENCE = 60.0
"""Seconds that the user's command may take."""


@dataclass
class Ended:
    """What is told of a command: ``run`` is its folder, once it is known."""

    run: Path | None = None


@contextmanager
def notifying(command: str | None, *, dry_run: bool = False) -> Iterator[Ended]:
    """Run ``command`` through the shell when this is left, with the facts in its environment (`facts`).

    Being terminated (SIGTERM) ends ours as Ctrl-C does, so that it is told too. What goes wrong with ``command`` is one
    line, and changes nothing. Of the processes of one training, the first alone tells.
    """
    ended = Ended()
    if command is None or os.environ.get("RANK", "0") != "0" or "SCALESEARCH_LAUNCHED" in os.environ:
        yield ended
        return
    if dry_run:
        _say("note: --dry-run trains nothing, so --notify is not run")
        yield ended
        return
    began, state, error = time.monotonic(), "finished", ""
    try:
        with _terminated_like_interrupted():
            yield ended
    except (KeyboardInterrupt, SystemExit):
        state = "interrupted"
        raise
    except BaseException as failure:
        state, error = "failed", str(failure).partition("\n")[0]
        raise
    finally:
        _run(command, facts(ended.run, state, error, time.monotonic() - began))


def facts(run: Path | None, state: str, error: str, seconds: float) -> dict[str, str]:
    """What the user's command finds in its environment.

    Args:
        run: the folder, if it is known.
        state: finished, failed or interrupted.
        error: why it failed.
        seconds: how long it took, by the clock.
    """
    found = {"SCALESEARCH_STATE": state, "SCALESEARCH_SECONDS": f"{seconds:.0f}", "SCALESEARCH_ERROR": error}
    found |= {"SCALESEARCH_RUN": "", "SCALESEARCH_BEST": "", "SCALESEARCH_ACCURACY": "", "SCALESEARCH_TRIALS": ""}
    if run is None or not run.is_dir():
        return found
    from scalesearch.search.run_states import runs_in, state_of_run

    found["SCALESEARCH_RUN"] = str(run.resolve())
    every = [path for path in runs_in(run) if path == run] or list(runs_in(run))
    known = [state_of_run(path) for path in every]
    names = [each.best or "" for each in known]
    if len(known) > 1:
        names = [f"{each.path.name}: {each.best}" for each in known if each.best]
    found["SCALESEARCH_BEST"] = "; ".join(filter(None, names))
    if len(known) == 1 and known[0].accuracy is not None:
        found["SCALESEARCH_ACCURACY"] = f"{known[0].accuracy:.4f}"
    if counted := [each for each in known if each.done is not None]:
        found["SCALESEARCH_TRIALS"] = f"{sum(e.done or 0 for e in counted)}/{sum(e.total or 0 for e in counted)}"
    return found


@contextmanager
def _terminated_like_interrupted() -> Iterator[None]:
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def interrupt(number: int, frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _run(command: str, environment: Mapping[str, str]) -> None:
    """Its output goes to stderr, where it is not taken for a table."""
    sys.stdout.flush()
    process = subprocess.Popen(
        command,
        shell=True,
        env={**os.environ, **environment},
        stdin=subprocess.DEVNULL,
        stdout=sys.stderr.fileno(),
        start_new_session=True,
    )
    try:
        code = process.wait(PATIENCE)
    except subprocess.TimeoutExpired:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        _say(f"note: --notify took longer than {PATIENCE:.0f} s and was ended: {command}")
        return
    if code:
        _say(f"note: --notify ended with code {code}: {command}")


def _say(text: str) -> None:
    from rich.console import Console

    Console(stderr=True).print(text, style="yellow", markup=False, highlight=False, soft_wrap=True)
