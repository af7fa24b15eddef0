"""Operations with weights: convolutions, linear layers, norms, attention, products of matrices."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from scalesearch.errors import SurgeryError
from scalesearch.models.surgery.rules.reductions import moved
from scalesearch.models.surgery.rules.registry import Args, rule
from scalesearch.models.surgery.symbolic import Form
from scalesearch.models.surgery.tagger import BATCH, LAYER, Dims, Tagger, flatten

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
    where = moved(dims[2:], image.shape[2:], result.shape[2:])
    tagger.layer(weight, dims[1], weights[0], tagger.as_form(groups), where)
    tagger.mark(result, "a layer's")
    return (dims[0], weights[0], *where)


def _grouped(tagger: Tagger, channels: Form, inner: Form, outer: Form, each: int, out: int, groups: int) -> None:
    """A convolution in groups keeps the channels of a group and grows in groups; depthwise is a group width of 1."""
    ties, form = tagger.ties, tagger.as_form(groups)
    if int(groups) == 1:
        ties.equate(channels, inner)
        return
    if tagger.keep_groups and each > 1:
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
    tagger.mark(result, "a layer's")
    return (dims[0], outputs, *moved(dims[2:], image.shape[2:], result.shape[2:]))


@rule("linear")
def _linear(tagger: Tagger, given: Args, result: Tensor) -> Dims:
    x, weight, bias = given[0], given.get(1, "weight"), given.get(2, "bias")
    dims, weights = tagger.dims(x), tagger.dims(weight)
    tagger.ties.promote(weights[0], LAYER)
    tagger.ties.equate(dims[-1], weights[1], f"the inputs of {tagger.where} are fixed")
    if bias is not None:
        tagger.ties.equate(tagger.dims(bias)[0], weights[0])
    tagger.layer(weight, dims[-1], weights[0], Form(1), dims[1:-1])
    tagger.mark(result, "a layer's")
    return (*dims[:-1], weights[0])


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
    tagger.found.attention = tagger.found.attention or tagger.where or "forward"
    return (
        [tagger.dims(given[0])] * len(list(flatten(result)))
        if not isinstance(result, Tensor)
        else tagger.dims(given[0])
    )


@rule("softmax")
def _softmax(tagger: Tagger, given: Args, result: Tensor) -> Dims:
    if tagger.marked(given[0]) == "scores":
        tagger.found.attention = tagger.found.attention or tagger.where or "forward"
    elif mark := tagger.marked(given[0]):
        tagger.mark(result, mark)
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


@rule("mv")
def _mv(tagger: Tagger, given: Args, result: Tensor) -> Dims:
    matrix, vector = tagger.dims(given[0]), tagger.dims(given[1])
    tagger.ties.equate(matrix[-1], vector[0])
    return (matrix[0],)


@rule("dot", "vdot", "inner")
def _dot(tagger: Tagger, given: Args, result: Tensor) -> Dims:
    first, second = tagger.dims(given[0]), tagger.dims(given[1])
    tagger.ties.equate(first[-1], second[-1])
    return (*first[:-1], *second[:-1])


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
