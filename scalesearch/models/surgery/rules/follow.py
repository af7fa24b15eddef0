"""How each torch operation passes dimensions on, and which it needs to be equal.

A rule gets the tagger, the call's arguments by position and name, and the result; it returns the dimensions of the
result's tensors. What has no rule is taken as elementwise where its shape fits, and otherwise keeps the widths that
flow into it as they are. Sizes that a rule gets wrong do not run, or count differently: `proof` refuses them.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from scalesearch.models.surgery.meta_ops import call
from scalesearch.models.surgery.rules import layers, reductions, shapes, slices
from scalesearch.models.surgery.rules.registry import RULES, Args
from scalesearch.models.surgery.rules.unruled import unruled
from scalesearch.models.surgery.tagger import Dims, Tagger, flatten
from scalesearch.models.surgery.whole_map import FLATTENS, POOLS, covers, flattens

KINDS = (layers, reductions, shapes, slices)
"""The files of rules; importing them has filled `RULES`."""


def follow(tagger: Tagger, func: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Call ``func`` and write down what becomes of the dimensions."""
    name = getattr(func, "__name__", "")
    if name == "__get__":
        return _property(tagger, func, args[0])
    if name in ("size", "numel", "dim", "ndimension", "nelement", "stride"):
        return _query(tagger, name, func, args, kwargs)
    given = Args(args, kwargs)
    before = {id(t): tagger.dims(t) for t in flatten([args, kwargs])}
    result = call(func, args, kwargs)
    if name in POOLS:
        tagger.note_sized(given[0], covers=covers(name, args, kwargs, result), flattens=False)
    elif name in FLATTENS:
        tagger.note_sized(given[0], covers=False, flattens=flattens(args, result))
    outputs = list(flatten(result))
    found = RULES.get(name.strip("_") if name not in RULES else name)
    if not outputs:
        if found:
            found(tagger, given, result)
        return result
    dims = found(tagger, given, result) if found else unruled(tagger, name, given, outputs)
    _keep(tagger, result, dims, before)
    return result


def _keep(tagger: Tagger, result: Any, dims: Any, before: dict[int, Dims]) -> None:
    if isinstance(result, Tensor):
        if id(result) in before and len(before[id(result)]) == len(dims):  # in place, or an identity
            for old, new in zip(before[id(result)], dims, strict=True):
                tagger.ties.equate(old, new)
            return
        tagger.know(result, dims)
        return
    for tensor, each in zip(flatten(result), dims, strict=False):
        tagger.know(tensor, each)


def _property(tagger: Tagger, func: Any, tensor: Tensor) -> Any:
    what = func.__self__.__name__
    if what == "shape":
        return _shape(tagger, tensor)
    result = func(tensor)
    if isinstance(result, Tensor):
        dims = tagger.dims(tensor)
        if what in ("T", "mT", "H", "mH") and len(dims) >= 2:
            dims = tuple(reversed(dims)) if what in ("T", "H") else (*dims[:-2], dims[-1], dims[-2])
        if len(dims) == result.ndim and result is not tensor:
            tagger.know(result, dims)
    return result


def _shape(tagger: Tagger, tensor: Tensor) -> torch.Size:
    with torch._C.DisableTorchFunction():
        shape = tuple(tensor.shape)
    return torch.Size([tagger.as_size(s, f) for s, f in zip(shape, tagger.dims(tensor), strict=True)])


def _query(tagger: Tagger, name: str, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    if name != "size":
        return func(*args, **kwargs)
    shape = _shape(tagger, args[0])
    dim = Args(args, kwargs).get(1, "dim")
    return shape if dim is None else shape[dim]
