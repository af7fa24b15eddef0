"""Blocks that nobody has named: convolutions, norms and activations in one plain Sequential, over and over.

Where no block of a network repeats, such runs are put into Sequentials of their own, so that they are blocks: a chain
of convolutions as VGG's, depthwise and pointwise ones in turns as MobileNetV1's.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

from torch import nn

from scalesearch.models.surgery.stages import kind_of
from scalesearch.models.surgery.tagger import Call, Trace

LONGEST = 3
"""Most convolutions of a unit."""

POOLS = (
    nn.MaxPool2d, nn.AvgPool2d, nn.AdaptiveAvgPool2d, nn.AdaptiveMaxPool2d, nn.LPPool2d, nn.Flatten, nn.Upsample,
)  # fmt: skip
"""Layers that belong to no unit: a copy of the unit must not have them."""

Kind = tuple[object, ...]


@dataclass(frozen=True)
class _Piece:
    """A convolution and what follows it up to the next one."""

    calls: tuple[Call, ...]

    @property
    def kind(self) -> Kind:
        return kind_of(nn.Sequential(*(call.module for call in self.calls)))

    @property
    def keeps_shape(self) -> bool:
        (first, _), (last, _) = self.calls[0].inputs[0], self.calls[-1].outputs[0]
        return tuple(first.shape) == tuple(last.shape)


def group_units(model: nn.Module, found: Trace) -> bool:
    """Put repeated runs of layers into Sequentials of their own, in place; whether there were any."""
    changed = False
    for path, module in list(model.named_modules()):
        calls = _calls_in_order(module, path, found)
        if calls is None:
            continue
        units = _repeated(list(_pieces(calls)))
        if units:
            _wrap(module, path, units)
            changed = True
    return changed


def _calls_in_order(module: nn.Module, path: str, found: Trace) -> list[Call] | None:
    """The calls of a plain Sequential's children, where each is called once and hands on to the next."""
    if type(module) is not nn.Sequential or sum(call.name == path for call in found.calls) != 1:
        return None
    names = [f"{path}.{name}" if path else name for name in module._modules]
    calls = [call for call in found.calls if call.name in set(names)]
    if [call.name for call in calls] != names:
        return None
    if any(len(call.inputs) != 1 or len(call.outputs) != 1 for call in calls):
        return None
    return calls


def _pieces(calls: list[Call]) -> Iterator[_Piece | None]:
    """The Sequential cut before each convolution; None for what lies between."""
    piece: list[Call] = []
    for call in calls:
        convolves = isinstance(call.module, nn.Conv2d)
        ends = convolves or isinstance(call.module, POOLS) or any(True for _ in call.module.children())
        if ends and piece:
            yield _Piece(tuple(piece))
            piece = []
        if convolves:
            piece = [call]
        elif ends:
            yield None
        elif piece:
            piece.append(call)
    if piece:
        yield _Piece(tuple(piece))


def _repeated(pieces: list[_Piece | None]) -> list[_Piece]:
    """The units of one to three convolutions of which the most repeat; those alone of such a kind among them."""
    for length in range(1, LONGEST + 1):
        units = list(_units(pieces, length))
        kinds = {
            second.kind
            for first, second in pairwise(units)
            if first.kind == second.kind and second.keeps_shape and _meet(first, second)
        }
        if kinds:
            return [unit for unit in units if unit.kind in kinds]
    return []


def _meet(first: _Piece, second: _Piece) -> bool:
    """Whether the second takes what the first hands on."""
    return first.calls[-1].outputs[0][0] is second.calls[0].inputs[0][0]


def _units(pieces: list[_Piece | None], length: int) -> Iterator[_Piece]:
    """Units of ``length`` pieces: of the starts that are possible, the one that makes most neighbours alike."""
    run: list[_Piece] = []
    for piece in [*pieces, None]:
        if piece is not None:
            run.append(piece)
            continue
        if run:
            yield from max((_cut(run, start, length) for start in range(min(length, len(run)))), key=_alike)
        run = []


def _cut(run: list[_Piece], start: int, length: int) -> list[_Piece]:
    whole = [run[at : at + length] for at in range(start, len(run) - length + 1, length)]
    return [_Piece(tuple(call for piece in part for call in piece.calls)) for part in whole]


def _alike(units: list[_Piece]) -> int:
    return sum(first.kind == second.kind for first, second in pairwise(units))


def _wrap(module: nn.Module, path: str, units: list[_Piece]) -> None:
    """Put each unit into a Sequential, under the name of its first layer."""
    prefix = f"{path}." if path else ""
    inside = {call.name.removeprefix(prefix): unit for unit in units for call in unit.calls}
    items: list[tuple[str, nn.Module]] = []
    for name, child in module._modules.items():
        unit = inside.get(name)
        if unit is None:
            items.append((name, child))  # type: ignore[arg-type]
        elif unit.calls[0].name == prefix + name:
            items.append((name, nn.Sequential(*(module._modules[c.name.removeprefix(prefix)] for c in unit.calls))))  # type: ignore[arg-type]
    module._modules.clear()
    for index, (name, child) in enumerate(items):
        module._modules[str(index) if name.isdigit() else name] = child
