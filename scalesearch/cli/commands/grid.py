"""What each command does, between its options and what it prints."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Callable, Mapping
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from scalesearch.candidates.grid import Candidate, Plan, plan
from scalesearch.candidates.last_map import step_in_last_maps
from scalesearch.candidates.quantities import is_measured
from scalesearch.candidates.resolve import resolve_baseline
from scalesearch.errors import ScaleSearchError
from scalesearch.image_size import Resolution
from scalesearch.recipe import Recipe, load_recipe, refuse_nas
from scalesearch.report.formats import Page
from scalesearch.report.tables import plan_summary, plan_table, ranking_table, spent_record
from scalesearch.report.units import duration
from scalesearch.run_files import read_result
from scalesearch.run_folder import default_folder
from scalesearch.scaling.compound import Coefficients
from scalesearch.search.progress import on_console
from scalesearch.search.start import PlaceRequest, chosen_recipe, made_ready, train_in, warm_up_for

if TYPE_CHECKING:
    from rich.console import Console

    from scalesearch.cli.notify import Ended
    from scalesearch.search.outputs import Result
    from scalesearch.search.setup import Prepared


def candidates(recipe_name: str | None, overrides: Mapping[str, object], *, num_classes: int, form: str) -> None:
    """Print the plan of a grid without touching images, and without torch unless costs are measured."""
    page = Page(form)
    recipe = load_recipe(recipe_name or "paper", overrides)
    refuse_nas(recipe)
    resolved = resolve_baseline(recipe)
    means: dict[str, Any] = {}
    if recipe.search.match == "memory" or is_measured(recipe.search):
        from scalesearch.search.measuring import on_this_device

        means = on_this_device(recipe, resolved, num_classes, _teller(page))
    made = plan(
        resolved.baseline, recipe.phi, recipe.search, num_classes=num_classes, dropout=resolved.dropout, **means
    )
    document = [_candidate_json(c) for c in made.candidates] if form == "json" else None
    _show_plan(page, made, recipe, resolved.baseline.resolution, document)


def _teller(page: Page) -> Callable[[str], None]:
    """Says what is being measured."""
    return lambda words: page.remarks().print(words, style="dim")


def _show_plan(page: Page, made: Plan, recipe: Recipe, resolution: Resolution, document: object) -> None:
    page.remarks().print(_summary(made, recipe, resolution) + "\n")
    page.show([plan_table(made.candidates)], document)


def _summary(made: Plan, recipe: Recipe, resolution: Resolution) -> str:
    step = step_in_last_maps(made.candidates, resolution)
    return "\n".join([plan_summary(made, recipe.search, recipe.phi), *([f"  note: {step}"] if step else [])])


def _candidate_json(c: Candidate) -> dict[str, Any]:
    return {
        **asdict(c.coefficients),
        "growth": c.growth,
        "shape": c.model.shape,
        "resolution": c.model.resolution,
        **asdict(c.cost),
        "ratio": c.ratio,
        **spent_record(c),
        "also": [asdict(other) for other in c.also],
        "network": c.model.fingerprint,
    }


def grid(
    recipe_name: str | None,
    overrides: Mapping[str, object],
    *,
    out: Path | None,
    dry_run: bool,
    form: str,
    storage: str | None = None,
    study: str | None = None,
    verify: int | None = None,
    longer: float = 4,
    engine: str = "processes",
    address: str | None = None,
    ended: Ended,
) -> None:
    """Search, or with ``dry_run`` show the plan and what it would cost."""
    page, place = Page(form), PlaceRequest(storage, study, engine, address)

    def check(first: Recipe) -> None:
        refuse_nas(first)
        place.check(first)

    recipe = chosen_recipe(recipe_name, overrides, check)
    from scalesearch.search.setup import prepare

    console = page.remarks()
    prepared, where = made_ready(recipe, place, partial(prepare, out=out, told=_teller(page)))
    if verify and (count := len(prepared.plan.candidates)) < 3:
        raise ScaleSearchError(f"--verify compares three candidates or more, and these are {count}")
    if dry_run:
        _dry_run(prepared, page, verify, longer)
        return
    warm_up_for(prepared, where)
    folder = ended.run = out or default_folder(Path("results"), recipe, prepared.baseline.name, prepared.named_by)
    if prepared.source.note:
        console.print(f"note: {prepared.source.note}", style="yellow")
    console.print(_summary(prepared.plan, recipe, prepared.baseline.resolution) + "\n")
    try:
        wanted = (verify, longer) if verify else None
        result, verified = train_in(prepared, folder, on_console(console), command_line(), where, wanted)
    except KeyboardInterrupt:
        tell_stopped(folder, console)
        raise
    _show(prepared, result, folder, page)
    if verified:
        console.print(f"\n{verified.words}", style="bold")


def tell_stopped(folder: Path, console: Console) -> None:
    """What is left after Ctrl-C, and how to go on."""
    from scalesearch.search.ledger.urls import masked

    console.print(f"\nstopped: what was finished is kept in {folder}; the same command goes on from there:")
    console.print(f"  {masked(shlex.join(command_line()))}", soft_wrap=True)


def command_line() -> list[str]:
    """What was typed, as it is written down with a run."""
    return ["scalesearch", *sys.argv[1:]]


def _dry_run(prepared: Prepared, page: Page, verify: int | None, longer: float) -> None:
    from scalesearch.candidates.start import say_start
    from scalesearch.search.estimate import told_quote
    from scalesearch.search.progress import price

    recipe = prepared.recipe
    expected = told_quote(prepared)
    trials = len(prepared.tasks)
    rows = [_candidate_json(c) for c in prepared.plan.candidates]
    document = {
        "trials": trials,
        "seconds": expected.seconds,
        "workers": expected.workers,
        "memory": expected.memory,
        "candidates": rows,
    }
    if prepared.plan.measured is not None:
        document["measured"] = prepared.plan.measured.model_dump(mode="json", exclude={"points", "asked"})
    _show_plan(page, prepared.plan, recipe, prepared.baseline.resolution, document)
    length = f"{recipe.train.epochs:g} epochs" if recipe.train.epochs else f"{recipe.train.steps} steps"
    if recipe.budget or recipe.confidence:
        wish = f"a budget of {recipe.budget}" if recipe.budget else f"a confidence of {recipe.confidence:g}"
        page.remarks().print(f"\n{wish} begins with these {trials} trials; the others are chosen as results come in")
    page.remarks().print(
        f"\n{trials} trials × {length} on {prepared.device} {prepared.precision}, {expected.memory / 2**30:.2f} GiB at "
        f"the peak (estimated)\n{price([expected])}\nwithout decoding the images"
    )
    if verify:
        again = min(verify, len(rows))
        seconds = expected.per_trial * again * longer / min(expected.workers, again)
        page.remarks().print(
            f"then --verify: {again} of them again, {longer:g} times as long: about {duration(seconds)} more"
        )
    for words in (prepared.about_images, *filter(None, [prepared.source.note]), *prepared.tuned):
        page.remarks().print(words)
    say_start(prepared.plan.candidates, recipe, len(prepared.source.classes), page.remarks().print)


def _show(prepared: Prepared, result: Result, folder: Path, page: Page) -> None:
    """The end of a run on screen."""
    from scalesearch.ranking.ranking import records_json
    from scalesearch.search.outputs import FAMILY, caveats

    ranking, trials, console = result.ranking, result.trials, page.remarks()
    kept = read_result(folder, "ranking.json")
    table = ranking_table(records_json(ranking), result.metric, match=kept.get("match"), brief=page.is_terminal)
    page.show([table], kept, indent=1)
    console.print()
    for line in caveats(prepared, result):
        console.print(line, style="dim")
    complete = trials[trials["state"] == "complete"].merge(ranking[["network", "estimated_memory"]], on="network")
    share = complete["memory"] / complete["estimated_memory"]
    console.print(
        f"training memory {complete['memory'].min() / 2**30:.2f}–{complete['memory'].max() / 2**30:.2f} GiB, "
        f"{share.min():.2f}–{share.max():.2f} of the estimate",
        style="dim",
    )
    if result.quoted:
        seconds, count = result.quoted
        done = (
            f"{len(complete)} trial{'s' * (len(complete) != 1)} took {duration(complete['seconds'].sum())} of training"
        )
        console.print(f"{done}; quoted for {count}: {duration(seconds)}", style="dim")
    winner = ranking.iloc[0]
    console.print(f"\nwinner  {Coefficients(winner['alpha'], winner['beta'], winner['gamma'])}", style="bold")
    if (match := kept.get("match")) and match["differ"]:
        console.print(match["words"])
    console.print(
        f"wrote   {folder}/report.html · ranking.csv, .json, .md · candidates.csv · figures/ · specs/", soft_wrap=True
    )
    console.print(
        f"        specs/ holds its family at {prepared.baseline.native.resolution} px × γ^φ, φ = 0 … {FAMILY[-1]}"
    )
