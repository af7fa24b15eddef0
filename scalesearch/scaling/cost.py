"""What a network costs: a closed form on the spec, fvcore on the module; their convolution + linear counts agree.

The unit is the multiply-add (MAC), which the paper, torchvision and fvcore print as "FLOPS" or "FLOPs".
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

from scalesearch.image_size import Resolution, area, each_side
from scalesearch.scaling.spec import ModelSpec, StageSpec


@dataclass(frozen=True)
class Cost:
    """One image through a network: convolution + linear MACs, trainable parameters, convolution + linear outputs.

    ``saved`` counts the elements that training keeps for the backward pass, per image: see `closed_form`.
    """

    macs: int
    params: int
    activations: int
    saved: int


class Conv(NamedTuple):
    """One convolution and what follows it: ``size`` is that of the output, in pixels."""

    inputs: int
    outputs: int
    kernel: int
    size: Resolution
    groups: int = 1
    norm: bool = True
    bias: bool = False
    activation: bool = True
    gated: bool = False


def closed_form(spec: ModelSpec, num_classes: int = 1000) -> Cost:
    """Count ``spec`` without building it, exactly as fvcore counts the built module.

    ``saved`` follows what autograd keeps: every normalised convolution leaves its output (for the norm) and what
    the next layer reads; SiLU and ReLU6 keep their own input as well, ReLU does not; a squeeze-excitation gate
    keeps both of its factors.
    """
    macs, params, activations, saved = tally(convolutions(spec), keeps_input=keeps_input(spec))
    classifier = spec.widest * num_classes
    return Cost(macs + classifier, params + classifier + num_classes, activations + num_classes, saved)


def keeps_input(spec: ModelSpec) -> bool:
    """Whether the activation function keeps its input for the backward pass."""
    return spec.activation != "relu"


def tally(convs: Iterable[Conv], *, keeps_input: bool) -> tuple[int, int, int, int]:
    """MACs, parameters, activations and saved elements of some convolutions: `Cost`'s fields without a classifier."""
    macs = params = activations = saved = 0
    for conv in convs:
        positions = area(conv.size)
        weights = conv.outputs * (conv.inputs // conv.groups) * conv.kernel**2
        macs += weights * positions
        params += weights + conv.outputs * (2 * conv.norm + conv.bias)
        activations += conv.outputs * positions
        kept = 1 + conv.norm + (keeps_input and conv.activation) + conv.gated
        saved += conv.outputs * positions * kept
    return macs, params, activations, saved


def convolutions(spec: ModelSpec) -> Iterator[Conv]:
    """Every convolution of the network in order, squeeze-excitation's and shortcuts' included."""
    stem, *sizes = map_sizes(spec, spec.resolution)
    channels = spec.stem.channels
    yield Conv(spec.stem.inputs, channels, spec.stem.kernel, stem)
    for stage, before, after in zip(spec.stages, sizes, sizes[1:], strict=False):
        yield from block(stage, channels, before, after)
        for _ in range(stage.repeats - 1):
            yield from block(stage, stage.out_channels, after, after)
        channels = stage.out_channels
    if spec.head.channels:
        yield Conv(channels, spec.head.channels, 1, sizes[-1])


def map_sizes(spec: ModelSpec, resolution: Resolution) -> tuple[Resolution, ...]:
    """Sizes in pixels at ``resolution``: of the stem's output, of what the first stage sees, of each stage's output."""
    size = _half(resolution) if spec.stem.stride == 2 else resolution
    found = [size, _half(size) if spec.stem.pool else size]
    for stage in spec.stages:
        found.append(_half(found[-1]) if stage.stride == 2 else found[-1])
    return tuple(found)


def block(stage: StageSpec, inputs: int, size: Resolution, after: Resolution) -> Iterator[Conv]:
    """One block's convolutions, from ``inputs`` channels at ``size`` pixels to the stage's at ``after``."""
    return _BLOCKS[stage.op](stage, inputs, size, after)


def _half(size: Resolution) -> Resolution:
    return each_side(size, lambda side: (side + 1) // 2)


def hidden_channels(stage: StageSpec, inputs: int) -> int:
    """Width inside an inverted bottleneck: torchvision rounds MBConv's to 8 and leaves InvertedResidual's."""
    wanted = inputs * stage.expand
    if stage.op == "inverted_residual":
        return round(wanted)
    rounded = max(8, int(wanted + 4) // 8 * 8)
    return rounded + 8 if rounded < 0.9 * wanted else rounded


def squeeze_channels(stage: StageSpec, inputs: int) -> int:
    """Width of squeeze-excitation's bottleneck: a share of the block's input, at least one (official code)."""
    return max(1, int(inputs * stage.se))


def _mbconv(stage: StageSpec, inputs: int, size: Resolution, after: Resolution) -> Iterator[Conv]:
    hidden = hidden_channels(stage, inputs)
    if hidden != inputs:
        yield Conv(inputs, hidden, 1, size)
    yield Conv(hidden, hidden, stage.kernel, after, groups=hidden, gated=stage.se > 0)
    if stage.se:
        squeeze = squeeze_channels(stage, inputs)
        yield Conv(hidden, squeeze, 1, 1, norm=False, bias=True)
        yield Conv(squeeze, hidden, 1, 1, norm=False, bias=True)
    yield Conv(hidden, stage.channels, 1, after, activation=False)


def _inverted_residual(stage: StageSpec, inputs: int, size: Resolution, after: Resolution) -> Iterator[Conv]:
    hidden = hidden_channels(stage, inputs)
    if stage.expand != 1:
        yield Conv(inputs, hidden, 1, size)
    yield Conv(hidden, hidden, stage.kernel, after, groups=hidden)
    yield Conv(hidden, stage.channels, 1, after, activation=False)


def _fused_mbconv(stage: StageSpec, inputs: int, size: Resolution, after: Resolution) -> Iterator[Conv]:
    hidden = hidden_channels(stage, inputs)
    if hidden != inputs:
        yield Conv(inputs, hidden, stage.kernel, after)
        yield Conv(hidden, stage.channels, 1, after, activation=False)
    else:
        yield Conv(inputs, stage.channels, stage.kernel, after)


def _depthwise_separable(stage: StageSpec, inputs: int, size: Resolution, after: Resolution) -> Iterator[Conv]:
    yield Conv(inputs, inputs, stage.kernel, after, groups=inputs)
    yield Conv(inputs, stage.channels, 1, after)


def _bottleneck(stage: StageSpec, inputs: int, size: Resolution, after: Resolution) -> Iterator[Conv]:
    yield Conv(inputs, stage.channels, 1, size)
    yield Conv(stage.channels, stage.channels, 3, after)
    yield Conv(stage.channels, stage.out_channels, 1, after, activation=False)
    yield from _shortcut(stage, inputs, size, after)


def _basic(stage: StageSpec, inputs: int, size: Resolution, after: Resolution) -> Iterator[Conv]:
    yield Conv(inputs, stage.channels, 3, after)
    yield Conv(stage.channels, stage.channels, 3, after, activation=False)
    yield from _shortcut(stage, inputs, size, after)


def _shortcut(stage: StageSpec, inputs: int, size: Resolution, after: Resolution) -> Iterator[Conv]:
    if inputs != stage.out_channels or size != after:
        yield Conv(inputs, stage.out_channels, 1, after, activation=False)


_BLOCKS = {
    "mbconv": _mbconv,
    "fused_mbconv": _fused_mbconv,
    "inverted_residual": _inverted_residual,
    "depthwise_separable": _depthwise_separable,
    "bottleneck": _bottleneck,
    "basic": _basic,
}


@dataclass(frozen=True)
class Count:
    """fvcore's count of one image: convolution + linear MACs, its own total, and the operators it left out."""

    macs: int
    total: int
    uncounted: dict[str, int] = field(default_factory=dict)
