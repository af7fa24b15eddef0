"""A team's beginning and end: started through torchrun, and ended by the first failure, which is told in one line."""

from __future__ import annotations

import logging
import os
import signal
import sys
import tempfile
import threading
import time
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta

import torch
from rich.console import Console
from torch import distributed
from torch.distributed.elastic.multiprocessing.errors import ChildFailedError, ProcessFailure, get_error_handler

from scalesearch import errors
from scalesearch.errors import RunError, ScaleSearchError
from scalesearch.runtime.team import Team

LAUNCHED = "SCALESEARCH_LAUNCHED"
"""Set in the environment of processes whose failure `launch` will tell."""

PATIENCE = 5.0
"""Seconds that a process which lost a peer waits, so that the peer's own reason is the first to be heard."""

TIMEOUT = timedelta(hours=2)
"""Longest wait for each other: while one of a node decodes the images, the others wait."""

EVERYBODYS = ("DivergedError", "RunError")
"""Failures that are no single rank's matter."""


def launch(processes: int) -> None:
    """Run this very command ``processes`` times through torchrun, each with its rank.

    Raises:
        ScaleSearchError: one of them failed; the message is its rank and its reason.
    """
    from torch.distributed import run as torchrun
    from torch.distributed.elastic.multiprocessing.api import SignalException

    logging.disable(logging.CRITICAL)  # torchrun's account of a failure, sixty lines long
    os.environ[LAUNCHED] = "1"
    os.environ.setdefault("TORCH_CPP_LOG_LEVEL", "ERROR")  # else DDP warns that it looks for unused parameters
    os.environ.setdefault("OMP_NUM_THREADS", str(max(1, torch.get_num_threads() // processes)))
    with tempfile.TemporaryDirectory(prefix="scalesearch-") as logs:
        where = ["--standalone", f"--nproc-per-node={processes}", f"--log-dir={logs}"]
        try:
            torchrun.run(torchrun.parse_args([*where, "-m", "scalesearch", *sys.argv[1:]]))  # type: ignore[no-untyped-call]
        except ChildFailedError as failure:
            rank, first = failure.get_first_failure()
            raise RunError(_told(rank, _reason(first))) from None
        except SignalException as failure:
            raise KeyboardInterrupt from failure


@contextmanager
def membership(team: Team) -> Iterator[None]:
    """Be one of the team while this is entered; a failure ends the process, and with it the team.

    It ends at once, without unwinding: the others wait for it in the middle of an exchange.
    """
    if team.world == 1:
        yield
        return
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    threading.Thread(target=_end_with, args=(os.getppid(),), daemon=True).start()
    try:
        yield
        distributed.barrier()
        distributed.destroy_process_group()
    except Exception as failure:
        _leave(team, failure)


def connect(team: Team, device: torch.device) -> None:
    """Open the exchange with the others: gloo for what lies on the CPU, NCCL for what lies on GPUs."""
    if team.world == 1:
        return
    if device.type == "cuda":
        torch.cuda.set_device(device)
    backend = "cpu:gloo,cuda:nccl" if device.type == "cuda" else "gloo"
    distributed.init_process_group(backend, timeout=TIMEOUT)


def _end_with(parent: int) -> None:
    """A team whose launcher was killed has nobody to end it."""
    while os.getppid() == parent:
        time.sleep(0.5)
    os._exit(2)


def _leave(team: Team, failure: Exception) -> None:
    if not isinstance(failure, ScaleSearchError) and _lost_a_peer(failure):
        time.sleep(PATIENCE)
    if "--debug" in sys.argv:
        traceback.print_exception(failure)
    get_error_handler().record_exception(failure)
    if LAUNCHED not in os.environ:
        line = _told(team.rank, f"{type(failure).__name__}: {failure}")
        console = Console(stderr=True)
        console.print(f"error: {line}", style="bold red", markup=False, highlight=False, soft_wrap=True)
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(2)


def _lost_a_peer(failure: Exception) -> bool:
    said = str(failure)
    return isinstance(failure, distributed.DistError) or any(word in said for word in ("gloo", "Connection", "NCCL"))


def _reason(failure: ProcessFailure) -> str:
    """Why a process ended: what it recorded, or its signal."""
    recorded: object = failure.error_file_data.get("message")
    if isinstance(recorded, dict):
        return str(recorded["message"])
    if failure.exitcode < 0:
        hint = " (had the machine's memory ended?)" if failure.exitcode == -signal.SIGKILL else ""
        return f"killed by {failure.signal_name()}{hint}"
    return f"ended with exit code {failure.exitcode}"


def _told(rank: int, reason: str) -> str:
    """One line: the rank, where it is a rank's matter, and the reason, without the name of an error of ours."""
    kind, _, text = reason.partition(": ")
    ours = isinstance(getattr(errors, kind, None), type)
    line = (text if ours else reason).partition("\n")[0]
    return line if kind in EVERYBODYS else f"rank {rank}: {line}"
