"""Optimisers, schedules and the weight average of a recipe."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from scalesearch.recipe import TrainSettings

OPTIMIZER_SLOTS = {"sgd": 1, "adamw": 2, "rmsprop_tf": 2}
"""Tensors of a parameter's size that each optimiser keeps."""


class RMSpropTF(torch.optim.Optimizer):
    """RMSProp as TensorFlow computes it, which EfficientNet's published hyper-parameters are for.

    Unlike `torch.optim.RMSprop`, ε lies inside the root, the squared average starts at one, and the momentum buffer
    holds steps already multiplied by the learning rate.
    """

    def __init__(
        self,
        params: Iterable[Any],
        lr: float,
        *,
        alpha: float = 0.9,
        eps: float = 1e-3,
        momentum: float = 0.9,
        weight_decay: float = 0.0,
    ) -> None:
        super().__init__(
            params, {"lr": lr, "alpha": alpha, "eps": eps, "momentum": momentum, "weight_decay": weight_decay}
        )

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> None:  # type: ignore[override]
        """One update of every parameter that has a gradient."""
        for group in self.param_groups:
            params = [p for p in group["params"] if p.grad is not None]
            if not params:
                continue
            for p in params:
                if not self.state[p]:
                    self.state[p]["square"] = torch.ones_like(p)
                    self.state[p]["momentum"] = torch.zeros_like(p)
            grads: list[Tensor] = [p.grad for p in params]
            squares = [self.state[p]["square"] for p in params]
            buffers = [self.state[p]["momentum"] for p in params]
            if group["weight_decay"]:
                grads = list(torch._foreach_add(grads, params, alpha=group["weight_decay"]))
            torch._foreach_mul_(squares, group["alpha"])
            torch._foreach_addcmul_(squares, grads, grads, 1 - group["alpha"])
            roots = torch._foreach_add(squares, group["eps"])
            torch._foreach_sqrt_(roots)
            torch._foreach_mul_(buffers, group["momentum"])
            torch._foreach_addcdiv_(buffers, grads, roots, group["lr"])
            torch._foreach_sub_(params, buffers)


def make_optimizer(model: nn.Module, settings: TrainSettings) -> torch.optim.Optimizer:
    """The recipe's optimiser; norms and biases are spared weight decay."""
    trained = [p for p in model.parameters() if p.requires_grad]
    groups: list[dict[str, Any]] = [
        {"params": [p for p in trained if p.ndim > 1], "weight_decay": settings.weight_decay},
        {"params": [p for p in trained if p.ndim <= 1], "weight_decay": 0.0},
    ]
    rate, momentum = settings.learning_rate, settings.momentum
    if settings.optimizer == "sgd":
        return torch.optim.SGD(groups, lr=rate, momentum=momentum, nesterov=momentum > 0)
    if settings.optimizer == "adamw":
        return torch.optim.AdamW(groups, lr=rate, betas=(momentum, 0.999))
    return RMSpropTF(groups, lr=rate, alpha=settings.rms_decay, eps=settings.rms_epsilon, momentum=momentum)


def learning_rate_factor(step: int, total: int, steps_per_epoch: int, settings: TrainSettings) -> float:
    """The share of the learning rate at ``step``: linear warm-up, then a cosine to zero or the paper's staircase."""
    warmup = settings.warmup_epochs * steps_per_epoch
    if step < warmup:
        return (step + 1) / (warmup + 1)
    if settings.schedule == "exponential":
        return settings.decay_rate ** math.floor(step / (settings.decay_epochs * steps_per_epoch))
    return 0.5 * (1 + math.cos(math.pi * (step - warmup) / max(1.0, total - warmup)))


Tensors = tuple[Tensor, ...] | list[Tensor]


class WeightAverage(AveragedModel):
    """An exponential moving average of weights and norm statistics, its decay warmed up as in TensorFlow:
    min(decay, (1 + n) / (10 + n)) after n updates, so that a short schedule forgets its random start."""

    def __init__(self, model: nn.Module, decay: float) -> None:
        def average(averaged: Tensors, current: Tensors, updates: Tensor | int) -> None:
            n = int(updates)
            ema = get_ema_multi_avg_fn(min(decay, (1 + n) / (10 + n)))  # type: ignore[no-untyped-call]
            ema(averaged, current, updates)

        super().__init__(model, multi_avg_fn=average, use_buffers=True)
