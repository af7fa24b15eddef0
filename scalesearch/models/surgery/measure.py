"""What a skeleton costs when it runs: torch's own counter, what training keeps, and where its layers are used."""

from __future__ import annotations

import math
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from scalesearch.errors import SurgeryError, why_it_failed
from scalesearch.image_size import Resolution, image_shape
from scalesearch.models.surgery.meta_ops import QuickNorms, call
from scalesearch.models.surgery.tagger import BATCH, flatten

BACKWARD = "backward"
"""Where a network fails that runs forward but not backward."""


@dataclass(frozen=True)
class MeasuredCost:
    """Of one image: MACs of convolutions and linear layers (products of two activations are not in it), and the
    elements that training keeps for backward."""

    macs: int
    saved: int


class _Positions(TorchFunctionMode):
    """Per call of a convolution or linear layer: per-image output positions, and how often its weight is applied."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[tuple[int, int]] = []

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        result = call(func, args, kwargs or {})
        name = getattr(func, "__name__", "")
        if name in ("conv1d", "conv2d", "conv3d"):
            self._add(math.prod(result.shape[2:]), int(result.shape[0]))
        elif name.startswith("conv_transpose"):
            self._add(math.prod(args[0].shape[2:]), int(result.shape[0]))
        elif name == "linear":
            self._add(math.prod(result.shape[1:-1]), int(result.shape[0]))
        return result

    def _add(self, positions: int, rows: int) -> None:
        self.seen.append((positions, max(1, rows // BATCH)))


def _run(module: nn.Module, resolution: Resolution, channels: int) -> Any:
    try:
        device = next((p.device for p in module.parameters()), torch.device("cpu"))
        outputs = module(torch.zeros(BATCH, *image_shape(channels, resolution), device=device))
    except SurgeryError:
        raise
    except Exception as failure:
        raise SurgeryError("forward", f"it cannot run at {resolution} px: {why_it_failed(failure)}") from failure
    for output in flatten(outputs):
        rows = int(output.shape[0]) if output.ndim else BATCH
        if rows > BATCH and rows % BATCH == 0:
            raise SurgeryError(
                "forward", f"at {resolution} px it makes {rows // BATCH} rows of one image: it reshapes to a fixed size"
            )
    return outputs


def positions(module: nn.Module, resolution: Resolution, channels: int = 3) -> list[tuple[int, int]]:
    """Where each layer is used, in the order they run, in eval mode; it is made sure that it runs in train mode too.

    Raises:
        SurgeryError: the network cannot run at ``resolution``.
    """
    watch = _Positions()
    training = module.training
    try:
        with torch.no_grad(), watch:
            module.eval()
            _run(module, resolution, channels)
        with torch.no_grad(), QuickNorms():
            module.train()
            _run(module, resolution, channels)
    finally:
        module.train(training)
    return watch.seen


def measure(module: nn.Module, resolution: Resolution, channels: int = 3) -> MeasuredCost:
    """Run forward in eval mode under torch's counter, then forward and backward in train mode.

    Raises:
        SurgeryError: the network cannot run forward or backward at ``resolution``.
    """
    try:
        return _measured(module, resolution, channels, QuickNorms)
    except SurgeryError as failure:
        if failure.layer != BACKWARD:
            raise
        return _measured(
            module, resolution, channels, nullcontext
        )  # a checkpoint holds what it runs again against the first run


def _measured(
    module: nn.Module, resolution: Resolution, channels: int, short: Callable[[], AbstractContextManager[Any]]
) -> MeasuredCost:
    from torch.utils.flop_counter import FlopCounterMode

    training = module.training
    try:
        with torch.no_grad(), short(), FlopCounterMode(display=False) as counter:
            module.eval()
            _run(module, resolution, channels)
        kept = _Kept(module)
        with kept, short():
            module.train()
            outputs = _run(module, resolution, channels)
        total = sum(output.sum() for output in flatten(outputs) if output.requires_grad)
        if isinstance(total, Tensor):
            _backward(total)
    finally:
        module.train(training)
        for parameter in module.parameters():
            parameter.grad = None
    by_operator = counter.get_flop_counts().get("Global", {})
    layers = sum(int(flops) for operator, flops in by_operator.items() if "bmm" not in str(operator))
    return MeasuredCost(layers // 2 // BATCH, kept.elements // BATCH)


def _backward(total: Tensor) -> None:
    try:
        torch.autograd.backward(total)
    except Exception as failure:
        reason = str(failure).strip().partition("\n")[0] or type(failure).__name__
        raise SurgeryError(BACKWARD, f"it cannot be trained: {reason}") from failure


class _Kept(torch.autograd.graph.saved_tensors_hooks):
    """While entered, counts the elements kept for backward; the model's own left out, shared ones once."""

    def __init__(self, module: nn.Module) -> None:
        own = {t.untyped_storage()._cdata for t in (*module.parameters(), *module.buffers())}
        seen: dict[int, Tensor] = {}
        self.elements = 0

        def keep(tensor: Tensor) -> Tensor:
            storage = tensor.untyped_storage()
            if storage._cdata not in seen and storage._cdata not in own:
                seen[storage._cdata] = tensor
                self.elements += storage.nbytes() // 4
            return tensor

        super().__init__(keep, lambda tensor: tensor)
