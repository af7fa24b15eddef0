"""A module that has been looked through: what of it can be scaled, and copies of it that are."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import torch
from torch import Tensor, nn

from scalesearch.errors import SurgeryError
from scalesearch.scaling import Rounding
from scalesearch.surgery.blocks import (
    Stage,
    find_stages,
    kind_of,
    loosen_strides,
    path_of,
    refit,
    set_repeats,
    switches,
)
from scalesearch.surgery.measure import Measured, measure, positions
from scalesearch.surgery.sizes import Form
from scalesearch.surgery.skeleton import (
    META,
    copy_skeleton,
    empty_like,
    law_of,
    refresh_counts,
    replace_tensors,
    skeleton,
)
from scalesearch.surgery.trace import Trace, named_tensors, trace
from scalesearch.surgery.widths import Anchor, anchors, free_unknowns, new_widths


@dataclass(frozen=True)
class Row:
    """One convolution or linear layer: channels in and out, kernel, groups, output positions and MACs of one image."""

    name: str
    inputs: int
    outputs: int
    kernel: tuple[int, ...]
    groups: int
    positions: int
    macs: int


@dataclass(frozen=True)
class Account:
    """What scaling did: blocks per stage and channels per layer, what stayed as it was and why."""

    depth: float
    width: float
    resolution: int
    stages: tuple[tuple[str, int, int], ...]
    layers: tuple[Row, ...]
    before: dict[str, tuple[int, int]] = field(repr=False)
    fixed: tuple[tuple[str, str], ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def macs(self) -> int:
        return sum(row.macs for row in self.layers)

    @property
    def blocks(self) -> int:
        return sum(after for _, _, after in self.stages)

    def __str__(self) -> str:
        lines = [f"depth ×{self.depth:.4g}, width ×{self.width:.4g}, {self.resolution} px"]
        lines += [f"{name}: {old} → {new} blocks" for name, old, new in self.stages]
        for row in self.layers:
            old = self.before.get(row.name)
            now = f"{row.inputs} → {row.outputs}"
            was = "new" if old is None else "as it was" if old == (row.inputs, row.outputs) else f"was {old[0]} → {old[1]}"
            lines.append(f"{row.name}: {now} ({was})")
        lines += [f"{name}: stays, {reason}" for name, reason in self.fixed]
        return "\n".join([*lines, *self.notes])


@dataclass
class _Variant:
    """The network at certain numbers of blocks and its original widths."""

    module: nn.Module
    found: Trace
    follow: dict[int, Anchor]
    stages: list[Stage]


@dataclass(frozen=True)
class Scaled:
    """A scaled network before it is built: its skeleton (meta tensors only) and the account of what was done."""

    module: nn.Module
    account: Account

    @cached_property
    def measured(self) -> Measured:
        return measure(self.module, self.account.resolution)


class Network:
    """A module that has been looked through. Holds its skeleton and its ties, never its weights.

    Args:
        model: as its author builds it; its weights are only looked at to learn how it initialises itself.
        resolution: of the square image it is meant for, pixels.
        keep_groups: grouped convolutions keep the number of their groups; otherwise the groups' width stays and there
            are more of them. Depthwise convolutions stay depthwise either way.

    Raises:
        SurgeryError: it cannot be run or followed, or has attention.
    """

    def __init__(self, model: nn.Module, resolution: int, *, keep_groups: bool = False) -> None:
        self.resolution, self.keep_groups = resolution, keep_groups
        self.skeleton = skeleton(model)
        found = trace(self.skeleton, resolution, keep_groups=keep_groups)
        if found.attention is not None:
            raise SurgeryError(
                found.attention, "attention: its heads and tokens do not scale as a ConvNet's channels and pixels do"
            )
        stages = find_stages(self.skeleton, found)
        self._base = _Variant(self.skeleton, found, anchors(found, stages), stages)
        self.stages, self.unrepeatable = self._repeatable(stages)
        self._variants: dict[tuple[int, ...], _Variant] = {tuple(len(s.blocks) for s in self.stages): self._base}
        self._base.stages = stages

    @property
    def found(self) -> Trace:
        return self._base.found

    @property
    def num_classes(self) -> int | None:
        """Outputs of the classifier; None where the output is no plain row of classes."""
        classes = self.found.classes
        return None if classes is None else int(self.found.ties.value(classes, {}))

    @property
    def free(self) -> int:
        """How many widths can be chosen."""
        return len(free_unknowns(self.found))

    def _repeatable(self, stages: list[Stage]) -> tuple[list[Stage], dict[str, str]]:
        """The stages that can grow, and the reasons of those that cannot: each only block is tried."""
        good, bad = [], {}
        for stage in stages:
            if stage.how == "adapt":
                try:
                    self._adapted(stage)
                except SurgeryError as failure:
                    bad[stage.name] = failure.reason
                    continue
            good.append(stage)
        return good, bad

    def repeats(self, depth: float, rounding: Rounding) -> tuple[int, ...]:
        """Blocks per stage at ``depth`` times the original."""
        last = len(self.stages) - 1
        fixed = (0, last) if rounding.fix_stem_head else ()
        return tuple(
            len(stage.blocks) if depth == 1 or i in fixed else rounding.repeats(len(stage.blocks), depth)
            for i, stage in enumerate(self.stages)
        )

    def scaled(
        self,
        depth: float = 1,
        width: float = 1,
        resolution: int | None = None,
        *,
        rounding: Rounding | None = None,
        num_classes: int | None = None,
    ) -> Scaled:
        """The network ``depth`` times deeper and ``width`` times wider, for images of ``resolution`` pixels.

        Raises:
            SurgeryError: the multipliers leave nothing of a layer, or the layers cannot be fitted together.
        """
        rounding = rounding or Rounding()
        repeats = self.repeats(depth, rounding)
        variant = self._variant(repeats)
        found = variant.found
        fixed = self._ends(variant) if rounding.fix_stem_head else ()
        values = new_widths(found, variant.follow, width, rounding, fixed)
        if num_classes is not None and num_classes != self.num_classes:
            values |= self._with_classes(found, num_classes)
        module = copy_skeleton(variant.module)
        _resize(module, found, values)
        size = resolution or self.resolution
        rows = _rows(module, found, values, size)
        before = self._before(module)
        account = Account(
            depth,
            width,
            size,
            tuple((s.name, len(s.blocks), n) for s, n in zip(self.stages, repeats, strict=True)),
            tuple(rows),
            before,
            self.fixed_widths,
            tuple(f"{name}: one block, which cannot be repeated ({why})" for name, why in self.unrepeatable.items()),
        )
        return Scaled(module, account)

    def _before(self, module: nn.Module) -> dict[str, tuple[int, int]]:
        """Channels in and out that the layers of ``module`` have in the original network."""
        base, result = self.found, {}
        for name, tensor in named_tensors(module):
            layer = base.layers.get(law_of(tensor).name or "")
            if layer is not None:
                result[name] = (int(base.ties.value(layer.inputs, {})), int(base.ties.value(layer.outputs, {})))
        return result

    @property
    def fixed_widths(self) -> tuple[tuple[str, str], ...]:
        """Layers whose outputs do not scale, and why."""
        found = self.found
        result = []
        for layer in found.layers.values():
            reduced = found.ties.reduce(layer.outputs)
            if not reduced.terms:
                result.append((layer.weight.removesuffix(".weight"), found.ties.reason(layer.outputs) or "tied to something fixed"))
            elif found.classes is not None and reduced.only == found.ties.reduce(found.classes).only:
                result.append((layer.weight.removesuffix(".weight"), "the classes"))
        return tuple(result)

    def _with_classes(self, found: Trace, num_classes: int) -> dict[int, int]:
        only = found.ties.reduce(found.classes).only if found.classes is not None else None
        if only is None:
            raise SurgeryError("the classifier", f"its outputs cannot be changed to {num_classes} classes")
        return {only: num_classes}

    def _ends(self, variant: _Variant) -> list[int]:
        """Widths of what lies outside the blocks."""
        paths = [path for stage in variant.stages for path in stage.paths]
        outside = [
            layer
            for layer in variant.found.layers.values()
            if not any(layer.module == p or layer.module.startswith(f"{p}.") for p in paths)
        ]
        return [v for layer in outside for v in variant.found.ties.reduce(layer.outputs).terms]

    def _variant(self, repeats: tuple[int, ...]) -> _Variant:
        if repeats not in self._variants:
            module = copy_skeleton(self.skeleton)
            set_repeats(module, self.stages, repeats, self._adapted)
            if any(stage.how == "dense" for stage in self.stages):
                refit(module, self.resolution)
            try:
                found = trace(module, self.resolution, keep_groups=self.keep_groups)
            except SurgeryError as failure:
                raise SurgeryError(failure.layer, f"with {sum(repeats)} blocks {failure.reason}") from failure
            stages = find_stages(module, found)
            self._variants[repeats] = _Variant(module, found, anchors(found, stages), stages)
        return self._variants[repeats]

    def _adapted(self, stage: Stage) -> nn.Module:
        """A block like a stage's only one, at that block's output: its stride 1, its widths those of its output.

        Raises:
            SurgeryError: no such block keeps the shape.
        """
        found, path = self._base.found, stage.paths[0]
        call = next(c for c in found.calls if c.name == path)
        (given, start), (came, end) = call.inputs[0], call.outputs[0]
        block = copy_skeleton(self.skeleton.get_submodule(path))
        loosen_strides(block)
        kinds = {kind_of(self.skeleton.get_submodule(p)) for s in self._base.stages for p in s.paths}
        for name, value in switches(self.skeleton, found, kinds).items():
            if hasattr(block, name):
                setattr(block, name, value)
        values = self._following(start, end)
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

        _resize_by(block, path, found, size)
        try:
            with torch.no_grad():
                result = block.eval()(torch.zeros(came.shape, device=META))
        except Exception as failure:
            raise SurgeryError(path, "its only block does not run on its own output") from failure
        if not isinstance(result, Tensor) or result.shape != came.shape:
            raise SurgeryError(path, "its only block does not keep the shape of its own output")
        return block.train(self.skeleton.training)

    def _following(self, start: Sequence[Form], end: Sequence[Form]) -> dict[int, int]:
        """What the block's input, and the inner widths that follow it, become at the block's output."""
        found, values = self._base.found, {}
        for a, b in zip(start, end, strict=True):
            only = found.ties.reduce(a).only
            if only is not None:
                values[only] = int(found.ties.value(b, {}))
        for inner, anchor in self._base.follow.items():
            if anchor.to in values and inner not in values:
                values[inner] = max(1, values[anchor.to] * anchor.times // anchor.over)
        return values


def _resize(module: nn.Module, found: Trace, values: dict[int, int]) -> None:
    def size(form: Form) -> int:
        return int(found.ties.value(form, values))

    _resize_by(module, "", found, size)


def _resize_by(module: nn.Module, path: str, found: Trace, size: Any) -> None:
    """Set every tensor's shape and every kept integer of ``module`` (at ``path`` of the traced network)."""
    names = {id(tensor): path_of(path, name) for name, tensor in named_tensors(module)}

    def change(_: nn.Module, __: str, tensor: Tensor) -> Tensor:
        dims = found.tensors.get(names.get(id(tensor), ""))
        if dims is None:
            return tensor
        shape = tuple(size(form) for form in dims)
        return tensor if shape == tuple(tensor.shape) else empty_like(tensor, shape, law_of(tensor))

    replace_tensors(module, change)
    for name, part in module.named_modules():
        own = vars(part)
        for attribute in list(own):
            tagged = found.integers.get((path_of(path, name) if name else path, attribute))
            if isinstance(tagged, int):
                own[attribute] = size(found.ties.form(tagged))
            elif tagged is not None:
                new = [size(found.ties.form(v)) for v in tagged]
                own[attribute] = new if isinstance(tagged, list) else tuple(new)
    refresh_counts(module)


def _rows(module: nn.Module, found: Trace, values: dict[int, int], resolution: int) -> list[Row]:
    """The account's own count: channels from the ties, positions from one run at the new resolution."""
    ties = found.ties
    seen = positions(module, resolution)
    if len(seen) != len(found.order):
        raise SurgeryError("forward", f"{len(seen)} layers run at {resolution} px, {len(found.order)} at its own size")
    total: dict[str, int] = {}
    first: dict[str, int] = {}
    for name, (where, times) in zip(found.order, seen, strict=True):
        first.setdefault(name, where)
        total[name] = total.get(name, 0) + where * times
    rows = []
    for name, layer in found.layers.items():
        inputs, outputs = int(ties.value(layer.inputs, values)), int(ties.value(layer.outputs, values))
        groups = int(ties.value(layer.groups, values))
        weights = outputs * (inputs // groups) * _area(layer.kernel)
        rows.append(Row(name, inputs, outputs, layer.kernel, groups, first.get(name, 0), weights * total.get(name, 0)))
    return rows


def _area(kernel: tuple[int, ...]) -> int:
    area = 1
    for side in kernel:
        area *= side
    return area


