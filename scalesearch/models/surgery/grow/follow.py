"""One run of a network in which every channel carries a number of its own, through all that joins and parts tensors.

A layer's outputs, and the elements of a norm's or a scale's vectors, are channels with numbers. What moves elements
about (cat, chunk, view, a shuffle) is done to their numbers as well; what combines elements one by one ties their
numbers (`Run.ties`); what mixes channels (a layer, a mean over channels) is written down as a `Reading`. An element
also has a version, which tells the values apart that one channel has after one operation and after the next.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from scalesearch.models.surgery.grow.channels import (
    NOTHING,
    THIRD,
    Marks,
    Run,
    is_uniform,
    mixed,
    of_operation,
    small,
)
from scalesearch.models.surgery.grow.marking import Marking
from scalesearch.models.surgery.rules import reductions, shapes, slices
from scalesearch.models.surgery.rules.follow import KINDS
from scalesearch.models.surgery.rules.reductions import axes_of
from scalesearch.models.surgery.rules.registry import RULES, Args
from scalesearch.models.surgery.tagger import flatten

_MADE = {
    "zeros", "ones", "empty", "full", "rand", "randn", "new_zeros", "new_ones", "new_empty", "new_full", "new_tensor",
    "arange", "linspace", "tensor", "as_tensor", "eye", "one_hot", "zeros_like", "ones_like", "empty_like", "full_like",
}  # fmt: skip
_UNIFORM = {name for name in _MADE if name.removeprefix("new_").removesuffix("_like") in ("zeros", "ones", "full")}
_MOVES = {
    name
    for name, rule in RULES.items()
    if rule.__module__ in (shapes.__name__, slices.__name__)
} - {*_MADE, "glu", "__setitem__"} | {"roll", "flip", "contiguous"}  # fmt: skip
_WINDOWS = {name for name, rule in RULES.items() if rule is reductions._window} - {"local_response_norm"}
_SUMS = {name for name, rule in RULES.items() if rule is reductions._reduce}
_EVEN = {"mean", "var", "std", "var_mean", "std_mean", "nanmean"}
_SETS = {"max", "amax", "min", "amin"}
_ALONG = {"softmax", "log_softmax", "normalize", "cumsum", "softmin"}
_VIEWS = {"T", "mT", "H", "mH"}
assert KINDS  # importing them has filled RULES


def follow(module: nn.Module, image: Tensor) -> Run:
    """Run ``module`` in eval mode on one batch of images and write down where its channels go."""
    mode = _Following(module)
    with torch.no_grad(), mode.watching(module):
        module.eval()
        mode.mark(image, mode.fresh(image.shape, 1, mode.numbers("the image", int(image.shape[1]), kept=True)))
        with mode:
            outputs = module(image)
    for place, tensor in enumerate(flatten(outputs)):
        marks = mode.marks(tensor)
        if marks is not None:
            mode.read("the output", f"output {place + 1}", "order", marks, list(range(tensor.ndim)))
    return mode.run


class _Following(Marking):
    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs, name = kwargs or {}, getattr(func, "__name__", "")
        if name == "__get__":
            result = func(*args, **kwargs)
            marks = self.marks(args[0]) if isinstance(result, Tensor) else None
            if marks is not None and result.shape == args[0].shape:
                self.mark(result, marks)
            elif marks is not None and getattr(getattr(func, "__self__", None), "__name__", "") in _VIEWS:
                self.mark(result, Marks(*(func(part) for part in marks)))
            return result
        given = Args(args, kwargs)
        tensors = list(flatten([args, kwargs]))
        before = [self.marks(tensor) for tensor in tensors]
        result = func(*args, **kwargs)
        self.run.operations.append(name)
        plain = name if name in RULES or name in _MOVES else name.strip("_")
        if plain == "setitem" or name == "__setitem__":
            self._assign(given)
            return result
        outputs = list(flatten(result))
        if outputs:
            self._pass_on(plain, func, given, tensors, before, outputs)
        return result

    def _pass_on(
        self,
        name: str,
        func: Callable[..., Any],
        given: Args,
        tensors: list[Tensor],
        before: list[Marks | None],
        outputs: list[Tensor],
    ) -> None:
        if name in _MADE:
            if name not in _UNIFORM and outputs[0].numel() > 1:
                self.mark(outputs[0], self.unknown(outputs[0]))
        elif name in ("conv1d", "conv2d", "conv3d") or name.startswith("conv_transpose"):
            self._convolution(given, outputs[0], transposed="transpose" in name)
        elif name == "linear":
            self._layer(given[0], given.get(1, "weight"), given.get(2, "bias"), outputs[0], -1)
        elif name in ("matmul", "mm", "__matmul__") and self.names.get(id(given[1])) and given[1].ndim == 2:
            self._layer(given[0], given[1], None, outputs[0], -1, turned=True)
        elif any(marks is not None for marks in before):
            self._pass_by(name, func, given, tensors, outputs)

    def _pass_by(
        self, name: str, func: Callable[..., Any], given: Args, tensors: list[Tensor], outputs: list[Tensor]
    ) -> None:
        """What is no layer."""
        if name in ("batch_norm", "instance_norm", "prelu"):
            self._affine(given[0], given.args[1:5] + tuple(given.kwargs.values()), outputs[0])
        elif name in ("layer_norm", "rms_norm", "group_norm"):
            self._norm(name, given, outputs[0])
        elif name in _MOVES:
            self._move(func, given, outputs)
        elif name == "glu":
            self._halve(given, outputs[0])
        elif name in _WINDOWS:
            self._window(tensors[0], outputs)
        elif name == "pad":
            self._pad(func, given, tensors[0], outputs[0])
        elif name in _SUMS and not isinstance(given.get(1, "other"), Tensor):
            self._reduce(name, given, tensors[0], outputs)
        elif name in _ALONG:
            self._normalise_along(given, tensors[0], outputs[0])
        else:
            self._elementwise(tensors, outputs)

    # Layers

    def _layer(
        self,
        image: Tensor,
        weight: Tensor,
        bias: Tensor | None,
        result: Tensor,
        axis: int,
        *,
        groups: int = 1,
        turned: bool = False,
    ) -> None:
        marks, name = self.marks(image), self.names.get(id(weight))
        count = int(result.shape[axis])
        if name is not None:
            self.run.used.add(name)
        if marks is None:
            if name is None:
                return  # weights that are worked out from weights
            unknown = self.numbers(f"inputs of {name}", int(image.shape[axis]), kept=True)
            marks = self.fresh(image.shape, axis % image.ndim, unknown)
        positions = [i for i in range(image.ndim) if i != axis % image.ndim]
        if not is_uniform(marks.number, positions):
            self.read(self.where, "its positions are channels", "order", marks, list(range(image.ndim)))
            places = self.numbers(f"outputs of {self.where}, by place", result[:1].numel(), kept=True)
            self.mark(result, Marks(*(part.expand(result.shape) for part in (places.reshape(result[:1].shape),) * 2)))
            return
        key = f"outputs of {name}" if name else f"outputs of {self.where} {len(self.run.operations)}"
        numbers = self.numbers(key, count)
        self.read(
            self.where, name or self.where, "weights", marks, [axis % image.ndim],
            out=numbers.reshape(groups, -1), weight=name, transposed=turned, groups=groups,
        )  # fmt: skip
        if bias is not None and (own := self.marks(bias)) is not None:
            self.tie(own.number, numbers)
        self.mark(result, self.fresh(result.shape, axis % result.ndim, numbers))

    def _convolution(self, given: Args, result: Tensor, *, transposed: bool) -> None:
        groups = int(given.get(6, "groups", 1))
        image, weight = given[0], given.get(1, "weight")
        axis = image.ndim - weight.ndim + 1  # without a batch the channels come first
        self._layer(image, weight, given.get(2, "bias"), result, axis, groups=groups, turned=transposed)

    # Norms

    def _affine(self, image: Tensor, vectors: Sequence[Any], result: Tensor) -> None:
        marks = self.marks(image)
        if marks is None:
            return
        shape = [1, -1, *[1] * (image.ndim - 2)]
        for vector in vectors:
            own = self.marks(vector) if isinstance(vector, Tensor) else None
            if own is not None and own.number.numel() == image.shape[1]:
                self.meet(marks.number, own.number.reshape(shape))
        self.mark(result, self.changed([marks]))

    def _norm(self, name: str, given: Args, result: Tensor) -> None:
        image, marks = given[0], self.marks(given[0])
        if marks is None:
            return
        if name == "group_norm":
            groups = int(given.get(1, "num_groups"))
            grouped = Marks(*torch.broadcast_tensors(*(_in_groups(part, groups) for part in marks)))  # type: ignore[no-untyped-call]
            self.read(self.where, name, "even", grouped, list(range(2, grouped.number.ndim)))
            self._affine(image, [given.get(2, "weight"), given.get(3, "bias")], result)
            return
        axes = list(range(image.ndim - len(given.get(1, "normalized_shape")), image.ndim))
        self.read(self.where, name, "even", marks, axes)
        for vector in (given.get(2, "weight"), given.get(3, "bias")):
            own = self.marks(vector, elements=True) if isinstance(vector, Tensor) else None
            if own is not None:
                self.meet(marks.number, own.number)
        self.mark(result, self.changed([marks]))

    # What moves elements, or combines them one by one

    def _move(self, func: Callable[..., Any], given: Args, outputs: list[Tensor]) -> None:
        try:
            parts = [self._moved(func, given, which) for which in (0, 1)]
        except (RuntimeError, TypeError, NotImplementedError):
            self.order(list(flatten([given.args, given.kwargs])), outputs)
            return
        for tensor, number, version in zip(outputs, *parts, strict=True):
            self.mark(tensor, Marks(number, version))

    def _moved(self, func: Callable[..., Any], given: Args, which: int) -> list[Tensor]:
        def part(value: Any) -> Any:
            if isinstance(value, Tensor):
                if not value.is_floating_point():
                    return value  # an index
                marks = self.marks(value)
                return marks[which] if marks is not None else torch.full(value.shape, (NOTHING, 0)[which])
            if isinstance(value, (list, tuple)) and any(isinstance(v, Tensor) for v in value):
                return type(value)(part(v) for v in value)
            return value

        arguments = [part(value) for value in given.args]
        named = {key: part(value) for key, value in given.kwargs.items()}
        if func is functional.unfold:
            return [func(arguments[0].double(), *arguments[1:], **named).long()]
        return list(flatten(func(*arguments, **named)))

    def _assign(self, given: Args) -> None:
        target, index, value = given[0], given[1], given[2]
        own = self.marks(target)
        new = self.marks(value) if isinstance(value, Tensor) else None
        if own is None and new is None:
            return
        if own is None:
            own = Marks(*(torch.full(target.shape, kept) for kept in (NOTHING, 0)))
        number, version = own.number.clone(), own.version.clone()
        if new is None:
            number[index], version[index] = NOTHING, len(self.run.operations)
        else:
            number[index], version[index] = new.number, new.version
        self.mark(target, Marks(number, version))

    def _halve(self, given: Args, output: Tensor) -> None:
        marks = self.marks(given[0])
        if marks is not None:
            axis = int(given.get(1, "dim", -1))
            first, second = (Marks(*(part.chunk(2, axis)[half] for part in marks)) for half in (0, 1))
            self.mark(output, self.joined([first, second], tuple(output.shape)))

    def _elementwise(self, tensors: list[Tensor], outputs: list[Tensor]) -> None:
        for output in outputs:
            shape = tuple(output.shape)
            try:
                fits = tuple(torch.broadcast_shapes(*(t.shape for t in tensors))) == shape  # type: ignore[no-untyped-call]
            except RuntimeError:
                fits = False
            if not fits:
                self.order(tensors, [output])
                continue
            elements = any(id(t) not in self.names and self.marks(t) is not None for t in tensors)
            found = [marks for t in tensors if (marks := self.marks(t, elements=elements)) is not None]
            if found:
                self.mark(output, self.joined(found, shape))

    # Positions and sums

    def _window(self, image: Tensor, outputs: list[Tensor]) -> None:
        marks = self.marks(image)
        if marks is None:
            return
        places = list(range(2, image.ndim))
        if not is_uniform(marks.number, places):
            self.order([image], outputs)
            return
        number, version = marks
        for axis in places:
            number, version = number.narrow(axis, 0, 1), version.narrow(axis, 0, 1)
        for output in outputs:
            self.mark(output, self._spread(number, version, output.shape))

    def _spread(self, number: Tensor, version: Tensor, shape: Sequence[int]) -> Marks:
        """Marks of one position at all positions of a new size, each with its own version."""
        places = [1, 1, *(int(size) for size in shape[2:])]
        grid = (torch.arange(math.prod(places)).reshape(places) + 1) * THIRD
        made = mixed([small(version)], len(self.run.operations)) + grid
        return Marks(number.expand(shape), made.expand(shape))

    def _pad(self, func: Callable[..., Any], given: Args, image: Tensor, output: Tensor) -> None:
        amounts, marks = [int(a) for a in given.get(1, "pad")], self.marks(image)
        moved = [image.ndim - 1 - i // 2 for i, amount in enumerate(amounts) if amount]
        if marks is None:
            return
        if all(is_uniform(marks.number, [axis]) for axis in moved):
            number, version = marks
            for axis in moved:
                number, version = number.narrow(axis, 0, 1), version.narrow(axis, 0, 1)
            grid = [int(s) if axis in moved else 1 for axis, s in enumerate(output.shape)]
            places = (torch.arange(math.prod(grid)).reshape(grid) + 1) * THIRD
            made = mixed([small(version)], len(self.run.operations)) + places
            self.mark(output, Marks(number.expand(output.shape), made.expand(output.shape)))
            return
        parts = [
            func(part.contiguous(), amounts, "constant", value) for part, value in zip(marks, (NOTHING, 0), strict=True)
        ]
        self.mark(output, Marks(*parts))

    def _reduce(self, name: str, given: Args, image: Tensor, outputs: list[Tensor]) -> None:
        marks = self.marks(image)
        if marks is None:
            return
        axis = given.kwargs.get("dim", given.kwargs.get("axis", reductions._first_axis(given.args[1:])))
        axes, keeps = axes_of(axis, image.ndim), outputs[0].ndim == image.ndim
        number, version = marks
        if is_uniform(number, axes):
            for axis in axes:
                number, version = number.narrow(axis, 0, 1), version.narrow(axis, 0, 1)
            version = mixed([version], len(self.run.operations))
            found = (number, version)
        else:
            how = "even" if name in _EVEN else "set" if name in _SETS else "exact"
            rows = self.read(self.where, name, how, marks, axes)
            shape = [1 if i in axes else int(s) for i, s in enumerate(image.shape)]
            key = f"{name} in {self.where} ({len(self.run.operations)})"
            numbers = self.numbers(key, 1 if rows is None else rows.numel())
            self.run.readings[-1] = replace(self.run.readings[-1], out=numbers.reshape(-1, 1))
            made = numbers.reshape(rows.shape if rows is not None else (1,) * image.ndim).expand(shape)
            places = [1 if i == 0 or (rows is not None and rows.shape[i] > 1) else s for i, s in enumerate(shape)]
            version = (torch.arange(math.prod(places)).reshape(places) + 1) * THIRD
            found = (made, (version + of_operation(len(self.run.operations))).expand(shape))
        for output in outputs:
            parts = found if keeps else tuple(_squeezed(part, axes) for part in found)
            self.mark(output, Marks(*(part.expand(output.shape) for part in parts)))

    def _normalise_along(self, given: Args, image: Tensor, output: Tensor) -> None:
        marks = self.marks(image)
        if marks is None:
            return
        axis = next((v for v in (given.kwargs.get("dim"), *given.args[1:]) if isinstance(v, int)), 1)
        if not is_uniform(marks.number, [axis % image.ndim]):
            self.read(self.where, self.run.operations[-1], "exact", marks, [axis % image.ndim])
        self.mark(output, self.changed([marks]))


def _squeezed(tensor: Tensor, axes: Sequence[int]) -> Tensor:
    return tensor[tuple(0 if axis in axes else slice(None) for axis in range(tensor.ndim))]


def _in_groups(part: Tensor, groups: int) -> Tensor:
    """Of images (N, C, …): (N, groups, C/groups, …), with one index of whatever else is the same everywhere."""
    once, channels = small(part), part.shape[1]
    if once.shape[1] < channels:  # all channels alike
        once = once.expand(-1, channels, *(-1 for _ in once.shape[2:]))
    return once.reshape(_split(once.shape, groups))


def _split(shape: Sequence[int], groups: int) -> list[int]:
    return [int(shape[0]), groups, int(shape[1]) // groups, *(int(size) for size in shape[2:])]
