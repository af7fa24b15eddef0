"""`compare`: a table of named networks, its first half at once, its second half by training."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from scalesearch.candidates.comparison import Comparison, load_comparison
from scalesearch.candidates.comparison_rows import IMAGENET, BaselineRows, group_of, with_rows
from scalesearch.candidates.grid import plan
from scalesearch.candidates.resolve import resolve_baseline
from scalesearch.candidates.sweep import check_sweep
from scalesearch.cli.commands.compare_request import CompareRequest, match_of
from scalesearch.cli.commands.compare_rows import memory_of, rows_of
from scalesearch.cli.commands.grid import command_line, tell_stopped
from scalesearch.errors import ScaleSearchError
from scalesearch.files import write_text
from scalesearch.ranking.metric_columns import comparison_as_ranked
from scalesearch.recipe import Recipe, load_recipe
from scalesearch.report.comparison_tables import comparison_markdown, comparison_table, comparison_tables, remarks
from scalesearch.report.formats import Page
from scalesearch.run_folder import digest, slug
from scalesearch.scaling.changes import place_of
from scalesearch.search.comparison_json import group_json
from scalesearch.search.progress import on_console
from scalesearch.search.start import chosen_recipe, train_in

if TYPE_CHECKING:
    from rich.console import Console

    from scalesearch.cli.notify import Ended
    from scalesearch.ranking.schedules import Saved
    from scalesearch.search.outputs import Result
    from scalesearch.search.setup import Prepared

DEFAULT = "table3"


def compare_command(wish: CompareRequest, ended: Ended, *, dry_run: bool, form: str) -> None:
    """Print the comparison's networks and their costs; unless ``dry_run``, train them and write what came of it."""
    page = Page(form)
    comparison = _comparison(wish)
    cost, target = match_of(wish, sweep=bool(comparison.sweep))
    wish = replace(wish, target=target, cost=cost)
    if wish.target and not comparison.sweep:
        title = f"At {wish.target:g}× the {wish.words}"
        title += f" ({comparison.title}'s baselines)" if wish.comparison else ""
        comparison = comparison.model_copy(update={"title": title, "source": None, "about": None})
    if wish.own and (comparison.sweep or not wish.target):
        raise ScaleSearchError("--from RUN adds its winner to the strategies of --match-macs or --match")
    names = list(dict.fromkeys(wish.baselines)) or list(comparison.baselines)
    if not names:
        raise ScaleSearchError(f"{comparison.title} has rows for any network: name one with --baseline")
    console = page.remarks()
    if dry_run and wish.recipe is None and "data.source" not in wish.overrides:
        recipe = load_recipe("paper", wish.overrides)
        groups = [_planned(wish, comparison, name, recipe, IMAGENET, console) for name in names]
        _show_plan(comparison, groups, page)
        if comparison.sweep and page.is_terminal:
            console.print("with --recipe or --data, also what training them would take", style="dim")
        return
    prepared = _prepared(wish, comparison, names, console)
    groups = [group for group, _ in prepared]
    if dry_run:
        _show_plan(comparison, groups, page)
        if page.is_terminal:
            _price([each for _, one in prepared for each in (one, without_progressive(one)) if each], console)
        return
    _say_plan(comparison, groups, console)
    ended.run = _folder(wish, comparison, prepared)
    _compare(wish, comparison, prepared, console)
    if not page.is_terminal:
        plain = json.loads((_folder(wish, comparison, prepared) / "comparison.json").read_text())
        page.show(comparison_tables(plain), plain, indent=1)


def _comparison(wish: CompareRequest) -> Comparison:
    """What the command line names: a comparison, or a sweep.

    Raises:
        ScaleSearchError: both of them; a sweep that breaks a rule.
    """
    if not wish.sweep:
        comparison = load_comparison(wish.comparison or DEFAULT)
        check_sweep(comparison.sweep)
        return comparison
    if wish.comparison:
        raise ScaleSearchError(
            f"--sweep makes rows of its own: leave {wish.comparison} out; --baseline names the network"
        )
    recipe = load_recipe(wish.recipe or "quick", wish.overrides)
    title = "Sweep of " + " × ".join(place_of(path).short for path in wish.sweep)
    return Comparison(title=title, baselines={recipe.baseline: None}, sweep=dict(wish.sweep))


