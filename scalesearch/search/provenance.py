"""Where and with what a run was made."""

from __future__ import annotations

import platform
import shlex
import subprocess
from collections.abc import Sequence
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

from scalesearch.runtime.device import device_name
from scalesearch.search.ledger.urls import masked
from scalesearch.version import __version__

PACKAGES = ("torch", "torchvision", "fvcore", "optuna", "pandas", "numpy")


def environment(command: Sequence[str], device: torch.device, data: dict[str, Any]) -> dict[str, Any]:
    """Command line, versions, device and data of a run, as plain values."""
    return {
        "command": masked(shlex.join(command)),
        "started": datetime.now(UTC).isoformat(timespec="seconds"),
        "scalesearch": __version__,
        "commit": _commit(),
        "python": platform.python_version(),
        **{name: version(name) for name in PACKAGES},
        "device": device_name(device),
        "threads": torch.get_num_threads(),
        "data": data,
    }


def _commit() -> str | None:
    """The checkout that scalesearch runs from, if it runs from one."""
    here = Path(__file__).parents[2]
    if not (here / ".git").exists():
        return None
    command = ["git", "-C", str(here), "describe", "--always", "--dirty"]
    try:
        asked = subprocess.run(command, capture_output=True, text=True, check=False)
    except OSError:  # no git here
        return None
    return asked.stdout.strip() or None
