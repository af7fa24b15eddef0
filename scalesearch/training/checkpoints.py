"""A trial's state on disk: written whole or not at all, the newest good one read back."""

from __future__ import annotations

import io
import pickle
import shutil
import time
import zipfile
from pathlib import Path
from typing import Any

import torch

from scalesearch.files import write_whole
from scalesearch.runtime.team import Team
from scalesearch.settings import RunSettings

KEEP = 2
"""Files per trial: should the newest be torn, there is the one before it."""


class Checkpoints:
    """The checkpoints of one (candidate, seed), in a folder of their own.

    A torn file (a power cut, a disk's error) is found by the checksums that every member of torch's archive has, and
    skipped. A disk without room costs the checkpoint and not the trial.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def save(self, step: int, state: dict[str, Any]) -> bool:
        """Write the state after ``step`` updates; False when there was no room for it."""
        try:
            write_whole(self.folder / f"step-{step:09}.pt", lambda file: torch.save(state, file))
            for old in self._files()[KEEP:]:
                old.unlink(missing_ok=True)
        except (OSError, RuntimeError):
            return False
        return True

    def newest(self, device: torch.device | str = "cpu") -> dict[str, Any] | None:
        """The newest state that is whole, on ``device``; None when there is none."""
        for file in self._files():
            try:
                content = file.read_bytes()
                with zipfile.ZipFile(io.BytesIO(content)) as archive:
                    if archive.testzip() is not None:
                        continue
                state: dict[str, Any] = torch.load(io.BytesIO(content), map_location=device, weights_only=True)
            except (OSError, RuntimeError, EOFError, ValueError, zipfile.BadZipFile, pickle.UnpicklingError):
                continue
            return state
        return None

    @property
    def is_empty(self) -> bool:
        """Whether there is none to go on from."""
        return not self._files()

    def clear(self) -> None:
        """Remove them: the trial is done."""
        shutil.rmtree(self.folder, ignore_errors=True)

    def _files(self) -> list[Path]:
        return sorted(self.folder.glob("step-*.pt"), reverse=True)


class Due:
    """Says when the next checkpoint is due; to a team, by rank 0's clock, every ``looked`` steps: asking costs an
    exchange."""

    def __init__(self, pace: RunSettings, team: Team, looked: int) -> None:
        self._pace, self._team, self._looked, self._last = pace, team, looked, time.monotonic()

    def __call__(self, step: int) -> bool:
        """Whether it is, after ``step``."""
        if self._pace.checkpoint_steps:
            return step % self._pace.checkpoint_steps == 0
        if self._team.world > 1 and step % self._looked:
            return False
        if not self._team.first(lambda: time.monotonic() - self._last >= 60 * self._pace.checkpoint_minutes):
            return False
        self._last = time.monotonic()
        return True
