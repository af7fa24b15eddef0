"""Dropout and stochastic depth of a module: found where timm, torchvision and most people put them."""

from __future__ import annotations

from typing import Any

from torch import nn


def _head(model: nn.Module) -> nn.Dropout | None:
    """The dropout before the classifier: the last one in the network."""
    found = [module for module in model.modules() if isinstance(module, nn.Dropout)]
    return found[-1] if found else None


def head_dropout(model: nn.Module) -> float:
    """The rate before the classifier; 0 where there is none. timm keeps it in ``drop_rate`` and calls F.dropout."""
    rate = getattr(model, "drop_rate", None)
    if isinstance(rate, float) and rate:
        return rate
    head = _head(model)
    return float(head.p) if head is not None else 0.0


def set_head_dropout(model: nn.Module, rate: float) -> None:
    """Give the dropout before the classifier this rate, wherever the network keeps it."""
    if isinstance(getattr(model, "drop_rate", None), (int, float)):
        model.drop_rate = rate  # type: ignore[assignment]
    head = _head(model)
    if head is not None:
        head.p = rate


def drop_paths(model: nn.Module) -> list[tuple[Any, str]]:
    """Every place that drops a residual branch: the module, and the attribute that holds its rate."""
    names = {"StochasticDepth": "p", "DropPath": "drop_prob"}
    return [(m, names[type(m).__name__]) for m in model.modules() if type(m).__name__ in names]


def set_drop_path(model: nn.Module, rate: float) -> None:
    """Rates that rise linearly from 0 at the first block to ``rate`` (Huang et al. 2016, §3)."""
    places = drop_paths(model)
    for index, (module, attribute) in enumerate(places):
        setattr(module, attribute, rate * index / len(places))
