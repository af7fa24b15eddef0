"""What a run looks like as figures: PNG for the README, SVG for print."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pandas as pd


def accuracy_figure(ranking: pd.DataFrame, held_out: int, title: str, folder: Path) -> list[Path]:
    """Accuracy against measured MACs, one point per candidate, as PNG and SVG.

    Bars are the standard error over seeds, or, with a single seed, the held-out set's own sampling error.
    """
    import matplotlib as mpl

    mpl.use("Agg")
    mpl.rcParams["svg.hashsalt"] = "scalesearch"  # the same figure is the same file
    from matplotlib import pyplot as plt

    from scalesearch.ranking import holdout_error

    figure, axes = plt.subplots(figsize=(7.2, 4.4), layout="constrained")
    for row in ranking.to_dict("records"):
        single = math.isnan(row["sd"])
        error = holdout_error(row["accuracy"], held_out) if single else row["sd"] / math.sqrt(row["seeds"])
        best = row["rank"] == 1
        axes.errorbar(
            row["macs"] / 1e6,
            100 * row["accuracy"],
            yerr=100 * error,
            fmt="o",
            color="#c2410c" if best else "#3b6ea5",
            ecolor="#9aa7b4",
            capsize=2,
            zorder=3 if best else 2,
        )
    for row in ranking.head(5).to_dict("records"):
        axes.annotate(
            f"{row['alpha']:.4g}, {row['beta']:.4g}, {row['gamma']:.4g}",
            (row["macs"] / 1e6, 100 * row["accuracy"]),
            textcoords="offset points",
            xytext=(6, 5),
            fontsize=8,
        )
    axes.set_xlabel("measured MACs per image (millions)")
    axes.set_ylabel("minival top-1 accuracy (%)")
    axes.set_title(f"{title} — labels are α, β, γ", fontsize=10, loc="left")
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(color="#e5e7eb", zorder=0)
    folder.mkdir(parents=True, exist_ok=True)
    files = [folder / f"accuracy-macs.{ending}" for ending in ("png", "svg")]
    for file in files:
        metadata: dict[str, Any] = {"Date": None} if file.suffix == ".svg" else {"Software": None}
        figure.savefig(file, dpi=140, metadata=metadata)
    plt.close(figure)
    return files
