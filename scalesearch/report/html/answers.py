"""The five questions of a reader who was not there, answered in sentences: from a run's own records, and no other."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from scalesearch.ranking.finished_comparison import FinishedComparison, FinishedGroup
from scalesearch.ranking.finished_run import Run
from scalesearch.report.html.table import between, share
from scalesearch.report.units import METRIC, amount, duration, pixels


@dataclass(frozen=True)
class Answer:
    """A question and what the run has to say to it."""

    question: str
    sentences: tuple[str, ...]


def of_run(run: Run) -> list[Answer]:
    """What a search has found."""
    return [
        Answer("What was compared", (compared(run),)),
        Answer("What won", tuple(won(run))),
        Answer("How sure", tuple(sure(run))),
        Answer("What it cost", tuple(cost([run]))),
        Answer("What it does not show", (alone_of(run), *unverified(run))),
    ]


def of_comparison(comparison: FinishedComparison, groups: Sequence[tuple[FinishedGroup, Run | None]]) -> list[Answer]:
    """What a comparison has found, baseline by baseline."""
    runs = [run for _, run in groups if run is not None]
    what = f"{_count(sum(len(group.rows) for group, _ in groups), 'network')} of {_count(len(groups), 'baseline')}"
    match, _, of = comparison.match.partition(" ")
    how = f"each at {match.removesuffix('x')}× its baseline's {of or 'MACs'}"
    how = "each at the cost that its multipliers have" if match == "rows" else how
    several = len(groups) > 1
    found = []
    for group, _ in groups:
        told = [f"{row.label}, {measured(vars(row), metric=comparison.metric)}"] if (row := group.best) else []
        told += [group.gain.words] if group.gain else []
        found += [(f"{group.baseline}: " * several) + "; ".join(told).removesuffix(".") + "."] if told else []
    doubts = [(f"{group.baseline}: " * several) + group.words for group, _ in groups if group.words]
    return [
        Answer("What was compared", (f"{what}, {how}.", *dict.fromkeys(trained(run) for run in runs))),
        Answer("What won", tuple(found) or ("Nothing yet: no row has been trained.",)),
        Answer("How sure", tuple(doubts) or ("Nothing is known about that.",)),
        Answer("What it cost", tuple(cost(runs))),
        Answer("What it does not show", (alone(len(groups)), *([PRINTED] if printed(comparison) else []))),
    ]


def alone(networks: int) -> str:
    """What one run, or several, cannot say about another network."""
    what = "This is one network" if networks == 1 else f"These are {networks} networks"
    return f"{what}, one set of images and one short schedule from scratch: no evidence about others."


def alone_of(run: Run) -> str:
    """What a search cannot say about others."""
    return alone(1) if run.nas is None else alone(1).replace("one network", "one space of networks", 1)


PRINTED = "The accuracies that its source printed are of other images and full schedules: compare orders, not values."


def printed(comparison: FinishedComparison) -> bool:
    """Whether the source's accuracies stand beside the measured ones."""
    return any(row.paper and row.paper.top1 for group in comparison.groups for row in group.rows)


def compared(run: Run) -> str:
    """What a run compared, in words."""
    if run.nas is not None:
        what = f"{_count(len(run.ranking), 'architecture')} of the space {run.nas['space']}"
        what += f", found for {amount(run.nas['target_macs'])} MACs"
    elif (run.recipe.get("search") or {}).get("rows"):
        what = f"{_count(len(run.ranking), 'named network')} made from {run.baseline}"
    else:
        what = f"{_count(len(run.ranking), 'way')} to scale {run.baseline} at φ = {run.phi:g}"
    return f"{what}. {trained(run)}"


def trained(run: Run) -> str:
    """How every trial was trained, and on what."""
    train, data = run.recipe.get("train") or {}, run.data
    length = f"{train['epochs']:g} epochs" if train.get("epochs") else f"{train.get('steps')} steps"
    side = run.settings.get("resolution") or run.recipe.get("resolution")
    fewest, most = int(run.ranking["seeds"].min()), int(run.ranking["seeds"].max())
    seeds = _count(most, "seed") if fewest == most else f"{fewest} to {most} seeds"
    images = f"{data['train']:,} images of {data['title']}" if data else "images that were not noted"
    whose = "all" if run.nas else "the baseline's"
    at = f", {whose} at {pixels(side)} px" if side else ""
    held = f", ranked on {data['minival']:,} held-out ones (the minival)" if data else ""
    return f"Each was trained from scratch for {length} on {images}{at}{held}, {seeds} each."


