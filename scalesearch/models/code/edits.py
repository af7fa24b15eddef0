"""What makes a scaled module of the original, as statements: blocks repeated, layers replaced, numbers set."""

from __future__ import annotations

from collections.abc import Iterator
from copy import deepcopy
from dataclasses import dataclass, field
from itertools import groupby

import torch
from torch import Tensor, nn

from scalesearch.errors import ScaleSearchError
from scalesearch.models.code.constructors import Imports, attributes, constructor, same_kind
from scalesearch.models.surgery.network import Network
from scalesearch.models.surgery.repeats import Chain, Pass

RATES = {"StochasticDepth": "p", "DropPath": "drop_prob"}
"""Modules that drop branches, and where they keep their rate: all rates are written in one place."""
NAMES = ("block", "part", "layer", "inner")
"""Of the variables of loops within loops."""


@dataclass
class Edits:
    """Statements about a module, with ``{}`` in the place of its expression, and those about its children."""

    own: list[str] = field(default_factory=list)
    children: dict[str, Edits] = field(default_factory=dict)

    def __bool__(self) -> bool:
        return bool(self.own) or any(map(bool, self.children.values()))

    def lines(self, module: nn.Module, expression: str, depth: int = 0) -> Iterator[str]:
        """As code; children that are edited alike, one after another, share a loop."""
        for statement in self.own:
            yield statement.replace("{}", expression)
        edited = [(name, child) for name, child in self.children.items() if child]
        if not isinstance(module, (nn.Sequential, nn.ModuleList)):
            for name, child in edited:
                yield from child.lines(_child(module, name), reach(module, expression, name), depth)
            return
        places = {name: place for place, name in enumerate(module._modules)}

        def alike(item: tuple[int, tuple[str, Edits]]) -> tuple[int, str]:
            number, (name, child) = item
            return places[name] - number, "\n".join(child.lines(_child(module, name), "{}", depth + 1))

        for _, group in groupby(enumerate(edited), alike):
            members = [each for _, each in group]
            first, last = places[members[0][0]], places[members[-1][0]]
            name, child = members[0]
            if first == last:
                yield from child.lines(_child(module, name), reach(module, expression, name), depth)
                continue
            variable = NAMES[min(depth, len(NAMES) - 1)]
            whole = last - first + 1 == len(places)
            source = expression if type(module) in (nn.Sequential, nn.ModuleList) else f"list({expression})"
            part = f"{source}[{first or ''}:{'' if last == len(places) - 1 else last + 1}]"
            yield f"for {variable} in {expression if whole else part}:"
            for line in child.lines(_child(module, name), variable, depth + 1):
                yield f"    {line}"


def reach(parent: nn.Module, expression: str, name: str) -> str:
    """How Python gets at a child."""
    if name.isidentifier():
        return f"{expression}.{name}"
    if isinstance(parent, (nn.Sequential, nn.ModuleList)):
        return f"{expression}[{list(parent._modules).index(name)}]"
    if isinstance(parent, nn.ModuleDict):
        return f"{expression}[{name!r}]"
    return f'{expression}.get_submodule("{name}")'


def expression_of(model: nn.Module, path: str) -> str:
    """How Python gets at a module of the model."""
    found, expression = model, "model"
    for name in path.split(".") if path else ():
        expression, found = reach(found, expression, name), _child(found, name)
    return expression


def repeated(work: nn.Module, wanted: nn.Module, network: Network, repeats: tuple[int, ...]) -> list[str]:
    """Statements that give each stage its blocks, and the same done to ``work``; last stages first, as names shift.

    Raises:
        ScaleSearchError: blocks join their network in a way that cannot be written.
    """
    lines = []
    for stage, count in reversed(list(zip(network.stages, repeats, strict=True))):
        parent, blocks = work.get_submodule(stage.parent), list(stage.blocks)
        more, last = count - len(blocks), stage.blocks[-1]
        expression = expression_of(work, stage.parent)
        numbered = isinstance(parent, (nn.Sequential, nn.ModuleList)) and all(
            name.isdigit() for name in parent._modules
        )
        there = _there(wanted, stage.parent)
        if more > 0 and there is not None and isinstance(there._modules.get(last), Chain):
            block = reach(parent, expression, last)
            lines.append(f"{block} = Chain({block}, *(deepcopy({block}) for _ in range({more})))")
            parent._modules[last] = Chain(*(deepcopy(parent._modules[last]) for _ in range(more + 1)))  # type: ignore[arg-type]
        elif more > 0 and numbered:
            place = list(parent._modules).index(last)
            lines.append(f"repeat({expression}, {place}, {more})")
            for _ in range(more):
                parent.insert(place + 1, deepcopy(parent[place]))  # type: ignore[operator, index]
        elif more > 0 and there is not None and last == list(parent._modules)[-1]:
            for name in list(there._modules)[len(parent._modules) :]:
                lines.append(f'{expression}.add_module("{name}", deepcopy({reach(parent, expression, last)}))')
                parent.add_module(name, deepcopy(parent._modules[last]))
        elif more > 0:
            raise ScaleSearchError(
                f"{stage.name}: its repeated blocks join the network in a way that cannot be written"
            )
        elif more < 0:
            lines += _removed(parent, there, expression, blocks[count:], numbered=numbered)
    return lines


