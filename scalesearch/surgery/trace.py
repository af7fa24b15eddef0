"""One run of a network on tagged shapes: what its layers tie together, and what its blocks pass on.

Every parameter's dimensions and every integer that a module keeps become unknowns (`sizes.Ties`); a function mode
watches each torch call and writes down which of them must be equal. Running beats tracing a graph here: conditional
forwards, loops over module lists and modules used twice need no care, because they simply run.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, is_dataclass
from types import SimpleNamespace
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from scalesearch.errors import SurgeryError
from scalesearch.surgery.sizes import ATTRIBUTE, Form, Size, Ties

BATCH = 2
GEOMETRY = (
    "kernel_size",
    "stride",
    "padding",
    "dilation",
    "output_padding",
    "output_size",
    "scale_factor",
    "dim",
    "axis",
)
"""Attributes that are no sizes; tagging them would only slow the run."""

CLASSES, LAYER, INPUT, OTHER = 3, 2, 1, 0
"""Ranks of unknowns: a layer's outputs are solved for late, so that they are what width scales."""

Dims = tuple[Form, ...]


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
        return self.weight.removesuffix(".weight")


@dataclass
class Call:
    """One call of a module: the tensors that came in and went out, with their dimensions."""

    name: str
    module: nn.Module
    inputs: list[tuple[Tensor, Dims]] = field(default_factory=list)
    outputs: list[tuple[Tensor, Dims]] = field(default_factory=list)
    plain: bool = True


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
    flattened: tuple[str, tuple[int, int]] | None = None
    keep_groups: bool = False


def named_tensors(model: nn.Module) -> Iterator[tuple[str, Tensor]]:
    """Parameters, then buffers; one that is used under several names comes once."""
    yield from model.named_parameters()
    yield from model.named_buffers()


def trace(model: nn.Module, resolution: int, *, keep_groups: bool = False) -> Trace:
    """Run ``model`` (on any device, meta included) in eval and in train mode on 3×resolution×resolution images.

    Args:
        keep_groups: grouped convolutions keep the number of their groups, in place of the groups' width.

    Raises:
        SurgeryError: it cannot run; the message carries torch's.
    """
    ties = Ties()
    tensors = {name: _unknowns(ties, name, tensor) for name, tensor in named_tensors(model)}
    found = Trace(ties, tensors, {}, keep_groups=keep_groups)
    training = model.training
    with _tagged_integers(model, ties, found.integers):
        for mode in (False, True):
            model.train(mode)
            try:
                _run(model, resolution, found, keep_calls=not mode)
            finally:
                model.train(training)
    ties.settle()
    return found


def _unknowns(ties: Ties, name: str, tensor: Tensor) -> Dims:
    """An unknown for each dimension that may be a channel's; kernels, grids of positions and ones stay."""
    vector = tensor.ndim > 2 and tensor.shape[0] == tensor.shape[1] == 1
    dims = []
    for index, size in enumerate(tensor.shape):
        fixed = size == 1 or (index >= 2 and not (vector and index == tensor.ndim - 1))
        rank = INPUT if index else OTHER if tensor.ndim < 2 else INPUT
        dims.append(Form(size) if fixed else ties.unknown(size, f"{name}[{index}]", rank))
    return tuple(dims)


@contextmanager
def _tagged_integers(model: nn.Module, ties: Ties, found: dict[tuple[str, str], Any]) -> Iterator[None]:
    """While entered, the integers that modules keep are `Size`s; they are plain again afterwards."""
    changed: list[tuple[dict[str, Any], str, Any]] = []
    try:
        for path, module in model.named_modules():
            own = vars(module)
            for name, value in list(own.items()):
                if name in GEOMETRY or name.startswith("_"):
                    continue
                tagged = _tag(value, ties, f"{ATTRIBUTE}{path}.{name}")
                if tagged is not None:
                    changed.append((own, name, value))
                    own[name] = tagged
                    found[path, name] = tagged
        yield
    finally:
        for own, name, value in changed:
            own[name] = value


def _tag(value: Any, ties: Ties, name: str) -> Any:
    if type(value) is int and value > 1:
        return ties.size(value, name)
    if type(value) in (list, tuple, torch.Size) and value and all(type(v) is int for v in value):
        tagged = [ties.size(v, f"{name}[{i}]") if v > 1 else v for i, v in enumerate(value)]
        return tagged if type(value) is list else tuple(tagged)
    return None


