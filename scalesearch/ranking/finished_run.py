"""A finished run as its folder tells it: read once, checked at the border, the same for runs of older versions."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from scalesearch.ranking.confusions import CLASSES
from scalesearch.ranking.metric_columns import as_ranked
from scalesearch.ranking.ranking import holdout_error
from scalesearch.recipe import DEFAULT_CONFIDENCE
from scalesearch.run_files import TABLES, read_recipe_settings, read_result, read_sessions, read_table
from scalesearch.scaling.compound import AXES, PAPER, Coefficients

LATER = (
    "front", "pooled", "gap", "gap_low", "gap_high", "low", "high", "p_best", "contender", "sd", "val_accuracy",
    "memory", "estimated_memory", "also",
)  # fmt: skip
"""Columns of a ranking that older runs lack, or that hold nothing in some."""


@dataclass(frozen=True, eq=False)
class Run:
    """``ranking`` has two columns more than the file: ``name``, what to call the candidate, and ``papers``, whether it
    is the paper's point. ``bars`` says what ``low`` and ``high`` are; it is empty where nothing is known of them.
    ``nas`` is the space and the target of a search for a baseline, whose candidates are no scaled networks. ``match``
    says in what candidates are equal where that is not MACs, and who wins by that and by MACs. ``metric`` is what
    stands as accuracy in ranking and trials; ``classes`` what `classes.json` says of the best, if anything."""

    path: Path
    title: str
    notes: tuple[str, ...]
    fitted: dict[str, Any] | None
    ranking: pd.DataFrame
    trials: pd.DataFrame
    candidates: pd.DataFrame
    sessions: tuple[dict[str, Any], ...]
    recipe: dict[str, Any]
    recipe_text: str
    settings: dict[str, Any]
    verified: dict[str, Any] | None
    lengths: dict[str, Any] | None
    bars: str
    nas: dict[str, Any] | None = None
    metric: str = "accuracy"
    classes: dict[str, Any] | None = None
    match: dict[str, Any] | None = None

    @property
    def judged(self) -> bool:
        """Whether the ranking knows its own uncertainty, as those of the first version did not."""
        return bool(self.ranking["p_best"].notna().all())

    @property
    def phi(self) -> float:
        """φ of the search."""
        return float(self.recipe.get("phi", 1))

    @property
    def confidence(self) -> float:
        """Of its intervals."""
        return float(self.recipe.get("confidence") or DEFAULT_CONFIDENCE)

    @property
    def unit(self) -> str:
        """What costs are ratios of."""
        return "the target" if self.nas else "the baseline's"

    @property
    def baseline(self) -> str:
        """What was scaled, as the recipe names it."""
        return str(self.recipe.get("baseline", "the baseline"))

    @property
    def complete(self) -> pd.DataFrame:
        """The trials that count."""
        return self.trials[self.trials["state"] == "complete"]

    @property
    def failed(self) -> pd.DataFrame:
        """The trials that came to nothing: each was tried again, or is missing."""
        return self.trials[~self.trials["state"].isin(["complete", "dropped"])]

    @property
    def dropped(self) -> pd.DataFrame:
        """The trials that were ended because their candidate had fallen behind."""
        return self.trials[self.trials["state"] == "dropped"]

    def named(self, trial: Mapping[str, Any]) -> str:
        """What to call a trial's candidate, also one that has no place in the ranking."""
        names = dict(zip(self.ranking["network"], self.ranking["name"], strict=True))
        return names.get(trial["network"]) or str(Coefficients(*(float(trial[axis]) for axis in AXES)))

    @property
    def data(self) -> dict[str, Any]:
        """The images of the last session: title, fingerprint, how many."""
        return dict(self.sessions[-1].get("data", {})) if self.sessions else {}


def read_run(path: Path) -> Run:
    """The run in a folder.

    Raises:
        RunError: it is no run's folder, or the run has no finished ranking.
    """
    recipe = read_recipe_settings(path)
    found = read_result(path, "ranking.json")
    sessions = read_sessions(path)
    metric = found.get("metric") or "accuracy"
    ranking, bars = _completed(pd.DataFrame([as_ranked(row, metric) for row in found["ranking"]]), sessions)
    confidence = f"{100 * float(recipe.get('confidence') or DEFAULT_CONFIDENCE):g} % interval"
    return Run(
        path=path,
        title=found["title"],
        notes=tuple(found["notes"]),
        fitted=found.get("fitted"),
        ranking=ranking,
        trials=_trials(path, metric),
        candidates=read_table(path, "candidates.csv"),
        sessions=tuple(sessions),
        recipe=recipe,
        recipe_text=(path / "recipe.yaml").read_text(encoding="utf-8"),
        settings=read_result(path, "settings.json"),
        verified=read_result(path, "verify.json") if (path / "verify.json").exists() else None,
        lengths=read_result(path, "lengths.json") if (path / "lengths.json").exists() else None,
        bars=bars or confidence,
        nas=found.get("nas"),
        metric=metric,
        classes=read_result(path, CLASSES) if (path / CLASSES).exists() else None,
        match=found.get("match"),
    )


def _completed(ranking: pd.DataFrame, sessions: list[dict[str, Any]]) -> tuple[pd.DataFrame, str]:
    """The ranking with every column that is read here, and what its bars are if they are not the run's intervals."""
    frame, bars = ranking.copy(), ""
    for column in LATER:
        if column not in frame:
            frame[column] = math.nan
    numbers = [name for name in LATER if name not in ("front", "contender", "also")]
    frame[numbers] = frame[numbers].astype(float)
    if frame["low"].isna().any():
        images = sessions[-1]["data"]["minival"] if sessions else 0
        errors = [holdout_error(a, images) if images else 0.0 for a in frame["accuracy"]]
        frame["low"], frame["high"] = frame["accuracy"] - errors, frame["accuracy"] + errors
        bars = "standard error of the minival"
    coefficients = [Coefficients(*(float(row[axis]) for axis in AXES)) for row in frame.to_dict("records")]
    labels = frame["label"] if "label" in frame else [None] * len(frame)
    frame["name"] = [label if isinstance(label, str) else str(c) for label, c in zip(labels, coefficients, strict=True)]
    frame["papers"] = [
        c == PAPER or str(PAPER) in str(also).split("; ") for c, also in zip(coefficients, frame["also"], strict=True)
    ]
    return frame, bars


def _trials(path: Path, metric: str) -> pd.DataFrame:
    """Every trial by the metric that ranks, or none where the run did not keep them beside its ranking."""
    if not (path / "trials.csv").exists():
        return pd.DataFrame(columns=list(TABLES["trials.csv"]))
    frame = read_table(path, "trials.csv")
    if metric != "accuracy" and metric in frame:
        frame["accuracy"] = pd.to_numeric(frame[metric], errors="coerce")
    return frame[list(TABLES["trials.csv"])]
