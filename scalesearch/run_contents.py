"""What the files of a run's folder hold, key by key.

Keys that a later version adds are let through; a key that is there has the type that readers count on. Keys that older
versions did not write may be missing.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, PlainValidator, RootModel, model_validator

Factor = Annotated[float, Field(gt=0, lt=100)]
ROUNDING = 1e-9
"""By which a share may be below nothing or above all, of a sum that was rounded."""


def _without_rounding(value: object) -> object:
    if not isinstance(value, float):
        return value
    return min(1.0, max(0.0, value)) if -ROUNDING <= value <= 1 + ROUNDING else value


Share = Annotated[float, BeforeValidator(_without_rounding), Field(ge=0, le=1)]
Amount = Annotated[int, Field(ge=0, lt=2**62)]
Positive = Annotated[int, Field(gt=0, lt=2**62)]


def _size(value: object) -> object:
    sides = value if isinstance(value, list) and len(value) == 2 else [value]
    if not all(type(side) is int and 0 < side < 2**62 for side in sides):
        raise ValueError("a number of pixels, or height and width")
    return value


Size = Annotated[Any, PlainValidator(_size)]
"""The side of images, pixels, or height and width."""


class KeptPart(BaseModel):
    """Types are taken as JSON has them: a number in quotes is none."""

    model_config = ConfigDict(frozen=True, strict=True, allow_inf_nan=False, extra="allow")


class RankedRow(KeptPart):
    """A candidate of `ranking.json`. Accuracies are in [0, 1], memory in bytes, latency in milliseconds."""

    rank: Positive
    alpha: Factor
    beta: Factor
    gamma: Factor
    growth: float
    shape: str
    resolution: Size
    macs: Positive
    ratio: float = Field(gt=0)
    params: Positive
    accuracy: Share
    seeds: Positive
    network: str
    sd: float | None = None
    pooled: float | None = None
    gap: float | None = None
    gap_low: float | None = None
    gap_high: float | None = None
    low: float | None = None
    high: float | None = None
    p_best: Share | None = None
    val_accuracy: Share | None = None
    loss: float | None = None
    front: bool | None = None
    contender: bool | None = None
    memory: Amount | None = None
    estimated_memory: Amount | None = None
    latency_ms: float | None = None
    matched: float | None = None
    matched_ratio: float | None = None
    label: str | None = None
    also: str | None = None


class FittedShares(KeptPart):
    """The parts of the growth that each dimension gets."""

    depth: Share
    width: Share
    resolution: Share


class FittedPoint(KeptPart):
    """The highest point of the fitted surface."""

    alpha: Factor
    beta: Factor
    gamma: Factor
    shares: FittedShares


class NasTarget(KeptPart):
    """What a search for a baseline was for."""

    space: str
    target_macs: Positive


class RankingFile(KeptPart):
    """`ranking.json`."""

    title: str
    notes: list[str]
    ranking: Annotated[list[RankedRow], Field(min_length=1)]
    metric: Literal["balanced_accuracy", "macro_f1"] | None = None
    fitted: FittedPoint | None = None
    nas: NasTarget | None = None
    match: MatchNote | None = None


class MatchedPoint(KeptPart):
    """Coefficients, and what their network costs over the baseline's: measured, with its ``value`` in the quantity's
    unit, or estimated alone. ``admitted`` is None of a point named by hand."""

    alpha: float = Field(gt=0)
    beta: float = Field(gt=0)
    gamma: float = Field(gt=0)
    ratio: float = Field(gt=0)
    value: float | None = Field(default=None, gt=0)
    network: str | None = None
    admitted: bool | None = None

    @property
    def missed(self) -> bool:
        """Whether it was measured, and does not cost what it should."""
        return self.admitted is False and self.value is not None


class MatchedFile(KeptPart):
    """`matched.json`: a plan of equal measured cost, and what it was measured with. ``base`` is what the baseline
    costs, ``off_median`` and ``off_worst`` are measured costs over their estimates, ``error`` is the
    median relative standard error of what was admitted; ``asked`` is a digest of what the
    plan was asked for: another would need other points. ``rows`` are those of a comparison."""

    cost: Literal["latency", "train-time", "energy"]
    unit: str
    device: str
    threads: Positive
    batch: Positive
    precision: str
    base: float = Field(gt=0)
    target: float = Field(gt=0)
    tolerance: float = Field(gt=0)
    pairs: Amount
    networks: Positive
    seconds: float = Field(ge=0)
    off_median: float | None = None
    off_worst: float | None = None
    error: float | None = None
    asked: str = ""
    rows: list[dict[str, Any]] = Field(default_factory=list)
    points: list[MatchedPoint]


class MatchNote(KeptPart):
    """Of `ranking.json`, by what candidates were made equal, and what follows from it."""

    cost: str
    unit: str
    differ: bool
    words: str


class SessionImages(KeptPart):
    """The images that a session found."""

    title: str
    fingerprint: str
    train: Amount
    minival: Amount


class SessionEntry(KeptPart):
    """A session of `environment.json`: the command, when (UTC, ISO 8601), on what, with which images."""

    command: str
    started: str
    device: str
    data: SessionImages


class VerifiedNetwork(KeptPart):
    """A network that was trained on both schedules, and its two accuracies."""

    network: str
    short: Share
    long: Share


class VerifyFile(KeptPart):
    """`verify.json`: what a longer schedule, ``longer`` times as long, says of the first."""

    longer: Factor
    words: str
    networks: list[VerifiedNetwork]


class LengthNetwork(KeptPart):
    """A network after one length of training."""

    network: str
    accuracy: float
    low: float
    high: float
    p_best: Share


class LengthEntry(KeptPart):
    """One length of training: its steps, what it is called, and every network."""

    steps: Positive
    label: str
    networks: Annotated[list[LengthNetwork], Field(min_length=1)]


class LengthsFile(KeptPart):
    """`lengths.json`: how the answer depends on the length of training."""

    words: str
    lengths: Annotated[list[LengthEntry], Field(min_length=2)]


class TrainedImages(KeptPart):
    """The images of one training; ``val`` where it was evaluated on them."""

    minival: Amount
    val: Amount | None = None


class TrainedEnvironment(KeptPart):
    """What one training was made with."""

    data: TrainedImages


class OutcomeFile(KeptPart):
    """`outcome.json` of `scalesearch train`."""

    accuracy: Share
    val_accuracy: Share | None = None
    seconds: float = Field(ge=0)
    images_per_second: float = Field(ge=0)
    environment: TrainedEnvironment


class ClassAccuracy(KeptPart):
    """How often images of one class are right, with its interval."""

    images: Amount
    accuracy: Share | None = None
    low: Share | None = None
    high: Share | None = None


class ConfusionEntry(KeptPart):
    """What one network took images for."""

    network: str
    name: str
    seeds: Positive
    accuracy: Share
    balanced_accuracy: Share
    macro_f1: Share
    top5: Share | None = None
    classes: list[ClassAccuracy]
    confused: list[Annotated[list[Amount], Field(min_length=3, max_length=3)]]


class ClassesFile(KeptPart):
    """`classes.json`: the best candidates, class by class."""

    split: str
    images: Positive
    class_names: Annotated[list[str], Field(min_length=1)]
    confidence: Share
    networks: list[ConfusionEntry]

    @model_validator(mode="after")
    def _of_these_classes(self) -> ClassesFile:
        count = len(self.class_names)
        for network in self.networks:
            if len(network.classes) != count:
                raise ValueError(f"{count} classes of each network, as there are names")
            if any(
                max(true, taken) >= count or not network.classes[true].images for true, taken, _ in network.confused
            ):
                raise ValueError("confused classes that have names and images")
        return self


class SettingsFile(KeptPart):
    """`settings.json`: flat, by dotted key."""

    fingerprint: str = Field(alias="data.fingerprint")
    resolution: Size | None = None


class SessionsFile(RootModel[list[SessionEntry]]):
    """`environment.json`, which is a list."""