def _removed(
    parent: nn.Module, there: nn.Module | None, expression: str, names: list[str], *, numbered: bool
) -> list[str]:
    if there is not None and any(isinstance(there._modules.get(name), Pass) for name in names):
        lines = [f"{reach(parent, expression, name)} = Pass()" for name in names]
        for name in names:
            parent._modules[name] = Pass()
        return lines
    if numbered and isinstance(parent, (nn.Sequential, nn.ModuleList)):
        places = [list(parent._modules).index(name) for name in names]
        del parent[places[0] : places[-1] + 1]
        return [f"del {expression}[{places[0]}:{places[-1] + 1}]"]
    lines = [f"del {reach(parent, expression, name)}" for name in names]
    for name in names:
        del parent._modules[name]
    return lines


def edits_of(before: nn.Module, after: nn.Module, imports: Imports, path: str = "") -> Edits:
    """What makes ``after`` of ``before``.

    Raises:
        ScaleSearchError: something of it cannot be written; the message names it.
    """
    found = Edits(_own(before, after, path))
    for name, child in after._modules.items():
        where, old = f"{path}.{name}".lstrip("."), before._modules.get(name)
        if child is None or (old is not None and not _differs(old, child)):
            continue
        written = constructor(child, imports)
        if written is not None:
            found.own.append(f"{_assigned(after, name)} = {written}")
        elif old is None or not same_kind(child, old):
            raise ScaleSearchError(f"{where}: {type(child).__name__} cannot be written as a call of its constructor")
        else:
            found.children[name] = edits_of(old, child, imports, where)
    for name, old in before._modules.items():
        if old is not None and after._modules.get(name) is None:
            found.own.append(f"{_assigned(before, name)} = None" if name in after._modules else f"del {{}}.{name}")
    return found


def rates(model: nn.Module) -> list[float]:
    """At which every branch is dropped that may be, in the order of the modules."""
    return [float(getattr(m, RATES[type(m).__name__])) for m in model.modules() if type(m).__name__ in RATES]


def _assigned(parent: nn.Module, name: str) -> str:
    if name.isidentifier():
        return f"{{}}.{name}"
    if isinstance(parent, (nn.Sequential, nn.ModuleList)):
        return f"{{}}[{list(parent._modules).index(name)}]"
    return f"{{}}[{name!r}]"


def _own(before: nn.Module, after: nn.Module, path: str) -> list[str]:
    """Statements about a module's own tensors and numbers."""
    old, new = attributes(before), _attributes(after)
    changed = {name: value for name, value in new.items() if old.get(name, _own) != value}
    tensors = {
        name: tensor
        for name, tensor in [*after.named_parameters(recurse=False), *after.named_buffers(recurse=False)]
        if (mine := getattr(before, name, None)) is None or mine.shape != tensor.shape
    }
    if isinstance(after, nn.modules.batchnorm._NormBase) and set(changed) == {"num_features"}:
        return [f"set_channels({{}}, {after.num_features})"]
    lines = [f"{{}}.{name} = {value!r}" for name, value in changed.items()]
    for name, tensor in tensors.items():
        value = _value(tensor)
        if value is None:
            raise ScaleSearchError(f"{path or 'the network'}: how its {name} starts cannot be written")
        parameter = isinstance(tensor, nn.Parameter)
        lines.append(f"{{}}.{name} = {f'nn.Parameter({value})' if parameter else value}")
    gone = [
        name
        for name in before._parameters
        if before._parameters[name] is not None and after._parameters.get(name) is None
    ]
    return lines + [f"{{}}.{name} = None" for name in gone]


def _attributes(module: nn.Module) -> dict[str, object]:
    """Its numbers, but for rates, which are written in one place, and notes of surgery's own."""
    rate = RATES.get(type(module).__name__)
    return {name: value for name, value in attributes(module).items() if name not in (rate, "_logits_at")}


def _value(tensor: Tensor) -> str | None:
    """A constant tensor, or one that is drawn: its start, in words."""
    shape, flat = tuple(tensor.shape), tensor.detach().flatten()
    size = str(shape) if len(shape) != 1 else str(shape[0])
    if flat.numel() == 0 or bool((flat == flat[0]).all()):
        value = float(flat[0]) if flat.numel() else 0.0
        word = {0.0: "zeros", 1.0: "ones"}.get(value)
        kind = "" if tensor.dtype == torch.float32 else f", dtype={tensor.dtype}"
        return f"torch.{word}({size}{kind})" if word else f"torch.full({shape}, {_short(value, tensor.dtype)}{kind})"
    if isinstance(tensor, nn.Parameter):
        return f"torch.randn({size}) * {float(flat.std()):.4g}"
    return None


def _short(value: float, kind: torch.dtype) -> str:
    """The fewest digits that come to the same number in a tensor."""
    for digits in range(1, 10):
        text = f"{value:.{digits}g}"
        if torch.tensor(float(text), dtype=kind) == torch.tensor(value, dtype=kind):
            return text
    return repr(value)


def _differs(before: nn.Module, after: nn.Module) -> bool:
    """Whether anything of it would have to be edited."""
    if not same_kind(after, before) or before._modules.keys() != after._modules.keys():
        return True
    pairs = [(before._modules[name], after._modules[name]) for name in after._modules]
    if any((old is None) != (new is None) for old, new in pairs) or _attributes(before) != _attributes(after):
        return True
    shapes = [
        {name: t.shape for name, t in [*m.named_parameters(recurse=False), *m.named_buffers(recurse=False)]}
        for m in (before, after)
    ]
    return shapes[0] != shapes[1] or any(
        _differs(old, new) for old, new in pairs if old is not None and new is not None
    )


def _there(model: nn.Module, path: str) -> nn.Module | None:
    try:
        return model.get_submodule(path)
    except AttributeError:
        return None


def _child(module: nn.Module, name: str) -> nn.Module:
    child = module._modules[name]
    assert child is not None
    return child
