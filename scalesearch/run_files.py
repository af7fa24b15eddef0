"""What a run's folder says of itself: every file that is read again is validated here, whoever wrote it.

Keys that a later version adds are let through; a key that is there has the type that readers count on. Columns and keys
that older versions did not write may be missing.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, PlainValidator, RootModel, model_validator

from scalesearch.errors import RecipeError, RunError, ScaleSearchError
from scalesearch.recipe import load_recipe
from scalesearch.validation import Model, is_file, parse

if TYPE_CHECKING:
    import pandas as pd

Factor = Annotated[float, Field(gt=0, lt=100)]
Share = Annotated[float, Field(ge=0, le=1)]
Amount = Annotated[int, Field(ge=0, lt=2**62)]
Positive = Annotated[int, Field(gt=0, lt=2**62)]


def _size(value: object) -> object:
    sides = value if isinstance(value, list) and len(value) == 2 else [value]
    if not all(type(side) is int and 0 < side < 2**62 for side in sides):
        raise ValueError("a number of pixels, or height and width")
    return value


Size = Annotated[Any, PlainValidator(_size)]
"""The side of images, pixels, or height and width."""


class _Kept(BaseModel):
    """Types are taken as JSON has them: a number in quotes is none."""

    model_config = ConfigDict(frozen=True, strict=True, allow_inf_nan=False, extra="allow")


class RankedRow(_Kept):
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


class FittedShares(_Kept):
    """The parts of the growth that each dimension gets."""

    depth: Share
    width: Share
    resolution: Share


class FittedPoint(_Kept):
    """The highest point of the fitted surface."""

    alpha: Factor
    beta: Factor
    gamma: Factor
    shares: FittedShares


class NasTarget(_Kept):
    """What a search for a baseline was for."""

    space: str
    target_macs: Positive


class RankingFile(_Kept):
    """`ranking.json`."""

    title: str
    notes: list[str]
    ranking: Annotated[list[RankedRow], Field(min_length=1)]
    metric: Literal["balanced_accuracy", "macro_f1"] | None = None
    fitted: FittedPoint | None = None
    nas: NasTarget | None = None
    match: MatchNote | None = None


class MatchedPoint(_Kept):
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


class MatchedFile(_Kept):
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


class MatchNote(_Kept):
    """Of `ranking.json`, by what candidates were made equal, and what follows from it."""

    cost: str
    unit: str
    differ: bool
    words: str


class SessionImages(_Kept):
    """The images that a session found."""

    title: str
    fingerprint: str
    train: Amount
    minival: Amount


class SessionEntry(_Kept):
    """A session of `environment.json`: the command, when (UTC, ISO 8601), on what, with which images."""

    command: str
    started: str
    device: str
    data: SessionImages


class VerifiedNetwork(_Kept):
    """A network that was trained on both schedules, and its two accuracies."""

    network: str
    short: Share
    long: Share


class VerifyFile(_Kept):
    """`verify.json`: what a longer schedule, ``longer`` times as long, says of the first."""

    longer: Factor
    words: str
    networks: list[VerifiedNetwork]


class LengthNetwork(_Kept):
    """A network after one length of training."""

    network: str
    accuracy: float
    low: float
    high: float
    p_best: Share


class LengthEntry(_Kept):
    """One length of training: its steps, what it is called, and every network."""

    steps: Positive
    label: str
    networks: Annotated[list[LengthNetwork], Field(min_length=1)]


class LengthsFile(_Kept):
    """`lengths.json`: how the answer depends on the length of training."""

    words: str
    lengths: Annotated[list[LengthEntry], Field(min_length=2)]


class TrainedImages(_Kept):
    """The images of one training; ``val`` where it was evaluated on them."""

    minival: Amount
    val: Amount | None = None


class TrainedEnvironment(_Kept):
    """What one training was made with."""

    data: TrainedImages


class OutcomeFile(_Kept):
    """`outcome.json` of `scalesearch train`."""

    accuracy: Share
    val_accuracy: Share | None = None
    seconds: float = Field(ge=0)
    images_per_second: float = Field(ge=0)
    environment: TrainedEnvironment


class ClassAccuracy(_Kept):
    """How often images of one class are right, with its interval."""

    images: Amount
    accuracy: Share | None = None
    low: Share | None = None
    high: Share | None = None


class ConfusionEntry(_Kept):
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


class ClassesFile(_Kept):
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


class _Settings(_Kept):
    """`settings.json`: flat, by dotted key."""

    fingerprint: str = Field(alias="data.fingerprint")
    resolution: Size | None = None


class _Sessions(RootModel[list[SessionEntry]]):
    """`environment.json`, which is a list."""


MODELS: dict[str, type[BaseModel]] = {
    "ranking.json": RankingFile,
    "verify.json": VerifyFile,
    "matched.json": MatchedFile,
    "lengths.json": LengthsFile,
    "settings.json": _Settings,
    "outcome.json": OutcomeFile,
    "classes.json": ClassesFile,
}
"""By file: what it has to hold."""

TABLES: dict[str, dict[str, tuple[float, float] | None]] = {
    "candidates.csv": {
        "alpha": (0, 100), "beta": (0, 100), "gamma": (0, 100), "growth": (0, 1e12), "verdict": None,
        "macs": (0, 2**62), "ratio": (0, 1e12), "params": (0, 2**62), "network": None,
    },
    "trials.csv": {
        "alpha": (0, 100), "beta": (0, 100), "gamma": (0, 100), "network": None, "seed": (0, 2**62), "state": None,
        "reason": None, "accuracy": (0, 1), "seconds": (0, 1e12), "images_per_second": (0, 1e12), "memory": (0, 2**62),
        "curve": None,
    },
}  # fmt: skip
"""By table: its columns, and the least and greatest value of those that hold numbers."""

CURVE = re.compile(r"\d{1,15}:[01](\.\d+)?(e-\d+)?( \d{1,15}:[01](\.\d+)?(e-\d+)?)*")
"""A trial's curve: step and accuracy of every evaluation, as `120:0.31 240:0.42`."""


