"""Modules opened from their source: looked through, proved to be copied soundly, remembered for the process."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

from scalesearch.errors import BaselineError
from scalesearch.image_size import Resolution
from scalesearch.models.surgery.loading import load_module
from scalesearch.models.surgery.network import Network
from scalesearch.models.surgery.proof import prove_identity
from scalesearch.scaling.compound import Rounding


@dataclass(frozen=True)
class Opened:
    """A module that has been looked through, and whose versions made it."""

    network: Network
    versions: dict[str, str]


@lru_cache(maxsize=4)
def open_module(
    source: str,
    keep_groups: bool,
    adaptive_pool: bool,
    keep_output_channels: bool,
    size: Resolution | None = None,
    channels: int | None = None,
) -> Opened:
    """Build the module that ``source`` names, look it through, prove the copy's identity, and drop the weights.

    It is looked through at the size that its author states, else at ``size``; one of timm's is made for images of so
    many ``channels``.

    Raises:
        BaselineError: there is no such module.
        SurgeryError: it cannot be scaled soundly.
    """
    loaded = load_module(source, channels)
    native = loaded.resolution if loaded.stated or size is None else size
    network = Network(
        loaded.module,
        native,
        keep_groups=keep_groups,
        adaptive_pool=adaptive_pool,
        keep_output_channels=keep_output_channels,
    )
    prove_identity(network, loaded.module)
    return Opened(network, loaded.versions)


def opened(source: str, rounding: Rounding, size: Resolution | None = None, channels: int | None = None) -> Opened:
    """The module at ``source``, looked through; remembered for the process.

    Raises:
        BaselineError: its images have another number of channels, and it is none of those that are made for any.
    """
    asked = channels if any_channels(source) and channels != 3 else None
    found = open_module(
        source, rounding.keep_groups, rounding.adaptive_pool, rounding.keep_output_channels, size, asked
    )
    if channels is not None and found.network.channels != channels:
        own = found.network.channels
        said = f"images of {own} channel{'s' * (own != 1)}, and data.channels is {channels}"
        raise BaselineError(f"{source} takes {said}: --set data.channels={own} gives it what it takes")
    return found


def any_channels(source: str) -> bool:
    """Whether the network that ``source`` names can be made for images of any number of channels."""
    return source.startswith("timm:")
