"""Compound scaling: coefficients to the power φ, and the rounding that turns them into layers (Tan & Le 2019, §3)."""

from __future__ import annotations

import math
from collections.abc import Container, Sequence
from dataclasses import asdict, dataclass
from fractions import Fraction
from typing import Annotated, Literal, NamedTuple

from pydantic import Field, PositiveInt

from scalesearch.errors import ScalingError
from scalesearch.image_size import Resolution, each_side, height_width
from scalesearch.scaling.spec import ModelSpec, Origin
from scalesearch.validation import MOST_CHANNELS, MOST_PIXELS, MOST_REPEATS, Strict

DROPOUT_PER_PHI = 0.3 / 7
"""The paper raises dropout "linearly from 0.2 for B0 to 0.5 for B7" (§5.2)."""


@dataclass(frozen=True, order=True)
class Multipliers:
    """How much deeper, wider and sharper than the baseline; 1 leaves a dimension as it is.

    >>> from scalesearch import Multipliers
    >>> Multipliers(depth=1.2, width=1.1, resolution=1.15)
    Multipliers(depth=1.2, width=1.1, resolution=1.15)
    """

    depth: float
    width: float
    resolution: float

    def without(self, dead: Container[str]) -> Multipliers:
        """These multipliers, 1 where ``dead`` names the coefficient: what does nothing to a network is not shown."""
        values = zip(AXES, (self.depth, self.width, self.resolution), strict=True)
        return Multipliers(*(1 if axis in dead else value for axis, value in values))


AXES = ("alpha", "beta", "gamma")


@dataclass(frozen=True, order=True, slots=True)
class Coefficients:
    """α, β, γ: depth, width and resolution multipliers at φ = 1 (Tan & Le 2019, Eq. 3).

    >>> from scalesearch import Coefficients
    >>> paper = Coefficients(alpha=1.2, beta=1.1, gamma=1.15)
    >>> paper.growth()
    1.92027
    >>> round(paper.at(4).depth, 2)
    2.07
    """

    alpha: float
    beta: float
    gamma: float

    def at(self, phi: float) -> Multipliers:
        """d = α^φ, w = β^φ, r = γ^φ, for any real φ; a negative one makes the network smaller."""
        try:
            return Multipliers(self.alpha**phi, self.beta**phi, self.gamma**phi)
        except (OverflowError, ZeroDivisionError):
            raise ScalingError(f"φ = {phi:g} of {self} is beyond all numbers: use a smaller one") from None

    def growth(self) -> float:
        """Nominal MACs growth per unit of φ: α·β²·γ² (Tan & Le 2019, Eq. 3). Rounding makes the real one differ."""
        return float(self.exact_growth())

    def exact_growth(self) -> Fraction:
        """α·β²·γ² of the decimals as printed, without float noise."""
        alpha, beta, gamma = (Fraction(repr(value)) for value in (self.alpha, self.beta, self.gamma))
        return alpha * beta**2 * gamma**2

    def __str__(self) -> str:
        return f"α {self.alpha:.4g} β {self.beta:.4g} γ {self.gamma:.4g}"


PAPER = Coefficients(1.2, 1.1, 1.15)
"""What the paper's grid search found on EfficientNet-B0 (§3.3)."""


