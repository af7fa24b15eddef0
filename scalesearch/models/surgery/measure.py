"""What a skeleton costs when it runs: torch's own counter, what training keeps, and where its layers are used."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from scalesearch.errors import SurgeryError
from scalesearch.models.surgery.meta_ops import QuickNorms, call
from scalesearch.models.surgery.tagger import BATCH, flatten


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


def _run(module: nn.Module, resolution: int) -> Any:
    try:
        device = next((p.device for p in module.parameters()), torch.device("cpu"))
        return module(torch.zeros(BATCH, 3, resolution, resolution, device=device))
    except SurgeryError:
        raise
    except Exception as failure:
        reason = str(failure).strip().partition("\n")[0] or type(failure).__name__
        raise SurgeryError("forward", f"it cannot run at {resolution} px: {reason}") from failure


def positions(module: nn.Module, resolution: int) -> list[tuple[int, int]]:
    """Where each layer is used, in the order they run, in eval mode; it is made sure that it runs in train mode too.

    Raises:
        SurgeryError: the network cannot run at ``resolution``.
    """
    watch = _Positions()
    training = module.training
    try:
        with torch.no_grad(), watch:
            module.eval()
            _run(module, resolution)
        with torch.no_grad(), QuickNorms():
            module.train()
            _run(module, resolution)
    finally:
        module.train(training)
    return watch.seen


def measure(module: nn.Module, resolution: int) -> MeasuredCost:
    """Run forward in eval mode under torch's counter, then forward and backward in train mode."""
    from torch.utils.flop_counter import FlopCounterMode

    training = module.training
    try:
        with torch.no_grad(), QuickNorms(), FlopCounterMode(display=False) as counter:
            module.eval()
            _run(module, resolution)
        kept = _Kept(module)
        with kept, QuickNorms():
            module.train()
            outputs = _run(module, resolution)
        total = sum(output.sum() for output in flatten(outputs) if output.requires_grad)
        if isinstance(total, Tensor):
            torch.autograd.backward(total)
    finally:
        module.train(training)
        for parameter in module.parameters():
            parameter.grad = None
    by_operator = counter.get_flop_counts().get("Global", {})
    layers = sum(int(flops) for operator, flops in by_operator.items() if "bmm" not in str(operator))
    return MeasuredCost(layers // 2 // BATCH, kept.elements // BATCH)


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
