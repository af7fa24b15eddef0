"""What columns are called in files and elsewhere, where trials are ranked by another metric than accuracy."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def in_files(metric: str) -> dict[str, str]:
    """How columns of a ranking, or of its trials, are called in files: there ``accuracy`` is always top-1 accuracy,
    also where trials are ranked by another metric, which stands in its place everywhere else; so does, in the loss's,
    that of classes that count alike."""
    if metric == "accuracy":
        return {}
    return {"accuracy": metric, "top1": "accuracy", "val_accuracy": f"val_{metric}", "loss": "balanced_loss"}


def as_ranked(row: Mapping[str, Any], metric: str) -> dict[str, Any]:
    """A row of a file with what it is ranked by in accuracy's place, which is then ``top1``."""
    back = {there: here for here, there in in_files(metric).items()}
    return {back.get(key, key): value for key, value in row.items()}


def comparison_as_ranked(plain: Mapping[str, Any], *, back: bool = False) -> dict[str, Any]:
    """`comparison.json`'s values with its rows `as_ranked`; ``back``: from there as a file has them."""
    metric = plain.get("metric") or "accuracy"
    names = in_files(metric)

    def turned(row: Mapping[str, Any]) -> dict[str, Any]:
        return {names.get(key, key): value for key, value in row.items()} if back else as_ranked(row, metric)

    if not names:
        return dict(plain)
    groups = [{**group, "rows": [turned(row) for row in group["rows"]]} for group in plain["groups"]]
    return {**plain, "groups": groups}
