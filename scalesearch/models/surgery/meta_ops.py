"""Operations that torch works out on the meta device from a dozen smaller ones, where a shape is all it takes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode


class _Norm(torch.autograd.Function):
    """Keeps for backward what a norm keeps, and computes nothing."""

    @staticmethod
    def forward(ctx: Any, image: Tensor, weight: Tensor | None, bias: Tensor | None) -> Tensor:
        ctx.save_for_backward(image, weight, bias)
        return torch.empty_like(image)

    @staticmethod
    def backward(ctx: Any, *gradients: Any) -> Any:
        return tuple(None if t is None else torch.empty_like(t) for t in ctx.saved_tensors)


def _need(condition: bool, what: str) -> None:
    if not condition:
        raise RuntimeError(what)


def _batch_norm(
    image: Tensor,
    running_mean: Tensor | None,
    running_var: Tensor | None,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    *_: Any,
    **__: Any,
) -> Any:
    for tensor in (running_mean, running_var, weight, bias):
        if tensor is not None:
            have, came = int(tensor.shape[0]), int(image.shape[1])
            _need(have == came, f"a norm of {have} channels got {came}")
    return _Norm.apply(image, weight, bias)


def _group_norm(
    image: Tensor, num_groups: int, weight: Tensor | None = None, bias: Tensor | None = None, *_: Any, **__: Any
) -> Any:
    channels = int(image.shape[1])
    _need(channels % int(num_groups) == 0, f"{channels} channels cannot be parted into {int(num_groups)} groups")
    _need(weight is None or int(weight.shape[0]) == channels, f"a norm of other channels got {channels}")
    return _Norm.apply(image, weight, bias)


def _layer_norm(
    image: Tensor, shape: Sequence[int], weight: Tensor | None = None, bias: Tensor | None = None, *_: Any, **__: Any
) -> Any:
    have, came = [int(size) for size in shape], [int(size) for size in image.shape[-len(shape) :]]
    _need(have == came, f"a norm of {have} got {came}")
    _need(weight is None or [int(size) for size in weight.shape] == came, f"a norm of another shape got {came}")
    return _Norm.apply(image, weight, bias)


class _Clamp(torch.autograd.Function):
    """Keeps its input for backward, as hardtanh and hardswish do (in place, they keep a copy), and computes nothing."""

    @staticmethod
    def forward(ctx: Any, image: Tensor) -> Tensor:
        ctx.save_for_backward(image)
        return torch.empty_like(image)

    @staticmethod
    def backward(ctx: Any, *gradients: Any) -> Any:
        return torch.empty_like(ctx.saved_tensors[0])


def _clamp(image: Tensor, *_: Any, **__: Any) -> Any:
    return _Clamp.apply(image)


SHORT: dict[str, Callable[..., Any]] = {
    "batch_norm": _batch_norm,
    "group_norm": _group_norm,
    "layer_norm": _layer_norm,
    "relu6": _clamp,
    "hardtanh": _clamp,
    "hardswish": _clamp,
}


def call(func: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """``func(*args, **kwargs)``, by the short way where there is one."""
    short = SHORT.get(getattr(func, "__name__", ""))
    if short is not None and args and isinstance(args[0], Tensor) and args[0].is_meta:
        return short(*args, **kwargs)
    return func(*args, **kwargs)


class QuickNorms(TorchFunctionMode):
    """While entered, norms and clamps on the meta device only pass shapes on."""

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        return call(func, args, kwargs or {})
