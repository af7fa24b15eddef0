"""Depth: which blocks of a network repeat, and how to have more or fewer of them.

A stage is a run of blocks of one kind that feed each other, as a specs' stage is: its first block may change the shape,
the others keep it. New blocks are copies of the last one. A stage of a single, shape-changing block grows by a copy
that works at the block's output: its stride is 1, its widths follow, and the switches (``use_res_connect``,
``has_skip``, a ``downsample`` that is None, …) are set as in the network's own shape-keeping blocks.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from scalesearch.errors import SurgeryError
from scalesearch.surgery.skeleton import META, copy_skeleton, empty_like, forget_names, law_of, refresh_counts, slots
from scalesearch.surgery.trace import BATCH, Call, Trace

Kind = tuple[Any, ...]


@dataclass(frozen=True)
class Stage:
    """Blocks that repeat: their parent's path, their names in it, and how one more is made.

    ``how`` is "copy" of the last block, "adapt" of an only block, or "dense": the next block sees one output more.
    """

    parent: str
    blocks: tuple[str, ...]
    kind: str
    how: str = "copy"

    @property
    def name(self) -> str:
        first = path_of(self.parent, self.blocks[0])
        return first if len(self.blocks) == 1 else f"{first}–{self.blocks[-1]}"

    @property
    def paths(self) -> list[str]:
        return [path_of(self.parent, block) for block in self.blocks]


def path_of(parent: str, name: str) -> str:
    return f"{parent}.{name}" if parent else name


def kind_of(module: nn.Module) -> Kind:
    """What makes two modules blocks of one kind: their class; for a plain Sequential, what is in it."""
    if type(module) is nn.Sequential:
        return (nn.Sequential, *(kind_of(child) for child in module))
    return (type(module),)


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
    for least in (2, 1):  # blocks of one layer only where there are no others, as in a plain chain
        allowed = {kind for kind, size in sizes.items() if size >= least}
        if least == 1:
            groups = {path: calls for path, calls in groups.items() if _only_containers(model, path)}
        stages = _search(groups, once, allowed, _widths_within(found)) or _only_ones(groups, once, allowed)
        if stages:
            break
    order = {call.name: i for i, call in enumerate(found.calls)}
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
        if kind_of(call.module) in kinds and call.name not in taken and call.plain and len(call.inputs) == 1:
            within = [path for path in taken if call.name.startswith(f"{path}.")]
            if not within and len(call.outputs) == 1:
                stages.append(_stage(parent, [call], "copy" if _keeps_shape(call) else "adapt"))
    return stages


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
    return [_stage(parent, [call], "copy" if _keeps_shape(call) else "adapt") for parent, call in several]


def _stage(parent: str, run: list[Call], how: str) -> Stage:
    names = tuple(call.name.rpartition(".")[2] for call in run)
    return Stage(parent, names, type(run[0].module).__name__, how)


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
    if kind_of(last.module) != kind_of(call.module) or not call.plain:
        return None
    before, given, came = ([id(t) for t, _ in part] for part in (last.inputs, call.inputs, last.outputs))
    if given == came and _keeps_shape(call):
        return "copy"
    if given == [*before, *came] and _shapes(call.outputs) == _shapes(last.outputs):
        return "dense"
    if given == came and _grows(call) and _agree(widths[last.name], widths[call.name]):
        return "dense"
    return None


def _agree(first: dict[str, int], second: dict[str, int]) -> bool:
    """Layers of one name are equally wide in both."""
    return all(first.get(name, width) == width for name, width in second.items())


def _shapes(tensors: list[Any]) -> list[tuple[int, ...]]:
    return [tuple(int(s) for s in tensor.shape) for tensor, _ in tensors]


def _keeps_shape(call: Call) -> bool:
    return bool(call.inputs) and _shapes(call.inputs) == _shapes(call.outputs)


def _grows(call: Call) -> bool:
    """What is passed on gets wider, at the same positions (dual-path networks)."""
    before, after = _shapes(call.inputs), _shapes(call.outputs)
    return len(before) == len(after) and all(
        a[1] <= b[1] and (a[0], *a[2:]) == (b[0], *b[2:]) for a, b in zip(before, after, strict=True)
    )


Adapter = Callable[[Stage], nn.Module]
"""Makes the block that follows a stage's only one."""


class Chain(nn.Sequential):
    """A block and its copies, where their parent names its children one by one."""


def pool_behind(model: nn.Module, path: str, positions: tuple[int, int]) -> nn.Module:
    """A copy of ``model`` that pools to ``positions`` behind the module at ``path``."""
    pooled = copy_skeleton(model)
    parent = pooled.get_submodule(path.rpartition(".")[0])
    name = path.rpartition(".")[2]
    parent._modules[name] = Chain(parent.get_submodule(name), nn.AdaptiveAvgPool2d(positions))
    return pooled


def set_repeats(
    model: nn.Module, found: Trace, stages: Sequence[Stage], repeats: Sequence[int], adapt: Adapter
) -> None:
    """Give each stage its number of blocks, in place.

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
            _insert(parent, stage, new, runs_children=stage.parent in called)
        elif wanted < have:
            _remove(parent, stage.blocks[wanted:])


def _insert(parent: nn.Module, stage: Stage, new: list[nn.Module], *, runs_children: bool) -> None:
    last = stage.blocks[-1]
    if runs_children and _iterates(parent, stage):
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
    return isinstance(parent, nn.Sequential) and all(name.isdigit() for name in parent._modules)


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


def _remove(parent: nn.Module, names: tuple[str, ...]) -> None:
    numbered = _is_numbered(parent)
    for name in names:
        if type(parent).forward is nn.Sequential.forward or isinstance(parent, nn.ModuleDict):
            del parent._modules[name]
        else:
            parent._modules[name] = nn.Identity()
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
                    seen[_keeps_shape(call)][name].add(value)
                elif isinstance(value, nn.Module):
                    seen[_keeps_shape(call)][name].add("a module")
    names = seen[True].keys() & seen[False].keys()
    return {
        name: next(iter(seen[True][name]))
        for name in names
        if len(seen[True][name]) == 1 and seen[True][name] != seen[False][name] and "a module" not in seen[True][name]
    }


def refit(model: nn.Module, resolution: int) -> None:
    """Fit the inputs of layers and norms to what arrives, in one run on the meta device: a dense block passes on more.

    Raises:
        SurgeryError: the network cannot run.
    """
    handles = [module.register_forward_pre_hook(_fit) for module in model.modules()]
    training = model.training
    try:
        with torch.no_grad():
            model.eval()
            model(torch.zeros(BATCH, 3, resolution, resolution, device=META))
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
