"""Channels that carry a number of their own, and what is written down about them in one run."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import torch
from torch import Tensor

NOTHING = -1
"""The number of an element that is no channel: a zero that was padded on."""

FIRST, SECOND, THIRD = 6364136223846793005, 1442695040888963407, 3935559000370003845
"""Odd factors of a hash; products of 64-bit integers wrap around."""


class Marks(NamedTuple):
    """Number and version of every element of a tensor, each of the tensor's shape."""

    number: Tensor
    version: Tensor


@dataclass(frozen=True)
class Numbered:
    """Channels that came into being together, as numbers from ``start`` on: a layer's outputs, a vector's elements.

    ``kept`` ones go by their order or their number, so that there can be neither more nor fewer of them.
    """

    name: str
    start: int
    count: int
    kept: bool = False


@dataclass(frozen=True)
class Reading:
    """What mixes channels: rows of elements that it takes in, one row for each group, and what comes out of each.

    ``how`` is "weights" (a layer, whose weights can be divided), "even" (a mean: every channel must have as many
    copies), "set" (a maximum), "exact" (a sum: no copies) or "order" (nobody knows: everything as it was).
    """

    where: str
    what: str
    how: str
    numbers: Tensor
    versions: Tensor
    out: Tensor | None = None
    weight: str | None = None
    transposed: bool = False


@dataclass
class Run:
    """What following one run found."""

    numbered: dict[str, Numbered] = field(default_factory=dict)
    ties: list[tuple[Tensor, Tensor]] = field(default_factory=list)
    readings: list[Reading] = field(default_factory=list)
    used: set[str] = field(default_factory=set)
    operations: list[str] = field(default_factory=list)

    @property
    def count(self) -> int:
        """How many numbers have been given."""
        return sum(each.count for each in self.numbered.values())


def small(tensor: Tensor) -> Tensor:
    """The tensor with one index of every dimension along which it was expanded."""
    return tensor[tuple(slice(0, 1) if stride == 0 else slice(None) for stride in tensor.stride())]


def of_operation(operation: int) -> int:
    """An operation's place as a number to add to versions."""
    return (operation + 1) * SECOND % 2**62


def mixed(versions: Sequence[Tensor], operation: int) -> Tensor:
    """Versions of what an operation makes of elements with these versions."""
    total = versions[0] * FIRST
    for version in versions[1:]:
        total = total * THIRD + version * SECOND
    return total + of_operation(operation)


def is_uniform(number: Tensor, axes: Sequence[int]) -> bool:
    """Whether numbers do not change along these axes."""
    for axis in axes:
        if number.shape[axis] > 1 and number.stride(axis) != 0:
            first = number.narrow(axis, 0, 1)
            if not torch.equal(number, first.expand_as(number)):
                return False
    return True
