"""The trained weights of the candidates in front: kept until the validation has measured them, or for good."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from scalesearch.models.weights_file import SAFE, About, read_state, write_weights

if TYPE_CHECKING:
    from torch import Tensor, nn

OLD = ".pt"
"""How files ended before."""


class Weights:
    """State dicts by (network, seed). Without room they are not kept: a trial can be trained again."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def keep(self, network: str, seed: int, module: nn.Module, leaders: Iterable[str], about: About) -> None:
        """Keep these if the network is among the leaders, and drop those of networks that are not."""
        ahead = set(leaders)
        with suppress(OSError, RuntimeError, ValueError):
            for other in self.folder.glob("*-seed*"):
                if other.suffix in (SAFE, OLD) and other.name.partition("-")[0] not in ahead:
                    other.unlink(missing_ok=True)
            if network in ahead:
                self.save(network, seed, module, about)

    def save(self, network: str, seed: int, module: nn.Module, about: About) -> None:
        """Keep these, whoever leads.

        Raises:
            OSError, RuntimeError, ValueError: they cannot be written; then no older ones stay in their place.
        """
        file = self.folder / f"{network}-seed{seed}{SAFE}"
        try:
            write_weights(file, module.state_dict(), about)
        except (OSError, RuntimeError, ValueError):
            with suppress(OSError):
                file.unlink()
            raise
        finally:
            with suppress(OSError):
                file.with_suffix(OLD).unlink()

    def load(self, network: str, seed: int) -> dict[str, Tensor] | None:
        """The kept weights, on the CPU; None when there are none that can be read."""
        with suppress(Exception):  # a torn file makes its reader raise whatever it likes
            return read_state(self.folder / self.file(network, seed))
        return None

    def clear(self, spared: Collection[str] = ()) -> None:
        """Drop all files but the ``spared``, and the folder if none is left."""
        with suppress(OSError):
            for file in self.folder.iterdir():
                if file.name not in spared:
                    file.unlink()
            if not spared:
                self.folder.rmdir()

    def file(self, network: str, seed: int) -> str:
        """The name of these weights' file in the folder: safetensors, unless an older run has written torch's."""
        name = f"{network}-seed{seed}"
        old = not (self.folder / f"{name}{SAFE}").exists() and (self.folder / f"{name}{OLD}").exists()
        return f"{name}{OLD if old else SAFE}"
