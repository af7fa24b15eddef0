"""Integers that a module keeps and its forward never uses as a size: they decide on a skip, or wait for a later use.

Nothing ties them to a width when the network runs: ``self.inp == self.oup`` is true or false, and ``in_channels`` may
be meant for a merge of branches after training. What equals a width of its module, and is not called otherwise, is
taken for that width and scales with it.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from scalesearch.models.surgery.symbolic import Form
from scalesearch.models.surgery.tagger import Call, Trace

OTHER_WORDS = frozenset((
    "stride", "strides", "kernel", "padding", "pad", "dilation", "resolution", "side", "image", "img", "height",
    "depth", "block", "blocks", "layer", "layers", "repeat", "repeats", "head", "heads", "epoch", "epochs", "step",
    "steps", "class", "classes", "group", "groups", "level", "levels", "stage", "stages", "scale", "ratio",
    "expansion", "expand", "cardinality", "seed", "index", "idx", "position", "positions", "window", "patch", "rank",
    "bits", "iters", "reps", "size",
))  # fmt: skip
"""Words in the name of a number that is no width."""

WIDE_WORDS = frozenset(("hidden", "in", "out", "input", "output", "inner", "mid", "embed", "feature", "features"))
"""Words that make a size a width: ``hidden_size``."""

OUTWARD = re.compile(r"_?(o|out|oup|cout|co|n_?out|c_?out)(_|p|c|$|[a-z]*(planes|channels|features|filters|dim))")
"""Names of numbers that are what goes out, where what comes in is as wide."""


def tie_kept_numbers(found: Trace) -> None:
    """Tie every integer that forward does not use, and that equals a width of its module, to that width."""
    calls: dict[str, Call] = {}
    for each in found.calls:
        calls.setdefault(each.name, each)
    for (path, name), tagged in found.integers.items():
        call = calls.get(path)
        if call is None or not isinstance(tagged, int) or type(call.module).__module__.startswith("torch.nn."):
            continue
        form = found.ties.form(tagged)
        if found.ties.unused(form) and _may_be_a_width(name):
            width = _equal_width(found, call, name, int(tagged))
            if width is not None:
                found.ties.know_width(form)
                found.ties.equate(form, width)


def _may_be_a_width(name: str) -> bool:
    words = {word for word in re.split(r"[_\d]+", re.sub(r"(?<=[a-z])(?=[A-Z])", "_", name).lower()) if word}
    return not words & OTHER_WORDS or (words & OTHER_WORDS == {"size"} and bool(words & WIDE_WORDS))


def _equal_width(found: Trace, call: Call, name: str, value: int) -> Form | None:
    """The width that the number equals: of what comes in or goes out, as its name says, or of a layer within."""
    ends = [_channels(call.inputs), _channels(call.outputs)]
    if OUTWARD.match(name.lower()):
        ends.reverse()
    own = [layer for layer in found.layers.values() if layer.module.rpartition(".")[0] == call.name]
    forms = [*ends[0], *ends[1], *(layer.outputs for layer in own), *(layer.inputs for layer in own)]
    return next((form for form in forms if form.terms and int(form.at(found.ties.base)) == value), None)


def _channels(tensors: Sequence[tuple[object, tuple[Form, ...]]]) -> list[Form]:
    return [form for _, dims in tensors for form in dims[1:] if form.terms]
