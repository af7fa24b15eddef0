"""What a traced run writes down: the layers, the calls, and which sizes are tied."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, is_dataclass
from types import SimpleNamespace
from typing import Any

from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from scalesearch.errors import SurgeryError
from scalesearch.models.surgery.symbolic import Form, Size, Ties

BATCH = 2

CLASSES, LAYER, INPUT, OTHER = 3, 2, 1, 0
"""Ranks of unknowns: a layer's outputs are solved for late, so that they are what width scales."""

Dims = tuple[Form, ...]
Follow = Callable[["Tagger", Callable[..., Any], tuple[Any, ...], dict[str, Any]], Any]
"""Calls a function with its arguments and keyword arguments, and tells the tagger of the result's dimensions."""


Sized = dict[tuple[str, bool], list[dict[int, tuple[int, int]]]]
"""Of each call of a module, in train mode or eval: by number the functions that went by a map's size, and that size."""


@dataclass
class Layer:
    """One convolution or linear layer as it was called: per-image output positions, and the forms of its channels.

    ``along`` are positions that are channels of other layers (an attention that slides over channels).
    """

    module: str
    weight: str
    inputs: Form
    outputs: Form
    groups: Form
    kernel: tuple[int, ...]
    positions: int
    along: Dims = ()

    @property
    def name(self) -> str:
        """The layer's path: its weight's name without ``.weight``."""
        return self.weight.removesuffix(".weight")


@dataclass
class Call:
    """One call of a module: the tensors that came in and went out, with their dimensions.

    ``plain`` says that one tensor came in, ``settings`` that something came beside the tensors: a number, a switch.
    """

    name: str
    module: nn.Module
    inputs: list[tuple[Tensor, Dims]] = field(default_factory=list)
    outputs: list[tuple[Tensor, Dims]] = field(default_factory=list)
    plain: bool = True
    settings: bool = False


@dataclass
class Trace:
    """What one or more runs of a network found out."""

    ties: Ties
    tensors: dict[str, Dims]
    integers: dict[tuple[str, str], Any]
    layers: dict[str, Layer] = field(default_factory=dict)
    order: list[str] = field(default_factory=list)
    calls: list[Call] = field(default_factory=list)
    classes: Form | None = None
    attention: str | None = None
    keep_groups: bool = False
    keep_output_channels: bool = False
    outputs: dict[bool, tuple[int, ...]] = field(default_factory=dict)
    returned: int = 1
    given_out: tuple[Dims, ...] = ()
    pools: Sized = field(default_factory=dict)
    flattens: Sized = field(default_factory=dict)


def named_tensors(model: nn.Module) -> Iterator[tuple[str, Tensor]]:
    """Parameters, then buffers; one that is used under several names comes once."""
    yield from model.named_parameters()
    yield from model.named_buffers()


def flatten(value: Any) -> Iterator[Tensor]:
    """The tensors in nested tuples, lists, dictionaries and data classes, in order."""
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, dict):
        for inner in value.values():
            yield from flatten(inner)
    elif isinstance(value, (list, tuple)):
        for inner in value:
            yield from flatten(inner)
    elif is_dataclass(value) or isinstance(value, SimpleNamespace):
        yield from flatten(vars(value))


