"""What a run's folder says of itself: every file that is read again is validated here, whoever wrote it.

Keys that a later version adds are let through; a key that is there has the type that readers count on. Columns and keys
that older versions did not write may be missing.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel

from scalesearch.errors import RecipeError, RunError, ScaleSearchError
from scalesearch.recipe import load_recipe
from scalesearch.validation import Model, is_file, parse

if TYPE_CHECKING:
    import pandas as pd
from scalesearch.run_contents import (
    ClassesFile,
    LengthsFile,
    MatchedFile,
    OutcomeFile,
    RankingFile,
    SessionsFile,
    SettingsFile,
    VerifyFile,
)

MODELS: dict[str, type[BaseModel]] = {
    "ranking.json": RankingFile,
    "verify.json": VerifyFile,
    "matched.json": MatchedFile,
    "lengths.json": LengthsFile,
    "settings.json": SettingsFile,
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
    validated(SessionsFile, found, file)
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
