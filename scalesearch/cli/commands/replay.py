"""`scalesearch replay RUN`: what the search's short cuts would have saved on a run whose every curve is known."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, astuple
from pathlib import Path

import numpy as np
import pandas as pd

from scalesearch.errors import RunError
from scalesearch.files import write_text
from scalesearch.ranking.policy_replay import Curves, Score, curves_of, replay
from scalesearch.ranking.seed_scores import Floats
from scalesearch.report.formats import Column, Page, Table, comma_separated
from scalesearch.run_files import read_sessions, read_table
from scalesearch.scaling.compound import AXES, Coefficients
from scalesearch.scaling.shares import shares
from scalesearch.search.ledger.journal import JOURNAL
from scalesearch.search.ledger.ledger import Ledger

MARKERS = "os^vDPX*<>p"
HEAD = ("policy", "replays", "compute", "names the winner", "or one tied", "points lost")


def replay_command(run: Path, *, replays: int, seed: int, confidence: float, form: str = "table") -> None:
    """Replay the search over a run's curves; print the table, and write it and a figure into the run's folder.

    Raises:
        RunError: the folder is no run's, or its candidates do not have two seeds each.
    """
    page, curves = Page(form), read_curves(run)
    scores = replay(curves, replays=replays, seed=seed, confidence=confidence)
    table = _table(scores)
    write_text(run / "replay.csv", comma_separated([table]))
    _, tied = curves.best(confidence)
    about = (
        f"{len(curves.trained)} candidates × {curves.seeds} seeds; {len(tied)} cannot be told from the winner at "
        f"{100 * confidence:g} %"
    )
    write_text(run / "replay.md", _markdown(table, about, replays, seed))
    _figure(scores, about, run / "figures")
    console = page.remarks()
    console.print(f"{run.name}: {about}\n", soft_wrap=True)
    page.show([table])
    console.print(f"\nwrote {run}/replay.csv, .md and figures/replay.png, .svg", soft_wrap=True)


def read_curves(run: Path) -> Curves:
    """The curves that a run's folder holds.

    Raises:
        RunError: it is no run's, or its candidates do not have two seeds each.
    """
    sessions, candidates = read_sessions(run), read_table(run, "candidates.csv")
    if not sessions:
        raise RunError(f"{run / 'environment.json'} names no session: how many images were held out is not known")
    images = int(sessions[0]["data"]["minival"])
    admitted = candidates[(candidates["verdict"] == "admitted") & candidates["ratio"].notna()]
    ratios = {str(name): float(r) for name, r in zip(admitted["network"], admitted["ratio"], strict=True)}
    records = Ledger(run / JOURNAL, run.name, create=False).records()
    curves = curves_of(records, ratios, images, _points(admitted))
    if len(curves.trained) < 2 or curves.seeds < 2:
        raise RunError(f"{run}: replaying takes at least two candidates with two complete seeds each")
    return curves


def _points(candidates: pd.DataFrame) -> dict[str, Floats]:
    """Shares by network; none where a candidate does not grow, as rows of a comparison may."""
    found = {
        str(row["network"]): Coefficients(*(float(row[axis]) for axis in AXES)) for row in candidates.to_dict("records")
    }
    if any(c.growth() <= 1 for c in found.values()):
        return {}
    return {name: np.array(astuple(shares(c))) for name, c in found.items()}


def _table(scores: Sequence[Score]) -> Table:
    rows = [
        [
            score.policy,
            f"{score.replays:,}",
            f"{100 * score.compute:.1f} %",
            f"{100 * score.named_winner:.1f} %",
            f"{100 * score.named_tied:.1f} %",
            f"{100 * score.regret:.2f}",
        ]
        for score in scores
    ]
    columns = [
        Column(heading, cells, words=heading == "policy", folds=heading != "policy")
        for heading, cells in zip(HEAD, zip(*rows, strict=True), strict=True)
    ]
    return Table(columns, [asdict(score) for score in scores])


def _markdown(table: Table, about: str, replays: int, seed: int) -> str:
    return (
        f"# The search replayed: {about}\n\n"
        f"`scalesearch replay RUN --replays {replays} --seed {seed}`. Compute is MACs trained, as a share of training "
        "everything to the end. Points lost: mean accuracy, over all seeds, of the winner less that of the one named."
        f"\n\n{table.markdown(aligned=False)}"
    )


def _figure(scores: Sequence[Score], title: str, folder: Path) -> None:
    import matplotlib as mpl

    mpl.use("Agg")
    mpl.rcParams["svg.hashsalt"] = "scalesearch"
    from matplotlib import pyplot as plt

    figure, panels = plt.subplots(2, 1, figsize=(7.2, 5.6), sharex=True, layout="constrained")
    for axes, what in zip(panels, ("named_tied", "regret"), strict=True):
        for number, score in enumerate(scores):
            at = 100 * score.compute, 100 * float(getattr(score, what))
            ours = score.policy.startswith("scalesearch")
            marker, color = MARKERS[number % len(MARKERS)], "#c2410c" if ours else "#3b6ea5"
            axes.plot(*at, marker, color=color, label=score.policy, alpha=0.8, markersize=7, linestyle="none")
        axes.spines[["top", "right"]].set_visible(False)
        axes.grid(color="#e5e7eb", zorder=0)
    names, points = panels
    points.set_xlim(0, 105)
    points.set_xlabel("compute (% of training everything to the end)")
    points.set_ylabel("accuracy lost (points)")
    names.set_ylabel("names the winner,\nor one tied with it (%)")
    names.set_title(title, fontsize=10, loc="left")
    figure.legend(*names.get_legend_handles_labels(), loc="outside lower center", ncols=3, fontsize=8, frameon=False)
    folder.mkdir(parents=True, exist_ok=True)
    figure.savefig(folder / "replay.png", dpi=140, metadata={"Software": None})
    figure.savefig(folder / "replay.svg", metadata={"Date": None})
    plt.close(figure)