def read_recipe_settings(path: Path) -> dict[str, Any]:
    """The recipe that a run's folder was made with, as plain values, those that it leaves out at their defaults.

    Raises:
        RunError: the folder is not a run's, or its recipe breaks a rule; the message names the key.
    """
    file = path / "recipe.yaml"
    if not is_file(file):
        raise RunError(f"{path} is no run's folder: it has no recipe.yaml")
    try:
        return load_recipe(str(file)).model_dump(mode="json")
    except ScaleSearchError as failure:
        told = str(failure)
        raise RunError(told if str(file) in told else f"{file}: {told}") from failure


def read_result(run: Path, name: str) -> dict[str, Any]:
    """What one of a finished run's JSON files holds, those of `MODELS` as they have to be.

    Raises:
        RunError: it is not there, or broken; the message names the key.
    """
    found = read_json(run / name, f"{run} holds no finished {name.partition('.')[0]}")
    if not isinstance(found, dict):
        raise RunError(f"cannot read {run / name}: it holds no keys and values")
    if name in MODELS:
        validated(MODELS[name], found, run / name)
    return found


def read_sessions(run: Path) -> list[dict[str, Any]]:
    """The sessions that made a run, the first one first.

    Raises:
        RunError: `environment.json` is not there, or broken; the message names the place.
    """
    file = run / "environment.json"
    found = read_json(file, f"{run} does not say what it was made with")
    validated(_Sessions, found, file)
    return list(found)


def read_table(run: Path, name: str) -> pd.DataFrame:
    """A table of a run's folder with at least the columns of `TABLES`; empty where older runs lack one.

    Raises:
        RunError: it is not there, is no table, or a column holds what it cannot; the message names column and line.
    """
    import pandas as pd  # here: the command line starts without it

    file, columns = run / name, TABLES[name]
    words = [column for column, limits in columns.items() if limits is None]
    try:
        frame = pd.read_csv(file, dtype=dict.fromkeys(words, "string"), index_col=False)
    except OSError as failure:
        raise RunError(f"{run} holds no finished ranking: {failure.strerror} ({name})") from failure
    except (ValueError, OverflowError) as failure:
        raise RunError(f"{file} is no table: {' '.join(str(failure).split())[:200]}") from failure
    missing = [column for column in ("alpha", "beta", "gamma", "network") if column not in frame]
    if missing:
        raise RunError(f"{file} has no column {', '.join(missing)}")
    frame = frame.reindex(columns=[*frame.columns, *(column for column in columns if column not in frame)])
    for column, limits in columns.items():
        if limits is not None:
            frame[column] = _numbers(frame[column], limits, file)
    frame[words] = frame[words].astype("string")
    if "curve" in columns:
        for at, curve in enumerate(frame["curve"].fillna("")):
            if curve and not CURVE.fullmatch(curve):
                raise RunError(f"{file}, line {at + 2}: curve: expected `step:accuracy …`, got {curve[:60]!r}")
    return frame


def _numbers(column: pd.Series[Any], limits: tuple[float, float], file: Path) -> pd.Series[Any]:
    import pandas as pd

    numbers = pd.to_numeric(column, errors="coerce")
    wrong = (numbers.isna() & column.notna()) | ~(numbers.isna() | numbers.between(*limits))
    if wrong.any():
        at = int(wrong.to_numpy().argmax())
        low, high = limits
        raise RunError(
            f"{file}, line {at + 2}: {column.name}: expected a number from {low:g} to {high:g}, got {column.iloc[at]!r}"
        )
    return numbers


def read_json(file: Path, lack: str) -> Any:
    """The content of a JSON file as plain values; ``lack`` says what its folder is without it.

    Raises:
        RunError: it is not there, or no JSON.
    """
    try:
        return json.loads(file.read_text(encoding="utf-8"))
    except OSError as failure:
        raise RunError(f"{lack}: {failure.strerror} ({file.name})") from failure
    except (ValueError, RecursionError) as failure:
        raise RunError(f"{file} is not JSON: {str(failure)[:200]}") from failure


def validated(model: type[Model], found: object, file: Path) -> Model:
    """``found`` as ``model``.

    Raises:
        RunError: a field breaks its rule; the message names the file and the field.
    """
    try:
        return parse(model, found, RecipeError)
    except ScaleSearchError as failure:
        raise RunError(f"{file}: {failure}") from failure
