"""Does a short run of grown networks order candidates as their long training from scratch does?

Two run folders of the same candidates: a bank, trained long from fresh weights, and a short run with ``--grow-from``.
Beside them, if given, a run as short from fresh weights: what growing has to beat.
"""

from __future__ import annotations

from pathlib import Path

from scalesearch.errors import RunError
from scalesearch.ranking.finished_run import read_run
from scalesearch.ranking.rank_correlation import rank_agreement


def accuracies(folder: Path) -> dict[tuple[float, float, float], float]:
    """Accuracy of each candidate of a run, by alpha, beta and gamma; a mean over its seeds."""
    trials = read_run(folder).complete
    means = trials.groupby(["alpha", "beta", "gamma"], as_index=False)["accuracy"].mean()
    keys = zip(means["alpha"], means["beta"], means["gamma"], strict=True)
    return dict(zip(keys, means["accuracy"], strict=True))


def grown(bank: Path, short: Path, fresh: Path | None = None) -> None:
    """Print Kendall's τ and Spearman's ρ of each short run with the bank, with intervals."""
    long = accuracies(bank)
    for name, folder in (("grown", short), ("fresh", fresh)):
        if folder is None:
            continue
        own = accuracies(folder)
        shared = sorted(long.keys() & own.keys())
        if len(shared) < 3:
            raise RunError(f"{folder} and {bank} share {len(shared)} candidates: expected three or more of the same φ")
        agreement = rank_agreement([own[key] for key in shared], [long[key] for key in shared])
        best = max(shared, key=lambda key: own[key])
        lost = 100 * (max(long[key] for key in shared) - long[best])
        told = ", ".join(
            f"{sign} {c.value:.2f} ({c.low:.2f} to {c.high:.2f})"
            for sign, c in (("τ", agreement.tau), ("ρ", agreement.rho))
        )
        print(f"{name}: {len(shared)} candidates, {told}; its first is {lost:.1f} points below the bank's best")
