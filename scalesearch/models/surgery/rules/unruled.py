"""An operation without a rule: taken as elementwise where its shape fits, else its inputs keep their widths."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from scalesearch.models.surgery.rules.registry import Args
from scalesearch.models.surgery.symbolic import Form
from scalesearch.models.surgery.tagger import Dims, Tagger, flatten

HEADS = ("sigmoid", "tanh", "logsigmoid")
"""What turns a layer's outputs into answers, where others make features of them."""


def unruled(tagger: Tagger, name: str, given: Args, outputs: list[Tensor]) -> list[Dims] | Dims:
    """Dimensions of the outputs: elementwise where the inputs broadcast to them; else fixed, and so are the inputs."""
    inputs = list(flatten([given.args, given.kwargs]))
    result: list[Dims] = []
    for output in outputs:
        shape = tuple(int(s) for s in output.shape)
        try:
            fits = bool(inputs) and _broadcast(inputs) == shape
        except RuntimeError:
            fits = False
        if fits:
            result.append(tagger.elementwise(inputs, shape))
            for tensor in inputs:
                mark = tagger.marked(tensor)
                if mark:
                    tagger.mark(output, "" if mark == "a layer's" and name.strip("_") not in HEADS else mark)
        else:
            for tensor in inputs:
                for form in tagger.dims(tensor):
                    tagger.ties.pin(form, f"{name or 'an operation'} in {tagger.where or 'forward'} has no rule")
            result.append(tuple(Form(size) for size in shape))
    return result if len(result) > 1 else result[0]


def _broadcast(tensors: Sequence[Tensor]) -> tuple[int, ...]:
    shapes = [tuple(int(s) for s in t.shape) for t in tensors]
    return tuple(torch.broadcast_shapes(*shapes))  # type: ignore[no-untyped-call]
