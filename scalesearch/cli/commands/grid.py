"""What each command does, between its options and what it prints."""

from __future__ import annotations

import re
import shlex
import sys
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from scalesearch.candidates.grid import Candidate, Plan, plan
from scalesearch.candidates.last_map import step_in_last_maps
from scalesearch.candidates.resolve import resolve_baseline
from scalesearch.errors import ScaleSearchError
from scalesearch.image_size import Resolution
from scalesearch.recipe import Recipe, load_recipe, refuse_nas
from scalesearch.report.formats import Page
from scalesearch.report.tables import plan_summary, plan_table, ranking_table
from scalesearch.report.units import duration
from scalesearch.run_files import read_result
from scalesearch.run_folder import RunFolder, default_folder
from scalesearch.runtime.default_recipe import default_recipe
from scalesearch.scaling.compound import Coefficients

if TYPE_CHECKING:
    from rich.console import Console

    from scalesearch.search.engine import EngineSettings
    from scalesearch.search.longer_schedule import Verified
    from scalesearch.search.outputs import Result
    from scalesearch.search.run import Publish
    from scalesearch.search.setup import Prepared


def candidates(recipe_name: str | None, overrides: Mapping[str, object], *, num_classes: int, form: str) -> None:
    """Print the plan of a grid without touching images or torch."""
    page = Page(form)
    recipe = load_recipe(recipe_name or "paper", overrides)
    refuse_nas(recipe)
    resolved = resolve_baseline(recipe)
    made = plan(resolved.baseline, recipe.phi, recipe.search, num_classes=num_classes, dropout=resolved.dropout)
    document = [_candidate_json(c) for c in made.candidates] if form == "json" else None
    _show_plan(page, made, recipe, resolved.baseline.resolution, document)


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
) -> None:
    """Search, or with ``dry_run`` show the plan and what it would cost."""
    page = Page(form)
    first = load_recipe(recipe_name or "quick", overrides)  # a wrong word is told before torch is loaded
    refuse_nas(first)
    check_engine(engine, address, first)
    from scalesearch.search.setup import prepare

    recipe = load_recipe(recipe_name or default_recipe(str(overrides.get("device", "auto"))), overrides)
    console = page.remarks()
    from scalesearch.runtime.device import every_device
    from scalesearch.search.engine import EngineSettings
    from scalesearch.search.estimate import is_worthwhile
    from scalesearch.search.ledger.urls import storage_url
    from scalesearch.search.processes import warm_up

    where = storage_url(storage) if storage else None
    if engine == "ray":
        from scalesearch.search.ray_cluster import load_ray

        load_ray()  # that it is missing is told before the images are decoded
    prepared = prepare(recipe)
    if dry_run:
        _dry_run(prepared, page)
        return
    if engine == "processes" and recipe.run.workers != 0 and not is_worthwhile(prepared):
        warm_up()  # not before: a mistake would have to wait for it, and a quote would be taken beside it
    folder = out or default_folder(Path("results"), recipe, prepared.baseline.name, prepared.settings)
    if prepared.source.note:
        console.print(f"note: {prepared.source.note}", style="yellow")
    console.print(_summary(prepared.plan, recipe, prepared.baseline.resolution) + "\n")
    try:
        place = EngineSettings(where, study, every_device(recipe.device), engine, address)
        result, verified = train_in(prepared, folder, console, place, (verify, longer) if verify else None)
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
    console.print(f"  {masked(shlex.join(['scalesearch', *sys.argv[1:]]))}", soft_wrap=True)


def check_engine(engine: str, address: str | None, recipe: Recipe) -> None:
    """Refuse an engine that does not go with the other options."""
    if engine not in ("processes", "ray"):
        raise ScaleSearchError(f"--engine: expected processes or ray, got {engine!r}")
    if address is not None and engine != "ray":
        raise ScaleSearchError("--address is a Ray cluster's: it needs --engine ray")
    if address not in (None, "auto") and not re.fullmatch(r"[^\s/]+:\d+", address or ""):
        raise ScaleSearchError(f"--address: expected auto or HOST:PORT, got {address!r}")
    if engine == "ray" and recipe.run.workers == 0:
        raise ScaleSearchError("--workers 0 trains in the search's own process: it does not go with --engine ray")
    if engine == "ray" and recipe.device.split(":")[0] not in ("auto", "cpu", "cuda"):
        raise ScaleSearchError(f"--engine ray: expected --device auto, cpu or cuda, got {recipe.device!r}")


