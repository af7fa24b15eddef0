"""`scalesearch nas`: a baseline by search, for `grid` to scale."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from scalesearch.candidates.space import open_space
from scalesearch.cli.commands.grid import command_line, tell_stopped
from scalesearch.errors import RecipeError
from scalesearch.ranking.metric_columns import as_ranked
from scalesearch.report.formats import Page, Table
from scalesearch.report.tables import WORDS, architectures_table
from scalesearch.report.units import amount, duration
from scalesearch.run_files import read_result
from scalesearch.run_folder import digest, slug
from scalesearch.search.nas.wishes import recipe_for_nas
from scalesearch.search.progress import on_console
from scalesearch.search.start import PlaceRequest, chosen_recipe, made_ready, train_in, warm_up_for

if TYPE_CHECKING:
    from scalesearch.cli.notify import Ended
    from scalesearch.recipe import Recipe
    from scalesearch.search.nas.setup import PreparedNas
    from scalesearch.search.outputs import Result

UNUSED = ("baseline", "phi", "confidence", "within", "max_seeds", "exhaustive", "search", "rounding")
"""Keys of a recipe, or sections, that scale networks: a search for a baseline has no use for them."""


def nas_command(
    recipe_name: str | None,
    overrides: Mapping[str, object],
    *,
    out: Path | None,
    dry_run: bool,
    form: str,
    storage: str | None,
    study: str | None,
    engine: str,
    address: str | None,
    ended: Ended,
) -> None:
    """Search, or with ``dry_run`` show the space and what the search would cost."""
    page = Page(form)
    if overrides.get("objective") == "acc_macs":
        raise RecipeError("--objective", "accuracy, balanced_accuracy or macro_f1: the reward knows MACs", "acc_macs")
    for key, value in overrides.items():
        if key.partition(".")[0] in UNUSED:
            raise RecipeError(f"--set {key}", "no such key with nas, which scales nothing and ends no trial", value)
    place = PlaceRequest(storage, study, engine, address)

    def check(first: Recipe) -> None:
        place.check(first)
        open_space(recipe_for_nas(first).nas.space)

    recipe = recipe_for_nas(chosen_recipe(recipe_name, overrides, check))
    from scalesearch.search.nas.outputs import idle_sampler, publish_nas
    from scalesearch.search.nas.setup import prepare_nas

    prepared, where = made_ready(recipe, place, prepare_nas)
    if dry_run:
        _dry_run(prepared, page)
        return
    warm_up_for(prepared, where)
    console = page.remarks()
    folder = ended.run = out or _default_folder(prepared)
    for words in filter(None, (prepared.source.note, *idle_sampler(prepared))):
        console.print(f"note: {words}", style="yellow")
    console.print(_summary(prepared) + "\n")
    try:
        result, _ = train_in(prepared, folder, on_console(console), command_line(), where, publish=publish_nas)
    except KeyboardInterrupt:
        tell_stopped(folder, console)
        raise
    _show(prepared, result, folder, page)


def _default_folder(prepared: PreparedNas) -> Path:
    assert prepared.space is not None
    name = f"nas-{slug(prepared.space.name)}-{amount(prepared.target).replace(' ', '')}-{prepared.recipe.name}"
    return Path("results") / f"{name}-{digest(prepared.settings)}"


def _summary(prepared: PreparedNas) -> str:
    """The space, what its architectures cost, and which of them are near the target."""
    from scalesearch.ranking.class_metrics import METRICS

    assert prepared.space is not None and prepared.costs is not None
    space, costs, nas, side = prepared.space, prepared.costs, prepared.recipe.nas, prepared.baseline.resolution
    low, high = prepared.target / nas.factor, prepared.target * nas.factor
    beside = "" if prepared.planner.is_near(costs.skeleton) else ": too far from the target to be trained beside"
    return "\n".join(
        [
            f"{space.table.title}: {_count(space.size)} architectures on the skeleton {space.skeleton.name}",
            f"at {side} px a thousand at random have {costs} MACs",
            f"  {_share(costs.share(low, high))} % of them lie within ×{nas.factor:g} of {amount(prepared.target)}: "
            f"{amount(low)} to {amount(high)}; others are not trained",
            f"  {space.skeleton.name} has {amount(costs.skeleton)}{beside}",
            f"reward: {METRICS.get(prepared.metric, 'accuracy')}·(MACs/{amount(prepared.target)})^{nas.exponent:g}",
        ]
    )


def _dry_run(prepared: PreparedNas, page: Page) -> None:
    from scalesearch.search.estimate import told_quote
    from scalesearch.search.nas.outputs import idle_sampler
    from scalesearch.search.progress import price

    assert prepared.space is not None and prepared.costs is not None
    recipe, planner, console = prepared.recipe, prepared.planner, page.remarks()
    expected = told_quote(prepared)
    speed = expected.per_trial
    begins = [
        {"label": c.name, "shape": c.model.shape, "macs": c.cost.macs, "params": c.cost.params, "network": name}
        for name, c in planner.by_network.items()
    ]
    document: dict[str, Any] = {
        "space": prepared.space.name,
        "architectures": prepared.space.size,
        "target_macs": prepared.target,
        "macs": {"least": prepared.costs.sample[0], "most": prepared.costs.sample[-1]},
        "skeleton_macs": prepared.costs.skeleton,
        "trials": planner.trials,
        "seconds": expected.seconds,
        "seconds_per_trial": speed,
        "workers": expected.workers,
        "memory": expected.memory,
        "begins_with": begins,
    }
    console.print(_summary(prepared) + "\n")
    page.show([_beginning_table(begins)], document)
    length = f"{recipe.train.epochs:g} epochs" if recipe.train.epochs else f"{recipe.train.steps} steps"
    many = f"{planner.trials} trials" if planner.trials else f"trials for {recipe.budget}"
    also = f", then {recipe.seeds - 1} more of each of the best {planner.finalists}" if recipe.seeds > 1 else ""
    console.print(
        f"\n{prepared.recipe.nas.sampler} begins with these {len(begins)}; the others are proposed as results come in"
    )
    console.print(
        f"\n{many} × {length}{also}, on {prepared.device} {recipe.train.precision}, {expected.memory / 2**30:.2f} GiB "
        f"at the peak (estimated)\n{duration(speed)} a trial\n{price([expected])}\nwithout decoding the images"
    )
    for words in (
        prepared.about_images,
        *filter(None, [prepared.source.note]),
        *idle_sampler(prepared),
        *prepared.tuned,
    ):
        console.print(words)


def _beginning_table(begins: Sequence[Mapping[str, Any]]) -> Table:
    rows = [[row["label"], row["shape"], amount(row["macs"]), amount(row["params"])] for row in begins]
    return Table.of(("", "depth·width·px", "MACs", "params"), rows, begins, words=WORDS)


def _show(prepared: PreparedNas, result: Result, folder: Path, page: Page) -> None:
    """The end of a run on screen."""
    from scalesearch.search.nas.outputs import WINNER

    found, console = read_result(folder, "ranking.json"), page.remarks()
    rows = [as_ranked(row, result.metric) for row in found["ranking"]]
    page.show([architectures_table(rows, result.metric)], found, indent=1)
    console.print()
    for line in found["notes"]:
        console.print(line, style="dim")
    complete = result.trials[result.trials["state"] == "complete"]
    done = f"{len(complete)} trial{'s' * (len(complete) != 1)} took {duration(complete['seconds'].sum())} of training"
    if result.quoted and prepared.planner.trials is not None:
        done += f"; quoted for {result.quoted[1]}: {duration(result.quoted[0])}"
    console.print(done, style="dim")
    first = found["ranking"][0]
    console.print(f"\nwinner  {first['label']}: {first['architecture']}", style="bold", soft_wrap=True)
    console.print(
        f"wrote   {folder}/{WINNER} · report.html · ranking.csv, .json, .md · figures/ · specs/", soft_wrap=True
    )
    console.print(f"next    scalesearch grid --baseline {folder}/{WINNER}", soft_wrap=True)


def _share(share: float) -> str:
    return f"{100 * share:.0f}" if share >= 0.1 else f"{100 * share:.2g}"


def _count(number: float) -> str:
    return f"{number:,.0f}" if number < 10**6 else f"{number:.2g}"
