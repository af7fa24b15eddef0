"""The classifier at a network's end, where it is one linear layer: what it sees, and other weights for it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from scalesearch.errors import BaselineError
from scalesearch.models.surgery.tagger import flatten

AGREE, AGREE_ON_GPU = 1e-4, 3e-3
"""Largest difference, as a share of the largest value, at which two ways to compute a tensor differ by rounding; and on
GPUs, whose convolutions round their inputs to TF32's ten bits where `Linear` does not."""

Heard = list[tuple[nn.Module, Tensor, Tensor]]


@dataclass(frozen=True)
class LinearHead:
    """A `Linear`, or a 1 × 1 convolution on a map of one position, whose outputs are a network's logits."""

    name: str
    module: nn.Linear | nn.Conv2d

    @property
    def width(self) -> int:
        """How many features it sees."""
        return int(self.module.weight.shape[1])

    @property
    def has_bias(self) -> bool:
        """Whether it adds one."""
        return self.module.bias is not None

    @torch.inference_mode()
    def features(self, model: nn.Module, images: Tensor) -> Tensor:
        """What it sees of normalised images (N, 3, r, r), in evaluation: float32 (N, ``width``)."""
        with _heard(model.eval(), [self.module]) as heard:
            model(images)
        ((_, seen, _),) = heard
        return seen.flatten(1).float()

    @torch.no_grad()
    def put(self, weight: Tensor, bias: Tensor | None) -> None:
        """Give it weights (classes, ``width``) and a bias (classes,), which it has if it had one."""
        self.module.weight.copy_(weight.view_as(self.module.weight))
        if self.module.bias is not None and bias is not None:
            self.module.bias.copy_(bias)

    def logits(self, features: Tensor) -> Tensor:
        """What it makes of features (N, ``width``): (N, classes)."""
        return nn.functional.linear(features, self.module.weight.flatten(1), self.module.bias)


@torch.inference_mode()
def linear_head(model: nn.Module, images: Tensor, classes: int) -> LinearHead:
    """The layer whose outputs are the logits of ``classes``, found by running normalised images (N, 3, r, r).

    Raises:
        BaselineError: there is none: something follows it, it is called twice, or it is of another kind.
    """
    names = {module: name for name, module in model.named_modules() if _linear(module)}
    with _heard(model.eval(), list(names)) as heard:
        logits = logits_of(model, images, classes)
    for module, seen, said in reversed(heard):
        if not isinstance(module, nn.Linear | nn.Conv2d) or said.flatten(1).shape != logits.shape:
            continue
        if not torch.equal(said.flatten(1), logits) or seen.flatten(1).shape[1:] != (module.weight.shape[1],):
            continue
        if sum(other is module for other, _, _ in heard) > 1:
            raise BaselineError(f"the classifier {names[module]} is called several times: it is not fitted alone")
        if not isinstance(dict(module.named_parameters()).get("weight"), nn.Parameter):
            raise BaselineError(f"the classifier {names[module]} computes its weights: others cannot be put there")
        head = LinearHead(names[module], module)
        computed = head.logits(seen.flatten(1))
        if not agree(computed, logits):
            raise BaselineError(f"the classifier {names[module]} is no linear map of what it sees")
        return head
    raise BaselineError(
        "the logits are not the outputs of one linear layer: such a classifier is not fitted by regression; "
        "`scalesearch train --from-weights FILE --freeze` trains it"
    )


def agree(one: Tensor, other: Tensor) -> bool:
    """Whether two ways to compute the same tensor differ by rounding alone."""
    bound = AGREE if other.device.type == "cpu" else AGREE_ON_GPU
    return bool((one - other).detach().abs().max() <= bound * other.detach().abs().max())


def logits_of(model: nn.Module, images: Tensor, classes: int) -> Tensor:
    """The row of classes among a network's outputs, (N, classes).

    Raises:
        BaselineError: none of them is one.
    """
    every = list(flatten(model(images)))
    places: dict[bool, tuple[int, ...]] = getattr(model, "_logits_at", {})
    if evaluated := places.get(False, ()):
        return every[evaluated[0]]
    found = next((each for each in every if each.shape[1:] == (classes,)), None)
    if found is None:
        raise BaselineError(f"none of the network's {len(every)} outputs is a row of the {classes} classes")
    return found


def _linear(module: nn.Module) -> bool:
    if isinstance(module, nn.Conv2d):
        return module.kernel_size == (1, 1) and module.groups == 1
    return isinstance(module, nn.Linear)


@contextmanager
def _heard(model: nn.Module, modules: list[nn.Module]) -> Iterator[Heard]:
    """What these modules see and say while the network runs, in the order of their calls."""
    heard: Heard = []

    def hear(module: nn.Module, inputs: tuple[Any, ...], output: object) -> None:
        if isinstance(output, Tensor) and inputs:
            heard.append((module, inputs[0], output))

    hooks = [module.register_forward_hook(hear) for module in modules]
    try:
        yield heard
    finally:
        for hook in hooks:
            hook.remove()
