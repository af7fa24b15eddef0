"""Bytes that a training will take, before it starts."""

from __future__ import annotations

import torch
from torch import nn

from scalesearch.scaling.cost import Cost
from scalesearch.settings import TrainSettings
from scalesearch.training.optim import OPTIMIZER_SLOTS


def training_bytes(cost: Cost, batch_size: int, *, optimizer_slots: int, ema: bool, element_bytes: int = 4) -> int:
    """Estimate of the memory one training step needs: weights, gradients, optimiser state, EMA, saved activations.

    ``element_bytes`` is 4 for fp32 and 2 for autocast's activations; weights and their copies are always fp32.
    Workspaces of convolution libraries and the allocator's slack are not in it.
    """
    copies = 2 + optimizer_slots + ema
    return 4 * cost.params * copies + element_bytes * cost.saved * batch_size


def estimated_memory(cost: Cost, settings: TrainSettings, precision: str) -> int:
    """Bytes that one training step is expected to take: `training_bytes` with the recipe's settings."""
    return training_bytes(
        cost,
        settings.batch_size,
        optimizer_slots=OPTIMIZER_SLOTS[settings.optimizer],
        ema=settings.ema > 0,
        element_bytes=4 if precision == "fp32" else 2,
    )


def state_bytes(model: nn.Module, optimizer: torch.optim.Optimizer, *, averaged: bool) -> int:
    """Weights, gradients, optimiser state and, where there is one, the weight average."""
    weights = sum(p.numel() * p.element_size() for p in model.parameters())
    tensors = (value for state in optimizer.state.values() for value in state.values() if torch.is_tensor(value))
    return weights * (2 + averaged) + sum(t.numel() * t.element_size() for t in tensors)