def won(run: Run) -> list[str]:
    """The winner, who came second, and where the paper's own point ended."""
    rows = run.ranking.to_dict("records")
    first = rows[0]
    judged = f", the best with probability {first['p_best']:.2f}" if run.judged else ""
    found = [f"{first['name']} ({first['shape']}): {measured(first, run.unit, run.metric)}{judged}."]
    if len(rows) > 1:
        found.append(f"Second: {rows[1]['name']}, {measured(rows[1], run.unit, run.metric)}.")
    papers = next((row for row in rows if row["papers"]), None)
    if papers is first:
        found.append("The winner is the paper's point.")
    elif papers and papers["rank"] > 2:
        reached = measured(papers, metric=run.metric)
        found.append(f"The paper's point, {papers['name']}, came {_ordinal(papers['rank'])}: {reached}.")
    if run.match:
        words = str(run.match["words"])
        found.append(f"{words[:1].upper()}{words[1:]}.")
    return found


def measured(row: Mapping[Any, Any], unit: str = "the baseline's", metric: str = "accuracy") -> str:
    """A row's accuracies, by another ``metric`` perhaps, and cost, as a ratio of the ``unit``."""
    what = "" if metric == "accuracy" else f" {METRIC[metric]}"
    interval = f" ({between(row['low'], row['high'])})" if between(row["low"], row["high"]) else ""
    val = f", {share(row['val_accuracy'])} % on the validation split" if share(row["val_accuracy"]) else ""
    return f"{share(row['accuracy'])} %{what}{interval} at {amount(row['macs'])} MACs, {row['ratio']:.2f}× {unit}{val}"


def sure(run: Run) -> list[str]:
    """How far the order can be believed."""
    found = [run.notes[0]] if run.judged and run.notes else []
    if not found:
        found.append(f"The run was not judged when it was made. Its bars are the {run.bars}; differences of that size")
        found[-1] += " mean nothing, and the spread between seeds comes on top."
    if run.verified:
        words = str(run.verified.get("words", ""))
        found.append(words[:1].upper() + words[1:] + ".")
    if run.lengths:
        found.append(str(run.lengths["words"]))
    return found


def unverified(run: Run) -> list[str]:
    """What was not tried, a sentence each."""
    if run.verified or run.lengths:
        return []
    return [f"Whether a longer schedule gives the same order was not tried{'' if run.nas else ' (--verify tries it)'}."]


def cost(runs: Sequence[Run]) -> list[str]:
    """Trials, time, machine and memory."""
    counts = {word: sum(len(getattr(run, word)) for run in runs) for word in ("complete", "dropped", "failed")}
    if not counts["complete"]:
        return ["Its trials were not kept beside the ranking: the time is not known."] if runs else ["Nothing yet."]
    seconds = sum(float(run.complete["seconds"].sum()) for run in runs)
    most = max(float(run.complete["memory"].max()) for run in runs)
    devices = list(dict.fromkeys(str(session["device"]) for run in runs for session in run.sessions))
    rest = [f"{counts[word]} {word}" for word in ("dropped", "failed") if counts[word]]
    memory = "" if math.isnan(most) else f" Training took up to {amount(most, 'B')} of memory."
    return [
        f"{duration(seconds)} of training in {_count(counts['complete'], 'complete trial')}"
        + (f" ({', '.join(rest)} beside)" if rest else "")
        + (f", on {' and '.join(devices)}" if devices else "")
        + "."
        + memory
    ]


def _count(number: int, word: str) -> str:
    return f"{number:,} {word}{'s' * (number != 1)}"


def _ordinal(number: int) -> str:
    ending = "th" if number % 100 in (11, 12, 13) else {1: "st", 2: "nd", 3: "rd"}.get(number % 10, "th")
    return f"{number}{ending}"
