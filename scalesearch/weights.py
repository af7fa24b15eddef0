"""The trained weights of the candidates in front, kept until the validation has measured them."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

if TYPE_CHECKING:
    from torch import nn


class Weights:
    """State dicts by (network, seed). Without room they are not kept: a trial can be trained again."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def keep(self, network: str, seed: int, module: nn.Module, leaders: Iterable[str]) -> None:
        """Keep these if the network is among the leaders, and drop those of networks that are not."""
        ahead, file = set(leaders), self._file(network, seed)
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            for other in self.folder.glob("*-seed*.pt"):
                if other.name.partition("-")[0] not in ahead:
                    other.unlink(missing_ok=True)
            if network in ahead:
                unfinished = self.folder / f"unfinished-{os.getpid()}"
                torch.save(module.state_dict(), unfinished)
                unfinished.replace(file)
        except (OSError, RuntimeError):
            with suppress(OSError):
                file.unlink()

    def load(self, network: str, seed: int, device: torch.device) -> dict[str, Any] | None:
        """The kept weights; None when there are none that can be read."""
        try:
            kept: dict[str, Any] = torch.load(self._file(network, seed), map_location=device, weights_only=True)
        except Exception:  # a torn file makes its reader raise whatever it likes
            return None
        return kept

    def clear(self) -> None:
        shutil.rmtree(self.folder, ignore_errors=True)

    def _file(self, network: str, seed: int) -> Path:
        return self.folder / f"{network}-seed{seed}.pt"
