"""Costs that are counted: how one follows from a network's counts, and over the baseline's."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from scalesearch.errors import ScaleSearchError
from scalesearch.models.protocols import Survey
from scalesearch.scaling.cost import Cost
from scalesearch.scaling.points import Floats, Points

Ratio = Callable[[Points], Floats]
"""What each point's network costs over the baseline, (N,)."""
CountMemory = Callable[[Cost], int]
"""Bytes that one training step of a network takes."""


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
