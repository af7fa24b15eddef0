"""What joins tensors and takes them apart: cat, stack, chunk, split, indexing."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from scalesearch.models.surgery.rules.registry import Args, rule
from scalesearch.models.surgery.symbolic import Form, Size
from scalesearch.models.surgery.tagger import Dims, Tagger

# Joining and parting


@rule("cat", "concat", "concatenate")
def _cat(tagger: Tagger, given: Args, result: Tensor) -> Dims:
    tensors, axis = list(given[0]), int(given.get(1, "dim", given.kwargs.get("axis", 0)))
    tensors = [t for t in tensors if t.ndim == result.ndim]
    axis %= result.ndim
    dims = list(tagger.dims(tensors[0]))
    for tensor in tensors[1:]:
        for index, form in enumerate(tagger.dims(tensor)):
            if index == axis:
                dims[index] = dims[index] + form
            else:
                tagger.ties.equate(dims[index], form)
    return tuple(dims)


@rule("stack")
def _stack(tagger: Tagger, given: Args, result: Tensor) -> Dims:
    tensors, axis = list(given[0]), int(given.get(1, "dim", 0))
    dims = list(tagger.elementwise(tensors, [int(s) for s in tensors[0].shape]))
    dims.insert(axis % result.ndim, Form(len(tensors)))
    return tuple(dims)


@rule("chunk", "tensor_split")
def _chunk(tagger: Tagger, given: Args, result: Sequence[Tensor]) -> list[Dims]:
    axis = int(given.get(2, "dim", 0)) % given[0].ndim
    dims = tagger.dims(given[0])
    sizes = [int(part.shape[axis]) for part in result]
    if len(set(sizes)) > 1:
        tagger.ties.pin(dims[axis], f"{tagger.where} parts it unevenly")
        return [with_size(dims, axis, Form(size)) for size in sizes]
    return [with_size(dims, axis, dims[axis] / len(sizes)) for _ in sizes]


@rule("split", "split_with_sizes")
def _split(tagger: Tagger, given: Args, result: Sequence[Tensor]) -> list[Dims]:
    sizes = given.get(1, "split_size_or_sections", given.kwargs.get("split_size"))
    axis = int(given.get(2, "dim", 0)) % given[0].ndim
    dims = tagger.dims(given[0])
    if isinstance(sizes, int):
        each = tagger.as_form(sizes)
        parts = [each] * (len(result) - 1)
        parts.append(dims[axis] - each * (len(result) - 1))
        if int(result[-1].shape[axis]) == int(sizes):
            tagger.ties.equate(parts[-1], each, f"{tagger.where} splits by a fixed size")
    else:
        parts = [tagger.as_form(size) for size in sizes]
        for part, size in zip(parts[1:], sizes[1:], strict=True):
            if int(size) == int(sizes[0]):
                tagger.ties.equate(part, parts[0], f"{tagger.where} splits into fixed sizes")
        total = parts[0]
        for part in parts[1:]:
            total = total + part
        tagger.ties.equate(total, dims[axis], f"{tagger.where} splits into fixed sizes")
    return [with_size(dims, axis, part) for part in parts]


@rule("glu")
def _glu(tagger: Tagger, given: Args, result: Tensor) -> Dims:
    axis = int(given.get(1, "dim", -1)) % given[0].ndim
    return with_size(tagger.dims(given[0]), axis, tagger.dims(given[0])[axis] / 2)


def with_size(dims: Dims, axis: int, form: Form) -> Dims:
    """``dims`` with another form at ``axis``."""
    return (*dims[:axis], form, *dims[axis + 1 :])


@rule("unbind")
def _unbind(tagger: Tagger, given: Args, result: Sequence[Tensor]) -> list[Dims]:
    dims = tagger.dims(given[0])
    axis = int(given.get(1, "dim", 0)) % len(dims)
    tagger.ties.pin(dims[axis], f"{tagger.where} takes it apart one by one")
    return [(*dims[:axis], *dims[axis + 1 :])] * len(result)


@rule("narrow")
def _narrow(tagger: Tagger, given: Args, result: Tensor) -> Dims:
    axis, start, length = int(given.get(1, "dim")) % result.ndim, given.get(2, "start"), given.get(3, "length")
    item = slice(start, start + length)
    form = _sliced(tagger, tagger.dims(given[0])[axis], int(given[0].shape[axis]), item)
    return with_size(tagger.dims(given[0]), axis, form)


@rule("select")
def _select(tagger: Tagger, given: Args, result: Tensor) -> Dims:
    dims = tagger.dims(given[0])
    axis = int(given.get(1, "dim")) % len(dims)
    tagger.ties.pin(dims[axis], f"{tagger.where or 'forward'} takes one of it")
    return (*dims[:axis], *dims[axis + 1 :])


@rule("__getitem__", "getitem")
def _getitem(tagger: Tagger, given: Args, result: Tensor) -> Dims:
    return _indexed(tagger, given[0], given[1], result)


@rule("__setitem__")
def _setitem(tagger: Tagger, given: Args, _: None) -> None:
    target, index, value = given[0], given[1], given[2]
    if isinstance(value, Tensor):
        with torch._C.DisableTorchFunction():
            part = target[index]
        dims = _indexed(tagger, target, index, part)
        tagger.know(part, dims)
        tagger.elementwise([part, value], [int(s) for s in part.shape])


def _indexed(tagger: Tagger, tensor: Tensor, index: Any, result: Tensor) -> Dims:
    index = index if isinstance(index, tuple) else (index,)
    dims = list(tagger.dims(tensor))
    if any(not (i is None or i is Ellipsis or isinstance(i, (int, slice))) for i in index):
        for form in dims:
            tagger.ties.pin(form, f"{tagger.where} indexes it with a tensor")
        return tuple(Form(int(s)) for s in result.shape)
    used = sum(i is not None and i is not Ellipsis for i in index)
    if Ellipsis in [i for i in index if not isinstance(i, slice)]:
        at = next(k for k, i in enumerate(index) if i is Ellipsis)
        index = (*index[:at], *[slice(None)] * (len(dims) - used), *index[at + 1 :])
    sizes = [int(s) for s in tensor.shape]
    kept: list[Form] = []
    for item in index:
        if item is None:
            kept.append(Form(1))
            continue
        form, size = dims.pop(0), sizes.pop(0)
        if isinstance(item, slice):
            kept.append(_sliced(tagger, form, size, item))
        else:
            tagger.ties.pin(form, f"{tagger.where or 'forward'} takes one of it")
    return (*kept, *dims)


def _sliced(tagger: Tagger, form: Form, size: int, item: slice) -> Form:
    """How long ``tensor[start:stop:step]`` is."""
    if item == slice(None):
        return form
    taken = len(range(*slice(item.start, item.stop, item.step).indices(size)))
    ends = [end for end in (item.start, item.stop) if end is not None and 0 < int(end) <= size]
    if taken > 1 and form.terms and any(not isinstance(end, Size) for end in ends):
        tagger.ties.pin(form, f"{tagger.where or 'forward'} slices it at a fixed number")
    for end in (item.start, item.stop):
        one_width = len(tagger.ties.reduce(form).terms) == 1  # a sum may be twice one of its parts by chance
        if isinstance(end, Size) and end.form.terms and 2 * int(end) == size and one_width:
            tagger.ties.equate(end.form * 2, form)  # halves stay halves
    start, stop = _bound(tagger, form, size, item.start, 0), _bound(tagger, form, size, item.stop, size)
    length = stop - start
    step = 1 if item.step is None else int(item.step)
    if step != 1:
        if taken * step != int(length.at(tagger.ties.base)):
            tagger.ties.pin(form, f"{tagger.where} takes every {step}th of it")
            return Form(taken)
        return length / step
    return length


def _bound(tagger: Tagger, form: Form, size: int, value: int | None, default: int) -> Form:
    if value is None:
        return form if default else Form(0)
    if int(value) == size and isinstance(value, Size):
        tagger.ties.equate(form, value.form)
    if int(value) >= size:
        return form
    if int(value) < 0:
        return form + tagger.as_form(value)
    return tagger.as_form(value)
