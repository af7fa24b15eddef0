"""How each torch operation passes dimensions on, and which it needs to be equal.

A rule gets the tagger, the call's arguments by position and name, and the result; it returns the dimensions of the
result's tensors. What has no rule is taken as elementwise where its shape fits, and otherwise keeps the widths that
flow into it as they are. Sizes that a rule gets wrong do not run, or count differently: `proof` refuses them.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from scalesearch.errors import SurgeryError
from scalesearch.surgery.quick import call
from scalesearch.surgery.sizes import Form, Size
from scalesearch.surgery.trace import BATCH, LAYER, Dims, Tagger, flatten

Rule = Callable[[Tagger, "Args", Any], Any]
RULES: dict[str, Rule] = {}


class Args:
    """The arguments of a call, by position or by name."""

    def __init__(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        self.args, self.kwargs = args, kwargs

    def get(self, index: int, name: str, default: Any = None) -> Any:
        if len(self.args) > index:
            return self.args[index]
        return self.kwargs.get(name, default)

    def __getitem__(self, index: int) -> Any:
        return self.args[index] if len(self.args) > index else list(self.kwargs.values())[index - len(self.args)]

    def rest(self, start: int, name: str) -> tuple[Any, ...]:
        """Sizes given one by one or as one sequence."""
        rest = self.args[start:] or (self.kwargs[name],)
        return tuple(rest[0]) if len(rest) == 1 and isinstance(rest[0], (tuple, list)) else rest


def rule(*names: str) -> Callable[[Rule], Rule]:
    def add(function: Rule) -> Rule:
        RULES.update(dict.fromkeys(names, function))
        return function

    return add


def follow(tagger: Tagger, func: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Call ``func`` and write down what becomes of the dimensions."""
    name = getattr(func, "__name__", "")
    if name == "__get__":
        return _property(tagger, func, args[0])
    if name in ("size", "numel", "dim", "ndimension", "nelement", "stride"):
        return _query(tagger, name, func, args, kwargs)
    given = Args(args, kwargs)
    before = {id(t): tagger.dims(t) for t in flatten([args, kwargs])}
    result = call(func, args, kwargs)
    outputs = list(flatten(result))
    if not outputs:
        if name == "__setitem__":
            _setitem(tagger, given)
        return result
    found = RULES.get(name.strip("_") if name not in RULES else name)
    dims = found(tagger, given, result) if found else _unruled(tagger, name, given, outputs)
    _keep(tagger, result, dims, before)
    return result


def _keep(tagger: Tagger, result: Any, dims: Any, before: dict[int, Dims]) -> None:
    if isinstance(result, Tensor):
        if id(result) in before and len(before[id(result)]) == len(dims):  # in place, or an identity
            for old, new in zip(before[id(result)], dims, strict=True):
                tagger.ties.equate(old, new)
            return
        tagger.know(result, dims)
        return
    for tensor, each in zip(flatten(result), dims, strict=False):
        tagger.know(tensor, each)


def _property(tagger: Tagger, func: Any, tensor: Tensor) -> Any:
    what = func.__self__.__name__
    if what == "shape":
        return _shape(tagger, tensor)
    result = func(tensor)
    if isinstance(result, Tensor):
        dims = tagger.dims(tensor)
        if what in ("T", "mT", "H", "mH") and len(dims) >= 2:
            dims = tuple(reversed(dims)) if what in ("T", "H") else (*dims[:-2], dims[-1], dims[-2])
        if len(dims) == result.ndim and result is not tensor:
            tagger.know(result, dims)
    return result


def _shape(tagger: Tagger, tensor: Tensor) -> torch.Size:
    with torch._C.DisableTorchFunction():
        shape = tuple(tensor.shape)
    return torch.Size([tagger.as_size(s, f) for s, f in zip(shape, tagger.dims(tensor), strict=True)])


