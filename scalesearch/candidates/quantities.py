"""What a network may cost: by which quantity candidates are made equal, and how a counted one is counted."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from scalesearch.errors import ScaleSearchError
from scalesearch.models.protocols import Survey
from scalesearch.scaling.compound import AXES
from scalesearch.scaling.cost import Cost
from scalesearch.scaling.points import Floats, Points
from scalesearch.settings import SearchSettings

Ratio = Callable[[Points], Floats]
"""What each point's network costs over the baseline, (N,)."""
CountMemory = Callable[[Cost], int]
"""Bytes that one training step of a network takes."""


@dataclass(frozen=True)
class Quantity:
    """A cost: what it is called, its unit, and whether it is measured on a device.

    ``exponents`` are those of α, β and γ in what it nominally grows by; 0: the coefficient does not change it.
    """

    name: str
    words: str
    unit: str
    exponents: tuple[int, int, int]
    measured: bool = False

    def exponent(self, coefficient: str) -> int:
        """Of alpha, beta or gamma."""
        return self.exponents[AXES.index(coefficient)]


QUANTITIES: Mapping[str, Quantity] = {
    each.name: each
    for each in (
        Quantity("macs", "MACs", "", (1, 2, 2)),
        Quantity("params", "parameters", "", (1, 2, 0)),
        Quantity("activations", "activations", "", (1, 1, 2)),
        Quantity("memory", "training memory", "B", (1, 1, 2)),
        Quantity("latency", "latency", "ms", (1, 2, 2), measured=True),
        Quantity("train-time", "time of a training step", "ms", (1, 2, 2), measured=True),
        Quantity("energy", "energy", "mJ", (1, 2, 2), measured=True),
    )
}


@dataclass(frozen=True)
class Spent:
    """What a network costs by the matched quantity, in its unit, and over the baseline's."""

    quantity: Quantity
    value: float
    ratio: float


def is_measured(search: SearchSettings) -> bool:
    """Whether candidates are matched by what is measured on a device."""
    return search.match in QUANTITIES and QUANTITIES[search.match].measured


def count_of(name: str, memory: CountMemory | None) -> Callable[[Cost], int]:
    """How a counted quantity follows from a network's counts.

    Args:
        memory: bytes of a training step, for ``memory``.

    Raises:
        ScaleSearchError: memory is asked for where no batch size is known.
    """
    if name == "memory":
        if memory is None:
            raise ScaleSearchError("memory needs a batch size and an optimiser: use grid --dry-run")
        return memory
    return lambda cost: int(getattr(cost, name))


def counted_ratio(name: str, survey: Survey, base: Cost, memory: CountMemory | None) -> Ratio:
    """A counted quantity over the baseline's."""
    if name == "macs":
        return lambda points: (survey.macs(points) / base.macs).astype(np.float64)
    count = count_of(name, memory)
    whole = count(base)

    def ratio(points: Points) -> Floats:
        return np.array([count(Cost(*row)) / whole for row in survey.costs(points).tolist()], np.float64)

    return ratio
