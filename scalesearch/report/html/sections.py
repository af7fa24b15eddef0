"""What stands on a page below its answers: figures and tables, each under a heading, in the order of a reader's doubts.

A heading is always there, also where there is nothing to show: then a sentence says why.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from scalesearch.ranking.finished_comparison import FinishedComparison, FinishedGroup
from scalesearch.ranking.finished_run import Run
from scalesearch.report import class_tables
from scalesearch.report.figures.accuracy import accuracy_macs, accuracy_measured
from scalesearch.report.figures.confusion import confusion
from scalesearch.report.figures.curves import learning_curves
from scalesearch.report.figures.growth import growth
from scalesearch.report.figures.lengths import accuracy_over_length
from scalesearch.report.figures.rows import intervals, scaling_curves
from scalesearch.report.figures.simplex import simplex
from scalesearch.report.figures.times import times
from scalesearch.report.html import tables
from scalesearch.report.html.inline_svg import Maker, Shown, shown
from scalesearch.report.html.table import HtmlTable, plain_table


@dataclass(frozen=True)
class Section:
    """A heading, and in this order: sentences, figures, a table, notes, code, text that is folded away."""

    anchor: str
    heading: str
    sentences: Sequence[str] = ()
    figures: Sequence[Shown] = ()
    table: HtmlTable | None = None
    notes: Sequence[str] = ()
    link: tuple[str, str] | None = None
    code: Sequence[str] = ()
    folded: Sequence[tuple[str, str]] = ()


def of_run(run: Run) -> list[Section]:
    """A search's page.

    Raises:
        RunError: the figures cannot be written.
    """
    makers: list[Maker] = [
        partial(accuracy_macs, run.ranking, run.bars, run.metric),
        partial(accuracy_measured, run.ranking, run.bars, run.match, run.metric),
        partial(simplex, run.ranking, run.fitted, run.metric),
        partial(learning_curves, run.trials, run.ranking, metric=run.metric),
        partial(accuracy_over_length, run.lengths, run.ranking, run.metric),
        partial(growth, run.candidates, run.ranking, run.phi),
        partial(times, run.trials, run.ranking),
        partial(confusion, run.classes),
    ]
    drawn = {figure.name: figure for figure in shown(makers, run.path / "figures")}

    def figure(name: str, heading: str, otherwise: str) -> Section:
        found = drawn.get(name)
        return Section(name, heading, () if found else (otherwise,), [found] if found else ())

    kept = "The run did not keep its trials beside the ranking."
    scaled = [] if run.nas else ["simplex", "growth"]
    found = [
        _costs([drawn[name] for name in ("accuracy-macs", "accuracy-measured") if name in drawn]),
        Section("ranking", "The ranking", table=tables.ranking(run), notes=tables.ranking_notes(run)),
        figure("simplex", "Where on the simplex", "Fewer than three candidates grow depth, width and resolution."),
        figure("learning-curves", "While training", kept),
        *_lengths(run, drawn.get("lengths")),
        *_classes(run, drawn.get("confusion")),
        figure("growth", "Nominal and measured growth", "No candidate's cost was kept."),
        figure("times", "Where the time went", kept),
        failures([run]),
        Section("caveats", "Caveats", notes=run.notes[1:] if run.judged else run.notes),
        environment([run]),
        repeat([run]),
    ]
    return [section for section in found if section.anchor not in ("simplex", "growth") or section.anchor in scaled]


def _costs(figures: Sequence[Shown]) -> Section:
    """Accuracy over MACs, and over what was measured on the machine."""
    return Section("accuracy-macs", "Accuracy and cost", ("",) if not figures else (), figures)


def _lengths(run: Run, drawn: Shown | None) -> list[Section]:
    """How the answer depends on the length of training, where the run knows several."""
    if run.lengths is None or drawn is None:
        return []
    return [Section("lengths", "Over the length of training", [str(run.lengths["words"])], [drawn])]


def _classes(run: Run, drawn: Shown | None) -> list[Section]:
    """The best candidates class by class, where the run knows it."""
    found = run.classes
    if not found or not found["networks"]:
        return []
    right, pairs = class_tables.by_class(found), class_tables.confused(found)
    told = [class_tables.about(found), *(f"{words}." for words in class_tables.summaries(found))]
    sections = [Section("classes", "Class by class (%)", told, table=plain_table(right), notes=right.notes)]
    if drawn is not None:
        few = len(found["class_names"]) <= class_tables.MANY
        name = found["networks"][0]["name"]
        sections.append(
            Section(
                "confusion",
                f"What {name} takes images for",
                figures=[drawn],
                table=plain_table(pairs) if found["networks"][0]["confused"] and not few else None,
            )
        )
    return sections


def of_comparison(
    comparison: FinishedComparison, groups: Sequence[tuple[FinishedGroup, Run | None]], folder: Path
) -> list[Section]:
    """A comparison's page: a section for each baseline, the rest for all of them.

    Raises:
        RunError: the figures cannot be written.
    """
    runs = [run for _, run in groups if run is not None]
    return [
        *(_group(group, run, folder, comparison.metric) for group, run in groups),
        Section("times", "Where the time went", table=tables.costs(groups)),
        failures(runs),
        Section("caveats", "Caveats", notes=comparison.notes),
        environment(runs),
        repeat(runs),
    ]


def _group(group: FinishedGroup, run: Run | None, folder: Path, metric: str) -> Section:
    name = Path(group.folder).name or "rows"
    makers: list[Maker] = [
        partial(intervals, group.rows, f"rows-{name}", group.baseline, metric),
        partial(scaling_curves, group.rows, f"growth-{name}", group.baseline, metric),
    ]
    if run is not None:
        makers.append(partial(learning_curves, run.trials, run.ranking, f"curves-{name}", metric))
    return Section(
        f"rows-{name}",
        f"{group.baseline}, {group.base.resolution} px",
        [group.gain.words] if group.gain else [],
        shown(makers, folder / "figures"),
        tables.rows(group, metric),
        [f"{row.label}: {row.note}" for row in group.rows if row.note],
        (f"{group.folder}/report.html", f"The whole report on {group.baseline}") if run else None,
    )


def failures(runs: Sequence[Run]) -> Section:
    """What did not go well: trials that failed, and those that were ended before their time."""
    table = tables.failures(runs)
    if not any(len(run.trials) for run in runs):
        words = "No trials were kept: whether any failed is not known."
    elif table is None:
        words = "No trial failed, and every candidate was trained to the end."
    else:
        words = "Trials that count for nothing, or for less than the others; a failed one may have been tried again."
    return Section("failures", "Failures", [words], table=table)


def environment(runs: Sequence[Run]) -> Section:
    """With what it was made; the settings in full are folded away."""
    recipes = [(f"The recipe of {run.baseline}, every default written out", run.recipe_text) for run in runs]
    return Section("environment", "Environment", table=tables.environment(runs), folded=recipes)


def repeat(runs: Sequence[Run]) -> Section:
    """The commands that make it again."""
    commands = list(dict.fromkeys(_command(run.sessions[-1]) for run in runs if run.sessions))
    sessions = {(session["started"], _command(session)) for run in runs for session in run.sessions}
    words = "This command does it again; in the same folder it finds that all is done."
    if len(sessions) > len(commands):
        words += f" The run was made in {len(sessions)} sessions, this being the last one's."
    return Section("repeat", "Do it again", [words] if commands else ["Its command was not kept."], code=commands)


def _command(session: dict[str, Any]) -> str:
    return str(session["command"])
