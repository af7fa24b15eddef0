"""A stage of one block, alone: the block that would follow it, at its own output."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from scalesearch.errors import SurgeryError
from scalesearch.models.surgery.repeats import loosen_strides, switches
from scalesearch.models.surgery.scaled import Variant, resize
from scalesearch.models.surgery.skeleton import META, copy_skeleton, materialise
from scalesearch.models.surgery.stages import Kind, Stage, keeps_shape, kind_of
from scalesearch.models.surgery.symbolic import Form


def adapted(base: Variant, stage: Stage, *, real: bool) -> nn.Module:
    """A block like a stage's only one, at that block's output: its stride 1, its widths those of its output.

    Layers that it no longer runs, such as a shortcut's convolution where the shape now stays, are left out.

    Args:
        real: try it with numbers on the CPU; on the meta device otherwise.

    Raises:
        SurgeryError: no such block keeps the shape.
    """
    found, path = base.found, stage.paths[0]
    call = next(c for c in found.calls if c.name == path)
    (_, start), (came, end) = call.inputs[0], call.outputs[0]
    if len(start) != len(end):
        raise SurgeryError(path, "its only block changes the number of dimensions")
    block = copy_skeleton(base.module.get_submodule(path))
    loosen_strides(block)
    kinds = {kind_of(base.module.get_submodule(p)) for s in base.stages for p in s.paths}
    for name, value in switches(found, kinds).items():
        if hasattr(block, name):
            setattr(block, name, value)
    _graft(block, base, [int(s) for s in came.shape], kinds, path)
    values = _following(base, start, end)
    inputs = [(found.ties.reduce(a), int(found.ties.value(b, {}))) for a, b in zip(start, end, strict=True)]

    def size(form: Form) -> int:
        reduced = found.ties.reduce(form)
        for whole, becomes in inputs:
            if reduced.terms and reduced.terms == whole.terms and reduced.constant == whole.constant:
                return becomes
        value = found.ties.value(form, values)
        if value.denominator != 1:
            raise SurgeryError(path, "its only block cannot be fitted to its own output")
        return int(value)

    resize(block, path, found, size)
    tried = materialise(copy_skeleton(block)) if real else copy_skeleton(block)
    image = torch.zeros(came.shape, device=None if real else META)
    ran: set[str] = set()
    for name, part in tried.named_modules():
        part.register_forward_hook(_noting(name, ran))
    try:
        with torch.no_grad():
            results = [tried.train(mode)(image) for mode in (True, False)]
    except Exception as failure:
        raise SurgeryError(path, "its only block does not run on its own output") from failure
    if not all(isinstance(result, Tensor) and result.shape == came.shape for result in results):
        raise SurgeryError(path, "its only block does not keep the shape of its own output")
    _leave_out(block, base.module.get_submodule(path), path, {c.name for c in found.calls}, ran)
    block.train(base.module.training)
    return block


def _graft(block: nn.Module, base: Variant, shape: Sequence[int], kinds: set[Kind], path: str) -> None:
    """Give the block the parts that shape-keeping blocks of its kind have and it has not: a norm on the shortcut."""
    found, own = base.found, base.module.get_submodule(path)
    others = [call for call in found.calls if call.name != path and type(call.module) is type(own)]
    keeping = [call for call in others if keeps_shape(call)]
    if not keeping or kind_of(own) not in kinds:
        return
    call = keeping[-1]
    absent = [name for name in call.module._modules if getattr(block, name, block) is None]
    inputs = [(found.ties.reduce(form), size) for form, size in zip(call.inputs[0][1], shape, strict=True)]

    def size(form: Form) -> int:
        reduced = found.ties.reduce(form)
        equal = [becomes for whole, becomes in inputs if whole.terms and reduced.terms == whole.terms]
        return equal[0] if equal else int(found.ties.value(form, {}))

    for name in absent:
        source = base.module.get_submodule(call.name)._modules.get(name)
        if source is not None and all(other.module._modules.get(name) is not None for other in keeping):
            part = copy_skeleton(source)
            resize(part, f"{call.name}.{name}", found, size)
            setattr(block, name, part)


def _noting(name: str, ran: set[str]) -> Any:
    return lambda *_: ran.add(name)


def _leave_out(block: nn.Module, original: nn.Module, path: str, called: set[str], ran: set[str]) -> None:
    """Put nothing where a part ran in the original block and does not in the adapted one."""
    for name, part in list(original.named_modules()):
        if name and f"{path}.{name}" in called and name not in ran and next(part.parameters(), None) is not None:
            holder, _, last = name.rpartition(".")
            if (holder == "" or holder in ran) and getattr(block.get_submodule(holder), last, None) is not None:
                setattr(block.get_submodule(holder), last, nn.Identity())


def _following(base: Variant, start: Sequence[Form], end: Sequence[Form]) -> dict[int, int]:
    """What the block's input, and the inner widths that follow it, become at the block's output."""
    ties, values = base.found.ties, {}
    for a, b in zip(start, end, strict=True):
        only = ties.reduce(a).only
        if only is not None:
            values[only] = int(ties.value(b, {}))
    starts, ends = dict(values), {ties.reduce(form).only for form in end}
    for inner, anchor in base.follow.items():
        if anchor.to in starts and inner not in starts and inner not in ends:
            values[inner] = max(1, values[anchor.to] * anchor.times // anchor.over)
    return values
