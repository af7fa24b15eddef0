"""One run of a network on tagged shapes: what its layers tie together, and what its blocks pass on.

Every parameter's dimensions and every integer that a module keeps become unknowns (`symbolic.Ties`); a function mode
watches each torch call and writes down which of them must be equal. Running beats tracing a graph here: conditional
forwards, loops over module lists and modules used twice need no care, because they simply run.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from scalesearch.errors import ChannelsError, SurgeryError, why_it_failed
from scalesearch.image_size import Resolution, image_shape
from scalesearch.models.surgery.kept_numbers import tie_kept_numbers
from scalesearch.models.surgery.rules.follow import follow
from scalesearch.models.surgery.skeleton import law_of
from scalesearch.models.surgery.suited import misfit
from scalesearch.models.surgery.symbolic import ATTRIBUTE, COUNTED, Form, Ties
from scalesearch.models.surgery.tagger import BATCH, CLASSES, INPUT, OTHER, Dims, Tagger, Trace, flatten, named_tensors

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

AXES = ("dim", "axis")
"""Those of them that are a width where they are no small number."""


OUTPUT = "the network's output"
"""Why the channels of what a network gives out stay."""


def trace(
    model: nn.Module,
    resolution: Resolution,
    *,
    channels: int = 3,
    keep_groups: bool = False,
    keep_output_channels: bool = False,
    laws: nn.Module | None = None,
) -> Trace:
    """Run ``model`` (on any device, meta included) in eval and in train mode on images of this size.

    Args:
        keep_groups: grouped convolutions keep the number of their groups, in place of the groups' width.
        keep_output_channels: the maps that it gives out keep their channels.
        laws: the skeleton that says how each tensor starts, where ``model`` has numbers.

    Raises:
        ChannelsError: its first layer takes another number of channels.
        SurgeryError: it cannot run; the message carries torch's.
    """
    ties = Ties()
    tensors = {name: _unknowns(ties, name, tensor) for name, tensor in named_tensors(model)}
    found = Trace(ties, tensors, {}, keep_groups=keep_groups, keep_output_channels=keep_output_channels)
    training = model.training
    with _tagged_integers(model, ties, found.integers):
        for mode in (False, True):
            model.train(mode)
            try:
                _run(model, resolution, channels, found, keep_calls=not mode)
            finally:
                model.train(training)
    tie_kept_numbers(found)
    _pin_kept_tensors(found, laws or model)
    ties.settle()
    return found


def _pin_kept_tensors(found: Trace, skeleton: nn.Module) -> None:
    """Where a tensor's numbers are kept and differ along a side, nobody knows more of them: that side stays."""
    for name, tensor in named_tensors(skeleton):
        kept = getattr(tensor, "law", None) and law_of(tensor).kept
        if kept is None:
            continue
        for axis, form in enumerate(found.tensors.get(name, ())):
            if not torch.equal(kept, kept.narrow(axis, 0, 1).expand_as(kept)):
                found.ties.pin(form, f"{name} holds numbers of its own")


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
                wide = name in AXES and type(value) is int and value >= COUNTED
                if (name in GEOMETRY and not wide) or name.startswith("_"):
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


def _run(model: nn.Module, resolution: Resolution, channels: int, found: Trace, *, keep_calls: bool) -> None:
    tagger = Tagger(found, {id(t): n for n, t in named_tensors(model)}, follow, counting=keep_calls)
    device = next((t.device for _, t in named_tensors(model)), torch.device("cpu"))
    image = torch.zeros(BATCH, *image_shape(channels, resolution), device=device)
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
            where = tagger.stack[-1] if tagger.stack else ""
            text = why_it_failed(failure)
            taken = None if tagger.found.layers else misfit(model.get_submodule(where), channels, text)
            if taken is not None:
                raise ChannelsError(where, taken, channels) from failure
            raise SurgeryError(where or "forward", f"it cannot run at {resolution} px: {text}") from failure
    found.outputs[model.training] = _tie_outputs(tagger, outputs)
    if not model.training:
        found.returned = len(list(flatten(outputs)))
        found.given_out = tuple(tagger.dims(tensor) for tensor in flatten(outputs))


def _tie_outputs(tagger: Tagger, outputs: Any) -> tuple[int, ...]:
    """What leaves the network keeps its shape, but for the classes, a row of them that no layer reads again, and for
    the channels of maps and rows of features, unless the network is to keep those.

    What a layer alone has made and no other reads is a head's (the classes of a segmentation), and stays. Which of the
    outputs are rows of classes, by their place among all tensors.
    """
    found, tensors = tagger.found, list(flatten(outputs))
    if not tensors:
        raise SurgeryError("forward", f"it returns a {type(outputs).__name__} in which no tensor is found")
    read = {v for layer in found.layers.values() for v in found.ties.reduce(layer.inputs).terms}
    rows = []
    for place, tensor in enumerate(tensors):
        for axis, form in enumerate(tagger.dims(tensor)):
            only = found.ties.reduce(form).only
            row = axis == 1 and tensor.ndim == 2 and only is not None and only not in read
            if row and found.classes is None:
                found.classes = found.ties.unknown(int(tensor.shape[1]), "classes", CLASSES)
            if row and found.classes and found.classes.at(found.ties.base) == int(tensor.shape[1]):
                found.ties.equate(form, found.classes)
                rows.append(place)
            elif axis and (found.keep_output_channels or not _may_grow(tagger, tensor, form, read)):
                found.ties.pin(form, OUTPUT)
    return tuple(rows)


def _may_grow(tagger: Tagger, tensor: Tensor, form: Form, read: set[int]) -> bool:
    """Whether an output's channels are features: other layers read them, or something came after the layer."""
    terms = tagger.found.ties.reduce(form).terms
    return bool(terms) and (tagger.marked(tensor) != "a layer's" or read.issuperset(terms))
