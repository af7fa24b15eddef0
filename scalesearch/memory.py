"""Training memory: an estimate from the spec, and what one real step keeps."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from scalesearch.cost import Cost, training_bytes
from scalesearch.optim import OPTIMIZER_SLOTS
from scalesearch.recipe import TrainSettings


def estimated_memory(cost: Cost, settings: TrainSettings, precision: str) -> int:
    """Bytes that one training step is expected to take: `training_bytes` with the recipe's settings."""
    return training_bytes(
        cost,
        settings.batch_size,
        optimizer_slots=OPTIMIZER_SLOTS[settings.optimizer],
        ema=settings.ema > 0,
        element_bytes=4 if precision == "fp32" else 2,
    )


class SavedTensors(torch.autograd.graph.saved_tensors_hooks):
    """While entered, counts the bytes autograd keeps for backward: each storage once, the model's own left out."""

    def __init__(self, model: nn.Module) -> None:
        seen = {p.untyped_storage().data_ptr() for p in (*model.parameters(), *model.buffers())}
        self.bytes = 0

        def keep(tensor: Tensor) -> Tensor:
            storage = tensor.untyped_storage()
            if storage.data_ptr() not in seen:
                seen.add(storage.data_ptr())
                self.bytes += storage.nbytes()
            return tensor

        super().__init__(keep, lambda tensor: tensor)


def state_bytes(model: nn.Module, optimizer: torch.optim.Optimizer, *, averaged: bool) -> int:
    """Weights, gradients, optimiser state and, where there is one, the weight average."""
    weights = sum(p.numel() * p.element_size() for p in model.parameters())
    tensors = (value for state in optimizer.state.values() for value in state.values() if torch.is_tensor(value))
    return weights * (2 + averaged) + sum(t.numel() * t.element_size() for t in tensors)
