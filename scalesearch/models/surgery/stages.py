"""Depth: which blocks of a network repeat, and how to have more or fewer of them.

A stage is a run of blocks of one kind that feed each other, as a specs' stage is: its first block may change the shape,
the others keep it. New blocks are copies of the last one. A stage of a single, shape-changing block grows by a copy
that works at the block's output: its stride is 1, its widths follow, and the switches (``use_res_connect``,
``has_skip``, a ``downsample`` that is None, …) are set as in the network's own shape-keeping blocks.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from torch import nn

from scalesearch.models.surgery.tagger import Call, Trace

Kind = tuple[Any, ...]


@dataclass(frozen=True)
class Stage:
    """Blocks that repeat: their parent's path, their names in it, and how one more is made.

    ``how`` is "copy" of the last block, "adapt" of an only block, or "dense": the next block sees one output more.
    With ``settings``, blocks are called with something beside the image, such as a rate that rises from block to block.
    """

    parent: str
    blocks: tuple[str, ...]
    kind: str
    how: str = "copy"
    settings: bool = False

    @property
    def name(self) -> str:
        """Its first block and its last, as a path."""
        first = path_of(self.parent, self.blocks[0])
        return first if len(self.blocks) == 1 else f"{first}–{self.blocks[-1]}"

    @property
    def paths(self) -> list[str]:
        """Its blocks' paths."""
        return [path_of(self.parent, block) for block in self.blocks]


def path_of(parent: str, name: str) -> str:
    """A child's path."""
    return f"{parent}.{name}" if parent else name


def kind_of(module: nn.Module) -> Kind:
    """What makes two modules blocks of one kind: their class; for a plain Sequential, what is in it."""
    if type(module) is nn.Sequential:
        return (nn.Sequential, *(_kind_within(child) for child in module))
    return (type(module),)


def _kind_within(module: nn.Module) -> Kind:
    """Within a Sequential a convolution's kernel counts, and whether it is depthwise."""
    if isinstance(module, nn.Conv2d):
        return (type(module), module.kernel_size, 1 < module.groups == module.in_channels)
    return kind_of(module)


def find_stages(model: nn.Module, found: Trace) -> list[Stage]:
    """The stages of ``model`` in the order they run."""
    layers = _layers_within(found)
    groups: dict[str, list[Call]] = defaultdict(list)
    times: dict[str, int] = defaultdict(int)
    for call in found.calls:
        times[call.name] += 1
        if call.name and not _is_leaf(call.module):
            groups[call.name.rpartition(".")[0]].append(call)
    once = {name for name, count in times.items() if count == 1}
    sizes: dict[Kind, int] = defaultdict(int)
    for call in found.calls:
        sizes[kind_of(call.module)] = max(sizes[kind_of(call.module)], layers.get(call.name, 0))
    order = {call.name: i for i, call in enumerate(found.calls)}
    for least in (2, 1):  # blocks of one layer only where there are no others, as in a plain chain
        allowed = {kind for kind, size in sizes.items() if size >= least}
        if least == 1:
            groups = {path: calls for path, calls in groups.items() if _only_containers(model, path)}
        stages = _search(groups, once, allowed, _widths_within(found)) or _only_ones(groups, once, allowed)
        if stages:
            stages += _beside(
                stages, {p: [c for c in cs if c.name in once] for p, cs in groups.items()}, allowed, order
            )
            break
    return sorted(stages, key=lambda stage: order[stage.paths[0]])


def _only_containers(model: nn.Module, path: str) -> bool:
    """Whether ``path`` leads through nothing but plain containers."""
    parts = path.split(".") if path else []
    around = [model.get_submodule(".".join(parts[: end + 1])) for end in range(len(parts))]
    return all(type(module) in (nn.Sequential, nn.ModuleList, nn.ModuleDict) for module in around)


def _is_leaf(module: nn.Module) -> bool:
    return next(module.children(), None) is None


def _layers_within(found: Trace) -> dict[str, int]:
    """How many layers that see an image (not a gate's, which see one position) each module holds."""
    counts: dict[str, int] = defaultdict(int)
    for layer in found.layers.values():
        if layer.positions > 1:
            parts = layer.module.split(".")
            for end in range(1, len(parts) + 1):
                counts[".".join(parts[:end])] += 1
    return counts


def _widths_within(found: Trace) -> dict[str, dict[str, int]]:
    """Output channels of the layers in each module, by their names in it."""
    widths: dict[str, dict[str, int]] = defaultdict(dict)
    for layer in found.layers.values():
        parts = layer.name.split(".")
        for end in range(1, len(parts)):
            widths[".".join(parts[:end])][".".join(parts[end:])] = int(found.ties.value(layer.outputs, {}))
    return widths


def _search(
    groups: dict[str, list[Call]], once: set[str], allowed: set[Kind], widths: dict[str, dict[str, int]]
) -> list[Stage]:
    stages: list[Stage] = []
    kinds: set[Kind] = set()
    inside: list[str] = []

    def covered(path: str) -> bool:
        return any(path == block or path.startswith(f"{block}.") for block in inside)

    lone: list[tuple[str, Call]] = []
    for parent in sorted(groups, key=lambda path: (path.count("."), bool(path))):
        if parent and covered(parent):
            continue
        runs = list(_runs([c for c in groups[parent] if c.name in once], allowed, widths))
        for run, how in runs:
            if len(run) > 1:
                stages.append(_stage(parent, run, how))
                kinds.add(kind_of(run[0].module))
        singles = [(parent, run[0]) for run, _ in runs if len(run) == 1]
        lone += singles
        inside += [c.name for c in groups[parent] if kind_of(c.module) in kinds]
        inside += [path for stage in stages for path in stage.paths]
    taken = {path for stage in stages for path in stage.paths}
    for parent, call in lone:
        fits = kind_of(call.module) in kinds and call.plain and len(call.inputs) == len(call.outputs) == 1
        if fits and call.name not in taken and not any(_nested(call.name, path) for path in taken):
            stages.append(_alone(parent, call))
    return stages


