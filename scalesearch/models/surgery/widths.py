"""Width: new sizes for what is free, and what follows from them.

Every free unknown is rounded as a spec's channels are. Two habits of ConvNets come first, so that a scaled network is
the one its authors would have written: an inner layer that expands its block's input by a whole factor goes on doing
so (MBConv's ×6), and so does a block's output that is a multiple of its inner width (a bottleneck's ×4).
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

from scalesearch.errors import SurgeryError
from scalesearch.models.surgery.stages import Stage
from scalesearch.models.surgery.symbolic import COUNTED, Form, common_multiple
from scalesearch.models.surgery.tagger import Layer, Trace
from scalesearch.scaling.compound import Rounding

SMALL = 32
"""Below this many channels a multiple of 8 is coarse: the divisor is then the largest of 1, 2, 4, 8 that divides."""

TINY, NEAR = 16, 0.1
"""Below this many channels the divisor is halved until the width comes so near to what was asked for."""


@dataclass(frozen=True)
class Anchor:
    """A size that follows another one: ``times`` it, or a whole share of it (``over``)."""

    to: int
    times: int = 1
    over: int = 1


def free_unknowns(found: Trace) -> list[int]:
    """What width scales: the unknowns that layers' outputs come down to, and where a module parts its channels."""
    free: dict[int, None] = {}
    for layer in found.layers.values():
        free |= dict.fromkeys(found.ties.reduce(layer.outputs).terms)
    for layer in found.layers.values():
        free |= dict.fromkeys(v for v in found.ties.reduce(layer.inputs).terms if found.ties.base[v] >= COUNTED)
    free = {variable: None for variable in free if not found.ties.counts(variable)}
    if found.classes is not None:
        for variable in found.ties.reduce(found.classes).terms:
            free.pop(variable, None)
    return list(free)


def anchors(found: Trace, stages: list[Stage]) -> dict[int, Anchor]:
    """Which free unknowns follow which."""
    free = set(free_unknowns(found))
    trunk = _trunk(found, stages)
    result: dict[int, Anchor] = {}
    decided: set[int] = set(trunk)
    for stage in stages:
        by_size: dict[int, Anchor | None] = {}
        for path in reversed(stage.paths):
            ends = _ends(found, path, free)
            for layer in _within(found, path):
                inner, gate = _single(found, layer.outputs, free), layer.positions == 1
                if inner is None or inner in decided:
                    continue
                decided.add(inner)
                anchor = _inner_anchor(found, inner, ends, gate=gate)
                key = -found.ties.base[inner] if gate else found.ties.base[inner]
                if by_size.setdefault(key, anchor) is not None and anchor is not None:
                    result[inner] = anchor  # a stage's later blocks say whether widths of this size follow at all
    _anchor_outputs(found, stages, trunk, free, result)
    return result


def _within(found: Trace, path: str) -> Iterable[Layer]:
    return [layer for layer in found.layers.values() if layer.module == path or layer.module.startswith(f"{path}.")]


def _single(found: Trace, form: Form, free: set[int]) -> int | None:
    only = found.ties.reduce(form).only
    return only if only in free else None


def _trunk(found: Trace, stages: list[Stage]) -> set[int]:
    """The unknowns in what blocks take in and hand on."""
    paths = {path for stage in stages for path in stage.paths}
    forms = [
        form for call in found.calls if call.name in paths for _, dims in (*call.inputs, *call.outputs) for form in dims
    ]
    return {variable for form in forms for variable in found.ties.reduce(form).terms}


def _ends(found: Trace, path: str, free: set[int]) -> tuple[int | None, int | None]:
    """The unknown that a block takes in and the one it hands on, where each is a single one."""
    call = next((c for c in found.calls if c.name == path), None)
    if call is None:
        return None, None

    def channels(tensors: list[tuple[object, tuple[Form, ...]]]) -> int | None:
        singles = [_single(found, form, free) for _, dims in tensors for form in dims]
        known = [variable for variable in singles if variable is not None]
        return known[0] if len(tensors) == 1 and known else None

    return channels(call.inputs), channels(call.outputs)  # type: ignore[arg-type]