def _run(model: nn.Module, resolution: int, found: Trace, *, keep_calls: bool) -> None:
    tagger = Tagger(found, {id(t): n for n, t in named_tensors(model)}, counting=keep_calls)
    device = next((t.device for _, t in named_tensors(model)), torch.device("cpu"))
    image = torch.zeros(BATCH, 3, resolution, resolution, device=device)
    tagger.know(image, tuple(Form(size) for size in image.shape))
    for name, tensor in named_tensors(model):
        tagger.know(tensor, found.tensors[name])
    with ExitStack() as stack:
        for path, module in model.named_modules():
            stack.enter_context(tagger.watching(path, module, keep_calls=keep_calls))
        try:
            with torch.no_grad(), tagger:
                outputs = model(image)
        except SurgeryError:
            raise
        except Exception as failure:
            where = tagger.stack[-1] if tagger.stack else "forward"
            text = str(failure).strip().partition("\n")[0] or type(failure).__name__
            raise SurgeryError(where or "forward", f"it cannot run at {resolution} px: {text}") from failure
    _tie_outputs(tagger, outputs)


def _tie_outputs(tagger: Tagger, outputs: Any) -> None:
    """What leaves the network keeps its shape, but for the classes: a row of them that no layer reads again."""
    found, tensors = tagger.found, list(flatten(outputs))
    if not tensors:
        raise SurgeryError("forward", f"it returns a {type(outputs).__name__} in which no tensor is found")
    read = {v for layer in found.layers.values() for v in found.ties.reduce(layer.inputs).terms}
    for tensor in tensors:
        for axis, form in enumerate(tagger.dims(tensor)):
            only = found.ties.reduce(form).only
            row = axis == 1 and tensor.ndim == 2 and only is not None and only not in read
            if row and found.classes is None:
                found.classes = found.ties.unknown(int(tensor.shape[1]), "classes", CLASSES)
            if row and found.classes and found.classes.at(found.ties.base) == int(tensor.shape[1]):
                found.ties.equate(form, found.classes)
            elif axis:
                found.ties.pin(form, "the network's output")


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
    """While entered, follows every tensor's dimensions through every torch call, by the rules in `rules`."""

    def __init__(self, found: Trace, names: dict[int, str], *, counting: bool) -> None:
        super().__init__()
        self.found, self.ties, self.names, self.counting = found, found.ties, names, counting
        self.keep_groups = found.keep_groups
        self.stack: list[str] = []
        self._dims: dict[int, tuple[Tensor, Dims]] = {}
        self._marks: dict[int, str] = {}

    def know(self, tensor: Tensor, dims: Sequence[Form]) -> None:
        self._dims[id(tensor)] = (tensor, tuple(dims))

    def dims(self, tensor: Tensor) -> Dims:
        if id(tensor) not in self._dims:
            return tuple(Form(int(size)) for size in tensor.shape)
        return self._dims[id(tensor)][1]

    def mark(self, tensor: Tensor, what: str) -> None:
        self._marks[id(tensor)] = what

    def marked(self, tensor: Tensor) -> str | None:
        return self._marks.get(id(tensor))

    @property
    def where(self) -> str:
        return self.stack[-1] if self.stack else ""

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        from scalesearch.surgery.rules import follow

        return follow(self, func, args, kwargs or {})

    @contextmanager
    def watching(self, path: str, module: nn.Module, *, keep_calls: bool) -> Iterator[None]:
        open_calls: list[Call] = []

        def before(_: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
            self.stack.append(path)
            tensors = [(t, self.dims(t)) for t in flatten([args, kwargs])]
            others = [a for a in (*args[1:], *kwargs.values()) if a is not None]
            open_calls.append(Call(path, module, tensors, plain=len(args) == 1 and not others))

        def after(_: nn.Module, __: Any, output: Any) -> None:
            self.stack.pop()
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

    def note_flattening(self, tensor: Tensor) -> None:
        """Remember which module's output (B, C, h, w) was made a row of features, and its positions."""
        made = next((c for c in reversed(self.found.calls) if any(t is tensor for t, _ in c.outputs)), None)
        if made is not None and made.name and tensor.ndim == 4:
            self.found.flattened = (made.name, (int(tensor.shape[2]), int(tensor.shape[3])))

    def as_form(self, value: int) -> Form:
        return self.ties.form(value)

    def as_size(self, value: int, form: Form) -> int:
        return Size(value, form, self.ties) if form.terms else int(value)