def _planned(
    wish: CompareRequest, comparison: Comparison, name: str, recipe: Recipe, num_classes: int, console: Console
) -> BaselineRows:
    lines, told, measured = rows_of(wish, comparison, name, recipe, num_classes, console)
    rows = with_rows(recipe, name, lines, wish.cost)
    resolved = resolve_baseline(rows)
    made = plan(
        resolved.baseline,
        rows.phi,
        rows.search,
        num_classes=num_classes,
        dropout=resolved.dropout,
        training_memory=memory_of(recipe) if wish.cost == "memory" else None,
        measured=measured,
    )
    return group_of(name, lines, made, resolved.baseline, num_classes, told)


def _prepared(
    wish: CompareRequest, comparison: Comparison, names: Sequence[str], console: Console
) -> list[tuple[BaselineRows, Prepared]]:
    """Every baseline's rows, ready to be trained."""
    recipe = chosen_recipe(wish.recipe, wish.overrides, wish.place.check)
    from scalesearch.search.setup import prepare, with_inputs

    wish.place.settings(recipe)  # a mistake in it is told before anything is measured
    recipe = recipe.model_copy(update={"exhaustive": True})
    found = []
    for name in names:
        own = resolve_baseline(recipe.model_copy(update={"baseline": name})).baseline
        seen, source, _ = with_inputs(recipe, own)
        classes = len(source.classes)
        lines, told, measured = rows_of(wish, comparison, name, seen, classes, console)
        prepared = prepare(with_rows(seen, name, lines, wish.cost), measured=measured)
        found.append((group_of(name, lines, prepared.plan, prepared.baseline, classes, told), prepared))
    folders = [slug(prepared.baseline.name) for _, prepared in found]
    if twice := next((each for each in folders if folders.count(each) > 1), None):
        raise ScaleSearchError(f"two baselines are called {twice}: give one another name")
    return found


def _show_plan(comparison: Comparison, groups: Sequence[BaselineRows], page: Page) -> None:
    if page.is_terminal:
        _say_plan(comparison, groups, page.remarks())
        return
    document = {"title": comparison.title, "groups": [group_json(group, "", None) for group in groups]}
    page.show(comparison_tables(document), document)
    for group in groups:
        for remark in remarks(group):
            page.remarks().print(remark, style="dim")


def _say_plan(comparison: Comparison, groups: Sequence[BaselineRows], console: Console) -> None:
    console.print(f"{comparison.title}" + (f" — {comparison.source}" if comparison.source else ""), style="bold")
    if comparison.about:
        console.print(comparison.about, style="dim")
    for group in groups:
        plain = group_json(group, "", None)
        console.print(f"\n{group.name} · {group.resolution} px", style="bold")
        console.print(comparison_table(plain["rows"]))
        for remark in remarks(group):
            console.print(remark, style="dim")
    console.print()


def _price(prepared: Sequence[Prepared], console: Console) -> None:
    from scalesearch.candidates.start import say_start
    from scalesearch.search.estimate import told_quote
    from scalesearch.search.progress import price

    for words in dict.fromkeys(words for each in prepared for words in each.tuned):
        console.print(words)
    quotes = [told_quote(each) for each in prepared]
    trials = sum(len(each.tasks) for each in prepared)
    console.print(
        f"{trials} trials on {prepared[0].device}, {max(quote.memory for quote in quotes) / 2**30:.2f} GiB at the peak "
        f"(estimated)\n{price(quotes)}"
    )
    for each in prepared:
        say_start(each.plan.candidates, each.recipe, len(each.source.classes), console.print)


def without_progressive(prepared: Prepared) -> Prepared | None:
    """The same on the plain schedule, beside which a progressive one is measured; None where it is plain."""
    train = prepared.recipe.train
    if train.progressive is None:
        return None
    plain = train.model_copy(update={"progressive": None})
    return replace(prepared, recipe=prepared.recipe.model_copy(update={"train": plain, "top": 0}))


