"""`scalesearch replay RUN`: what the search's short cuts would have saved on a run whose every curve is known."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Sequence
from dataclasses import asdict, fields
from pathlib import Path

from rich.console import Console
from rich.table import Table

from scalesearch.errors import RunError
from scalesearch.folder import write_text
from scalesearch.replay import Curves, Score, curves_of, replay
from scalesearch.study import JOURNAL, Ledger

MARKERS = "os^vDPX*<>p"
HEAD = ("policy", "replays", "compute", "names the winner", "or one tied", "points lost")


def replay_command(run: Path, *, replays: int, seed: int, confidence: float) -> None:
    """Replay the search over a run's curves; print the table, and write it and a figure into the run's folder.

    Raises:
        RunError: the folder is no run's, or its candidates do not have two seeds each.
    """
    curves = read_curves(run)
    scores = replay(curves, replays=replays, seed=seed, confidence=confidence)
    rows = io.StringIO()
    table = csv.DictWriter(rows, [field.name for field in fields(Score)], lineterminator="\n")
    table.writeheader()
    table.writerows(asdict(score) for score in scores)
    write_text(run / "replay.csv", rows.getvalue())
    _, tied = curves.best(confidence)
    about = (
        f"{len(curves.trained)} candidates × {curves.seeds} seeds; {len(tied)} cannot be told from the winner at "
        f"{100 * confidence:g} %"
    )
    write_text(run / "replay.md", _markdown(scores, about, replays, seed))
    _figure(scores, about, run / "figures")
    console = Console(highlight=False, markup=False)
    console.print(f"{run.name}: {about}\n", soft_wrap=True)
    shown = Table(box=None, pad_edge=False, header_style="bold")
    for name in HEAD:
        first = name == "policy"
        shown.add_column(name, justify="left" if first else "right", no_wrap=first)
    for score in scores:
        shown.add_row(*_cells(score))
    console.print(shown)
    console.print(f"\nwrote {run}/replay.csv, .md and figures/replay.png, .svg", soft_wrap=True)


def read_curves(run: Path) -> Curves:
    """The curves that a run's folder holds.

    Raises:
        RunError: it is no run's, or its candidates do not have two seeds each.
    """
    try:
        sessions = json.loads((run / "environment.json").read_text())
        with (run / "candidates.csv").open(newline="") as file:
            ratios = {
                row["network"]: float(row["ratio"]) for row in csv.DictReader(file) if row["verdict"] == "admitted"
            }
    except (OSError, ValueError, KeyError) as failure:
        raise RunError(f"{run} is no run's folder: {failure}") from failure
    records = Ledger(run / JOURNAL, run.name, create=False).records()
    curves = curves_of(records, ratios, int(sessions[0]["data"]["minival"]))
    if len(curves.trained) < 2 or curves.seeds < 2:
        raise RunError(f"{run}: replaying takes at least two candidates with two complete seeds each")
    return curves


def _cells(score: Score) -> list[str]:
    return [
        score.policy,
        f"{score.replays:,}",
        f"{100 * score.compute:.1f} %",
        f"{100 * score.named_winner:.1f} %",
        f"{100 * score.named_tied:.1f} %",
        f"{100 * score.regret:.2f}",
    ]


def _markdown(scores: Sequence[Score], about: str, replays: int, seed: int) -> str:
    lines = [
        f"# The search replayed: {about}",
        "",
        f"`scalesearch replay RUN --replays {replays} --seed {seed}`. Compute is MACs trained, as a share of training "
        "everything to the end. Points lost: mean accuracy, over all seeds, of the winner less that of the one named.",
        "",
        "| " + " | ".join(HEAD) + " |",
        "|" + "--|" * len(HEAD),
        *("| " + " | ".join(_cells(score)) + " |" for score in scores),
    ]
    return "\n".join(lines) + "\n"


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