class Rounding(Strict):
    """How real multipliers become whole layers, channels and pixels. The defaults are the official code's.

    ``fix_stem_head`` is EfficientNet-Lite's variant: stem and head keep their width, the first and the last stage
    their repeats. ``depth: round`` is TinyNet's and pycls's. ``lowest_share: 0`` is EfficientNetV2's code, which rounds
    channels to the nearest multiple and no further.

    What EfficientNetV2 adds (Tan & Le 2021, §3.3): ``max_resolution`` bounds the image's longer side, ``stage_depths``
    says how much of the growth in depth each stage gets (1: all of it; 0: it keeps its blocks), first stage first.
    ``max_channels`` bounds what a layer grows to. No bound makes anything smaller than the baseline has it.

    For modules: grouped convolutions get more groups of the same width, or with ``keep_groups`` wider ones;
    with ``keep_output_channels`` the maps that a backbone gives out stay as wide as they are;
    ``adaptive_pool`` lets a network whose classifier is made for one size see others, by pooling to that size.

    >>> from scalesearch import Rounding
    >>> Rounding().repeats(4, 1.2), Rounding(depth="round").repeats(4, 1.2)
    (5, 5)
    >>> Rounding(resolution_multiple=32).pixels(224, 1.15)
    256
    """

    width_divisor: PositiveInt = 8
    lowest_share: Annotated[float, Field(ge=0, le=1)] = 0.9
    depth: Literal["ceil", "round"] = "ceil"
    fix_stem_head: bool = False
    resolution_multiple: PositiveInt = 1
    keep_groups: bool = False
    keep_output_channels: bool = False
    adaptive_pool: bool = False
    max_resolution: Annotated[PositiveInt, Field(le=MOST_PIXELS)] | None = None
    max_channels: PositiveInt | None = None
    stage_depths: tuple[Annotated[float, Field(ge=0, le=100)], ...] = ()

    def channels(self, channels: int, width: float) -> int:
        """The nearest multiple of the divisor, at least one divisor, never below `lowest_share` of the product, never
        grown beyond `max_channels`; as it is at 1."""
        if width == 1:
            return channels
        wanted = _denoise(channels * width)
        divisor = self.width_divisor
        rounded = max(divisor, math.floor(wanted / divisor + 0.5) * divisor)
        rounded = rounded + divisor if rounded < self.lowest_share * wanted else rounded
        if self.max_channels is None or rounded <= channels:
            return rounded
        return min(rounded, max(channels, self.max_channels // divisor * divisor))

    def repeats(self, repeats: int, depth: float) -> int:
        """A stage's repeats at ``depth`` times as many: rounded up, or to the nearest."""
        wanted = _denoise(repeats * depth)
        return max(1, math.ceil(wanted) if self.depth == "ceil" else math.floor(wanted + 0.5))

    def stage_repeats(self, stages: Sequence[int], depth: float) -> tuple[int, ...]:
        """Every stage's repeats, first stage first.

        Raises:
            ScalingError: `stage_depths` are of another number of stages.
        """
        shares = self.stage_depths or (1.0,) * len(stages)
        if len(shares) != len(stages):
            raise ScalingError(f"stage_depths: expected {len(stages)} numbers, one for each stage, got {len(shares)}")
        ends = (0, len(stages) - 1) if self.fix_stem_head else ()
        return tuple(
            blocks if i in ends or share == 0 else self.repeats(blocks, 1 + (depth - 1) * share)
            for i, (blocks, share) in enumerate(zip(stages, shares, strict=True))
        )

    def pixels(self, resolution: int, scale: float) -> int:
        """The input side at ``scale`` times as many pixels, a whole multiple of ``resolution_multiple``."""
        pixels, multiple = self._unbounded(resolution, scale), self.resolution_multiple
        if self.max_resolution is None or pixels <= resolution:
            return pixels
        return min(pixels, max(resolution, self.max_resolution // multiple * multiple))

    def image(self, resolution: Resolution, scale: float) -> Resolution:
        """Each side at ``scale`` times as many pixels; `max_resolution` bounds the longer, the other goes along."""
        longest = max(height_width(resolution))
        bounded = self.pixels(longest, scale)
        if bounded < self._unbounded(longest, scale):
            scale = bounded / longest
        return each_side(resolution, lambda side: self._unbounded(side, scale))

    def _unbounded(self, resolution: int, scale: float) -> int:
        multiple = self.resolution_multiple
        return resolution if scale == 1 else math.floor(_denoise(resolution * scale) / multiple + 0.5) * multiple


def _denoise(value: float) -> float:
    """Drop float noise: 1.1 × 10 is 11 repeats, not 11.000000000000002 and hence 12."""
    return round(value, 9)


def scale_spec(
    spec: ModelSpec, multipliers: Multipliers, rounding: Rounding | None = None, *, dropout: float | None = None
) -> ModelSpec:
    """A deeper, wider, sharper copy of ``spec``: every stage's repeats and channels, the stem, the head, the image.

    Expansion ratio, kernel and stride stay (§3.1). ``dropout`` replaces the head's.

    Raises:
        ScalingError: less than one channel, or less than half a pixel at the last stage, would be left.

    >>> from scalesearch import Coefficients, scale_spec
    >>> from scalesearch.models.catalogue import builtin
    >>> wider = scale_spec(builtin("mobilenet_v2"), Coefficients(1, 1.4, 1).at(1))
    >>> wider.stem.channels, wider.blocks, wider.resolution
    (48, 17, 224)
    """
    rounding = rounding or Rounding()
    widths = scaled_widths(spec, multipliers.width, rounding)
    pixels = scaled_pixels(spec, multipliers.resolution, rounding)
    return resized(spec, scaled_repeats(spec, multipliers.depth, rounding), widths, pixels, dropout=dropout)


class Widths(NamedTuple):
    """Channels of the stem, of every stage, and of the head's convolution where there is one."""

    stem: int
    stages: tuple[int, ...]
    head: int | None


def scaled_repeats(spec: ModelSpec, depth: float, rounding: Rounding) -> tuple[int, ...]:
    """Every stage's blocks at ``depth`` times as many.

    Raises:
        ScalingError: they are more than any network could have.
    """
    most = max(stage.repeats for stage in spec.stages) * max((1.0, *rounding.stage_depths))
    _at_most("depth", math.ceil(min(most * depth, 1e300)), MOST_REPEATS, "blocks of a stage")
    return rounding.stage_repeats([stage.repeats for stage in spec.stages], depth)


def _at_most(where: str, value: int, bound: int, what: str) -> int:
    """``value``, which no network that could be built exceeds.

    Raises:
        ScalingError: it does.
    """
    if value > bound:
        raise ScalingError(
            f"{where}: {value:.3g} {what} are more than {bound:,}; use coefficients or a φ that scale less"
        )
    return value


def scaled_widths(spec: ModelSpec, width: float, rounding: Rounding) -> Widths:
    """Every layer's channels at ``width`` times as many.

    Raises:
        ScalingError: less than one channel would be left.
    """
    for where, channels in _widths(spec):
        _at_most(where, math.ceil(min(channels * width, 1e300)), MOST_CHANNELS, "channels")
        if channels * width < 1:
            raise ScalingError(
                f"{where}: width ×{width:.3g} leaves {channels * width:.2g} of "
                f"{channels} channels; use coefficients or a φ that scale less"
            )
    stages = tuple(rounding.channels(stage.channels, width) for stage in spec.stages)
    stem, head = spec.stem.channels, spec.head.channels
    if not rounding.fix_stem_head:
        stem = rounding.channels(stem, width)
        head = head and rounding.channels(head, width if spec.head.shrinks else max(1.0, width))
    return Widths(stem, stages, head)


def scaled_pixels(spec: ModelSpec, resolution: float, rounding: Rounding) -> Resolution:
    """The image's size at ``resolution`` times as many pixels a side.

    Raises:
        ScalingError: less than half a pixel would be left at the last stage.
    """
    longest = max(height_width(spec.resolution))
    _at_most("resolution", math.ceil(min(longest * resolution, 1e300)), MOST_PIXELS, "px")
    pixels = rounding.image(spec.resolution, resolution)
    if 2 * min(height_width(pixels)) < spec.total_stride:
        raise ScalingError(
            f"resolution: ×{resolution:.3g} leaves {pixels} of {spec.resolution} px, "
            f"nothing at the network's stride of {spec.total_stride}; use coefficients or a φ that scale less"
        )
    return pixels


def resized(
    spec: ModelSpec, repeats: tuple[int, ...], widths: Widths, pixels: Resolution, *, dropout: float | None = None
) -> ModelSpec:
    """``spec`` with these blocks per stage, channels and pixels; ``dropout`` replaces the head's."""
    stages = tuple(
        stage.model_copy(update={"channels": channels, "repeats": blocks})
        for stage, channels, blocks in zip(spec.stages, widths.stages, repeats, strict=True)
    )
    stem = spec.stem.model_copy(update={"channels": widths.stem})
    head = spec.head if widths.head is None else spec.head.model_copy(update={"channels": widths.head})
    if dropout is not None:
        head = head.model_copy(update={"dropout": dropout})
    return spec.model_copy(update={"resolution": pixels, "stem": stem, "stages": stages, "head": head})


def _widths(spec: ModelSpec) -> list[tuple[str, int]]:
    widths = [("stem.channels", spec.stem.channels)]
    return widths + [(f"stages[{i}].channels", stage.channels) for i, stage in enumerate(spec.stages)]


def grown_dropout(base: float, phi: float) -> float:
    """The head's dropout at φ: linear as in the paper (§5.2), kept within [0, 0.9]; 0 where the baseline has none."""
    return round(min(0.9, max(0.0, base + DROPOUT_PER_PHI * phi)), 4) if base else 0.0


def scaled_family_member(
    spec: ModelSpec, coefficients: Coefficients, phi: float, rounding: Rounding | None = None
) -> ModelSpec:
    """``spec`` at φ by the formula, named and with its origin written down."""
    multipliers = coefficients.at(phi)
    scaled = scale_spec(spec, multipliers, rounding, dropout=grown_dropout(spec.head.dropout, phi))
    origin = origin_of(spec.name, multipliers, phi).model_copy(update=asdict(coefficients))
    return scaled.model_copy(update={"name": f"{spec.name}-phi{phi:g}", "origin": origin})


@dataclass(frozen=True)
class PublishedRow:
    """One row of the official code's table: hand-rounded, so no single φ gives it."""

    name: str
    multipliers: Multipliers
    resolution: int
    dropout: float


def _row(name: str, width: float, depth: float, resolution: int, dropout: float) -> PublishedRow:
    return PublishedRow(name, Multipliers(depth, width, resolution / 224), resolution, dropout)


PUBLISHED: dict[str, tuple[PublishedRow, ...]] = {
    "efficientnet_b0": (
        _row("b0", 1.0, 1.0, 224, 0.2),
        _row("b1", 1.0, 1.1, 240, 0.2),
        _row("b2", 1.1, 1.2, 260, 0.3),
        _row("b3", 1.2, 1.4, 300, 0.3),
        _row("b4", 1.4, 1.8, 380, 0.4),
        _row("b5", 1.6, 2.2, 456, 0.4),
        _row("b6", 1.8, 2.6, 528, 0.5),
        _row("b7", 2.0, 3.1, 600, 0.5),
    ),
    "efficientnet_v2_b0": (
        _row("b0", 1.0, 1.0, 224, 0.2),
        _row("b1", 1.0, 1.1, 240, 0.2),
        _row("b2", 1.1, 1.2, 260, 0.3),
        _row("b3", 1.2, 1.4, 300, 0.3),
    ),
}
"""Families as they were released, by their baseline: EfficientNet (tensorflow/tpu, ``efficientnet_builder.py``) and
EfficientNetV2's small ones (google/automl, ``effnetv2_configs.py``; sizes as evaluated)."""

OWN_ROUNDING = {"efficientnet_v2_b0": {"lowest_share": 0.0}}
"""What a family's own code rounds differently."""


def published_rows(baseline: str) -> tuple[PublishedRow, ...]:
    """A family's rows, by φ; of another baseline EfficientNet's, whose constants then scale it."""
    return PUBLISHED.get(baseline, PUBLISHED["efficientnet_b0"])


def published_member(spec: ModelSpec, index: int, rounding: Rounding | None = None) -> ModelSpec:
    """``spec`` scaled by the released constants of B``index``; V2's own are rounded as V2's code does.

    Raises:
        ScalingError: there is no such member.
    """
    rows = published_rows(spec.name)
    if not 0 <= index < len(rows):
        raise ScalingError(f"the published family is B0 to B{len(rows) - 1}: there is no B{index}")
    row = rows[index]
    if spec.name in OWN_ROUNDING:
        rounding = (rounding or Rounding()).model_copy(update=OWN_ROUNDING[spec.name])
    scaled = scale_spec(spec, row.multipliers, rounding, dropout=row.dropout if spec.head.dropout else 0.0)
    origin = origin_of(spec.name, row.multipliers, index).model_copy(update={"preset": f"published {row.name}"})
    name = spec.name.removesuffix("_b0") + f"_{row.name}" if spec.name in OWN_ROUNDING else f"{spec.name}-{row.name}"
    return scaled.model_copy(update={"name": name, "origin": origin})


def origin_of(baseline: str, multipliers: Multipliers, phi: float) -> Origin:
    """Where a network scaled from ``baseline`` came from."""
    return Origin(
        baseline=baseline,
        phi=phi,
        depth=round(multipliers.depth, 6),
        width=round(multipliers.width, 6),
        resolution=round(multipliers.resolution, 6),
    )
