"""`scalesearch replay RUN`: what the search's short cuts would have saved on a run whose every curve is known."""

from __future__ import annotations

import os
import warnings
from collections.abc import Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import astuple
from importlib import import_module
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from scalesearch.errors import RecipeError, RunError
from scalesearch.files import write_text
from scalesearch.ranking.class_metrics import LACKING, METRICS, Measure, is_known, seen
from scalesearch.ranking.lengths import at_length
from scalesearch.ranking.replay.bank import Bank, bank_of
from scalesearch.ranking.replay.game import Policy
from scalesearch.ranking.replay.optuna_peers import OPTUNA
from scalesearch.ranking.replay.policies import POLICIES
from scalesearch.ranking.replay.regret import COMPUTE, POINTS, SURE, Regret
from scalesearch.ranking.replay.regret import replay as play
from scalesearch.ranking.seed_scores import Floats
from scalesearch.report.formats import Column, Page, Table, comma_separated
from scalesearch.run_files import read_recipe_settings, read_sessions, read_table
from scalesearch.scaling.compound import AXES, Coefficients
from scalesearch.scaling.shares import shares
from scalesearch.search.ledger.journal import JOURNAL
from scalesearch.search.ledger.ledger import Ledger
from scalesearch.search.work import labels_of

SLOW, SLOWER = ("Optuna GP", "NePS"), 10
"""Policies whose games take minutes, of which so many times fewer are played."""
FEW = 20
"""Replays for which processes of their own would take longer to start than to play."""
MARKERS = "os^vDPX*<>p"
HEAD = ("policy", "replays", "ends at", "within half a point", "points lost", f"{100 * SURE:g} % within it at")


