"""Floats that layers work out from their size when they are made, such as a weight's 1/√fan-in."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable
from itertools import product

from torch import nn

from scalesearch.models.surgery.tagger import Trace

QUANTITIES: tuple[Callable[[tuple[int, ...]], int], ...] = (
    lambda shape: math.prod(shape[1:]),
    lambda shape: shape[0],
)
"""What such a float may depend on: the fan-in, or the outputs."""

POWERS = (-0.5, -1.0, 0.5)

SIZES = 3
"""A law with a constant of its own must hold for as many sizes; 1/√fan-in itself is known at first sight."""

Law = tuple[int, float, float]


def follow_fans(original: nn.Module, scaled: nn.Module) -> None:
    """Set in ``scaled`` the floats that follow a power of the layer's fan-in or outputs throughout ``original``.

    A law is taken as seen where all layers of a class agree on it.
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
    sizes = len({value for _, value in pairs})
    for index, quantity in enumerate(QUANTITIES):
        for power in POWERS:
            constants = [value / quantity(shape) ** power for shape, value in pairs]
            agree = max(constants) - min(constants) <= 1e-6 * abs(constants[0])
            if agree and (sizes >= SIZES or abs(constants[0] - 1) < 1e-6):
                return index, power, constants[0]
    return None


def follow_widths(module: nn.Module, found: Trace, values: dict[int, int]) -> None:
    """Set the floats called a scale that are a power of a width that their module takes in or hands on."""
    for call in found.calls:
        kept = vars(call.module)
        scales = {name: value for name, value in kept.items() if name == "scale" or name.endswith("_scale")}
        names = [name for name, value in scales.items() if type(value) is float and value]
        if not names or "weight" in call.module._parameters:
            continue
        forms = [form for _, dims in (*call.inputs, *call.outputs) for form in dims if form.terms]
        for name in names:
            for form, power in product(forms, POWERS[:2]):
                if math.isclose(kept[name], int(found.ties.value(form, {})) ** power, rel_tol=1e-6):
                    setattr(module.get_submodule(call.name), name, int(found.ties.value(form, values)) ** power)
                    break
