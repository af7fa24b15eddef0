"""A ConvNet as the rows of a table (Tan & Le 2019, Eq. 1 and Table 1): validated, frozen, in and out of YAML."""

from __future__ import annotations

import hashlib
from typing import Annotated, Any, Literal

import yaml
from pydantic import AfterValidator, Field, PositiveFloat, PositiveInt, model_validator

from scalesearch.image_size import InputSize
from scalesearch.validation import MOST_CHANNELS, MOST_REPEATS, Strict

Activation = Literal["relu", "relu6", "silu"]
Op = Literal["mbconv", "fused_mbconv", "inverted_residual", "depthwise_separable", "bottleneck", "basic"]


def _odd(kernel: int) -> int:
    if kernel % 2 == 0:
        raise ValueError("a positive odd integer")
    return kernel


Channels = Annotated[PositiveInt, Field(le=MOST_CHANNELS)]
Kernel = Annotated[PositiveInt, AfterValidator(_odd)]
Stride = Annotated[int, Field(ge=1, le=2)]
Fraction01 = Annotated[float, Field(ge=0, lt=1)]

CHOSEN: dict[str, frozenset[str]] = {
    "mbconv": frozenset({"kernel", "expand", "se"}),
    "fused_mbconv": frozenset({"kernel", "expand"}),
    "inverted_residual": frozenset({"expand"}),
    "depthwise_separable": frozenset(),
    "bottleneck": frozenset(),
    "basic": frozenset(),
}
"""Fields of a stage that can be chosen, by operator."""

WITHOUT = {"kernel": 3, "expand": 1, "se": 0}
"""What they are of the other operators."""

BOTTLENECK_EXPANSION = 4
"""A bottleneck's output is four times as wide as its 3x3 convolution (He et al. 2016, Table 1)."""


class NormSpec(Strict):
    """Batch normalisation: ε inside the root, and the weight of the newest batch in the running statistics."""

    eps: PositiveFloat = 1e-5
    momentum: Annotated[float, Field(gt=0, le=1)] = 0.1


class StemSpec(Strict):
    """The first convolution; ``pool`` adds ResNet's 3x3 max-pool of stride 2. ``inputs``: the images' channels."""

    kernel: Kernel = 3
    stride: Stride = 2
    channels: Channels
    pool: bool = False
    inputs: Channels = 3


class StageSpec(Strict):
    """``repeats`` blocks of one operator; the first has the stride, the others stride 1.

    ``channels`` counts the stage's output, except for ``bottleneck``, where it counts the 3x3 convolution as in
    He et al.'s table and the output is four times as wide. ``expand`` is the widening inside a block; ``se`` the
    squeeze-excitation width as a share of the block's *input* channels (0: none).
    """

    op: Op
    channels: Channels
    repeats: Annotated[PositiveInt, Field(le=MOST_REPEATS)]
    kernel: Kernel = 3
    stride: Stride = 1
    expand: PositiveFloat = 1
    se: Fraction01 = 0

    @property
    def out_channels(self) -> int:
        """Channels that the stage gives out; a bottleneck's are four times its ``channels``."""
        return self.channels * (BOTTLENECK_EXPANSION if self.op == "bottleneck" else 1)

    @model_validator(mode="after")
    def _only_what_the_operator_has(self) -> StageSpec:
        for name, only in WITHOUT.items():
            if name not in CHOSEN[self.op] and getattr(self, name) != only:
                one = f"kernel 3, the only one {self.op} has"
                raise ValueError(one if name == "kernel" else f"no {name}: {self.op} has none")
        return self


class HeadSpec(Strict):
    """Global pooling, dropout and the classifier, behind a 1x1 convolution of ``channels`` where there is one.

    ``shrinks: false`` keeps the convolution's width when the network gets narrower (MobileNetV2).
    """

    channels: Channels | None = None
    dropout: Fraction01 = 0
    shrinks: bool = True


class Origin(Strict):
    """Where a scaled spec came from; the multipliers are the coefficients to the power φ, or a published row's."""

    baseline: str
    phi: float
    depth: float
    width: float
    resolution: float
    alpha: float | None = None
    beta: float | None = None
    gamma: float | None = None
    preset: str | None = None


class ModelSpec(Strict):
    """A ConvNet: stem, stages, head, and the images it is meant for: their side in pixels, or [height, width].

    >>> from scalesearch import ModelSpec
    >>> spec = ModelSpec.model_validate({
    ...     "name": "mine", "resolution": 96, "activation": "relu", "stem": {"channels": 16},
    ...     "stages": [{"op": "depthwise_separable", "channels": 32, "repeats": 2, "stride": 2}],
    ... })
    >>> spec.blocks, spec.total_stride
    (2, 4)
    """

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")]
    source: str | None = None
    resolution: InputSize
    activation: Activation
    norm: NormSpec = NormSpec()
    stem: StemSpec
    stages: Annotated[tuple[StageSpec, ...], Field(min_length=1)]
    head: HeadSpec = HeadSpec()
    stochastic_depth: Fraction01 = 0
    origin: Origin | None = None

    @property
    def blocks(self) -> int:
        """How many blocks it has, of all stages together."""
        return sum(stage.repeats for stage in self.stages)

    @property
    def widest(self) -> int:
        """Channels that reach the classifier."""
        return self.head.channels or self.stages[-1].out_channels

    @property
    def total_stride(self) -> int:
        """By how much the last feature map is smaller than the image, a side."""
        stride = self.stem.stride * (2 if self.stem.pool else 1)
        for stage in self.stages:
            stride *= stage.stride
        return stride

    def unsaid(self, also: dict[str, Any]) -> dict[str, Any]:
        """What a dump that tells networks apart excludes, beside ``also``: that images have three channels."""
        return also | ({"stem": {"inputs": True}} if self.stem.inputs == 3 else {})

    @property
    def fingerprint(self) -> str:
        """Twelve hex digits; equal for equal networks at an equal resolution, whatever they are called."""
        network = self.model_dump_json(exclude=self.unsaid({"name": True, "source": True, "origin": True}))
        return hashlib.sha256(network.encode()).hexdigest()[:12]


def dump_model_spec(spec: ModelSpec) -> str:
    """The spec as YAML in the form a person would write: one row per stage, defaults left out."""
    data: dict[str, Any] = spec.model_dump(mode="json", exclude_defaults=True)
    data["stages"] = [
        {"op": stage.op} | {key: row[key] for key in row if key != "op"}
        for stage, row in zip(spec.stages, data["stages"], strict=True)
    ]
    lines = [f"{key}: {flow(data[key])}" for key in data if key != "stages"]
    where = next(i for i, line in enumerate(lines) if line.startswith("stem:")) + 1
    rows = [f"  - {flow(row)}" for row in data["stages"]]
    return "\n".join([*lines[:where], "stages:", *rows, *lines[where:]]) + "\n"


def flow(value: object) -> str:
    """One value as a single line of YAML."""
    text = yaml.safe_dump(value, default_flow_style=True, sort_keys=False, width=10**6, allow_unicode=True)
    return text.removesuffix("\n").removesuffix("\n...")
