"""Optimisers, schedules and the weight average of a recipe."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from copy import deepcopy
from itertools import chain
from typing import Any

import torch
from torch import Tensor, nn

from scalesearch.settings import TrainSettings
from scalesearch.training.legs import cooldown_start

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


def make_optimizer(
    model: nn.Module, settings: TrainSettings, *, scaled: bool = False, head: nn.Module | None = None
) -> torch.optim.Optimizer:
    """The recipe's optimiser; norms and biases are spared weight decay. With a ``head``, all that is not in it learns
    at the recipe's ``features_rate`` times the rate.

    ``scaled``: a `GradScaler` may skip steps. Fused SGD takes part in that, and where the first step is skipped it goes
    on with momentum buffers that nobody has filled (torch 2.15).
    """
    trained = [p for p in model.parameters() if p.requires_grad]
    groups: list[dict[str, Any]] = [
        {"params": [p for p in trained if p.ndim > 1], "weight_decay": settings.weight_decay},
        {"params": [p for p in trained if p.ndim <= 1], "weight_decay": 0.0},
    ]
    if head is not None:
        groups = [part for group in groups for part in _apart(group, head, settings)]
    rate, momentum = settings.learning_rate, settings.momentum
    # A third of foreach's time, on a CPU too; None: what torch takes by itself.
    fused = True if all(p.device.type in ("cpu", "cuda") for p in trained) else None
    if settings.optimizer == "sgd":
        own = None if scaled else fused
        made = torch.optim.SGD(groups, lr=rate, momentum=momentum, nesterov=momentum > 0, fused=own)
        if momentum:  # fused SGD fills all of a group's or none: layers may have their first gradient later than others
            made.state.update({p: {"momentum_buffer": torch.zeros_like(p)} for p in trained})
        return made
    if settings.optimizer == "adamw":
        return torch.optim.AdamW(groups, lr=rate, betas=(momentum, 0.999), fused=fused)
    return RMSpropTF(groups, lr=rate, alpha=settings.rms_decay, eps=settings.rms_epsilon, momentum=momentum)


def _apart(group: dict[str, Any], head: nn.Module, settings: TrainSettings) -> list[dict[str, Any]]:
    """A group of parameters in two: the classifier's, and all others with a rate of their own."""
    own = {id(parameter) for parameter in head.parameters()}
    inside = [p for p in group["params"] if id(p) in own]
    outside = [p for p in group["params"] if id(p) not in own]
    slow = settings.features_rate * settings.learning_rate
    return [{**group, "params": inside}, {**group, "params": outside, "lr": slow}]


def learning_rate_factor(step: int, total: int, steps_per_epoch: int, settings: TrainSettings) -> float:
    """The share of the learning rate at ``step``: linear warm-up, then a cosine to zero, the paper's staircase, or a
    constant rate and 1 − √ of a cooldown's share (Hägele et al. 2024, §3.2)."""
    warmup = settings.warmup_epochs * steps_per_epoch
    if step < warmup:
        return (step + 1) / (warmup + 1)
    if settings.schedule == "exponential":
        return settings.decay_rate ** math.floor(step / (settings.decay_epochs * steps_per_epoch))
    if settings.schedule == "wsd":
        start = cooldown_start(settings, total)
        return 1.0 if step <= start else 1 - math.sqrt(min(1.0, (step - start) / (total - start)))
    return 0.5 * (1 + math.cos(math.pi * (step - warmup) / max(1.0, total - warmup)))


class WeightAverage:
    """An exponential moving average of weights and norm statistics, its decay warmed up as in TensorFlow:
    min(decay, (1 + n) / (10 + n)) after n updates, so that a short schedule forgets its random start.

    ``module`` is the averaged copy. An update is one pass over all tensors at once.
    """

    def __init__(self, model: nn.Module, decay: float) -> None:
        self.module, self.decay, self.updates = deepcopy(model).requires_grad_(requires_grad=False), decay, 0
        self._averaged: list[Tensor] = []
        self._current: list[Tensor] = []
        self._copied: list[Tensor] = []
        self._counted: list[Tensor] = []
        pairs = chain(zip(self.module.parameters(), model.parameters(), strict=True),
                      zip(self.module.buffers(), model.buffers(), strict=True))  # fmt: skip
        for averaged, current in pairs:
            real = averaged.is_floating_point()
            (self._averaged if real else self._copied).append(averaged)
            (self._current if real else self._counted).append(current.detach())

    @torch.no_grad()
    def update(self) -> None:
        """Move towards the model's present weights; the first update takes them as they are."""
        n = self.updates
        share = 1 - min(self.decay, (1 + n) / (10 + n)) if n else 1.0
        torch._foreach_lerp_(self._averaged, self._current, share)
        if self._copied:
            torch._foreach_copy_(self._copied, self._counted)
        self.updates += 1

    def state_dict(self) -> dict[str, Any]:
        """As `torch.optim.swa_utils.AveragedModel` names it."""
        weights = {f"module.{name}": value for name, value in self.module.state_dict().items()}
        return {"n_averaged": torch.tensor(self.updates), **weights}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from `state_dict`."""
        self.updates = int(state["n_averaged"])
        self.module.load_state_dict(
            {name.removeprefix("module."): value for name, value in state.items() if name != "n_averaged"}
        )
