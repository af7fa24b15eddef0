"""What cannot be looked through, told before it fails somewhere inside: in words, with what to do instead."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from typing import Any

import torch
from torch import nn
from torch.nn.modules.conv import _ConvNd

from scalesearch.errors import SurgeryError

WRAPPERS = {"OptimizedModule": "_orig_mod", "DataParallel": "module", "DistributedDataParallel": "module"}
"""Classes that hold a network and pass calls on to it, and the attribute that holds it."""


FEW_GROUPS = 8
"""Most groups that are taken for paths of the network rather than for the width of a group."""


def suited(model: nn.Module) -> nn.Module:
    """``model`` itself, out of its wrappers (``torch.compile``, ``DataParallel``).

    Raises:
        SurgeryError: it is no network for one image whose modules can be copied and run.
    """
    while type(model).__name__ in WRAPPERS:
        model = getattr(model, WRAPPERS[type(model).__name__])
    name = type(model).__name__
    if any(isinstance(module, torch.jit.ScriptModule) for module in model.modules()):
        raise SurgeryError(name, "TorchScript has no Python modules left to edit: give the network it was made from")
    if len(needed := _needed(model)) > 1:
        raise SurgeryError(name, f"its forward takes {', '.join(needed)}: only networks for a single image are scaled")
    first = next(((p, m) for p, m in model.named_modules() if isinstance(m, _ConvNd)), None)
    if first is not None and isinstance(first[1], (nn.Conv3d, nn.ConvTranspose3d)):
        kind = type(first[1]).__name__
        raise SurgeryError(first[0], f"{kind}: a network whose first layer is 3-d sees films or volumes, not images")
    for path, module in model.named_modules():
        if isinstance(module, (nn.RNNBase, nn.RNNCellBase)):
            what = type(module).__name__
            raise SurgeryError(path, f"a recurrent layer ({what}): its sequence does not scale as an image's sides do")
        for hook in _hooks(module):
            if any(isinstance(kept, nn.Module) for kept in _closed_over(hook)):
                raise SurgeryError(
                    path or name,
                    "a hook on it holds on to the network itself, and would go on using the original in every copy: "
                    "do its work in forward, or take the hook away before scaling",
                )
    return model


def _needed(model: nn.Module) -> list[str]:
    """Names of the arguments that forward cannot do without."""
    try:
        parameters = inspect.signature(model.forward).parameters.values()
    except (TypeError, ValueError):
        return []
    plain = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
    return [p.name for p in parameters if p.kind in plain and p.default is inspect.Parameter.empty]


def _hooks(module: nn.Module) -> Iterator[Any]:
    for kept in ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks"):
        yield from getattr(module, kept, {}).values()


def _closed_over(function: Any) -> Iterator[Any]:
    """What a function that is no method keeps from where it was made."""
    for cell in getattr(function, "__closure__", None) or ():
        try:
            yield cell.cell_contents
        except ValueError:  # not filled yet
            continue


def misfit(module: nn.Module, channels: int, text: str) -> int | None:
    """How many channels a first layer takes, if that is what its failure on images of ``channels`` means."""
    taken = getattr(module, "in_channels", None)
    fails = isinstance(module, nn.Conv2d) and isinstance(taken, int) and taken != channels
    return taken if fails and "channel" in text.lower() else None


def has_few_groups(model: nn.Module) -> bool:
    """Whether all grouped convolutions have the same small number of groups: paths, then, rather than group widths."""
    grouped = {
        module.groups
        for module in model.modules()
        if isinstance(module, nn.Conv2d) and 1 < module.groups < module.in_channels
    }
    return len(grouped) == 1 and max(grouped) <= FEW_GROUPS
