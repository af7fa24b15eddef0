"""Where a network sees what it says: class-activation maps, as in Fig. 7 of Tan & Le (2019)."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from scalesearch.models.linear_head import agree


@dataclass(frozen=True)
class Maps:
    """What a network says of N images, on the CPU: ``predicted``, int64 (N,), with ``probability`` (N,).

    ``values`` (N, h, w) is its evidence for that class, or for the one asked about; ``method`` is CAM or Grad-CAM. Both
    have the logit's unit: CAM's mean over the map is the logit without its bias.
    """

    method: str
    values: Tensor
    predicted: Tensor
    probability: Tensor


def class_maps(network: nn.Module, images: Tensor, *, classes: Tensor | None = None, method: str | None = None) -> Maps:
    """The maps of the classes that ``network`` predicts for normalised images (N, 3, r, r), or of these ``classes``.

    CAM (Zhou et al. 2016, Eq. 2) where the classifier is a linear layer on the spatial mean of a feature map, which is
    found out by comparing the two; else Grad-CAM (Selvaraju et al. 2017, Eqs. 1 and 2) on the last feature map that
    the logits depend on, with gradients summed instead of averaged, so that maps of other sizes have the same unit.

    Args:
        classes: int64 (N,).
        method: "Grad-CAM" takes that in any case.

    Raises:
        ValueError: the network has no feature map that its logits depend on.
    """
    network.eval()
    with torch.enable_grad(), _heard(network) as heard:
        outputs = network(images.detach().requires_grad_())
        logits: Tensor = outputs if isinstance(outputs, Tensor) else next(o for o in outputs if isinstance(o, Tensor))
        probability, predicted = logits.detach().float().softmax(1).max(1)
        about = predicted if classes is None else classes.to(predicted.device)
        found = None if method == "Grad-CAM" else _pooled(heard, logits)
        if found is not None:
            features, classifier = found
            evidence = torch.einsum("nchw,nc->nhw", features.detach(), classifier.weight.detach()[about])
        else:
            evidence = _by_gradient(heard, logits, about)
    kind = "CAM" if found is not None else "Grad-CAM"
    return Maps(kind, evidence.float().cpu(), predicted.cpu(), probability.cpu())


@dataclass
class _Heard:
    """What modules gave while an image went through: feature maps in order, and linear layers' inputs and outputs."""

    maps: list[Tensor] = field(default_factory=list)
    linear: list[tuple[nn.Linear, Tensor, Tensor]] = field(default_factory=list)


@contextmanager
def _heard(network: nn.Module) -> Iterator[_Heard]:
    heard = _Heard()

    def hear(module: nn.Module, inputs: tuple[Any, ...], output: object) -> None:
        if isinstance(output, Tensor) and output.ndim == 4 and output.shape[2] * output.shape[3] > 1:
            heard.maps.append(output)
        elif isinstance(module, nn.Linear) and isinstance(output, Tensor):
            heard.linear.append((module, inputs[0].detach(), output))

    hooks = [module.register_forward_hook(hear) for module in network.modules()]
    try:
        yield heard
    finally:
        for hook in hooks:
            hook.remove()


def _pooled(heard: _Heard, logits: Tensor) -> tuple[Tensor, nn.Linear] | None:
    """The feature map whose spatial mean the classifier sees, and the classifier; None where there is no such pair."""
    for classifier, seen, said in reversed(heard.linear):
        if said.shape != logits.shape or not agree(said, logits):
            continue
        for features in reversed(heard.maps):
            if features.shape[:2] == seen.shape and agree(features.mean((2, 3)), seen):
                return features, classifier
    return None


def _by_gradient(heard: _Heard, logits: Tensor, about: Tensor) -> Tensor:
    """ReLU of the feature maps' sum, each weighted by what it adds to the logit of the class in question: (N, h, w)."""
    chosen = logits.gather(1, about[:, None]).sum()
    for features in reversed(heard.maps):
        if not features.requires_grad:
            continue
        (slope,) = torch.autograd.grad(chosen, features, retain_graph=True, allow_unused=True)
        if slope is not None:
            return torch.einsum("nchw,nc->nhw", features.detach(), slope.sum((2, 3))).relu()
    raise ValueError("it has no feature map that its logits depend on")
