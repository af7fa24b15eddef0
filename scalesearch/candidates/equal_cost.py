"""Candidates of equal cost: two coefficients from the grid, and the third solved for a ratio of costs."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from scalesearch.candidates.counted_cost import Ratio
from scalesearch.candidates.quantities import Quantity
from scalesearch.errors import EmptyGridError, ScalingError
from scalesearch.scaling.points import Floats, Ints, Points

DECIMALS = 10**4
"""Coefficients are kept to four decimals, so that what is printed realises the same network again."""


def solve(
    ratio: Ratio,
    name: str,
    low: float,
    high: float,
    others: Mapping[str, Sequence[float]],
    *,
    target: float | Floats,
    growth: float,
    quantity: Quantity,
) -> tuple[Points, Floats]:
    """For every pair of the ``others``, the point whose network costs most nearly ``target``, and its ratio, (N,).

    The target may be another one for each pair, (N,).

    Cost is a monotone staircase in the coefficient ``name``: all pairs are bisected at once, down to the two steps
    on either side of the target, and the nearer one is taken; an end of the range where that does not reach. Of a
    step's values, which cost the same, it is the one whose nominal growth (of MACs: αβ²γ²) is nearest to ``growth``:
    its edge may be a coefficient of 1.0001 that doubles the blocks.

    Raises:
        EmptyGridError: an end of the range leaves nothing of the network.
    """
    grid = np.meshgrid(*[np.array(values, np.float64) for values in others.values()], indexing="ij")
    pairs = {other: values.ravel() for other, values in zip(others, grid, strict=True)}

    def at(values: Floats, chosen: Ints) -> Points:
        return Points(**{other: column[chosen] for other, column in pairs.items()}, **{name: values})

    everywhere = np.arange(grid[0].size)
    wanted = np.broadcast_to(np.asarray(target, np.float64), everywhere.shape)
    try:
        ends = ratio(at(np.tile([low, high], len(everywhere)), np.repeat(everywhere, 2)))
    except ScalingError as failure:
        raise EmptyGridError(f"the range of {name} leaves nothing of the network: {failure}") from failure
    left, right = ends[::2].copy(), ends[1::2].copy()
    at_left, at_right = np.full(len(everywhere), low), np.full(len(everywhere), high)
    below, above = (np.full(len(everywhere), round(end * DECIMALS)) for end in (low, high))
    crosses = (left - wanted) * (right - wanted) <= 0
    while len(active := np.flatnonzero(crosses & (above - below > 1))):
        middle = (below[active] + above[active]) // 2
        values = middle / DECIMALS
        here = ratio(at(values, active))
        short = (here - wanted[active]) * (left[active] - wanted[active]) > 0
        for side, rows in ((short, (below, at_left, left)), (~short, (above, at_right, right))):
            for row, new in zip(rows, (middle, values, here), strict=True):
                row[active[side]] = new[side]
    nearer = np.abs(left / wanted - 1) <= np.abs(right / wanted - 1)
    found, ratios = np.where(nearer, at_left, at_right), np.where(nearer, left, right)
    product = np.prod([column ** quantity.exponent(other) for other, column in pairs.items()], axis=0)
    nominal = np.clip((growth / product) ** (1 / quantity.exponent(name)), low, high)
    return at(
        _towards(nominal, found, lambda values, rows: ratio(at(values, rows)) == ratios[rows]), everywhere
    ), ratios


def _towards(wanted: Floats, found: Floats, same: Callable[[Floats, Ints], np.ndarray[Any, Any]]) -> Floats:
    """From ``found`` as far as ``wanted``, (N,), as long as the cost is the ``same``."""
    start, far = (np.rint(values * DECIMALS).astype(np.int64) for values in (found, wanted))
    near, every = start.copy(), np.flatnonzero(start != far)
    there = every[same(far[every] / DECIMALS, every)]
    near[there] = far[there]
    while len(active := every[np.abs(far[every] - near[every]) > 1]):
        middle = (near[active] + far[active]) // 2
        alike = same(middle / DECIMALS, active)
        near[active[alike]], far[active[~alike]] = middle[alike], middle[~alike]
    return np.where(near == start, found, near / DECIMALS)
