"""A layer as the call that constructs it, read off its attributes and tried."""

from __future__ import annotations

import importlib
import inspect
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

PLAIN = (bool, int, float, str, type(None))
LEFT = frozenset({"training"})
"""Attributes that say how a module is used, not what it is."""


@dataclass
class Imports:
    """Names that the written code needs, by module."""

    names: dict[str, set[str]] = field(default_factory=dict)

    def name_of(self, kind: type[nn.Module]) -> str | None:
        """What the code calls a class; None where it cannot be imported by its name."""
        if getattr(nn, kind.__name__, None) is kind:
            return f"nn.{kind.__name__}"
        try:
            holder = importlib.import_module(kind.__module__)
        except ImportError:
            return None
        if not hasattr(holder, kind.__name__) or kind.__module__.startswith("scalesearch"):
            return None
        self.names.setdefault(kind.__module__, set()).add(kind.__name__)
        return kind.__name__

    @property
    def lines(self) -> list[str]:
        """As statements, sorted."""
        return [f"from {module} import {', '.join(sorted(names))}" for module, names in sorted(self.names.items())]


def same_kind(module: nn.Module, other: nn.Module) -> bool:
    """Whether a module is of another's class, or of one that surgery has derived from it; a file that was imported
    twice has made its classes twice."""
    name = (type(other).__module__, type(other).__qualname__)
    return any((kind.__module__, kind.__qualname__) == name for kind in type(module).__mro__)


def attributes(module: nn.Module) -> dict[str, Any]:
    """What a module keeps as plain values: numbers, texts, and rows of them."""
    return {name: value for name, value in vars(module).items() if name not in LEFT and is_plain(value)}


def is_plain(value: object) -> bool:
    """Whether a value can be written as it is printed."""
    if isinstance(value, (tuple, list)):
        return type(value) in (tuple, list, torch.Size) and all(is_plain(item) for item in value)
    return type(value) in PLAIN


def constructor(module: nn.Module, imports: Imports) -> str | None:
    """The call that makes such a layer; None where its attributes do not tell, or it is made of others."""
    kind = type(module)
    if next(module.children(), None) is not None:
        return None
    arguments = _arguments(module)
    if arguments is None:
        return None
    positional, named = arguments
    try:
        with torch.random.fork_rng(devices=[]):
            made = kind(*positional, **named)
    except Exception:  # a constructor of anybody's
        return None
    if not _alike(made, module):
        return None
    name = imports.name_of(kind)
    values = [*map(repr, positional), *(f"{key}={value!r}" for key, value in named.items())]
    return None if name is None else f"{name}({', '.join(values)})"


def _arguments(module: nn.Module) -> tuple[list[Any], dict[str, Any]] | None:
    """By position those that have no default, by name those that differ from it."""
    try:
        signature = inspect.signature(type(module))
    except (TypeError, ValueError):
        return None
    positional: list[Any] = []
    named: dict[str, Any] = {}
    for name, parameter in signature.parameters.items():
        if name in ("device", "dtype") or parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD):
            continue
        affine = getattr(module, "affine", getattr(module, "elementwise_affine", True))
        if name == "bias" and not affine:
            continue
        there = hasattr(module, name)
        value = getattr(module, name, None)
        if name == "bias" and (value is None or isinstance(value, Tensor)):
            value = value is not None
        if name == "kernel_size" or (isinstance(value, tuple) and len(set(value)) == 1 and len(value) == 2):
            value = value[0] if isinstance(value, tuple) and len(set(value)) == 1 else value
        if parameter.default is parameter.empty or name == "kernel_size":
            if not there or not is_plain(value):
                return None
            positional.append(value)
        elif there and is_plain(value) and value != parameter.default:
            named[name] = value
    return positional, named


def _alike(made: nn.Module, module: nn.Module) -> bool:
    ours, theirs = module.state_dict(), made.state_dict()
    shapes = {name: value.shape for name, value in ours.items()} == {name: v.shape for name, v in theirs.items()}
    return shapes and attributes(made) == attributes(module)
