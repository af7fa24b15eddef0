"""What only moves sizes about: views, permutations, expansions, new tensors."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from scalesearch.models.surgery.rules.reductions import axes_of
from scalesearch.models.surgery.rules.registry import Args, rule
from scalesearch.models.surgery.rules.slices import with_size
from scalesearch.models.surgery.rules.unruled import unruled
from scalesearch.models.surgery.symbolic import Form, Size
from scalesearch.models.surgery.tagger import Dims, Tagger

# Shapes


@rule("view", "reshape", "view_copy")
def _view(tagger: Tagger, given: Args, result: Tensor) -> Dims:
    sizes = given.rest(1, "shape")
    if sizes and isinstance(sizes[0], torch.dtype):
        return tagger.dims(given[0])
    return _reshaped(tagger, given[0], sizes, result)


@rule("view_as", "reshape_as", "expand_as", "type_as")
def _view_as(tagger: Tagger, given: Args, result: Tensor) -> Dims:
    return tagger.dims(given[1]) if given[1].ndim == result.ndim else tagger.dims(given[0])


@rule("flatten")
def _flatten(tagger: Tagger, given: Args, result: Tensor) -> Dims:
    start, end = given.get(1, "start_dim", 0), given.get(2, "end_dim", -1)
    if not isinstance(start, int):
        return _reshaped(tagger, given[0], [-1], result)
    ndim = given[0].ndim
    start, end = int(start) % ndim, int(end) % ndim
    dims = tagger.dims(given[0])
    sizes = [tagger.as_size(int(s), f) for s, f in zip(given[0].shape, dims, strict=True)]
    return _reshaped(tagger, given[0], [*sizes[:start], -1, *sizes[end + 1 :]], result)


@rule("unflatten")
def _unflatten(tagger: Tagger, given: Args, result: Tensor) -> Dims:
    axis = int(given.get(1, "dim")) % given[0].ndim
    dims = tagger.dims(given[0])
    sizes = [tagger.as_size(int(s), f) for s, f in zip(given[0].shape, dims, strict=True)]
    return _reshaped(tagger, given[0], [*sizes[:axis], *given.get(2, "sizes"), *sizes[axis + 1 :]], result)


def _reshaped(tagger: Tagger, tensor: Tensor, sizes: Sequence[int], result: Tensor) -> Dims:
    """Match the old dimensions to the new ones in the smallest groups of an equal product."""
    old = [(int(s), f) for s, f in zip(tensor.shape, tagger.dims(tensor), strict=True)]
    new = [(int(s), raw) for s, raw in zip(result.shape, sizes, strict=True)]
    dims: list[Form] = []
    i = j = 0
    while j < len(new) or i < len(old):
        a, b = [], []
        left = right = 1
        if i < len(old):
            a.append(old[i])
            left, i = old[i][0], i + 1
        if j < len(new):
            b.append(new[j])
            right, j = new[j][0], j + 1
        while left != right:
            if left < right:
                a.append(old[i])
                left, i = left * old[i][0], i + 1
            else:
                b.append(new[j])
                right, j = right * new[j][0], j + 1
        dims += _regrouped(tagger, [f for s, f in a if s != 1 or f.terms], b)
    return tuple(dims)


def _regrouped(tagger: Tagger, old: list[Form], new: list[tuple[int, int]]) -> list[Form]:
    ties = tagger.ties
    forms = [None if raw == -1 else tagger.as_form(raw) for _, raw in new]
    constant = math.prod(int(f.constant) for f in old if not f.terms)
    unknown = [f for f in old if f.terms]
    open_at = [i for i, form in enumerate(forms) if form is None]
    known = [form for form in forms if form is not None]
    fixed = math.prod(int(f.constant) for f in known if not f.terms)
    free = [f for f in known if f.terms]
    if open_at and len(unknown) <= 1 and not free:
        whole = unknown[0] * constant if unknown else Form(constant)
        forms[open_at[0]] = whole / fixed
        return [f if f is not None else Form(0) for f in forms]
    for i in open_at:
        forms[i] = ties.unknown(new[i][0], "what a reshape leaves")
        free.append(forms[i])  # type: ignore[arg-type]
    done = [f if f is not None else Form(0) for f in forms]
    if len(unknown) <= 1 and len(free) <= 1:
        left = unknown[0] * constant if unknown else Form(constant)
        right = free[0] * fixed if free else Form(fixed)
        ties.equate(left, right, f"{tagger.where or 'forward'} reshapes it to a fixed size")
    else:
        ties.multiply([*unknown, Form(constant)], [*free, Form(fixed)])
    return done


@rule("permute")
def _permute(tagger: Tagger, given: Args, result: Tensor) -> Dims:
    dims = tagger.dims(given[0])
    return tuple(dims[int(axis)] for axis in given.rest(1, "dims"))


@rule("transpose", "swapaxes", "swapdims")
def _transpose(tagger: Tagger, given: Args, result: Tensor) -> Dims:
    dims = list(tagger.dims(given[0]))
    a, b = int(given.get(1, "dim0")), int(given.get(2, "dim1"))
    dims[a], dims[b] = dims[b], dims[a]
    return tuple(dims)


@rule("t")
def _t(tagger: Tagger, given: Args, result: Tensor) -> Dims:
    return tuple(reversed(tagger.dims(given[0])))


@rule("movedim", "moveaxis")
def _movedim(tagger: Tagger, given: Args, result: Tensor) -> Dims:
    dims = list(tagger.dims(given[0]))
    source = axes_of(given.get(1, "source"), len(dims))
    target = axes_of(given.get(2, "destination"), len(dims))
    order: list[int | None] = [None] * len(dims)
    for s, t in zip(source, target, strict=True):
        order[t] = s
    rest = iter(i for i in range(len(dims)) if i not in source)
    return tuple(dims[next(rest) if o is None else o] for o in order)


@rule("squeeze")
def _squeeze(tagger: Tagger, given: Args, result: Tensor) -> Dims:
    dims, shape = tagger.dims(given[0]), [int(s) for s in given[0].shape]
    axes = axes_of(given.get(1, "dim"), len(dims))
    return tuple(f for i, f in enumerate(dims) if not (i in axes and shape[i] == 1))


@rule("unsqueeze")
def _unsqueeze(tagger: Tagger, given: Args, result: Tensor) -> Dims:
    dims = list(tagger.dims(given[0]))
    dims.insert(int(given.get(1, "dim")) % result.ndim, Form(1))
    return tuple(dims)


@rule("expand", "broadcast_to")
def _expand(tagger: Tagger, given: Args, result: Tensor) -> Dims:
    dims, shape = tagger.dims(given[0]), [int(s) for s in given[0].shape]
    sizes = given.rest(1, "size")
    new = []
    for back, (size, raw) in enumerate(zip(reversed(list(result.shape)), reversed(sizes), strict=True), start=1):
        own = back <= len(dims) and (int(raw) == -1 or shape[-back] != 1)
        form = dims[-back] if own else tagger.as_form(raw) if int(raw) != -1 else Form(int(size))
        if own and int(raw) != -1:
            tagger.ties.equate(dims[-back], tagger.as_form(raw), f"{tagger.where} expands to a fixed size")
        new.append(form)
    return tuple(reversed(new))


@rule("repeat", "tile")
def _repeat(tagger: Tagger, given: Args, result: Tensor) -> Dims:
    dims, shape = tagger.dims(given[0]), [int(s) for s in given[0].shape]
    times = given.rest(1, "repeats")
    pad = len(times) - len(dims)
    new = []
    for i, factor in enumerate(times):
        form, size = (Form(1), 1) if i < pad else (dims[i - pad], shape[i - pad])
        if isinstance(factor, Size) and size == 1:
            new.append(tagger.as_form(factor))
        else:
            new.append(form * int(factor))
    return tuple(new)


@rule("repeat_interleave")
def _repeat_interleave(tagger: Tagger, given: Args, result: Tensor) -> Dims:
    dims, axis = tagger.dims(given[0]), given.get(2, "dim")
    repeats = given.get(1, "repeats")
    if axis is None or isinstance(repeats, Tensor):
        return unruled(tagger, "repeat_interleave", given, [result])  # type: ignore[return-value]
    axis = int(axis) % len(dims)
    return with_size(dims, axis, dims[axis] * int(repeats))


@rule("pixel_shuffle", "pixel_unshuffle")
def _pixel_shuffle(tagger: Tagger, given: Args, result: Tensor) -> Dims:
    dims = tagger.dims(given[0])
    before, after = int(given[0].shape[1]), int(result.shape[1])
    channels = dims[1] / (before // after) if before > after else dims[1] * (after // before)
    return (dims[0], channels, *(Form(int(s)) for s in result.shape[2:]))


@rule("unfold")
def _unfold(tagger: Tagger, given: Args, result: Tensor) -> Dims:
    dims = tagger.dims(given[0])
    if len(dims) == 4 and result.ndim == 3:  # nn.functional.unfold: windows become channels
        return (dims[0], dims[1] * (int(result.shape[1]) // int(given[0].shape[1])), Form(int(result.shape[2])))
    return (*dims[: result.ndim - 1], Form(int(result.shape[-1])))


@rule("zeros", "ones", "empty", "full", "rand", "randn")
def _made(tagger: Tagger, given: Args, result: Tensor) -> Dims:
    return _sized(tagger, given.rest(0, "size"), result)


@rule("new_zeros", "new_ones", "new_empty", "new_full", "new_tensor")
def _new(tagger: Tagger, given: Args, result: Tensor) -> Dims:
    return _sized(tagger, given.rest(1, "size"), result)


def _sized(tagger: Tagger, sizes: Sequence[Any], result: Tensor) -> Dims:
    raw = [s for s in sizes if isinstance(s, int)]
    if len(raw) != result.ndim:
        return tuple(Form(int(s)) for s in result.shape)
    return tuple(tagger.as_form(s) for s in raw)


@rule("arange", "linspace", "tensor", "as_tensor", "eye", "one_hot")
def _numbers(tagger: Tagger, given: Args, result: Tensor) -> Dims:
    stop = given.args[0] if len(given.args) == 1 else None
    if result.ndim == 1 and isinstance(stop, Size):
        return (tagger.as_form(stop),)
    return tuple(Form(int(s)) for s in result.shape)