def _inner_anchor(found: Trace, inner: int, ends: tuple[int | None, int | None], *, gate: bool) -> Anchor | None:
    base, (start, end) = found.ties.base, ends
    if gate:
        if start is not None and base[start] > base[inner] and base[start] % base[inner] == 0:
            return Anchor(start, over=base[start] // base[inner])
        return None
    if end is not None and base[end] == base[inner]:
        return Anchor(end)
    for other in (start, end):
        if other is not None and base[inner] >= base[other] and base[inner] % base[other] == 0:
            return Anchor(other, times=base[inner] // base[other])
    return None


def _anchor_outputs(
    found: Trace, stages: list[Stage], trunk: set[int], free: set[int], result: dict[int, Anchor]
) -> None:
    base = found.ties.base
    smallest: dict[int, int] = {}
    for stage in stages:
        for path in stage.paths:
            for layer in _within(found, path):
                inner, outer = _single(found, layer.inputs, free), _single(found, layer.outputs, free)
                if layer.positions == 1 or inner is None or outer is None or inner in trunk or outer not in trunk:
                    continue
                follows = result.get(inner)
                if follows is not None and base[follows.to] >= base[outer]:
                    continue
                if base[outer] > base[inner] and base[outer] % base[inner] == 0:
                    known = smallest.get(outer)
                    if known is None or base[inner] < base[known]:
                        smallest[outer] = inner
    for outer, inner in smallest.items():
        result[outer] = Anchor(inner, times=base[outer] // base[inner])


def new_widths(
    found: Trace, follow: dict[int, Anchor], width: float, rounding: Rounding, fixed: Iterable[int] = ()
) -> dict[int, int]:
    """A value for every free unknown at ``width`` times the original, such that all that follows is whole.

    Raises:
        SurgeryError: nothing would be left of a layer, or no such values were found.
    """
    free, base = free_unknowns(found), found.ties.base
    if width == 1:
        return {variable: base[variable] for variable in free}
    kept = set(fixed)
    units: dict[int, int] = dict.fromkeys(free, 1)
    forms = _all_forms(found)
    for _ in range(8):
        values: dict[int, int] = {}
        for variable in free:
            _value(variable, values, base, follow, width, rounding, units, kept)
        broken = False
        for name, form in forms:
            value = found.ties.value(form, values)
            if value.denominator != 1:
                broken = True
                for variable, factor in form.terms.items():
                    units[variable] = math.lcm(units.get(variable, 1), common_multiple([factor]))
            elif value < 1:
                raise SurgeryError(name, f"width ×{width:.3g} leaves {value} of it")
        if not broken:
            _see_all_grow(found, values, width)
            return values
    raise SurgeryError("width", f"no whole numbers of channels fit together at ×{width:.3g}")


def _see_all_grow(found: Trace, values: dict[int, int], width: float) -> None:
    """Make sure that no layer shrinks where the network widens, nor grows where it narrows.

    Raises:
        SurgeryError: one does: its size is what two others leave of a third.
    """
    for layer in found.layers.values():
        before, after = found.ties.value(layer.outputs, {}), found.ties.value(layer.outputs, values)
        if (after - before) * (width - 1) < 0:
            raise SurgeryError(layer.name, f"at width ×{width:.3g} it would go from {before} to {after} channels")


def _all_forms(found: Trace) -> list[tuple[str, Form]]:
    """Everything that must come out whole: each unknown that others determine."""
    ties = found.ties
    forms = [(ties.names[v], ties.reduce(Form(0, {v: 1}))) for v in range(len(ties.base))]
    return [(name, form) for name, form in forms if form.terms and form.only is None]


def _value(
    variable: int,
    values: dict[int, int],
    base: list[int],
    follow: dict[int, Anchor],
    width: float,
    rounding: Rounding,
    units: dict[int, int],
    kept: set[int],
) -> int:
    if variable in values:
        return values[variable]
    anchor, unit = follow.get(variable), units[variable]
    if variable in kept:
        value = base[variable]
    elif anchor is not None:
        value = max(
            1, _value(anchor.to, values, base, follow, width, rounding, units, kept) * anchor.times // anchor.over
        )
    else:
        value = rounded(base[variable], width, rounding)
    if value % unit:
        value = max(unit, math.floor(value / unit + 0.5) * unit)
    values[variable] = value
    return value


def rounded(channels: int, width: float, rounding: Rounding) -> int:
    """The spec's rounding, by a finer divisor for narrow layers that the spec's does not divide."""
    if channels * width < 1:
        raise SurgeryError("width", f"×{width:.3g} leaves {channels * width:.2g} of {channels} channels")
    divisor = rounding.width_divisor
    if channels < SMALL:
        divisor = math.gcd(channels, divisor)
    while True:
        value = rounding.model_copy(update={"width_divisor": divisor}).channels(channels, width)
        if channels >= TINY or divisor == 1 or abs(value / (channels * width) - 1) <= NEAR:
            return value
        divisor //= 2