class Tagger(TorchFunctionMode):
    """While entered, hands every torch call to ``follow``, which writes down what becomes of the dimensions."""

    def __init__(self, found: Trace, names: dict[int, str], follow: Follow, *, counting: bool) -> None:
        super().__init__()
        self.follow = follow
        self.found, self.ties, self.names, self.counting = found, found.ties, names, counting
        self.keep_groups = found.keep_groups
        self.stack: list[str] = []
        self._counts: list[int] = []
        self._sized: list[tuple[dict[int, tuple[int, int]], dict[int, tuple[int, int]]]] = []
        self._dims: dict[int, tuple[Tensor, Dims]] = {}
        self._marks: dict[int, str] = {}

    def know(self, tensor: Tensor, dims: Sequence[Form]) -> None:
        """Write down a tensor's dimensions."""
        self._dims[id(tensor)] = (tensor, tuple(dims))

    def dims(self, tensor: Tensor) -> Dims:
        """A tensor's dimensions, constants where nothing is known of it."""
        if id(tensor) not in self._dims:
            return tuple(Form(int(size)) for size in tensor.shape)
        return self._dims[id(tensor)][1]

    def mark(self, tensor: Tensor, what: str) -> None:
        """Note something of a tensor."""
        self._marks[id(tensor)] = what

    def marked(self, tensor: Tensor) -> str | None:
        """What was noted of a tensor, or None."""
        return self._marks.get(id(tensor))

    @property
    def where(self) -> str:
        """The path of the module that runs now."""
        return self.stack[-1] if self.stack else ""

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        return self.follow(self, func, args, kwargs or {})

    @contextmanager
    def watching(self, path: str, module: nn.Module, *, keep_calls: bool) -> Iterator[None]:
        """While entered, the calls of a module are written down."""
        open_calls: list[Call] = []

        def before(_: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
            self.stack.append(path)
            self._counts.append(0)
            self._sized.append(({}, {}))
            tensors = [(t, self.dims(t)) for t in flatten([args, kwargs])]
            others = [a for a in (*args[1:], *kwargs.values()) if a is not None]
            plain = bool(args) and isinstance(args[0], Tensor) and not list(flatten(others))
            settings = any(not list(flatten([other])) for other in others)
            open_calls.append(Call(path, module, tensors, plain=plain, settings=settings))

        def after(_: nn.Module, __: Any, output: Any) -> None:
            self.stack.pop()
            self._counts.pop()
            for kept, sizes in zip((self.found.pools, self.found.flattens), self._sized.pop(), strict=True):
                kept.setdefault((path, module.training), []).append(sizes)
            call = open_calls.pop()
            if keep_calls:
                call.outputs = [(t, self.dims(t)) for t in flatten(output)]
                self.found.calls.append(call)

        handles = [
            module.register_forward_pre_hook(before, with_kwargs=True),
            module.register_forward_hook(after),
        ]
        try:
            yield
        finally:
            for handle in handles:
                handle.remove()

    def layer(self, weight: Tensor, inputs: Form, outputs: Form, groups: Form, where: Dims) -> None:
        """Write down a convolution or linear layer; ``weight`` may be computed from the parameter."""
        if isinstance(weight, nn.Parameter) and id(weight) not in self.names:
            raise SurgeryError(self.where, "it uses a weight that the network does not list among its parameters")
        name = self.names.get(id(weight), f"{self.where}.weight")
        if self.counting:
            self.found.order.append(name)
        if name not in self.found.layers:
            kernel = tuple(int(size) for size in weight.shape[2:])
            positions = math.prod(int(form.at(self.ties.base)) for form in where)
            along = tuple(form for form in where if form.terms)
            self.found.layers[name] = Layer(self.where, name, inputs, outputs, groups, kernel, positions, along)

    def elementwise(self, tensors: Iterable[Tensor], shape: Sequence[int]) -> Dims:
        """The dimensions of a broadcast result; sides of one size are tied."""
        result: list[Form | None] = [None] * len(shape)
        for tensor in tensors:
            dims = self.dims(tensor)
            for back in range(1, len(dims) + 1):
                if int(tensor.shape[-back]) == 1 and int(shape[-back]) != 1:
                    continue
                known = result[-back]
                if known is None:
                    result[-back] = dims[-back]
                else:
                    self.ties.equate(known, dims[-back], f"added or multiplied with a fixed size in {self.where}")
        return tuple(form or Form(int(size)) for form, size in zip(result, shape, strict=True))

    def note_sized(self, tensor: Tensor, *, covers: bool, flattens: bool) -> None:
        """Count a pool or a reshape for the module that runs, without those that it calls.

        Args:
            tensor: what it was given.
            covers: it pooled over the whole map.
            flattens: it made a row of features of the map.
        """
        if not self._sized:
            return
        for wanted, kept in zip((covers, flattens), self._sized[-1], strict=True):
            if wanted:
                kept[self._counts[-1]] = (int(tensor.shape[-2]), int(tensor.shape[-1]))
        self._counts[-1] += 1

    def as_form(self, value: int) -> Form:
        """The form of an integer that an operation was given."""
        return self.ties.form(value)

    def as_size(self, value: int, form: Form) -> int:
        """An integer that carries its form; a plain one where the form is constant."""
        return Size(value, form, self.ties) if form.terms else int(value)
