"""The tables of a page."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from scalesearch.candidates.quantities import QUANTITIES
from scalesearch.ranking.finished_comparison import FinishedGroup, FinishedRow
from scalesearch.ranking.finished_run import Run
from scalesearch.report.html.table import HtmlColumn, HtmlTable, between, share, table
from scalesearch.report.matched_words import matched_in_words
from scalesearch.report.units import HEADINGS, METRIC, amount, cost, duration, to_baseline, to_first

MANY = 100
"""Failed trials that are listed."""


def ranking(run: Run) -> HtmlTable:
    """Every candidate, best first."""

    def several(row: dict[str, Any]) -> str:
        return f"{share(row['accuracy'])} ± {share(row['sd'])}" if share(row["sd"]) else share(row["accuracy"])

    columns: list[HtmlColumn[dict[str, Any]]] = [
        HtmlColumn("#", lambda row: f"{row['rank']}{'*' if row['front'] is True else ''}"),
        HtmlColumn("candidate", lambda row: str(row["name"]), words=True),
        HtmlColumn(f"{HEADINGS[run.metric]}. %", several),
        HtmlColumn("top-1 %", lambda row: share(row.get("top1"))),
        HtmlColumn("top-5 %", lambda row: share(row.get("top5"))),
        HtmlColumn("to the first", to_first),
        HtmlColumn("interval" if run.judged else "± 1 s.e.", lambda row: between(row["low"], row["high"])),
        HtmlColumn("P", lambda row: f"{row['p_best']:.2f}" if run.judged else ""),
        HtmlColumn("val. %", lambda row: share(row["val_accuracy"])),
        HtmlColumn("seeds", lambda row: str(row["seeds"]) if run.ranking["seeds"].nunique() > 1 else ""),
        HtmlColumn("depth · width · px", lambda row: str(row["shape"]), words=True),
        HtmlColumn("growth", lambda row: "" if run.nas else f"{row['growth']:.2f}"),
        HtmlColumn("reward", lambda row: f"{100 * row['reward']:.1f}" if run.nas else ""),
        HtmlColumn("MACs", lambda row: amount(row["macs"])),
        HtmlColumn("ratio", lambda row: f"{row['ratio']:.2f}×"),
        HtmlColumn("params", lambda row: amount(row["params"])),
        *_matched(run),
    ]
    rows = [{str(key): value for key, value in row.items()} for row in run.ranking.to_dict("records")]
    return table(columns, rows, lambda row: "first" if row["rank"] == 1 else "papers" if row["papers"] else "")


def _matched(run: Run) -> list[HtmlColumn[dict[str, Any]]]:
    """What candidates cost by the quantity that they are equal in; latency, where it was measured as a bound."""
    if run.match and "matched" in run.ranking:
        match = run.match
        return [HtmlColumn(str(match["cost"]), lambda row: matched_in_words(row, match))]
    if "latency_ms" in run.ranking and run.ranking["latency_ms"].notna().any():
        return [HtmlColumn("latency", lambda row: f"{row['latency_ms']:.3g} ms")]
    return []


def _rows_matched(group: FinishedGroup) -> list[HtmlColumn[FinishedRow]]:
    """What rows cost by the quantity that they are equal in."""
    quantity = next((found for row in group.rows if (found := QUANTITIES.get(row.matched_cost or ""))), None)
    if quantity is None:
        return []
    unit = quantity.unit

    def told(row: FinishedRow) -> str:
        return "" if row.matched is None else cost(row.matched, unit)

    return [HtmlColumn(quantity.name, told)]


def ranking_notes(run: Run) -> list[str]:
    """What the table's columns mean, and who shares a network."""
    spread = " ± their standard deviation" if run.ranking["sd"].notna().any() else ""
    metric = METRIC[run.metric].replace("top-1 accuracy", "top-1")
    found = [
        f"{HEADINGS[run.metric]}.: minival {metric}, mean over seeds{spread}; ratio: measured MACs over {run.unit}; "
        "MACs are multiply-adds, what the paper calls FLOPS"
    ]
    if run.judged:
        found.append(
            f"to the first: the difference in points, and its {run.bars.removesuffix(' interval')} interval; "
            "interval: of the accuracy on all images; P: of being the best; all three from one model of all trials"
        )
    if (run.ranking["front"] == True).any():  # noqa: E712 (older runs hold nothing here)
        found.append("*: on the Pareto front over accuracy, MACs, parameters, activations, memory and latency")
    if run.ranking["val_accuracy"].notna().any():
        found.append("val.: the validation split, opened once, for the best alone")
    if run.ranking["papers"].any():
        found.append("in bold: the winner; underlined: the paper's point")
    rows = run.ranking.to_dict("records")
    same = [f"{row['name']} and {row['also']}" for row in rows if isinstance(row["also"], str) and row["also"]]
    return found + [f"points that come to one network: {'; '.join(same)}"] * bool(same)


