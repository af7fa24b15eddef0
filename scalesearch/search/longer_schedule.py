"""Does the short schedule tell the truth? Some of the candidates again on a longer one, and the two orders compared."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace

import numpy as np

from scalesearch.errors import RunError
from scalesearch.ranking.rank_correlation import Agreement, Correlation, rank_agreement
from scalesearch.report.html.write import write_report
from scalesearch.run_folder import RunFolder
from scalesearch.search.engine import EngineSettings
from scalesearch.search.outputs import Result
from scalesearch.search.run import run
from scalesearch.search.setup import Prepared
from scalesearch.search.watcher import Watcher


@dataclass(frozen=True)
class Verified:
    """The agreement of a short and a ``longer``-fold schedule over candidates from across the ranking."""

    longer: float
    agreement: Agreement
    best_stayed_best: bool

    @property
    def words(self) -> str:
        """How far the two orders agree, in a sentence."""
        if math.isnan(self.agreement.tau.value):
            return (
                f"on a schedule {self.longer:g} times as long, or on the short one, all {self.agreement.candidates} "
                "candidates have the same accuracy: whether the two agree cannot be said"
            )
        tau, rho = (_told(c) for c in (self.agreement.tau, self.agreement.rho))
        best = "stayed" if self.best_stayed_best else "did not stay"
        return (
            f"on a schedule {self.longer:g} times as long, {self.agreement.candidates} of the candidates rank with "
            f"Kendall's τ {tau} and Spearman's ρ {rho} to the short one; the best of them {best} the best"
        )


def verify(
    prepared: Prepared,
    result: Result,
    folder: RunFolder,
    watcher: Watcher,
    command: Sequence[str],
    *,
    candidates: int,
    longer: float,
    place: EngineSettings | None = None,
) -> Verified:
    """Train ``candidates`` of the ranking, the first, the last and between, on a schedule ``longer`` times as long.

    The longer trainings are a run of their own in the folder ``verify-…`` of the run's.

    Raises:
        RunError: fewer than three candidates are asked for, or ranked.
    """
    ranking = result.ranking
    if min(candidates, len(ranking)) < 3:
        raise RunError(f"--verify: expected at least 3 candidates, got {min(candidates, len(ranking))}")
    rows = np.unique(np.linspace(0, len(ranking) - 1, min(candidates, len(ranking))).round().astype(int))
    chosen = {str(ranking["network"].iloc[row]): float(ranking["accuracy"].iloc[row]) for row in rows}
    recipe = prepared.recipe
    schedule = recipe.train.model_copy(
        update={
            "epochs": recipe.train.epochs and recipe.train.epochs * longer,
            "steps": recipe.train.steps and round(recipe.train.steps * longer),
        }
    )
    pace = recipe.run.model_copy(update={"keep_weights": 0})
    everything = {"seeds": 1, "confidence": None, "budget": None, "exhaustive": True, "top": 0}
    long_recipe = recipe.model_copy(update={"train": schedule, "run": pace, **everything})
    plan = replace(
        prepared.plan, candidates=tuple(c for c in prepared.plan.candidates if c.model.fingerprint in chosen)
    )
    with RunFolder(folder.path / f"verify-x{longer:g}") as inner:
        study = f"{place.study or folder.path.name}-verify" if place and place.storage else None
        there = replace(place, study=study) if place else None
        again = run(replace(prepared, recipe=long_recipe, plan=plan), inner, watcher, command, there)
    long = {str(name): float(a) for name, a in zip(again.ranking["network"], again.ranking["accuracy"], strict=True)}
    both = [name for name in chosen if name in long]
    agreement = rank_agreement([chosen[name] for name in both], [long[name] for name in both])
    verified = Verified(longer, agreement, max(both, key=chosen.__getitem__) == max(both, key=long.__getitem__))
    content = {
        "longer": longer,
        "words": verified.words,
        **asdict(agreement),
        "networks": [{"network": name, "short": chosen[name], "long": long[name]} for name in both],
    }
    folder.write("verify.json", json.dumps(content, indent=1, ensure_ascii=False) + "\n")
    write_report(folder.path)  # again: it knows of this now
    return verified


def _told(correlation: Correlation) -> str:
    return f"{correlation.value:.2f} ({correlation.low:.2f} to {correlation.high:.2f})"
