"""Dropout and stochastic depth of a module: found where timm, torchvision and most people put them."""

from __future__ import annotations

import math
from itertools import pairwise
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


def set_head_dropout(model: nn.Module, rate: float) -> bool:
    """Give the dropout before the classifier this rate, wherever the network keeps it; whether there is one."""
    kept = isinstance(getattr(model, "drop_rate", None), (int, float))
    if kept:
        model.drop_rate = rate  # type: ignore[assignment]
    head = _head(model)
    if head is not None:
        head.p = rate
    return kept or head is not None


def drop_paths(model: nn.Module) -> list[tuple[Any, str]]:
    """Every place that drops a residual branch: the module, and the attribute that holds its rate."""
    names = {"StochasticDepth": "p", "DropPath": "drop_prob"}
    return [(m, names[type(m).__name__]) for m in model.modules() if type(m).__name__ in names]


def set_drop_path(model: nn.Module, rate: float) -> None:
    """Rates that rise linearly from 0 at the first block to ``rate`` (Huang et al. 2016, §3)."""
    places = drop_paths(model)
    for index, (module, attribute) in enumerate(places):
        setattr(module, attribute, rate * index / len(places))


def follow_rates(before: nn.Module, after: nn.Module) -> None:
    """Lay the rates of ``after``, which has more blocks or fewer, as ``before``'s are: rising evenly to the same end.

    Rates that are all the same stay so; rates without a rule stay as they were copied.
    """
    old = [float(getattr(module, name)) for module, name in drop_paths(before)]
    places = drop_paths(after)
    if len(old) < 2 or len(places) == len(old):
        return
    step = old[1] - old[0]
    even = all(math.isclose(b - a, step, rel_tol=1e-6, abs_tol=1e-9) for a, b in pairwise(old))
    if not even or step <= 0:
        return
    first = round(old[0] / step)
    if not math.isclose(old[0], first * step, rel_tol=1e-6, abs_tol=1e-9):
        return
    short = len(old) - 1 + first  # steps up to the last block's rate: the end itself, or one step below it
    beyond = 0 if _is_round(step * short) or not _is_round(step * (short + 1)) else 1
    end, steps = step * (short + beyond), len(places) - 1 + first + beyond
    for index, (module, name) in enumerate(places):
        setattr(module, name, end * (index + first) / steps)


def _is_round(rate: float) -> bool:
    return math.isclose(rate, round(rate, 2), abs_tol=1e-9)
