"""Blocks added to a stage and taken from it, and what must be made to fit around them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import nn

from scalesearch.errors import SurgeryError
from scalesearch.models.surgery.skeleton import (
    META,
    copy_skeleton,
    empty_like,
    forget_names,
    law_of,
    refresh_counts,
    slots,
)
from scalesearch.models.surgery.stages import Kind, Stage, keeps_shape, kind_of
from scalesearch.models.surgery.tagger import BATCH, Trace

Adapter = Callable[[Stage], nn.Module]
"""Makes the block that follows a stage's only one."""


class Chain(nn.Sequential):
    """A block and its copies, where their parent names its children one by one."""

    def forward(self, image: Any, *settings: Any, **named: Any) -> Any:  # type: ignore[override]
        """One after the other; what comes beside the image comes to each."""
        for block in self:
            image = block(image, *settings, **named)
        return image


def set_repeats(
    model: nn.Module,
    found: Trace,
    stages: Sequence[Stage],
    repeats: Sequence[int],
    adapt: Adapter,
    *,
    in_lists: bool = False,
) -> None:
    """Give each stage its number of blocks, in place.

    Args:
        in_lists: blocks of a ModuleList join that list, for a forward that goes over whatever the list holds.

    Raises:
        SurgeryError: a block cannot be made or taken away.
    """
    called = {call.name for call in found.calls}
    for stage, wanted in reversed(list(zip(stages, repeats, strict=True))):  # so that earlier names stay valid
        parent = model.get_submodule(stage.parent)
        have = len(stage.blocks)
        if wanted > have:
            last = model.get_submodule(stage.paths[-1])
            shared = _tensors_outside(model, last)
            new = [adapt(stage) if stage.how == "adapt" else copy_skeleton(last, shared) for _ in range(wanted - have)]
            for block in new:
                forget_names(block, shared)
            joins = in_lists and isinstance(parent, nn.ModuleList)
            _insert(parent, stage, new, runs_children=joins or (stage.parent in called and _iterates(parent, stage)))
        elif wanted < have:
            _remove(parent, stage.blocks[wanted:], leave=not (in_lists and isinstance(parent, nn.ModuleList)))


def _insert(parent: nn.Module, stage: Stage, new: list[nn.Module], *, runs_children: bool) -> None:
    last = stage.blocks[-1]
    if runs_children:
        items = list(parent._modules.items())
        at = [name for name, _ in items].index(last) + 1
        if _is_numbered(parent):
            modules = [module for _, module in items]
            modules[at:at] = new
            items = [(str(i), module) for i, module in enumerate(modules)]
        else:
            items[at:at] = list(zip(_free_names(parent, last, len(new)), new, strict=True))
        parent._modules.clear()
        parent._modules.update(items)
    else:
        parent._modules[last] = Chain(parent.get_submodule(last), *new)


def _tensors_outside(model: nn.Module, block: nn.Module) -> set[int]:
    """The tensors that are also held outside of ``block``: its copies share them."""
    seen: set[int] = set()

    def walk(module: nn.Module) -> None:
        if module is block or id(module) in seen:
            return
        seen.add(id(module))
        for child in module.children():
            walk(child)

    walk(model)
    return {id(tensor) for module, _, _, tensor in slots(model) if id(module) in seen}


def _iterates(parent: nn.Module, stage: Stage) -> bool:
    """Whether ``parent`` runs whatever children it has."""
    containers = (nn.Sequential, nn.ModuleDict, nn.ModuleList)
    return type(parent).forward is nn.Sequential.forward or (isinstance(parent, containers) and stage.how == "dense")


def _is_numbered(parent: nn.Module) -> bool:
    return isinstance(parent, (nn.Sequential, nn.ModuleList)) and all(name.isdigit() for name in parent._modules)


def _free_names(parent: nn.Module, last: str, count: int) -> list[str]:
    """Names that go on counting from ``last``'s, if it ends in a number."""
    stem = last.rstrip("0123456789")
    number = int(last[len(stem) :]) if last != stem else 0
    names: list[str] = []
    taken = set(parent._modules)
    while len(names) < count:
        number += 1
        name = f"{stem}{number}" if last != stem else f"{stem}_{number}"
        if name not in taken:
            names.append(name)
    return names


class Pass(nn.Identity):
    """What stands where a block was that others call by its name; hands on what it gets."""

    def forward(self, image: Any, *_: Any, **__: Any) -> Any:  # type: ignore[override]
        """The image; whatever comes beside it is left."""
        return image


def _remove(parent: nn.Module, names: tuple[str, ...], *, leave: bool) -> None:
    numbered = _is_numbered(parent)
    for name in names:
        if not leave or type(parent).forward is nn.Sequential.forward or isinstance(parent, nn.ModuleDict):
            del parent._modules[name]
        else:
            parent._modules[name] = Pass()
    if numbered:
        rest = list(parent._modules.values())
        parent._modules.clear()
        parent._modules.update({str(i): module for i, module in enumerate(rest)})