def replay_command(
    run: Path,
    *,
    replays: int,
    seed: int,
    confidence: float,
    peers: bool,
    form: str = "table",
    objective: str | None = None,
) -> None:
    """Replay the search over a run's curves; print the table, and write it and a figure into the run's folder.

    Raises:
        RunError: the folder is no run's, its candidates do not have two seeds each, or the peers are not installed.
    """
    page, bank = Page(form), read_bank(run, objective)
    names = [*POLICIES, *(_peers() if peers else ())]
    tasks = [(bank, name, max(1, replays // SLOWER) if name.startswith(SLOW) else replays, seed) for name in names]
    if replays <= FEW:
        scores = [_play(*task) for task in tasks]
    else:
        processes = min(len(names), os.cpu_count() or 1)
        with ProcessPoolExecutor(processes, get_context("spawn"), initializer=_quiet) as pool:
            scores = list(pool.map(_play, *zip(*tasks, strict=True)))
    told = [score.to_json() for score in scores]
    table = _table(told)
    write_text(run / "replay.csv", comma_separated([table]))
    curves = _curves(scores)
    write_text(run / "replay-curves.csv", str(curves.to_csv(index=False, float_format="%.6g")))
    about = (
        f"{len(bank.names)} candidates × {len(bank.seeds)} seeds; {len(bank.tied(confidence))} cannot be told from the "
        f"winner at {100 * confidence:g} %"
    )
    command = f"scalesearch replay RUN --replays {replays} --seed {seed}{' --peers' if peers else ''}"
    command += f" --objective {objective}" if objective else ""
    write_text(run / "replay.md", _markdown(table, about, command))
    _figure(curves, told, about, run / "figures")
    console = page.remarks()
    console.print(f"{run.name}: {about}\n", soft_wrap=True)
    page.show([table])
    console.print(f"\nwrote {run}/replay.csv, .md, replay-curves.csv and figures/replay.png, .svg", soft_wrap=True)


def _quiet() -> None:
    """Every policy plays on one thread, and says nothing."""
    import torch

    torch.set_num_threads(1)
    warnings.simplefilter("ignore")


def _play(bank: Bank, name: str, replays: int, seed: int) -> Regret:
    policy = POLICIES.get(name) or _peers()[name]
    return play(bank, {name: policy}, replays=replays, seed=seed)[0]


def _peers() -> Mapping[str, Policy]:
    """What other packages do, by name; those are imported here, since an extra brings them."""
    found = dict(OPTUNA)
    try:
        for module, name in (("syne_tune_peers", "SYNE_TUNE"), ("neps_peers", "NEPS")):
            found |= getattr(import_module(f"scalesearch.ranking.replay.{module}"), name)
    except ImportError as failure:
        raise RunError(f"--peers needs pip install 'scalesearch[peers]' ({failure})") from failure
    return found


def read_bank(run: Path, objective: str | None = None, *, steps: int | None = None) -> Bank:
    """The bank that a run's folder is.

    Args:
        objective: accuracy or one of `class_metrics.METRICS`; by default the run's own, or accuracy where that is
            another.
        steps: of a run with ``--lengths``, as it was after a schedule of so many.

    Raises:
        RunError: it is no run's, its candidates do not have two seeds each, or its trials do not say what the objective
            needs.
        RecipeError: there is no such objective.
    """
    if objective not in (None, "accuracy", *METRICS):
        raise RecipeError("--objective", f"accuracy, {' or '.join(METRICS)}", objective)
    sessions, candidates = read_sessions(run), read_table(run, "candidates.csv")
    if not sessions:
        raise RunError(f"{run / 'environment.json'} names no session: how many images were held out is not known")
    images = int(sessions[0]["data"]["minival"])
    admitted = candidates[(candidates["verdict"] == "admitted") & candidates["ratio"].notna()]
    ratios = {str(name): float(r) for name, r in zip(admitted["network"], admitted["ratio"], strict=True)}
    ledger = Ledger(run / JOURNAL, run.name, create=False)
    records, wanted = ledger.records(), objective or str(read_recipe_settings(run).get("objective"))
    if steps is not None:
        records = at_length(records, steps)
    if wanted in METRICS:
        labels = labels_of(ledger)
        if labels is None or not all(map(is_known, records)):
            raise RunError(f"{run}: {LACKING.format(wanted)}: --objective accuracy replays it")
        records, images = seen(records, Measure(wanted, labels)), len(labels)
    bank = bank_of(records, ratios, images, _points(admitted))
    if len(bank.trained) < 2 or len(bank.seeds) < 2:
        raise RunError(f"{run}: replaying takes at least two candidates with two complete seeds each")
    return bank


def _points(candidates: pd.DataFrame) -> dict[str, Floats]:
    """Shares by network; none where a candidate does not grow, as rows of a comparison may."""
    found = {
        str(row["network"]): Coefficients(*(float(row[axis]) for axis in AXES)) for row in candidates.to_dict("records")
    }
    if any(c.growth() <= 1 for c in found.values()):
        return {}
    return {name: np.array(astuple(shares(c))) for name, c in found.items()}


def _table(scores: Sequence[Mapping[str, Any]]) -> Table:
    """Of `Regret.to_json`."""
    rows = [
        [
            str(score["policy"]),
            f"{score['replays']:,}",
            f"{100 * score['compute']:.1f} %",
            f"{100 * score['near']:.1f} %",
            f"{100 * score['lost']:.2f}",
            "—" if score["reached"] is None else f"{100 * score['reached']:.0f} %",
        ]
        for score in scores
    ]
    columns = [
        Column(heading, cells, words=heading == "policy", folds=heading != "policy")
        for heading, cells in zip(HEAD, zip(*rows, strict=True), strict=True)
    ]
    return Table(columns, list(scores))


def _curves(scores: Sequence[Regret]) -> pd.DataFrame:
    """Every policy's curves, one row for each compute; ``lost`` and its half interval are accuracies."""
    parts = [
        pd.DataFrame({"policy": s.policy, "compute": COMPUTE, "lost": s.mean, "half_interval": s.half, "near": s.near})
        for s in scores
    ]
    return pd.concat(parts)


def _markdown(table: Table, about: str, command: str) -> str:
    return (
        f"# The search replayed: {about}\n\n"
        f"`{command}`. Every replay leaves a seed out, which then says what candidates are worth. Compute is MACs "
        "trained, as a share of training everything else to the end. Points lost: by how much accuracy, in points, the "
        f"one that is named is worse than the best; within half a point: how often that is at most {100 * POINTS:g}. "
        f"Last column: the compute from which on that is so in {100 * SURE:g} % of the replays."
        f"\n\n{table.markdown(aligned=False)}"
    )


def _figure(curves: pd.DataFrame, scores: Sequence[Mapping[str, Any]], title: str, folder: Path) -> None:
    """Accuracy lost, and how often one as good as the best is named, over compute; what ends by itself is a point."""
    import matplotlib as mpl

    mpl.use("Agg")
    mpl.rcParams["svg.hashsalt"] = "scalesearch"
    from matplotlib import pyplot as plt

    figure, (lost, near) = plt.subplots(2, 1, figsize=(7.2, 7.0), sharex=True, layout="constrained")
    colors = plt.get_cmap("tab20")
    for number, score in enumerate(scores):
        curve = curves[curves["policy"] == score["policy"]]
        ours = str(score["policy"]).startswith("scalesearch")
        color = "#c2410c" if ours else colors(number % 20)
        if "--" in score["policy"]:
            for axes, value in ((lost, score["lost"]), (near, score["near"])):
                at = 100 * score["compute"], 100 * value
                axes.plot(*at, MARKERS[number], color=color, label=score["policy"], linestyle="none", zorder=6)
            continue
        width, order = (2.4, 5) if score["policy"] == "scalesearch" else (1.0, 2)
        dash = (0, (4, 2)) if ours and width < 2 else "-"
        style = {"color": color, "linewidth": width, "zorder": order, "linestyle": dash, "label": score["policy"]}
        x, mean, half = (100 * curve[name] for name in ("compute", "lost", "half_interval"))
        lost.plot(x, mean, **style)
        lost.fill_between(x, mean - half, mean + half, color=color, alpha=0.12, linewidth=0)
        near.plot(x, 100 * curve["near"], **style)
    for axes in (lost, near):
        axes.spines[["top", "right"]].set_visible(False)
        axes.grid(color="#e5e7eb", zorder=0)
    near.axhline(100 * SURE, color="#6b7280", linewidth=0.8, linestyle="--")
    near.set_xlim(0, 100)
    lost.set_ylim(bottom=0)
    near.set_xlabel("compute (% of training everything to the end)")
    lost.set_ylabel("accuracy lost (points)")
    near.set_ylabel("names one within\nhalf a point of the best (%)")
    lost.set_title(title, fontsize=10, loc="left")
    figure.legend(*near.get_legend_handles_labels(), loc="outside lower center", ncols=3, fontsize=8, frameon=False)
    folder.mkdir(parents=True, exist_ok=True)
    figure.savefig(folder / "replay.png", dpi=140, metadata={"Software": None})
    figure.savefig(folder / "replay.svg", metadata={"Date": None})
    plt.close(figure)
