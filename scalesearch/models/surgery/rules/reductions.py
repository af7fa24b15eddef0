"""Pools, paddings, means and sums over axes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import Tensor

from scalesearch.models.surgery.rules.registry import Args, rule
from scalesearch.models.surgery.symbolic import Form
from scalesearch.models.surgery.tagger import Dims, Tagger, flatten


def moved(dims: Dims, before: Sequence[int], after: Sequence[int]) -> Dims:
    """Positions after a window has moved over them: the same form where the number of them is the same."""
    return tuple(
        form + (int(new) - int(old)) if form.terms else Form(int(new))
        for form, old, new in zip(dims, before, after, strict=True)
    )


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
        return (*dims[:2], *moved(dims[2:], image.shape[2:], out.shape[2:]))

    if isinstance(result, Tensor) and tagger.marked(image) == "a layer's":
        tagger.mark(result, "a layer's")
    return one(result) if isinstance(result, Tensor) else [one(out) for out in flatten(result)]


@rule("pad")
def _pad(tagger: Tagger, given: Args, result: Tensor) -> Dims:
    dims, amounts = list(tagger.dims(given[0])), given.get(1, "pad")
    for back in range(len(amounts) // 2):
        left, right = amounts[2 * back], amounts[2 * back + 1]
        if dims[-1 - back].terms and int(left) + int(right):
            _pad_channels(tagger, dims[-1 - back], (left, right))
        dims[-1 - back] = dims[-1 - back] + tagger.as_form(left) + tagger.as_form(right)
    return tuple(dims)


def _pad_channels(tagger: Tagger, channels: Form, amounts: Sequence[int]) -> None:
    """Amounts that the network keeps are widths; plain numbers would not grow with what they are added to."""
    for amount in amounts:
        form = tagger.as_form(amount)
        if form.terms:
            tagger.ties.know_width(form)
        elif int(amount):
            tagger.ties.pin(channels, f"{tagger.where or 'forward'} pads it by a fixed number")


def axes_of(value: Any, ndim: int) -> list[int]:
    """An argument that names one axis, several or all, as axes counted from the front."""
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
    axes = axes_of(axis, len(dims))
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
