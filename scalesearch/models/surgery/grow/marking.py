"""Keeping track of the channels of a run: their numbers, what ties them, what reads them."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from scalesearch.models.surgery.grow.channels import (
    THIRD,
    Marks,
    Numbered,
    Reading,
    Run,
    is_uniform,
    mixed,
    of_operation,
    small,
)
from scalesearch.models.surgery.tagger import named_tensors


class Marking(TorchFunctionMode):
    """A function mode that knows the channels of every tensor."""

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self.run = Run()
        self.names = {id(tensor): name for name, tensor in named_tensors(module)}
        self._of_names: dict[int, Marks] = {}
        self._stack: list[str] = []
        self._next = 0

    @contextmanager
    def watching(self, module: nn.Module) -> Iterator[None]:
        """While entered, it is known which module runs."""
        handles = []
        for path, part in module.named_modules():
            handles.append(part.register_forward_pre_hook(lambda *_, path=path: self._stack.append(path)))
            handles.append(part.register_forward_hook(lambda *_: self._leave()))
        try:
            yield
        finally:
            for handle in handles:
                handle.remove()

    def _leave(self) -> None:
        self._stack.pop()

    @property
    def where(self) -> str:
        """The path of the module that runs."""
        return (self._stack[-1] if self._stack else "") or "forward"

    def numbers(self, name: str, count: int, *, kept: bool = False) -> Tensor:
        """The numbers of the channels of this name, given at its first use."""
        if name not in self.run.numbered:
            self.run.numbered[name] = Numbered(name, self._next, count, kept)
            self._next += count
        start = self.run.numbered[name].start
        return torch.arange(start, start + count)

    def fresh(self, shape: Sequence[int], axis: int, numbers: Tensor) -> Marks:
        """Marks of a new tensor: the numbers along one axis, versions that tell positions apart."""
        operation = len(self.run.operations)
        along = [1] * len(shape)
        along[axis] = -1
        places = [1 if i in (0, axis % len(shape)) else int(size) for i, size in enumerate(shape)]
        version = (torch.arange(math.prod(places)).reshape(places) + 1) * THIRD + of_operation(operation)
        return Marks(numbers.reshape(along).expand(shape), version.expand(shape))

    def mark(self, tensor: Tensor, marks: Marks | None) -> None:
        """Write down a tensor's marks."""
        if marks is not None and id(tensor) not in self.names:
            tensor.marks = marks  # type: ignore[attr-defined]

    def marks(self, tensor: Tensor, *, elements: bool = False) -> Marks | None:
        """A tensor's marks, or None; of a matrix of weights only where its elements meet others (``elements``)."""
        name = self.names.get(id(tensor))
        if name is None:
            found: Marks | None = getattr(tensor, "marks", None)
            return found if found is not None and found.number.shape == tensor.shape else None
        self.run.used.add(name)
        if id(tensor) not in self._of_names:
            wide = sum(int(size) > 1 for size in tensor.shape)
            if wide == 0 or (wide > 1 and not elements):
                return None
            numbers = self.numbers(f"{name}", tensor.numel()).reshape(tensor.shape)
            ones = torch.full((1,) * tensor.ndim, len(name)).expand(tensor.shape)
            self._of_names[id(tensor)] = Marks(numbers, ones)
        return self._of_names[id(tensor)]

    def read(
        self,
        where: str,
        what: str,
        how: str,
        marks: Marks,
        axes: Sequence[int],
        *,
        out: Tensor | None = None,
        weight: str | None = None,
        transposed: bool = False,
        groups: int = 1,
    ) -> Tensor | None:
        """Write down that rows along ``axes`` are read; the rows' own axes, or None where there is one row.

        Along all other axes numbers are either the same (one position stands for all) or make rows of their own.
        """
        number, version = marks
        others = [axis for axis in range(number.ndim) if axis not in axes]
        rows = [axis for axis in others if not is_uniform(number, [axis])]
        for axis in others:
            if axis not in rows:
                number, version = number.narrow(axis, 0, 1), version.narrow(axis, 0, 1)
        shape = [number.shape[axis] if axis in rows else 1 for axis in range(number.ndim)]
        order = [*rows, *[axis for axis in others if axis not in rows], *axes]
        count = groups * math.prod(shape)
        flat = [part.permute(order).reshape(count, -1) for part in (number, version)]
        self.run.readings.append(Reading(where, what, how, flat[0], flat[1], out, weight, transposed))
        return torch.arange(math.prod(shape)).reshape(shape) if rows else None

    def meet(self, first: Tensor, second: Tensor) -> Tensor:
        """Tie what meets; a single value that meets many channels is tied to none. The numbers of the result."""
        ndim = max(first.ndim, second.ndim)
        first, second = (part.reshape((1,) * (ndim - part.ndim) + tuple(part.shape)) for part in (first, second))
        for axis in range(ndim):
            a, b = int(first.shape[axis]), int(second.shape[axis])
            if a == 1 and b > 1 and not is_uniform(second, [axis]):
                return second.expand(torch.broadcast_shapes(first.shape, second.shape))  # type: ignore[no-untyped-call]
            if b == 1 and a > 1 and not is_uniform(first, [axis]):
                return first.expand(torch.broadcast_shapes(first.shape, second.shape))  # type: ignore[no-untyped-call]
        shape = torch.broadcast_shapes(first.shape, second.shape)  # type: ignore[no-untyped-call]
        first, second = first.expand(shape), second.expand(shape)
        uniform = [i for i in range(ndim) if first.stride(i) == 0 and second.stride(i) == 0]
        one = tuple(slice(0, 1) if i in uniform else slice(None) for i in range(ndim))
        this, that = first[one], second[one]
        self.tie(this.reshape(-1), that.reshape(-1))
        return torch.where(this >= 0, this, that).expand(shape)

    def tie(self, first: Tensor, second: Tensor) -> None:
        """Write down that these numbers are of channels that belong together, pair by pair."""
        both = (first >= 0) & (second >= 0) & (first != second)
        if bool(both.any()):
            self.run.ties.append((first[both], second[both]))

    def changed(self, found: list[Marks]) -> Marks:
        """Marks after one more operation: the first's numbers, versions of their own."""
        version = mixed([small(marks.version) for marks in found], len(self.run.operations))
        return Marks(found[0].number, version.expand(torch.broadcast_shapes(version.shape, found[0].version.shape)))  # type: ignore[no-untyped-call]

    def joined(self, found: list[Marks], shape: tuple[int, ...]) -> Marks:
        """Marks of what is combined element by element."""
        number = found[0].number
        for other in found[1:]:
            number = self.meet(number, other.number)
        marks = self.changed(found)
        return Marks(number.expand(shape), marks.version.expand(shape))

    def unknown(self, tensor: Tensor) -> Marks | None:
        """Marks of a tensor whose channels can be neither more nor fewer."""
        if tensor.ndim == 0:
            return None
        axis = 1 if tensor.ndim > 1 else 0
        operation = f"{self.run.operations[-1]} in {self.where}" if self.run.operations else self.where
        key = f"{operation} ({len(self.run.operations)})"
        return self.fresh(tensor.shape, axis, self.numbers(key, int(tensor.shape[axis]), kept=True))

    def order(self, tensors: list[Tensor], outputs: list[Tensor]) -> None:
        """Nobody knows what this does: all that goes in stays as it is, and so does what comes out."""
        for tensor in tensors:
            marks = self.marks(tensor)
            if marks is not None:
                self.read(self.where, self.run.operations[-1], "order", marks, list(range(tensor.ndim)))
        for output in outputs:
            self.mark(output, self.unknown(output))