def _folder(wish: CompareRequest, comparison: Comparison, prepared: Sequence[tuple[BaselineRows, Prepared]]) -> Path:
    """Named after what changes a result, as a grid's."""
    if wish.out:
        return wish.out
    settings = {group.name: each.settings for group, each in prepared}
    title = re.sub(r"[^a-z0-9]+", "", comparison.title.partition("(")[0].lower())
    return Path("results") / f"compare-{title}-{prepared[0][1].recipe.name}-{digest(settings)}"


def _compare(
    wish: CompareRequest, comparison: Comparison, prepared: Sequence[tuple[BaselineRows, Prepared]], console: Console
) -> None:
    from scalesearch.ranking.schedules import saved
    from scalesearch.report.html.write import write_report

    root, watching = _folder(wish, comparison, prepared), partial(on_console, console)
    results: list[Result | None] = [None] * len(prepared)
    schedules: list[Saved | None] = [None] * len(prepared)
    for i, (group, each) in enumerate(prepared):
        name = f"{root.name}-{slug(each.baseline.name)}" if wish.place.storage else None
        place = wish.place.settings(each.recipe, name)
        own, plain_schedule, beside = root / slug(each.baseline.name), without_progressive(each), None
        try:
            if plain_schedule is not None:
                console.print("first on the plain schedule", style="dim")
                studied = replace(place, study=f"{name}-plain" if name else None)
                there = own.with_name(f"{own.name}-plain")
                beside = train_in(plain_schedule, there, watching(), command_line(), studied)[0]
            result = results[i] = train_in(each, own, watching(), command_line(), place)[0]
        except KeyboardInterrupt:
            tell_stopped(root, console)
            raise
        if beside is not None:
            schedules[i] = saved(beside.trials, result.trials, result.judgement.confidence)
        plain = _document(wish, comparison, prepared, results, schedules)
        in_file = comparison_as_ranked(plain, back=True)
        write_text(root / "comparison.json", json.dumps(in_file, indent=1, ensure_ascii=False) + "\n")
        write_text(root / "comparison.md", comparison_markdown(plain))
        console.print(f"\n{group.name} · {each.source.title}", style="bold")
        console.print(comparison_table(plain["groups"][i]["rows"], metric=each.metric), "", sep="\n")
        for sentence in filter(None, ((plain["groups"][i]["gain"] or {}).get("words"), plain["groups"][i]["words"])):
            console.print(sentence, style="dim")
    console.print("", *plain["notes"], sep="\n", style="dim")
    write_report(root)
    console.print(
        f"\nwrote   {root}/report.html · comparison.json, .md · figures/ · a run's folder for each baseline",
        soft_wrap=True,
    )


def _document(
    wish: CompareRequest,
    comparison: Comparison,
    prepared: Sequence[tuple[BaselineRows, Prepared]],
    results: Sequence[Result | None],
    schedules: Sequence[Saved | None],
) -> dict[str, Any]:
    return {
        "title": comparison.title,
        "source": comparison.source,
        "about": comparison.about,
        "match": wish.as_written,
        **({"metric": prepared[0][1].metric} if prepared[0][1].metric != "accuracy" else {}),
        "notes": _notes(prepared, results),
        "groups": [
            group_json(group, slug(each.baseline.name), result, schedule)
            for (group, each), result, schedule in zip(prepared, results, schedules, strict=True)
        ],
    }


def _notes(prepared: Sequence[tuple[BaselineRows, Prepared]], results: Sequence[Result | None]) -> list[str]:
    """What holds of every baseline, once; what holds of some, with their names."""
    from scalesearch.search.outputs import caveats

    said: dict[str, list[str]] = {}
    for (group, each), result in zip(prepared, results, strict=True):
        column = "to baseline" if group.is_sweep else "interval"
        for note in caveats(each, result, column)[1:] if result is not None else ():
            said.setdefault(note, []).append(group.name)
    trained = sum(result is not None for result in results)
    return [note if len(names) == trained else f"{', '.join(names)}: {note}" for note, names in said.items()]
