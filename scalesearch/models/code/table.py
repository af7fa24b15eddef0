"""A table of stages as a file of PyTorch, on torchvision's blocks, with the state dict's names of our own network."""

from __future__ import annotations

from scalesearch.models.build import ACTIVATIONS, NATIVE
from scalesearch.models.code.rendering import Written, numbers, rendered
from scalesearch.scaling.spec import CHOSEN, ModelSpec, StageSpec

RESIDUAL = (
    ("bottleneck", "Bottleneck", "bn3", "A 1x1, a 3x3 and a 1x1 convolution"),
    ("basic", "BasicBlock", "bn2", "Two 3x3 convolutions"),
)
COLUMNS = {"kernel": "kernel", "expand": "expand", "se": "gate"}
"""Fields that some operators have, and what the file calls them."""


def table_code(written: Written) -> str:
    """The file."""
    spec = written.model.spec
    assert isinstance(spec, ModelSpec)
    ops: set[str] = {stage.op for stage in spec.stages}
    columns = [word for field, word in COLUMNS.items() if any(field in CHOSEN[op] for op in ops)]
    gates = [stage.se for stage in spec.stages if stage.op == "mbconv"]
    gated = "all" if gates and all(gates) else "some" if any(gates) else ""
    if not gated:
        columns = [word for word in columns if word != "gate"]
    drops = bool(spec.stochastic_depth)
    return rendered(
        "table.py.jinja",
        n=numbers(written),
        spec=spec,
        ops=ops,
        columns=columns,
        gated=gated,
        drops=drops,
        imports=_imports(
            ops, gated=bool(gated), dropped=drops and bool(ops & {"inverted_residual", "bottleneck", "basic"})
        ),
        activation=ACTIVATIONS[spec.activation].__name__,
        swapped={op for op in ops if NATIVE.get(op, spec.activation) != spec.activation},
        own_sum=spec.activation == "relu",
        residual=[row for row in RESIDUAL if row[0] in ops],
        rows=_rows(spec.stages, columns),
    )


def _imports(ops: set[str], *, gated: bool, dropped: bool) -> list[str]:
    lines = []
    inner = [("mbconv", ("MBConv", "MBConvConfig")), ("fused_mbconv", ("FusedMBConv", "FusedMBConvConfig"))]
    if names := sorted(name for op, both in inner if op in ops for name in both):
        lines.append(f"from torchvision.models.efficientnet import {', '.join(names)}")
    if "inverted_residual" in ops:
        lines.append("from torchvision.models.mobilenetv2 import InvertedResidual")
    if names := sorted(factory for op, factory, *_ in RESIDUAL if op in ops):
        lines.append(f"from torchvision.models.resnet import {', '.join(names)}")
    shared = ["Conv2dNormActivation"] + ["SqueezeExcitation"] * gated + ["StochasticDepth"] * dropped
    return [*lines, f"from torchvision.ops import {', '.join(shared)}"]


def _rows(stages: tuple[StageSpec, ...], columns: list[str]) -> list[str]:
    """The stages as calls, a line each, with the same field below the same."""
    fields = {"channels": "channels", "repeats": "repeats", "stride": "stride"}
    fields |= {field: word for field, word in COLUMNS.items() if word in columns}
    rows = [[s.op, *(f"{word}={getattr(s, field):.12g}" for field, word in fields.items())] for s in stages]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = (" ".join(f"{cell},".ljust(width + 1) for cell, width in zip(row, widths, strict=True)) for row in rows)
    return [f"Stage({line.rstrip(', ')})," for line in lines]