def _nested(first: str, second: str) -> bool:
    """Whether one of two modules is within the other."""
    return first.startswith(f"{second}.") or second.startswith(f"{first}.")


def _alone(parent: str, call: Call) -> Stage:
    return _stage(parent, [call], "copy" if keeps_shape(call) else "adapt")


def _beside(
    stages: list[Stage], groups: dict[str, list[Call]], allowed: set[Kind], order: dict[str, int]
) -> list[Stage]:
    """Stages of one block of another class, alone in a container that is numbered in a row with those of the others.

    A block of one layer is one only where it comes before the others: at the end of the row it is the head.
    """
    blocks = [path for stage in stages for path in stage.paths]
    starts: dict[str, int] = {}
    for stage in stages:
        row, _, number = stage.parent.rpartition(".")
        if row and number.isdigit():
            starts[row] = min(starts.get(row, order[stage.paths[0]]), order[stage.paths[0]])
    taken = {stage.parent for stage in stages}
    found = []
    for parent, calls in groups.items():
        row, _, number = parent.rpartition(".")
        call = next(iter(calls), None)
        if call is None or row not in starts or not number.isdigit() or parent in taken or len(calls) != 1:
            continue
        if any(_nested(call.name, path) for path in blocks):
            continue
        counts = kind_of(call.module) in allowed or order[call.name] < starts[row]
        if counts and call.plain and len(call.inputs) == len(call.outputs) == 1:
            found.append(_alone(parent, call))
    return found


def _only_ones(groups: dict[str, list[Call]], once: set[str], allowed: set[Kind]) -> list[Stage]:
    """Stages of a network whose every stage is one block, alone of its kind in its container (a ResNet-10)."""
    lone: dict[Kind, list[tuple[str, Call]]] = defaultdict(list)
    for parent, calls in groups.items():
        blocks = [call for call in calls if kind_of(call.module) in allowed and call.name in once and call.plain]
        if parent and len(blocks) == len(calls) == 1 and len(blocks[0].inputs) == len(blocks[0].outputs) == 1:
            lone[kind_of(blocks[0].module)].append((parent, blocks[0]))
    several = max(lone.values(), key=len, default=[])
    if len(several) < 2:
        return []
    return [_stage(parent, [call], "copy" if keeps_shape(call) else "adapt") for parent, call in several]


def _stage(parent: str, run: list[Call], how: str) -> Stage:
    names = tuple(call.name.rpartition(".")[2] for call in run)
    return Stage(parent, names, type(run[0].module).__name__, how, any(call.settings for call in run))


def _runs(calls: list[Call], allowed: set[Kind], widths: dict[str, dict[str, int]]) -> Iterator[tuple[list[Call], str]]:
    """Blocks in the order they ran, each with the shape-keeping blocks of its kind that follow it directly."""
    run: list[Call] = []
    how = "copy"
    for call in calls:
        if kind_of(call.module) not in allowed:
            if run:
                yield run, how
            run, how = [], "copy"
            continue
        step = _continues(run, call, widths) if run else None
        if step is None or (len(run) > 1 and step != how):
            if run:
                yield run, how
            run, how = [call], "copy"
        else:
            run.append(call)
            how = step
    if run:
        yield run, how


def _continues(run: list[Call], call: Call, widths: dict[str, dict[str, int]]) -> str | None:
    """How ``call`` goes on with the run, if it does."""
    last = run[-1]
    if kind_of(last.module) != kind_of(call.module):
        return None
    before, given, came = ([id(t) for t, _ in part] for part in (last.inputs, call.inputs, last.outputs))
    if given == [*before, *came] and _shapes(call.outputs) == _shapes(last.outputs):
        return "dense"
    if not call.plain:
        return None
    if given == came and keeps_shape(call):
        return "copy"
    if given == came and _grows(call) and _agree(widths[last.name], widths[call.name]):
        return "dense"
    return None


def _agree(first: dict[str, int], second: dict[str, int]) -> bool:
    """Layers of one name are equally wide in both."""
    return all(first.get(name, width) == width for name, width in second.items())


def _shapes(tensors: list[Any]) -> list[tuple[int, ...]]:
    return [tuple(int(s) for s in tensor.shape) for tensor, _ in tensors]


def keeps_shape(call: Call) -> bool:
    """Whether what a call gave out has the shape of what came in."""
    return bool(call.inputs) and _shapes(call.inputs) == _shapes(call.outputs)


def _grows(call: Call) -> bool:
    """What is passed on gets wider, at the same positions (dual-path networks)."""
    before, after = _shapes(call.inputs), _shapes(call.outputs)
    return len(before) == len(after) and all(
        a[1] <= b[1] and (a[0], *a[2:]) == (b[0], *b[2:]) for a, b in zip(before, after, strict=True)
    )
