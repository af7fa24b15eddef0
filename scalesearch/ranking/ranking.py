"""Trials become a ranking: pure functions on pandas frames."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

import pandas as pd

from scalesearch.candidates.grid import Candidate

if TYPE_CHECKING:
    from scalesearch.trials import Record

RANKING_COLUMNS = (
    "rank", "alpha", "beta", "gamma", "growth", "shape", "resolution", "macs", "ratio", "params",
    "activations", "score", "accuracy", "top1", "top5", "sd", "seeds", "loss", "val_accuracy", "fvcore_macs",
    "fvcore_total", "uncounted", "memory", "estimated_memory", "latency_ms", "also", "network",
)  # fmt: skip

EXTRA = ("top1", "top5")
"""Columns that are there where trials have them: accuracy where something else is ranked by and stands in its place
(`class_metrics.Measure`), and how often the class was among the five likeliest, of more than ten."""

EXPONENT = -0.07
"""The paper's (Tan & Le 2019, §4), after MnasNet (Tan et al. 2019, Eq. 2)."""


def trials_frame(records: Iterable[Record]) -> pd.DataFrame:
    """One row per trial, failed ones included: coefficients, seed, state, and what the trial measured."""
    rows = []
    for record in records:
        c, outcome = record.task.coefficients, record.outcome or {}
        counted = outcome.get("count", {})
        rows.append(
            {
                "alpha": c.alpha,
                "beta": c.beta,
                "gamma": c.gamma,
                "network": record.task.fingerprint,
                "seed": record.task.seed,
                "state": record.state,
                "reason": record.reason,
                **{
                    key: outcome.get(key)
                    for key in (
                        "accuracy", "loss", "train_loss", "seconds", "images_per_second", "memory", "micro_batch",
                    )
                },
                "fvcore_macs": counted.get("macs"),
                "fvcore_total": counted.get("total"),
                "uncounted": " ".join(f"{name}:{n}" for name, n in counted.get("uncounted", {}).items()),
                **{key: outcome[key] for key in EXTRA if outcome.get(key) is not None},
                "curve": " ".join(f"{step}:{accuracy:.6g}" for step, accuracy, _ in outcome.get("curve", ())),
            }
        )  # fmt: skip
    return pd.DataFrame(rows)


def rank(
    candidates: Iterable[Candidate],
    trials: pd.DataFrame,
    *,
    memory: Mapping[str, int] | None = None,
    val: Mapping[str, float] | None = None,
    target: int | None = None,
    exponent: float = EXPONENT,
) -> pd.DataFrame:
    """The candidates that have a complete trial, best mean accuracy first, cheaper first among equals.

    Depends on nothing that differs between an interrupted and an uninterrupted run: no times, no order of trials.

    Args:
        trials: of `trials_frame`.
        memory: estimated training bytes by network fingerprint.
        val: accuracy on the validation split by network fingerprint, for the few that were validated.
        target: MACs. With it the best is not the most accurate but the highest accuracy times `trade_off`.
        exponent: of the trade-off.
    """
    complete = trials[trials["state"] == "complete"] if len(trials) else trials
    groups = {str(name): group for name, group in complete.groupby("network")} if len(complete) else {}
    rows = []
    for candidate in candidates:
        name = candidate.model.fingerprint
        if name not in groups:
            continue
        group = groups[name].sort_values("seed")
        accuracies = [float(a) for a in group["accuracy"]]
        c = candidate.coefficients
        rows.append(
            {
                "alpha": c.alpha,
                "beta": c.beta,
                "gamma": c.gamma,
                "growth": candidate.growth,
                "shape": candidate.model.shape,
                "resolution": candidate.model.resolution,
                "macs": candidate.cost.macs,
                "ratio": candidate.ratio,
                "params": candidate.cost.params,
                "activations": candidate.cost.activations,
                "accuracy": math.fsum(accuracies) / len(accuracies),
                **{key: float(group[key].astype(float).mean()) for key in EXTRA if key in group},
                "sd": float(pd.Series(accuracies).std(ddof=1)) if len(accuracies) > 1 else math.nan,
                "seeds": len(accuracies),
                "loss": math.fsum(float(x) for x in group["loss"]) / len(group),
                "val_accuracy": (val or {}).get(name, math.nan),
                "fvcore_macs": int(group["fvcore_macs"].iloc[0]),
                "fvcore_total": int(group["fvcore_total"].iloc[0]),
                "uncounted": group["uncounted"].iloc[0],
                "memory": int(group["memory"].max()),
                "estimated_memory": (memory or {}).get(name),
                "latency_ms": candidate.latency_ms,
                "matched": candidate.spent and candidate.spent.value,
                "matched_ratio": candidate.spent and candidate.spent.ratio,
                "label": candidate.label,
                "also": "; ".join(str(other) for other in candidate.also),
                "network": name,
            }
        )
    if not rows:
        return pd.DataFrame(columns=[name for name in RANKING_COLUMNS if name not in EXTRA])
    ranking = pd.DataFrame(rows)
    if target is not None:
        pairs = zip(ranking["accuracy"], ranking["macs"], strict=True)
        ranking["score"] = [a * trade_off(m, target, exponent) for a, m in pairs]
    else:
        ranking["score"] = ranking["accuracy"]
    ranking = ranking.sort_values(
        ["score", "macs", "alpha", "beta", "gamma"], ascending=[False, True, True, True, True], ignore_index=True
    )
    ranking.insert(0, "rank", range(1, len(ranking) + 1))
    named = ["label"] if ranking["label"].notna().any() else []
    matched = ["matched", "matched_ratio"] if ranking["matched"].notna().any() else []
    columns = [name for name in RANKING_COLUMNS if name not in EXTRA or name in ranking]
    return ranking[[columns[0], *named, *columns[1:-2], *matched, *columns[-2:]]]


def trade_off(macs: int, target: int, exponent: float = EXPONENT) -> float:
    """What an accuracy is multiplied by: (MACs/target)^exponent."""
    return float((macs / target) ** exponent)


def holdout_error(accuracy: float, images: float) -> float:
    """Standard error of an accuracy p measured on n images, √(p(1 − p)/n); seeds come on top of it.

    With Agresti and Coull's two added successes and failures, so that 18 of 18 right is not taken for certain.
    """
    share = (accuracy * images + 2) / (images + 4)
    return math.sqrt(share * (1 - share) / (images + 4))


def records_json(ranking: pd.DataFrame) -> list[dict[str, Any]]:
    """The ranking as plain values for JSON; what is not known is null."""
    plain = ranking.astype(object).where(ranking.notna(), None)
    return [{str(key): value for key, value in row.items()} for row in plain.to_dict("records")]