def train_in(
    prepared: Prepared,
    path: Path,
    console: Console,
    place: EngineSettings,
    verify: tuple[int, float] | None = None,
    publish: Publish | None = None,
) -> tuple[Result, Verified | None]:
    """Do what is left of a run in the folder ``path``, telling how it goes; then verify it, if wanted.

    Args:
        publish: writes what was found, as `search.run.run` takes it.
    """
    from scalesearch.cli.progress import LiveWatcher, PlainWatcher
    from scalesearch.search.longer_schedule import verify as verified
    from scalesearch.search.run import run

    watcher = LiveWatcher(console) if console.is_terminal else PlainWatcher(console)
    with RunFolder(path) as folder:
        try:
            command = ["scalesearch", *sys.argv[1:]]
            result = run(prepared, folder, watcher, command, place, **({"publish": publish} if publish else {}))
            if verify is None:
                return result, None
            candidates, longer = verify
            return result, verified(
                prepared, result, folder, watcher, command, candidates=candidates, longer=longer, place=place
            )
        finally:
            watcher.close()


def _dry_run(prepared: Prepared, page: Page) -> None:
    from scalesearch.cli.progress import price
    from scalesearch.search.estimate import told_quote

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
    _show_plan(page, prepared.plan, recipe, prepared.baseline.resolution, document)
    length = f"{recipe.train.epochs:g} epochs" if recipe.train.epochs else f"{recipe.train.steps} steps"
    if recipe.budget or recipe.confidence:
        wish = f"a budget of {recipe.budget}" if recipe.budget else f"a confidence of {recipe.confidence:g}"
        page.remarks().print(f"\n{wish} begins with these {trials} trials; the others are chosen as results come in")
    page.remarks().print(
        f"\n{trials} trials × {length} on {prepared.device} {prepared.precision}, {expected.memory / 2**30:.2f} GiB at "
        f"the peak (estimated)\n{price([expected])}\nwithout decoding the images"
    )
    for words in (prepared.about_images, *filter(None, [prepared.source.note]), *prepared.tuned):
        page.remarks().print(words)


def _show(prepared: Prepared, result: Result, folder: Path, page: Page) -> None:
    """The end of a run on screen."""
    from scalesearch.ranking.ranking import records_json
    from scalesearch.search.outputs import FAMILY, caveats

    ranking, trials, console = result.ranking, result.trials, page.remarks()
    page.show([ranking_table(records_json(ranking))], read_result(folder, "ranking.json"), indent=1)
    console.print()
    for line in caveats(prepared, result):
        console.print(line, style="dim")
    kept = trials[trials["state"] == "complete"].merge(ranking[["network", "estimated_memory"]], on="network")
    share = kept["memory"] / kept["estimated_memory"]
    console.print(
        f"training memory {kept['memory'].min() / 2**30:.2f}–{kept['memory'].max() / 2**30:.2f} GiB, "
        f"{share.min():.2f}–{share.max():.2f} of the estimate",
        style="dim",
    )
    if result.quoted:
        seconds, count = result.quoted
        done = f"{len(kept)} trial{'s' * (len(kept) != 1)} took {duration(kept['seconds'].sum())} of training"
        console.print(f"{done}; quoted for {count}: {duration(seconds)}", style="dim")
    winner = ranking.iloc[0]
    console.print(f"\nwinner  {Coefficients(winner['alpha'], winner['beta'], winner['gamma'])}", style="bold")
    console.print(
        f"wrote   {folder}/report.html · ranking.csv, .json, .md · candidates.csv · figures/ · specs/", soft_wrap=True
    )
    console.print(
        f"        specs/ holds its family at {prepared.baseline.native.resolution} px × γ^φ, φ = 0 … {FAMILY[-1]}"
    )