def rows(group: FinishedGroup, metric: str) -> HtmlTable:
    """A comparison's rows, ranked by ``metric``, beside what their source printed."""
    columns: list[HtmlColumn[FinishedRow]] = [
        HtmlColumn("row", lambda row: row.label, words=True),
        HtmlColumn(
            f"{HEADINGS[metric]}. %", lambda row: share(row.accuracy) + (f" ± {share(row.sd)}" if share(row.sd) else "")
        ),
        HtmlColumn("top-1 %", lambda row: share(row.top1)),
        HtmlColumn("top-5 %", lambda row: share(row.top5)),
        HtmlColumn("interval", lambda row: between(row.low, row.high)),
        HtmlColumn("to the baseline", lambda row: to_baseline(vars(row.to_baseline) if row.to_baseline else None)),
        HtmlColumn("P", lambda row: "" if row.p_best is None else f"{row.p_best:.2f}"),
        HtmlColumn("val. %", lambda row: share(row.val_accuracy)),
        HtmlColumn("seeds", lambda row: str(row.seeds) if row.seeds else ""),
        HtmlColumn("depth", lambda row: f"×{row.depth:.3g}"),
        HtmlColumn("width", lambda row: f"×{row.width:.3g}"),
        HtmlColumn("px", lambda row: str(row.pixels)),
        HtmlColumn("d·w²·r²", lambda row: f"{row.depth * row.width**2 * row.resolution**2:.2f}×"),
        HtmlColumn("MACs", lambda row: amount(row.macs)),
        HtmlColumn("ratio", lambda row: f"{row.ratio:.2f}×"),
        HtmlColumn("params", lambda row: amount(row.params)),
        *_rows_matched(group),
        HtmlColumn("printed MACs", lambda row: amount(row.paper.macs) if row.paper else ""),
        HtmlColumn("printed top-1", lambda row: f"{row.paper.top1:.1f}" if row.paper and row.paper.top1 else ""),
    ]
    best = group.best
    return table(columns, group.rows, lambda row: "first" if row is best else "")


def costs(groups: Sequence[tuple[FinishedGroup, Run | None]]) -> HtmlTable:
    """Trials and time by baseline."""

    def seconds(run: Run | None) -> str:
        return "not trained yet" if run is None else duration(float(run.complete["seconds"].sum()))

    columns: list[HtmlColumn[tuple[FinishedGroup, Run | None]]] = [
        HtmlColumn("baseline", lambda pair: pair[0].baseline, words=True),
        HtmlColumn("complete trials", lambda pair: str(len(pair[1].complete)) if pair[1] else ""),
        HtmlColumn("training (h:mm:ss)", lambda pair: seconds(pair[1])),
        HtmlColumn("failed", lambda pair: str(len(pair[1].failed)) if pair[1] and len(pair[1].failed) else ""),
    ]
    return table(columns, groups)


def failures(runs: Sequence[Run]) -> HtmlTable | None:
    """Failed and dropped trials, the first hundred; None where there are none."""
    found = [
        (run, {str(key): value for key, value in trial.items()})
        for run in runs
        for trials in (run.failed, run.dropped)
        for trial in trials.to_dict("records")
    ]
    if not found:
        return None
    columns: list[HtmlColumn[tuple[Run, dict[str, Any]]]] = [
        HtmlColumn("baseline", lambda pair: pair[0].baseline if len(runs) > 1 else "", words=True),
        HtmlColumn("candidate", lambda pair: pair[0].named(pair[1]), words=True),
        HtmlColumn("seed", lambda pair: str(pair[1]["seed"])),
        HtmlColumn("state", lambda pair: str(pair[1]["state"]), words=True),
        HtmlColumn("why", lambda pair: _why(pair[1]), words=True),
    ]
    return table(columns, found[:MANY])


def _why(trial: dict[str, Any]) -> str:
    if isinstance(trial["reason"], str) and trial["reason"]:
        return trial["reason"]
    if trial["state"] == "dropped" and isinstance(trial["curve"], str) and trial["curve"]:
        step, accuracy = trial["curve"].rsplit(" ", 1)[-1].split(":")
        return f"fell behind the leader: {share(float(accuracy))} % after {int(step):,} steps"
    return ""


def environment(runs: Sequence[Run]) -> HtmlTable | None:
    """What it was made with, a row for each thing; more than one value where sessions differ."""
    sessions = [session for run in runs for session in run.sessions]
    if not sessions:
        return None
    plain = [
        {key: value for key, value in session.items() if key not in ("command", "data")}
        | {"started": str(session["started"])[:16].replace("T", " ") + " UTC"}
        for session in sessions
    ]
    images = [
        {
            "images": f"{data['title']}, {data['train']:,} to train and {data['minival']:,} held out",
            "fingerprint": data["fingerprint"],
        }
        for data in (session.get("data") for session in sessions)
        if data
    ]
    keys = list(dict.fromkeys(key for each in (*plain, *images) for key in each))
    values = {
        key: dict.fromkeys(str(each[key]) for each in (*plain, *images) if each.get(key) is not None) for key in keys
    }
    columns: list[HtmlColumn[str]] = [
        HtmlColumn("", lambda key: key, words=True),
        HtmlColumn(" ", lambda key: ", ".join(values[key]), words=True),
    ]
    return table(columns, [key for key in keys if values[key]])
