"""The weights of a network in a deeper copy of it, whose new blocks pass on what they get."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from scalesearch.errors import SurgeryError
from scalesearch.models.surgery.tagger import flatten, named_tensors

NEAR = 1e-6
"""Most that a block may change what it gets, as a share of the largest number in it."""


def take_over(deep: nn.Module, weights: Mapping[str, Tensor], origins: Mapping[str, str | None]) -> None:
    """Put the smaller network's weights where they are of; in place.

    What reads more channels than before, as behind a dense block with one layer more, gets zeros for the new ones.

    Args:
        origins: for each tensor of ``deep`` its name in ``weights``; None for one of a new block.
    """
    for name, tensor in named_tensors(deep):
        origin = origins[name]
        if origin is None:
            continue
        old = weights[origin].detach()
        with torch.no_grad():
            if old.shape == tensor.shape:
                tensor.copy_(old)
                continue
            if tensor.ndim > 1:
                tensor.zero_()
            places = tuple(slice(0, size) for size in old.shape)
            if old.ndim != tensor.ndim or any(a > b for a, b in zip(old.shape, tensor.shape, strict=True)):
                raise SurgeryError(name, f"{tuple(old.shape)} does not fit into {tuple(tensor.shape)}")
            tensor[places].copy_(old)


def new_blocks(deep: nn.Module, origins: Mapping[str, str | None]) -> list[str]:
    """The largest modules of which every tensor is new."""
    new = {name for name, origin in origins.items() if origin is None}
    found: list[str] = []
    for path, _ in deep.named_modules():
        if not path or any(path.startswith(f"{other}.") for other in found):
            continue
        own = [name for name in origins if name.startswith(f"{path}.")]
        if own and new.issuperset(own):
            found.append(path)
    return found


def pass_on(deep: nn.Module, blocks: Sequence[str], images: Sequence[Tensor]) -> None:
    """Have new blocks compute the identity, in place: what they add to their input starts at zero.

    Raises:
        SurgeryError: one cannot; the message names it.
    """
    calls = _inputs(deep, blocks, images)
    known: dict[type, list[str]] = {}
    for path in blocks:
        block, given = deep.get_submodule(path), calls.get(path)
        if given is None:
            continue  # it widens what it gets; zeros in what follows leave that out
        silent = _silent(block, given, path, known.get(type(block)))
        known[type(block)] = silent


@dataclass(frozen=True)
class _Given:
    """What a block gets, at each of several calls."""

    args: tuple[tuple[Any, ...], ...]
    kwargs: tuple[dict[str, Any], ...]


def _inputs(deep: nn.Module, blocks: Sequence[str], images: Sequence[Tensor]) -> dict[str, _Given]:
    """What the blocks get in the trained network: none of them does anything for as long."""
    seen: dict[str, list[tuple[Any, dict[str, Any]]]] = {path: [] for path in blocks}
    widens: set[str] = set()

    def hook(path: str) -> Any:
        def watch(_: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any], output: Any) -> Any:
            given = args[0] if args else next(iter(kwargs.values()))
            if _shapes(given) != _shapes(output):
                widens.add(path)
                return output
            copied = [_copied(a) for a in args]
            seen[path].append((tuple(copied), {key: _copied(value) for key, value in kwargs.items()}))
            return given

        return watch

    handles = [deep.get_submodule(p).register_forward_hook(hook(p), with_kwargs=True) for p in blocks]
    try:
        with torch.no_grad():
            for image in images:
                deep.eval()(image)
    finally:
        for handle in handles:
            handle.remove()
    return {
        path: _Given(*(tuple(part) for part in zip(*calls, strict=True)))
        for path, calls in seen.items()
        if path not in widens and calls
    }


def _shapes(value: Any) -> list[tuple[int, ...]]:
    return [tuple(tensor.shape) for tensor in flatten(value)]


def _copied(value: Any) -> Any:
    """Copies of tensors, which a block might change in place."""
    if isinstance(value, Tensor):
        return value.clone()
    if isinstance(value, (list, tuple)):
        return type(value)(_copied(each) for each in value)
    return value


def _silent(block: nn.Module, given: _Given, path: str, first: list[str] | None) -> list[str]:
    """Set to zero what makes the block pass on its input: as few of its last tensors as will do."""
    groups = _groups(block, given)
    if first is not None and set(first) <= groups.keys():
        with _kept(block):
            _zero(groups[name] for name in first)
            holds = _passes_on(block, given)
        if holds:
            _zero(groups[name] for name in first)
            return first
    with _kept(block) as before:
        _zero(groups.values())
        if not _passes_on(block, given):
            raise SurgeryError(
                path,
                "a new block here cannot start by passing on its input: it has no residual connection, or one "
                "with layers of its own, or something after it (an activation, a norm, a shuffle) that changes what it "
                "passes on",
            )
        silent = list(groups)
        for name in list(groups):
            _restore(groups[name], before)
            if _passes_on(block, given):
                silent.remove(name)
            else:
                _zero([groups[name]])
    _zero(groups[name] for name in silent)
    if not _learns(block, given, [tensor for name in silent for tensor in groups[name]]):
        raise SurgeryError(path, "a new block that passes on its input would stay so: nothing in it gets a gradient")
    return silent


def _groups(block: nn.Module, given: _Given) -> dict[str, list[Tensor]]:
    """The weights of each module that holds some itself, in the order in which modules have run."""
    order: list[str] = []
    handles = [
        module.register_forward_hook(lambda *_, name=name: order.append(name)) for name, module in block.named_modules()
    ]
    _passes_on(block, given)
    for handle in handles:
        handle.remove()
    held: dict[str, list[Tensor]] = {
        name: list[Tensor](block.get_submodule(name).parameters(recurse=False)) for name in dict.fromkeys(order)
    }
    return {name: own for name, own in held.items() if own}


def _zero(groups: Iterable[Iterable[Tensor]]) -> None:
    with torch.no_grad():
        for group in groups:
            for tensor in group:
                tensor.zero_()


def _restore(group: Iterable[Tensor], before: Mapping[int, Tensor]) -> None:
    with torch.no_grad():
        for tensor in group:
            tensor.copy_(before[id(tensor)])


@contextmanager
def _kept(block: nn.Module) -> Iterator[dict[int, Tensor]]:
    """All weights of the block, as they are again afterwards."""
    before = {id(tensor): tensor.detach().clone() for tensor in block.parameters()}
    try:
        yield before
    finally:
        _restore(block.parameters(), before)


def _passes_on(block: nn.Module, given: _Given) -> bool:
    block.eval()
    with torch.no_grad():
        for args, kwargs in zip(given.args, given.kwargs, strict=True):
            wanted = list(flatten(args[0] if args else kwargs))
            got = list(flatten(block(*_copied(args), **kwargs)))
            if len(got) != len(wanted):
                return False
            for a, b in zip(wanted, got, strict=True):
                if a.shape != b.shape or not bool((a - b).abs().max() <= NEAR * a.abs().max()):
                    return False
    return True


def _learns(block: nn.Module, given: _Given, silent: Sequence[Tensor]) -> bool:
    """Whether a tensor that was set to zero gets a gradient."""
    with torch.enable_grad():
        trained = [tensor for tensor in silent if tensor.requires_grad]
        outputs = [out for out in flatten(block(*_copied(given.args[0]), **given.kwargs[0])) if out.requires_grad]
        if not outputs or not trained:
            return False
        total = torch.stack([(out * torch.randn_like(out)).sum() for out in outputs]).sum()
        gradients = torch.autograd.grad(total, trained, allow_unused=True)
    return any(gradient is not None and bool((gradient != 0).any()) for gradient in gradients)