def _query(tagger: Tagger, name: str, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    if name != "size":
        return func(*args, **kwargs)
    shape = _shape(tagger, args[0])
    dim = Args(args, kwargs).get(1, "dim")
    return shape if dim is None else shape[dim]


def _unruled(tagger: Tagger, name: str, given: Args, outputs: list[Tensor]) -> list[Dims] | Dims:
    inputs = list(flatten([given.args, given.kwargs]))
    result: list[Dims] = []
    for output in outputs:
        shape = tuple(int(s) for s in output.shape)
        try:
            fits = bool(inputs) and _broadcast(inputs) == shape
        except RuntimeError:
            fits = False
        if fits:
            result.append(tagger.elementwise(inputs, shape))
            for tensor in inputs:
                if mark := tagger.marked(tensor):
                    tagger.mark(output, mark)
        else:
            for tensor in inputs:
                for form in tagger.dims(tensor):
                    tagger.ties.pin(form, f"{name or 'an operation'} in {tagger.where or 'forward'} has no rule")
            result.append(tuple(Form(size) for size in shape))
    return result if len(result) > 1 else result[0]


def _broadcast(tensors: Sequence[Tensor]) -> tuple[int, ...]:
    shapes = [tuple(int(s) for s in t.shape) for t in tensors]
    return tuple(torch.broadcast_shapes(*shapes))  # type: ignore[no-untyped-call]


# Layers


@rule("conv1d", "conv2d", "conv3d")
def _conv(tagger: Tagger, given: Args, result: Tensor) -> Dims:
    image, weight, bias = given[0], given.get(1, "weight"), given.get(2, "bias")
    dims, weights, ties = tagger.dims(image), tagger.dims(weight), tagger.ties
    groups = given.get(6, "groups", 1)
    if int(image.shape[0]) < BATCH:
        raise SurgeryError(tagger.where, "it makes a convolution's weights for each image (conditional convolution)")
    ties.promote(weights[0], LAYER)
    _grouped(tagger, dims[1], weights[1], weights[0], int(weight.shape[1]), int(weight.shape[0]), groups)
    if bias is not None:
        ties.equate(tagger.dims(bias)[0], weights[0])
    where = _moved(dims[2:], image.shape[2:], result.shape[2:])
    tagger.layer(weight, dims[1], weights[0], tagger.as_form(groups), where)
    return (dims[0], weights[0], *where)


def _grouped(tagger: Tagger, channels: Form, inner: Form, outer: Form, each: int, out: int, groups: int) -> None:
    """A convolution in groups keeps the channels of a group and grows in groups; depthwise is a group width of 1."""
    ties, form = tagger.ties, tagger.as_form(groups)
    if int(groups) == 1:
        ties.equate(channels, inner)
        return
    if tagger.keep_groups:
        ties.pin(form, "the number of groups is kept")
        ties.equate(channels, inner * int(groups))
        share = ties.unknown(out // int(groups), "channels of one group", 1)
        ties.equate(outer, share * int(groups))
        return
    where = f"the group width of {tagger.where}"
    ties.pin(inner, where)
    ties.equate(channels, form * each, where)
    ties.equate(outer, form * (out // int(groups)), where)


@rule("conv_transpose1d", "conv_transpose2d", "conv_transpose3d")
def _conv_transpose(tagger: Tagger, given: Args, result: Tensor) -> Dims:
    image, weight, bias = given[0], given.get(1, "weight"), given.get(2, "bias")
    dims, weights, groups = tagger.dims(image), tagger.dims(weight), int(given.get(6, "groups", 1))
    tagger.ties.equate(dims[1], weights[0])
    if groups > 1:
        for form in (dims[1], weights[1]):
            tagger.ties.pin(form, f"the groups of {tagger.where}")
    tagger.ties.promote(weights[1], LAYER)
    outputs = weights[1] * groups
    if bias is not None:
        tagger.ties.equate(tagger.dims(bias)[0], outputs)
    tagger.layer(weight, dims[1], outputs, Form(groups), dims[2:])
    return (dims[0], outputs, *_moved(dims[2:], image.shape[2:], result.shape[2:]))


@rule("linear")
def _linear(tagger: Tagger, given: Args, result: Tensor) -> Dims:
    x, weight, bias = given[0], given.get(1, "weight"), given.get(2, "bias")
    dims, weights = tagger.dims(x), tagger.dims(weight)
    tagger.ties.promote(weights[0], LAYER)
    tagger.ties.equate(dims[-1], weights[1], f"the inputs of {tagger.where} are fixed")
    if bias is not None:
        tagger.ties.equate(tagger.dims(bias)[0], weights[0])
    tagger.layer(weight, dims[-1], weights[0], Form(1), dims[1:-1])
    return (*dims[:-1], weights[0])


def _moved(dims: Dims, before: Sequence[int], after: Sequence[int]) -> Dims:
    """Positions after a window has moved over them: the same form where the number of them is the same."""
    return tuple(
        form + (int(new) - int(old)) if form.terms else Form(int(new))
        for form, old, new in zip(dims, before, after, strict=True)
    )


@rule("batch_norm", "instance_norm")
def _batch_norm(tagger: Tagger, given: Args, result: Tensor) -> Dims:
    dims = tagger.dims(given[0])
    for index, name in enumerate(("running_mean", "running_var", "weight", "bias"), start=1):
        tensor = given.get(index, name)
        if tensor is not None:
            tagger.ties.equate(tagger.dims(tensor)[0], dims[1], f"{tagger.where} normalises a fixed number")
    return dims


@rule("layer_norm", "rms_norm")
def _layer_norm(tagger: Tagger, given: Args, result: Tensor) -> Dims:
    dims, shape = tagger.dims(given[0]), given.get(1, "normalized_shape")
    for form, size in zip(dims[-len(shape) :], shape, strict=True):
        tagger.ties.equate(form, tagger.as_form(size), f"{tagger.where} normalises a fixed shape")
    for tensor in (given.get(2, "weight"), given.get(3, "bias")):
        if tensor is not None:
            for form, own in zip(dims[-len(shape) :], tagger.dims(tensor), strict=True):
                tagger.ties.equate(form, own)
    return dims


@rule("group_norm")
def _group_norm(tagger: Tagger, given: Args, result: Tensor) -> Dims:
    dims, groups = tagger.dims(given[0]), given.get(1, "num_groups")
    if int(groups) > 1:
        share = tagger.ties.unknown(int(given[0].shape[1]) // int(groups), "channels of one group")
        tagger.ties.multiply([dims[1]], [tagger.as_form(groups), share])
    for index, name in ((2, "weight"), (3, "bias")):
        tensor = given.get(index, name)
        if tensor is not None:
            tagger.ties.equate(tagger.dims(tensor)[0], dims[1])
    return dims


@rule("prelu")
def _prelu(tagger: Tagger, given: Args, result: Tensor) -> Dims:
    dims, weight = tagger.dims(given[0]), given.get(1, "weight")
    if weight.numel() > 1:
        tagger.ties.equate(tagger.dims(weight)[0], dims[1])
    return dims


@rule("scaled_dot_product_attention", "multi_head_attention_forward")
def _attention(tagger: Tagger, given: Args, result: Any) -> Any:
    tagger.found.attention = tagger.found.attention or tagger.where
    return (
        [tagger.dims(given[0])] * len(list(flatten(result)))
        if not isinstance(result, Tensor)
        else tagger.dims(given[0])
    )


@rule("softmax")
def _softmax(tagger: Tagger, given: Args, result: Tensor) -> Dims:
    if tagger.marked(given[0]) == "scores":
        tagger.found.attention = tagger.found.attention or tagger.where
    return tagger.dims(given[0])


@rule("matmul", "bmm", "mm", "rmatmul")
def _matmul(tagger: Tagger, given: Args, result: Tensor) -> Dims:
    a, b = tagger.dims(given[0]), tagger.dims(given[1])
    tagger.ties.equate(a[-1], b[-2] if len(b) > 1 else b[0])
    names = tagger.names
    if id(given[0]) not in names and id(given[1]) not in names and min(int(s) for s in result.shape[-2:]) > 1:
        tagger.mark(result, "scores")
    batch = list(a[:-2]) if len(a) >= len(b) else list(b[:-2])
    return (*batch, *a[-2:-1], *b[len(b) - 1 if len(b) > 1 else 1 :])


@rule("addmm", "baddbmm")
def _addmm(tagger: Tagger, given: Args, result: Tensor) -> Dims:
    a, b = tagger.dims(given[1]), tagger.dims(given[2])
    tagger.ties.equate(a[-1], b[-2])
    return (*a[:-1], b[-1])


@rule("einsum")
def _einsum(tagger: Tagger, given: Args, result: Tensor) -> Dims:
    equation = given[0].replace(" ", "")
    operands = list(flatten(given.args[1:]))
    left, _, right = equation.partition("->")
    letters: dict[str, Form] = {}
    for names, tensor in zip(left.split(","), operands, strict=True):
        for letter, form in zip(names, tagger.dims(tensor), strict=True):
            if letter in letters:
                tagger.ties.equate(letters[letter], form)
            letters.setdefault(letter, form)
    if len(operands) == 2 and all(id(t) not in tagger.names for t in operands):
        tagger.mark(result, "scores")
    return tuple(letters[letter] for letter in right)


# Windows, positions, sums


@rule(
    "max_pool2d", "_max_pool2d", "max_pool1d", "boolean_dispatch", "avg_pool2d", "avg_pool1d", "lp_pool2d",
    "adaptive_avg_pool2d", "adaptive_max_pool2d", "adaptive_avg_pool1d", "adaptive_max_pool1d", "interpolate",
    "upsample", "max_pool2d_with_indices", "upsample_nearest2d", "upsample_bilinear2d", "fractional_max_pool2d",
    "local_response_norm", "max_pool3d", "avg_pool3d", "adaptive_avg_pool3d", "pixel_dropout",
)  # fmt: skip
def _window(tagger: Tagger, given: Args, result: Any) -> Any:
    image = given[0]

    def one(out: Tensor) -> Dims:
        dims = tagger.dims(image)
        return (*dims[:2], *_moved(dims[2:], image.shape[2:], out.shape[2:]))

    return one(result) if isinstance(result, Tensor) else [one(out) for out in flatten(result)]


@rule("pad")
def _pad(tagger: Tagger, given: Args, result: Tensor) -> Dims:
    dims, amounts = list(tagger.dims(given[0])), given.get(1, "pad")
    for back in range(len(amounts) // 2):
        left, right = amounts[2 * back], amounts[2 * back + 1]
        dims[-1 - back] = dims[-1 - back] + tagger.as_form(left) + tagger.as_form(right)
    return tuple(dims)


def _axes(value: Any, ndim: int) -> list[int]:
    if value is None:
        return list(range(ndim))
    axes = [value] if isinstance(value, int) else list(value)
    return [int(axis) % ndim for axis in axes]


@rule(
    "mean", "sum", "amax", "amin", "max", "min", "var", "std", "norm", "logsumexp", "argmax", "argmin", "prod",
    "var_mean", "std_mean", "all", "any", "nanmean", "median", "count_nonzero", "vector_norm", "linalg_vector_norm",
)  # fmt: skip
def _reduce(tagger: Tagger, given: Args, result: Any) -> Any:
    dims = tagger.dims(given[0])
    first = next(iter(flatten(result)))
    other = given.get(1, "other")
    if isinstance(other, Tensor):
        return tagger.elementwise([given[0], other], [int(s) for s in first.shape])
    axis = given.kwargs.get("dim", given.kwargs.get("axis", _first_axis(given.args[1:])))
    axes = _axes(axis, len(dims))
    if first.ndim == len(dims):
        kept = tuple(Form(1) if i in axes else form for i, form in enumerate(dims))
    else:
        kept = tuple(form for i, form in enumerate(dims) if i not in axes)
    return kept if isinstance(result, Tensor) else [kept] * len(list(flatten(result)))


def _first_axis(args: tuple[Any, ...]) -> Any:
    """The axis among positional arguments; ``norm`` has its order before it."""
    for value in args:
        if isinstance(value, (bool, float, str)):
            continue
        return value
    return None


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
        return [_with(dims, axis, Form(size)) for size in sizes]
    return [_with(dims, axis, dims[axis] / len(sizes)) for _ in sizes]


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
        total = parts[0]
        for part in parts[1:]:
            total = total + part
        tagger.ties.equate(total, dims[axis], f"{tagger.where} splits into fixed sizes")
    return [_with(dims, axis, part) for part in parts]


def _with(dims: Dims, axis: int, form: Form) -> Dims:
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
    return _with(tagger.dims(given[0]), axis, form)


@rule("select")
def _select(tagger: Tagger, given: Args, result: Tensor) -> Dims:
    dims = tagger.dims(given[0])
    axis = int(given.get(1, "dim")) % len(dims)
    tagger.ties.pin(dims[axis], f"{tagger.where or 'forward'} takes one of it")
    return (*dims[:axis], *dims[axis + 1 :])


@rule("__getitem__", "getitem")
def _getitem(tagger: Tagger, given: Args, result: Tensor) -> Dims:
    return _indexed(tagger, given[0], given[1], result)


def _setitem(tagger: Tagger, given: Args) -> None:
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
    if result.ndim == 2 and tensor.ndim == 4 and int(tensor.shape[2]) * int(tensor.shape[3]) > 1:
        tagger.note_flattening(tensor)
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
    source = _axes(given.get(1, "source"), len(dims))
    target = _axes(given.get(2, "destination"), len(dims))
    order: list[int | None] = [None] * len(dims)
    for s, t in zip(source, target, strict=True):
        order[t] = s
    rest = iter(i for i in range(len(dims)) if i not in source)
    return tuple(dims[next(rest) if o is None else o] for o in order)


@rule("squeeze")
def _squeeze(tagger: Tagger, given: Args, result: Tensor) -> Dims:
    dims, shape = tagger.dims(given[0]), [int(s) for s in given[0].shape]
    axes = _axes(given.get(1, "dim"), len(dims))
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
        return _unruled(tagger, "repeat_interleave", given, [result])  # type: ignore[return-value]
    axis = int(axis) % len(dims)
    return _with(dims, axis, dims[axis] * int(repeats))


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
