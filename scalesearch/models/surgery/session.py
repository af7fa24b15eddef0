"""Networks that live in this process: functions and modules of a notebook, offered under a name."""

from __future__ import annotations

import copy
import sys
from collections.abc import Callable
from functools import partial
from typing import Any

from torch import nn

from scalesearch.errors import BaselineError

SESSION = "session"
"""What the source of such a network begins with: ``session:build_net``."""

OFFERED: dict[str, Any] = {}
"""By source: the function, class or module."""


def source_of(network: Callable[[], Any] | nn.Module) -> str:
    """The source that names a network: where any process imports it from, or else ``session:NAME``.

    Raises:
        BaselineError: it is nothing that makes a network.
    """
    if not isinstance(network, nn.Module) and not callable(network):
        raise BaselineError(
            f"{network!r} is no baseline: expected a name, a path, a spec, a module, or a function that makes one"
        )
    return _importable(network) or f"{SESSION}:{_name(network)}"


def _importable(network: object) -> str | None:
    """``package.module:NAME`` where that is this very object and comes from a file; timm's and torchvision's own names
    for theirs."""
    where, name = getattr(network, "__module__", None), getattr(network, "__qualname__", "")
    holder = sys.modules.get(where or "")
    if isinstance(network, nn.Module) or where == "__main__" or getattr(holder, name, None) is not network:
        return None
    if getattr(getattr(holder, "__spec__", None), "origin", None) is None:
        return None
    package = str(where).partition(".")[0]
    if package == "torchvision":
        from torchvision import models

        if name in models.list_models(module=models):
            return f"{package}:{name}"
    if package == "timm":
        import timm

        if timm.is_model(name):
            return f"{package}:{name}"
    return f"{where}:{name}"


def _name(network: object) -> str:
    if isinstance(network, partial):
        return _name(network.func)
    name = str(getattr(network, "__name__", type(network).__name__))
    return name if name.isidentifier() else "network"


def taken(source: str) -> Callable[[], Any]:
    """What makes the network that was offered as ``session:NAME``; a module is copied.

    Raises:
        BaselineError: there is none: this is another process, or a later one.
    """
    if source not in OFFERED:
        raise BaselineError(
            f"{source} was a network of the Python session that began the search: give it to Search there again, or "
            f"put it into a file and name that, FILE.py:{source.partition(':')[2]}"
        )
    network: Any = OFFERED[source]
    return (lambda: copy.deepcopy(network)) if isinstance(network, nn.Module) else network
