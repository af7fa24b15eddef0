"""A table of stages as an entry of timm's registry, for tables that timm's EfficientNet or ResNet can be."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor, nn

from scalesearch.errors import ScaleSearchError
from scalesearch.models.build import ACTIVATIONS
from scalesearch.models.code.rendering import Written, numbers, rendered
from scalesearch.scaling.module_spec import ModuleSpec
from scalesearch.scaling.spec import ModelSpec, StageSpec

COUNTER = "num_batches_tracked"


@dataclass(frozen=True)
class ResNetArguments:
    """What timm's ResNet takes: a block's class, how many of them in each stage, and their channels."""

    block: str
    layers: tuple[int, ...]
    channels: tuple[int, ...]


@dataclass(frozen=True)
class Schedule:
    """The call of timm's train.py, in lines, and what of the schedule it cannot repeat, a sentence each."""

    command: Sequence[str]
    unlike: Sequence[str]


def timm_code(
    written: Written,
    entry: str,
    schedule: Schedule | None,
    *,
    crop: float = 1.0,
    momentum: float | None = None,
    has_weights: bool = False,
) -> str:
    """The file.

    Args:
        entry: the name under which timm has it, and Python imports the file.
        crop: the central share of an image that is seen in evaluation.
        momentum: of batch norm's statistics, where a schedule has another than the network.
        has_weights: there is a file of them beside.

    Raises:
        ScaleSearchError: timm's builders cannot express the network; it says why.
    """
    spec = written.model.spec
    if isinstance(spec, ModuleSpec):
        raise ScaleSearchError(
            f"{spec.name}: timm's builders take tables of stages, and {spec.module} is scaled layer by layer: --format "
            "python writes that"
        )
    residual = {stage.op for stage in spec.stages} & {"basic", "bottleneck"}
    resnet = _resnet(spec) if residual else None
    if resnet is None:
        _see_it_is_an_efficientnet(spec)
    blocks, drop = spec.blocks, spec.stochastic_depth
    return rendered(
        "timm_entry.py.jinja",
        n=numbers(written),
        spec=spec,
        entry=entry,
        weights=has_weights,
        crop=crop,
        momentum=spec.norm.momentum if momentum is None else momentum,
        command=schedule.command if schedule else (),
        unlike=schedule.unlike if schedule else (),
        resnet=resnet,
        rows=[] if resnet else [_row(stage) for stage in spec.stages],
        gate=_gate(spec),
        activation=ACTIVATIONS[spec.activation].__name__,
        drop_path=drop * (blocks - 1) / blocks if resnet else drop,  # its ResNet gives the last block the whole rate
    )


def with_their_names(network: nn.Module, theirs: nn.Module) -> dict[str, Tensor]:
    """The network's tensors under timm's names: both define the same layers in the same order.

    Raises:
        ScaleSearchError: they do not; it names the first that differs.
    """
    ours, names = network.state_dict(), theirs.state_dict()
    if len(ours) != len(names):
        raise ScaleSearchError(f"timm makes {len(names)} tensors of it, where there are {len(ours)}")
    for (own, value), (name, other) in zip(ours.items(), names.items(), strict=True):
        if value.shape != other.shape:
            raise ScaleSearchError(
                f"timm makes {name} {tuple(other.shape)} where {own} is {tuple(value.shape)}: it rounds otherwise"
            )
    return {name: value for name, value in zip(names, ours.values(), strict=True)}  # noqa: C416 - names of one, values


def _resnet(spec: ModelSpec) -> ResNetArguments:
    ops, stem, stages = {stage.op for stage in spec.stages}, spec.stem, spec.stages
    reasons = {
        f"its blocks are of several kinds ({', '.join(sorted(ops))})": len(ops) > 1,
        "its stem is no 7x7 convolution of 64 channels, stride 2, and a pool": (
            (stem.kernel, stem.stride, stem.channels, stem.pool) != (7, 2, 64, True)
        ),
        f"it has {len(stages)} stages and not four": len(stages) != 4,
        "its stages' strides are not 1, 2, 2, 2": [stage.stride for stage in stages] != [1, 2, 2, 2][: len(stages)],
        "it has a convolution before the classifier": spec.head.channels is not None,
    }
    _refuse(spec, "ResNet", reasons)
    block = {"basic": "BasicBlock", "bottleneck": "Bottleneck"}[stages[0].op]
    return ResNetArguments(block, tuple(s.repeats for s in stages), tuple(s.channels for s in stages))


def _see_it_is_an_efficientnet(spec: ModelSpec) -> None:
    reasons = {
        f"its stem has stride {spec.stem.stride} and not 2": spec.stem.stride != 2,
        "its stem has a pool": spec.stem.pool,
        "its blocks come down by more than 32, where dilation would begin": spec.total_stride > 32,
    }
    _refuse(spec, "EfficientNet", reasons)


def _refuse(spec: ModelSpec, theirs: str, reasons: dict[str, bool]) -> None:
    for reason, holds in reasons.items():
        if holds:
            raise ScaleSearchError(
                f"{spec.name}: timm's {theirs} cannot be this network: {reason}; --format python can"
            )


def _row(stage: StageSpec) -> str:
    """A stage in timm's notation."""
    size = f"r{stage.repeats}_k{stage.kernel}_s{stage.stride}"
    gate = f"_se{stage.se:.12g}" if stage.se else ""
    if stage.op == "depthwise_separable":
        return f"dsa_{size}_c{stage.channels}"
    if stage.op == "fused_mbconv" and stage.expand == 1:
        return f"cn_{size}_e1_c{stage.channels}_skip"
    if stage.op == "fused_mbconv":
        return f"er_{size}_e{stage.expand:.12g}_c{stage.channels}"
    if stage.expand == 1:
        return f"ds_{size}_e1_c{stage.channels}{gate}"
    return f"ir_{size}_e{stage.expand:.12g}_c{stage.channels}{gate}"


def _gate(spec: ModelSpec) -> str:
    """What timm's gates must be told to be ours: their width is cut and not rounded, their activation is SiLU."""
    if not any(stage.se for stage in spec.stages):
        return ""
    told, channels, odd = [], spec.stem.channels, False
    for stage in spec.stages:
        for inputs in (channels, stage.out_channels)[: min(2, stage.repeats)]:
            odd |= bool(stage.se) and round(inputs * stage.se) != max(1, int(inputs * stage.se))
        channels = stage.out_channels
    if odd:
        told.append("rd_round_fn=lambda width: max(1, int(width + 1e-6))")
    if spec.activation != "silu":
        told.append("force_act_layer=nn.SiLU")
    return ", ".join(told)
