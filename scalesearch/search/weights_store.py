"""The trained weights of the candidates in front: kept until the validation has measured them, or for good."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from scalesearch.files import write_whole

if TYPE_CHECKING:
    from torch import nn


class Weights:
    """State dicts by (network, seed). Without room they are not kept: a trial can be trained again."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def keep(self, network: str, seed: int, module: nn.Module, leaders: Iterable[str]) -> None:
        """Keep these if the network is among the leaders, and drop those of networks that are not."""
        ahead = set(leaders)
        with suppress(OSError, RuntimeError):
            for other in self.folder.glob("*-seed*.pt"):
                if other.name.partition("-")[0] not in ahead:
                    other.unlink(missing_ok=True)
            if network in ahead:
                self.save(network, seed, module)

    def save(self, network: str, seed: int, module: nn.Module) -> None:
        """Keep these, whoever leads.

        Raises:
            OSError, RuntimeError: they cannot be written; then no older ones stay in their place.
        """
        file = self.folder / self.file(network, seed)
        try:
            write_whole(file, lambda opened: torch.save(module.state_dict(), opened))
        except (OSError, RuntimeError):
            with suppress(OSError):
                file.unlink()
            raise

    def load(self, network: str, seed: int, device: torch.device) -> dict[str, Any] | None:
        """The kept weights; None when there are none that can be read."""
        try:
            file = self.folder / self.file(network, seed)
            kept: dict[str, Any] = torch.load(file, map_location=device, weights_only=True)
        except Exception:  # a torn file makes its reader raise whatever it likes
            return None
        return kept

    def clear(self, spared: Collection[str] = ()) -> None:
        """Drop all files but the ``spared``, and the folder if none is left."""
        with suppress(OSError):
            for file in self.folder.iterdir():
                if file.name not in spared:
                    file.unlink()
            if not spared:
                self.folder.rmdir()

    @staticmethod
    def file(network: str, seed: int) -> str:
        """The name of these weights' file in the folder."""
        return f"{network}-seed{seed}.pt"
