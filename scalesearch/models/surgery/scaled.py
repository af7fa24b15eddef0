"""One scaled copy of a network: its multipliers, its layers, its fresh weights."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from fractions import Fraction

from torch import Tensor, nn

from scalesearch.errors import SurgeryError
from scalesearch.image_size import Resolution
from scalesearch.models.surgery.account import Account, LayerAccount
from scalesearch.models.surgery.fan_in import follow_fans, follow_widths
from scalesearch.models.surgery.initialisation import Law
from scalesearch.models.surgery.measure import MeasuredCost, positions
from scalesearch.models.surgery.skeleton import (
    copy_skeleton,
    empty_like,
    law_of,
    materialise,
    refresh_counts,
    replace_tensors,
)
from scalesearch.models.surgery.stages import Stage, path_of
from scalesearch.models.surgery.symbolic import Form
from scalesearch.models.surgery.tagger import Trace, named_tensors
from scalesearch.models.surgery.widths import Anchor
from scalesearch.scaling.cost import Cost


@dataclass
class Variant:
    """The network with certain numbers of blocks, at its original widths."""

    module: nn.Module
    found: Trace
    follow: dict[int, Anchor]
    stages: list[Stage]
    used: dict[Resolution, list[tuple[int, int]]] = field(default_factory=dict)
    measured: MeasuredCost | None = None
    real: bool = False
    channels: int = 3

    def runnable(self) -> nn.Module:
        """A copy to run: without numbers, unless the network needs them (``real``). Forward may keep things on it."""
        copy = copy_skeleton(self.module)
        return materialise(copy) if self.real else copy

    def positions(self, resolution: Resolution) -> list[tuple[int, int]]:
        """Where each layer call is used at ``resolution``; widths do not change it."""
        if resolution not in self.used:
            seen = positions(self.runnable(), resolution, self.channels)
            if len(seen) != len(self.found.order):
                raise SurgeryError("forward", f"other layers run at {resolution} px than at its own size")
            self.used[resolution] = seen
        return self.used[resolution]


class Scaled:
    """A network at certain multipliers: the account of what becomes of it, and the network itself when asked for."""

    def __init__(self, variant: Variant, values: dict[int, int], account: Account, cost: Cost) -> None:
        self._variant, self._values = variant, values
        self.account, self.cost = account, cost

    @property
    def real(self) -> bool:
        """Whether it needs numbers to run."""
        return self._variant.real

    @property
    def channels(self) -> int:
        """Of its images."""
        return self._variant.channels

    @property
    def has_classes(self) -> bool:
        """Whether one of its outputs is a row of classes."""
        return self._variant.found.classes is not None

    @property
    def deepest(self) -> tuple[int, int] | None:
        """The map with the fewest positions among what it gives out: its place and its channels; None without maps."""
        found = self._variant.found
        maps = [(place, dims) for place, dims in enumerate(found.given_out) if len(dims) == 4]
        if not maps:
            return None
        base = found.ties.base
        place, dims = min(maps, key=lambda each: (each[1][2].at(base) * each[1][3].at(base), -each[0]))
        return place, int(found.ties.value(dims[1], self._values))

    def skeleton(self) -> nn.Module:
        """The network on the meta device."""
        module = copy_skeleton(self._variant.module)
        found, values = self._variant.found, self._values
        resize(module, "", found, lambda form: int(found.ties.value(form, values)))
        follow_fans(self._variant.module, module)
        follow_widths(module, found, values)
        self._rename_heads(module)
        if self._variant.found.classes is None:
            self._rename_maps(module)
        return module

    def _rename_maps(self, module: nn.Module) -> None:
        """What backbones of timm say about the channels of their maps, on themselves."""
        info, found = getattr(module, "feature_info", None), self._variant.found
        rows = getattr(info, "info", info)
        places = getattr(info, "out_indices", None) or range(len(found.given_out))
        if not isinstance(rows, list) or len(places) != len(found.given_out):
            return
        for place, dims in zip(places, found.given_out, strict=True):
            if place < len(rows) and isinstance(rows[place], dict) and "num_chs" in rows[place]:
                channels = [(int(found.ties.value(f, {})), int(found.ties.value(f, self._values))) for f in dims[1:]]
                rows[place]["num_chs"] = dict(channels).get(rows[place]["num_chs"], rows[place]["num_chs"])

    def laws(self) -> dict[str, Law]:
        """How each tensor starts, by its name; `Law.name` is what it is called in the original network."""
        return {name: law_of(tensor) for name, tensor in named_tensors(self._variant.module)}

    def _rename_heads(self, module: nn.Module) -> None:
        """What networks of timm say about their classifier, on themselves."""
        ties, before = self._variant.found.ties, self._variant.found.layers
        ran = self._variant.found.order
        last = before[ran[-1]] if ran else None
        if last is None:
            return
        old = {"inputs": int(ties.value(last.inputs, {})), "outputs": int(ties.value(last.outputs, {}))}
        for name, end in (("num_features", "inputs"), ("head_hidden_size", "inputs"), ("num_classes", "outputs")):
            if vars(module).get(name) == old[end]:
                setattr(module, name, int(ties.value(getattr(last, end), self._values)))

    def build(self) -> nn.Module:
        """The network, freshly initialised by its own scheme from torch's global generator."""
        module = materialise(self.skeleton())
        module._logits_at = self._variant.found.outputs  # type: ignore[assignment]
        return module


def resize(module: nn.Module, path: str, found: Trace, size: Callable[[Form], int]) -> None:
    """Set every tensor's shape and every kept integer of ``module``, which sits at ``path`` of the traced network."""
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


def layer_rows(variant: Variant, values: dict[int, int], resolution: Resolution) -> list[LayerAccount]:
    """The account's own count: channels from the ties, positions from a run at the resolution."""
    found, ties = variant.found, variant.found.ties
    total: dict[str, int] = {}
    first: dict[str, int] = {}
    for name, (where, times) in zip(found.order, variant.positions(resolution), strict=True):
        first.setdefault(name, where)
        total[name] = total.get(name, 0) + where * times
    rows = []
    for name, layer in found.layers.items():
        inputs, outputs = int(ties.value(layer.inputs, values)), int(ties.value(layer.outputs, values))
        groups = int(ties.value(layer.groups, values))
        weights = outputs * (inputs // groups) * math.prod(layer.kernel)
        grown = math.prod(Fraction(ties.value(form, values)) / Fraction(ties.value(form, {})) for form in layer.along)
        where, times = int(first.get(name, 0) * grown), int(total.get(name, 0) * grown)
        rows.append(LayerAccount(name, inputs, outputs, layer.kernel, groups, where, weights * times))
    return rows


def channels_before(base: Trace, variant: Variant) -> dict[str, tuple[int, int]]:
    """Channels in and out that the layers of a variant have in the original network, which ``base`` is of."""
    result = {}
    for name, tensor in named_tensors(variant.module):
        layer = base.layers.get(law_of(tensor).name or "")
        if layer is not None:
            result[name] = (int(base.ties.value(layer.inputs, {})), int(base.ties.value(layer.outputs, {})))
    return result