def loosen_strides(block: nn.Module) -> None:
    """A stride of 1 wherever the block has another, in its layers and in what it keeps to decide by.

    A pool with an even window cannot keep the shape, and goes.
    """
    for module in list(block.modules()):
        for name, child in module.named_children():
            if isinstance(child, (nn.AvgPool2d, nn.MaxPool2d)):
                stride, side = _first(child.stride), _first(child.kernel_size)
                if stride > 1 and side % 2 == 0:
                    setattr(module, name, nn.Identity())
        for name in ("stride", "strides"):
            value = vars(module).get(name)
            if isinstance(value, int) and not isinstance(value, bool) and value > 1:
                setattr(module, name, 1)
            elif isinstance(value, tuple) and any(isinstance(v, int) and v > 1 for v in value):
                setattr(module, name, tuple(1 for _ in value))


def _first(value: int | tuple[int, ...]) -> int:
    return value if isinstance(value, int) else value[0]


def switches(found: Trace, kinds: set[Kind]) -> dict[str, Any]:
    """What the network's own shape-keeping blocks have set, and its shape-changing blocks have not."""
    seen: dict[bool, dict[str, set[Any]]] = {True: defaultdict(set), False: defaultdict(set)}
    for call in found.calls:
        if kind_of(call.module) in kinds:
            for name, value in [*vars(call.module).items(), *call.module._modules.items()]:
                if isinstance(value, bool) or value is None:
                    seen[keeps_shape(call)][name].add(value)
                elif isinstance(value, nn.Module):
                    seen[keeps_shape(call)][name].add("a module")
    names = seen[True].keys() & seen[False].keys()
    return {
        name: next(iter(seen[True][name]))
        for name in names
        if len(seen[True][name]) == 1 and seen[True][name] != seen[False][name] and "a module" not in seen[True][name]
    }


def refit(model: nn.Module, image: tuple[int, int, int], *, real: bool = False) -> None:
    """Fit the inputs of layers and norms to what arrives, in one run on the meta device: a dense block passes on more.

    Args:
        real: the network needs numbers, and cannot be run so.

    Raises:
        SurgeryError: the network cannot run.
    """
    if real:
        raise SurgeryError("depth", "its dense blocks cannot be repeated: forward asks for a number of its maps")
    handles = [module.register_forward_pre_hook(_fit) for module in model.modules()]
    training = model.training
    try:
        with torch.no_grad():
            model.eval()
            model(torch.zeros(BATCH, *image, device=META))
    except Exception as failure:
        raise SurgeryError("depth", f"a block cannot be repeated: {str(failure).partition(chr(10))[0]}") from failure
    finally:
        model.train(training)
        for handle in handles:
            handle.remove()
    refresh_counts(model)


def _fit(module: nn.Module, args: tuple[Any, ...]) -> None:
    if not args or not isinstance(args[0], torch.Tensor) or args[0].ndim < 2:
        return
    last = isinstance(module, nn.Linear) or type(module) is nn.LayerNorm
    channels = int(args[0].shape[-1 if last else 1])
    if isinstance(module, (nn.Conv1d, nn.Conv2d)) and module.in_channels != channels:
        if module.groups == 1:
            _resize(module, "weight", 1, channels)
        elif module.groups == module.in_channels:  # depthwise
            outputs = channels * (module.out_channels // module.groups)
            for name in ("weight", "bias"):
                _resize(module, name, 0, outputs)
            module.groups, module.out_channels = channels, outputs
        module.in_channels = channels
    elif isinstance(module, nn.Linear) and module.in_features != channels:
        _resize(module, "weight", 1, channels)
        module.in_features = channels
    elif isinstance(module, nn.modules.batchnorm._NormBase) and module.num_features != channels:
        for name, tensor in [*module.named_parameters(recurse=False), *module.named_buffers(recurse=False)]:
            if tensor.ndim == 1:
                _resize(module, name, 0, channels)
        module.num_features = channels
    elif isinstance(module, nn.LayerNorm) and module.normalized_shape != (channels,):
        for name in ("weight", "bias"):
            _resize(module, name, 0, channels)
        module.normalized_shape = (channels,)


def _resize(module: nn.Module, name: str, axis: int, size: int) -> None:
    kept = module._parameters if name in module._parameters else module._buffers
    tensor = kept[name]
    if tensor is not None:
        shape = tuple(size if i == axis else int(s) for i, s in enumerate(tensor.shape))
        kept[name] = empty_like(tensor, shape, law_of(tensor))  # type: ignore[assignment]
