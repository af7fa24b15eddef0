"""Floats that layers work out from their size when they are made, such as a weight's 1/√fan-in."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable

from torch import nn

QUANTITIES: tuple[Callable[[tuple[int, ...]], int], ...] = (
    lambda shape: math.prod(shape[1:]),
    lambda shape: shape[0],
)
"""What such a float may depend on: the fan-in, or the outputs."""

POWERS = (-0.5, -1.0, 0.5)

Law = tuple[int, float, float]


def follow_fans(original: nn.Module, scaled: nn.Module) -> None:
    """Set in ``scaled`` the floats that follow a power of the layer's fan-in or outputs throughout ``original``.

    A law is taken as seen where all layers of a class agree on it, and they are of at least two sizes.
    """
    laws = _laws(original)
    for module in scaled.modules():
        shape = _shape(module)
        for name, value in list(vars(module).items()):
            law = laws.get((type(module), name))
            if law is not None and shape is not None and isinstance(value, float):
                quantity, power, constant = law
                setattr(module, name, constant * QUANTITIES[quantity](shape) ** power)


def _shape(module: nn.Module) -> tuple[int, ...] | None:
    weight = module._parameters.get("weight")
    return tuple(int(size) for size in weight.shape) if weight is not None and weight.ndim >= 2 else None


def _laws(model: nn.Module) -> dict[tuple[type, str], Law]:
    seen: dict[tuple[type, str], list[tuple[tuple[int, ...], float]]] = defaultdict(list)
    for module in model.modules():
        shape = _shape(module)
        if shape is not None:
            for name, value in vars(module).items():
                if isinstance(value, float) and value:
                    seen[type(module), name].append((shape, value))
    found = {key: _law(pairs) for key, pairs in seen.items()}
    return {key: law for key, law in found.items() if law is not None}


def _law(pairs: list[tuple[tuple[int, ...], float]]) -> Law | None:
    if len({value for _, value in pairs}) < 2:
        return None  # the same everywhere: a setting
    for index, quantity in enumerate(QUANTITIES):
        for power in POWERS:
            constants = [value / quantity(shape) ** power for shape, value in pairs]
            if max(constants) - min(constants) <= 1e-6 * abs(constants[0]):
                return index, power, constants[0]
    return None
