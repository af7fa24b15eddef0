"""A network without its numbers: the module tree on the meta device, each tensor with the law it starts by."""

from __future__ import annotations

import copy
from collections.abc import Callable, Container, Iterator
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from scalesearch.errors import SurgeryError
from scalesearch.models.surgery.initialisation import FALLBACK, Law, groups_of, observe, weight_of
from scalesearch.models.surgery.parametrised import fit_to_weights

META = torch.device("meta")


def skeleton(model: nn.Module) -> nn.Module:
    """A copy of ``model``'s tree on the meta device; no number is copied. ``law_of`` says how each tensor starts."""
    if any(hasattr(tensor, "law") for tensor in model.parameters()):
        return copy_skeleton(model)
    laws = observe(model)
    return _copied(model, lambda tensor: laws.get(id(tensor), Law(scheme=FALLBACK)))


def copy_skeleton(model: nn.Module, shared: Container[int] = ()) -> nn.Module:
    """Another skeleton of the same shape and laws; tensors whose ids are in ``shared`` are the very same."""
    return _copied(model, law_of, shared)


def law_of(tensor: Tensor) -> Law:
    """By which law the tensor of a skeleton was drawn in the original."""
    law: Law = tensor.law  # type: ignore[attr-defined]
    return law


def forget_names(model: nn.Module, shared: Container[int] = ()) -> None:
    """A new block's own tensors are called nothing in the original network."""
    for _, _, _, tensor in slots(model):
        if id(tensor) in shared:
            continue
        law = law_of(tensor)
        tensor.law = replace(law, name=None, of=law.name or law.of)  # type: ignore[attr-defined]


def empty_like(tensor: Tensor, shape: tuple[int, ...], law: Law) -> Tensor:
    """A meta tensor or parameter of another shape, with this law."""
    made: Tensor = torch.empty(shape, dtype=tensor.dtype, device=META)
    if isinstance(tensor, nn.Parameter):
        made = nn.Parameter(made, requires_grad=tensor.requires_grad)
    made.law = law  # type: ignore[attr-defined]
    return made


def _copied(model: nn.Module, law: Callable[[Tensor], Law], shared: Container[int] = ()) -> nn.Module:
    memo: dict[int, Any] = {}
    for tensor in [*model.parameters(), *model.buffers()]:
        if id(tensor) in shared:
            memo[id(tensor)] = tensor
            continue
        memo[id(tensor)] = empty_like(tensor, tuple(tensor.shape), law(tensor))
    for module in model.modules():
        for value in vars(module).values():
            if isinstance(value, Tensor) and value.grad_fn is not None:  # worked out at each call, by a hook
                memo[id(value)] = torch.empty_like(value, device=META)
    try:
        for module in model.modules():
            if type(module).__name__ == "OptimizedModule":  # what was compiled is copied as it was written
                memo[id(module)] = copy.deepcopy(module._orig_mod, memo)
        return copy.deepcopy(model, memo)
    except Exception as failure:
        raise SurgeryError(type(model).__name__, f"it cannot be copied: {failure}") from failure


def slots(model: nn.Module) -> Iterator[tuple[nn.Module, dict[str, Tensor | None], str, Tensor]]:
    """Every place that holds a tensor: its module, the dictionary, the key and the tensor."""
    for module in model.modules():
        for kept in (module._parameters, module._buffers):
            for name, tensor in kept.items():
                if tensor is not None:
                    yield module, kept, name, tensor  # type: ignore[misc]


def replace_tensors(model: nn.Module, change: Callable[[nn.Module, str, Tensor], Tensor]) -> None:
    """Put ``change(module, name, tensor)`` in place of every tensor; a shared one is changed once."""
    done: dict[int, tuple[Tensor, Tensor]] = {}
    for module, kept, name, tensor in list(slots(model)):
        if id(tensor) not in done:
            done[id(tensor)] = (tensor, change(module, name, tensor))
        kept[name] = done[id(tensor)][1]


def materialise(model: nn.Module) -> nn.Module:
    """Give a skeleton its numbers, drawn from torch's global generator in the order of its modules. In place."""

    def draw(module: nn.Module, name: str, tensor: Tensor) -> Tensor:
        made: Tensor = torch.empty(tensor.shape, dtype=tensor.dtype)
        weight = weight_of(module)
        fan_in = max(1, weight[0].numel()) if weight is not None and weight.ndim > 1 else 1
        try:
            law_of(tensor).fill(made, groups_of(module), fan_in)
        except ValueError as failure:
            raise SurgeryError(f"{type(module).__name__}.{name}", str(failure)) from failure
        return nn.Parameter(made, requires_grad=tensor.requires_grad) if isinstance(tensor, nn.Parameter) else made

    replace_tensors(model, draw)
    fit_to_weights(model)
    return model


def refresh_counts(model: nn.Module) -> None:
    """Set what torch's own layers say about their channels to what their weights have."""
    for module in model.modules():
        weight = weight_of(module)
        if weight is None:
            continue
        if isinstance(module, (nn.Conv1d, nn.Conv2d, nn.Conv3d)):
            module.out_channels, module.in_channels = int(weight.shape[0]), int(weight.shape[1]) * module.groups
        elif isinstance(module, (nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d)):
            module.in_channels, module.out_channels = int(weight.shape[0]), int(weight.shape[1]) * module.groups
        elif isinstance(module, nn.Linear):
            module.out_features, module.in_features = int(weight.shape[0]), int(weight.shape[1])
        elif isinstance(module, nn.modules.batchnorm._NormBase):
            module.num_features = int(weight.shape[0])
        elif isinstance(module, nn.GroupNorm):
            module.num_channels = int(weight.shape[0])
