"""Batch norm on the meta device: torch works it out from a dozen smaller operations, where a shape is all it takes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode


class _Norm(torch.autograd.Function):
    """Keeps for backward what batch norm keeps, and computes nothing."""

    @staticmethod
    def forward(ctx: Any, image: Tensor, weight: Tensor | None, bias: Tensor | None) -> Tensor:
        ctx.save_for_backward(image, weight, bias)
        return torch.empty_like(image)

    @staticmethod
    def backward(ctx: Any, *gradients: Any) -> Any:
        return tuple(None if t is None else torch.empty_like(t) for t in ctx.saved_tensors)


def _batch_norm(
    input: Tensor,
    running_mean: Tensor | None,
    running_var: Tensor | None,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    *_: Any,
    **__: Any,
) -> Tensor:
    for tensor in (running_mean, running_var, weight, bias):
        if tensor is not None and int(tensor.shape[0]) != int(input.shape[1]):
            raise RuntimeError(f"a norm of {int(tensor.shape[0])} channels got {int(input.shape[1])}")
    result: Tensor = _Norm.apply(input, weight, bias)
    return result


def call(func: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """``func(*args, **kwargs)``, by the short way where there is one."""
    if getattr(func, "__name__", "") == "batch_norm":
        image = args[0] if args else kwargs["input"]
        if isinstance(image, Tensor) and image.is_meta:
            return _batch_norm(*args, **kwargs)
    return func(*args, **kwargs)


class QuickNorms(TorchFunctionMode):
    """While entered, batch norms on the meta device only pass shapes on."""

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        return call(func, args, kwargs or {})
