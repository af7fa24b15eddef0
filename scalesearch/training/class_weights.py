"""Rare classes that count as much as frequent ones: weights n/(k·n_c) in the loss, as scikit-learn has them."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional

from scalesearch.settings import TrainSettings


def balanced(labels: Tensor | Sequence[int], classes: int) -> Tensor:
    """Weights (classes,), float64: n/(k·n_c), so that all classes weigh the same and an image 1 on the average; 0 for
    a class without images (King & Zeng 2001, "Logistic Regression in Rare Events Data"; `compute_class_weight`).

    Args:
        labels: of the images that are trained on (N,).

    >>> balanced([0, 0, 0, 1], 2).tolist()
    [0.6666666666666666, 2.0]
    """
    counts = torch.bincount(torch.as_tensor(labels), minlength=classes).double()
    return torch.where(counts > 0, counts.sum() / ((counts > 0).sum() * counts.clamp(min=1)), 0.0)


def cross_entropy(logits: Tensor, labels: Tensor, weights: Tensor | None, smoothing: float) -> Tensor:
    """Mean cross-entropy of a batch, each image's times its class's weight, where there are weights.

    The mean is over images and not over weights, so that parts of a batch and shares of a team add up to the whole. A
    mixed image's labels are weighed before they are mixed: Σ t_c·w_c·ℓ_c, ℓ_c the smoothed loss of class c.

    Args:
        logits: (B, classes).
        labels: int64 (B,), or shares of the classes (B, classes).
        weights: (classes,).
        smoothing: of labels, in [0, 1).
    """
    if weights is None:
        return functional.cross_entropy(logits, labels, label_smoothing=smoothing)
    if labels.ndim == 1:
        each = functional.cross_entropy(logits, labels, label_smoothing=smoothing, reduction="none")
        return (weights[labels] * each).mean()
    weighed = labels * weights
    smooth = (1 - smoothing) * weighed + smoothing / logits.shape[1] * weighed.sum(1, keepdim=True)
    return -(smooth * logits.log_softmax(1)).sum(1).mean()


def weights_words(settings: TrainSettings, labels: Sequence[int], names: Sequence[str]) -> tuple[str, ...]:
    """What the recipe's class weights come to, a sentence; none where it asks for none.

    Args:
        labels: of the images that are trained on.
        names: of the classes.
    """
    if settings.class_weights == "none":
        return ()
    weights = balanced(labels, len(names))
    there = weights[weights > 0]
    if float(there.max()) == float(there.min()):
        return (f"class weights: none, since every class has {len(labels) // len(there):,} images to train on",)
    most = int(weights.argmax())
    least = int(torch.where(weights > 0, weights, torch.inf).argmin())
    return (
        f"class weights: an image counts {float(weights[least]):.3g} ({names[least]!r}) to {float(weights[most]):.3g} "
        f"({names[most]!r}) times in the loss, n/(k·n_c)",
    )
