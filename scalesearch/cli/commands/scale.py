"""`scale` and `baselines`: networks as tables. They load neither numpy nor recipes, and are done at once."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from scalesearch.errors import RecipeError, RunError, ScaleSearchError, ScalingError
from scalesearch.files import write_text
from scalesearch.image_size import Resolution
from scalesearch.models.catalogue import baseline_of, builtin_names, model_of, open_baseline
from scalesearch.models.protocols import Baseline
from scalesearch.report.formats import Page
from scalesearch.report.tables import baselines_table, spec_table, stage_table
from scalesearch.scaling.compound import (
    AXES,
    PAPER,
    PUBLISHED,
    Coefficients,
    Multipliers,
    Rounding,
    published_member,
    published_rows,
)
from scalesearch.scaling.cost import closed_form
from scalesearch.scaling.module_spec import ModuleSpec
from scalesearch.scaling.spec import ModelSpec
from scalesearch.scaling.spec_files import Spec, dump_spec, load_spec
from scalesearch.validation import parse

BOUNDS = ("max_resolution", "max_channels", "stage_depths")
"""Options of rounding that bound growth, or deal it out: what they do is told."""


def scale(
    baseline: str | None,
    phi: str,
    coefficients: tuple[float | None, float | None, float | None],
    *,
    run: Path | None,
    fitted: bool,
    preset: str,
    resolution: Resolution | None,
    rounding: Mapping[str, object],
    num_classes: int,
    out: Path | None,
    form: str,
) -> None:
    """Write one scaled spec per φ and show what became of the baseline."""
    page = Page(form)
    if preset not in ("formula", "published"):
        raise ScaleSearchError(f"--preset: expected formula or published, got {preset!r}")
    given = {key: value for key, value in rounding.items() if value is not None}
    kept = _kept_rounding(run) if run else {}
    rules = parse(Rounding, kept | given, RecipeError)
    chosen, origin = _coefficients(coefficients, run, fitted=fitted)
    if run and not baseline:
        start = _rounded_by(load_spec(run / "baseline.yaml"), rules)
    else:
        start = open_baseline(baseline or "efficientnet_b0", rules, resolution)
    free = _without_bounds(rules)
    unbounded = None if free == rules else _rounded_by(start.native, free)
    if preset == "published":
        _see_it_is_free(coefficients, run, bounded=unbounded is not None)
    if resolution is not None:
        start, unbounded = start.meant_for(resolution), unbounded and unbounded.meant_for(resolution)
    base = start.scaled(Multipliers(1, 1, 1)).cost(num_classes)
    console, tables = page.remarks(), []
    for axis, reason in start.fixed.items():
        console.print(f"{axis} stays 1: {reason}", style="yellow", soft_wrap=True)
    chosen = replace(chosen, **dict.fromkeys(start.fixed, 1.0))
    written: list[dict[str, Any]] = []
    phis = parse_phi(phi)
    for value in phis:
        member = start.member(chosen, value).spec
        published = _published(start.native, value, free, required=preset == "published")
        rows: list[tuple[str, Spec]] = [("formula", member)]
        if published is not None and (preset == "published" or start.native.name in PUBLISHED):
            whose = "published" if start.native.name in PUBLISHED else "EfficientNet's"
            rows.append((f"{whose} B{value:g}", published))
        member = published if preset == "published" and published is not None else member
        target = _target(out, member.name, several=len(phis) > 1)
        write_text(target, dump_spec(member))
        written.append(
            {"phi": value, "file": str(target), "resolution": member.resolution, "blocks": member.blocks}
            | asdict(model_of(member).cost(num_classes))
        )
        title = f"{start.name} × φ = {value:g}, {chosen} ({origin})"
        tables.append(spec_table([(name, row, model_of(row).cost(num_classes)) for name, row in rows], base, title))
        if page.is_terminal:
            console.print(f"{start.name} × φ = {value:g}        {chosen}  ({origin})\n")
            page.show(tables[-1:])
        growth = chosen.growth()
        console.print(
            f"nominal growth {growth:.3g}^{value:g} = {growth**value:.3g}×; depth rounds up per stage, "
            "which costs the rest\n",
            soft_wrap=True,
        )
        if unbounded is not None:
            told = _bounded(member, unbounded.member(chosen, value).spec, rules)
            console.print(told, style="yellow", soft_wrap=True)
        console.print(f"wrote {target}\n", soft_wrap=True)
    if not page.is_terminal:
        page.show(tables, written)


def _see_it_is_free(coefficients: tuple[float | None, ...], run: Path | None, *, bounded: bool) -> None:
    """Published constants take nothing beside them.

    Raises:
        ScaleSearchError: something else is to say how far the network grows.
    """
    if bounded:
        raise ScaleSearchError("--preset published has its own constants: leave out what bounds growth")
    if run is not None or any(given is not None for given in coefficients):
        raise ScaleSearchError("--preset published has its own constants: leave out --alpha, --beta, --gamma, --from")


def _published(spec: Spec, phi: float, rules: Rounding, *, required: bool) -> ModelSpec | None:
    """The released member at φ, by the constants of the baseline's family.

    Raises:
        ScalingError: there is none, and it is ``required``.
    """
    if required and not isinstance(spec, ModelSpec):
        raise ScalingError(
            f"--preset published: its constants are of tables of stages, and {spec.name} is scaled layer by layer"
        )
    last = len(published_rows(spec.name)) - 1
    if isinstance(spec, ModelSpec) and phi in range(last + 1):
        return published_member(spec, int(phi), rules)
    if required:
        raise ScalingError(f"--preset published: B0 to B{last} are φ = 0 to {last}, there is none at φ = {phi:g}")
    return None


def _rounded_by(spec: Spec, rules: Rounding) -> Baseline:
    """The baseline that a spec is, with these rules in place of those that a module's spec was made with."""
    return baseline_of(spec.model_copy(update={"rounding": rules}) if isinstance(spec, ModuleSpec) else spec, rules)


def _without_bounds(rules: Rounding) -> Rounding:
    return rules.model_copy(update={name: Rounding.model_fields[name].default for name in BOUNDS})


def _bounded(member: Spec, unbounded: Spec, rules: Rounding) -> str:
    """What the options that bound growth have done."""
    names = ", ".join(f"--{name.replace('_', '-')}" for name in BOUNDS if getattr(rules, name))
    if model_of(member).fingerprint == model_of(unbounded).fingerprint:
        return f"{names}: changes nothing here"
    parts = [
        f"{what} {getattr(member, key)} in place of {getattr(unbounded, key)}"
        for what, key in (("resolution", "resolution"), ("blocks", "blocks"), ("widest layer", "widest"))
        if getattr(member, key, None) != getattr(unbounded, key, None)
    ]
    return f"{names}: {', '.join(parts) or 'other layers than without'}"


def parse_phi(text: str) -> list[float]:
    """``4``, ``-1.5``, ``1,2,4`` or ``1..7``.

    Raises:
        RecipeError: it is none of these.
    """
    try:
        if ".." in text:
            low, high = (int(end) for end in text.split("..", 1))
            values = [float(value) for value in range(low, high + 1)]
        else:
            values = [float(part) for part in text.split(",")]
    except ValueError:
        values = []
    if not values or not all(abs(value) < 100 for value in values):
        raise RecipeError("--phi", "a number, several (1,2,4) or a range (1..7)", text)
    return values


def _coefficients(given: tuple[float | None, ...], run: Path | None, *, fitted: bool) -> tuple[Coefficients, str]:
    """The coefficients to scale by, and whose they are: a run's winner, its fitted optimum, or the paper's, where not
    given one by one."""
    if fitted and run is None:
        raise ScaleSearchError("--fitted needs --from RUN")
    start, origin = PAPER, "Tan & Le 2019"
    if run is not None:
        start, origin = best_of(run, fitted=fitted), f"the {'fitted optimum' if fitted else 'winner'} of {run.name}"
    values = [g if g is not None else getattr(start, name) for g, name in zip(given, AXES, strict=True)]
    for name, value in zip(AXES, values, strict=True):
        if not 0 < value < 100:
            raise RecipeError(f"--{name}", "a positive number", value)
    if any(g is not None for g in given):
        origin = "as given" if None not in given else f"as given; the others {origin}'s"
    return Coefficients(*values), origin


def _kept_rounding(run: Path) -> dict[str, object]:
    from scalesearch.run_files import read_recipe_settings

    rounding: dict[str, object] = read_recipe_settings(run)["rounding"]
    return rounding


def best_of(run: Path, *, fitted: bool) -> Coefficients:
    """The coefficients of a run's winner, or of its fitted optimum.

    Raises:
        RunError: there is no finished ranking, or no fitted optimum.
    """
    from scalesearch.run_files import read_result

    found = read_result(run, "ranking.json")
    if found.get("nas"):
        raise RunError(f"{run} searched for a baseline and scaled nothing: it is --baseline {run / 'winner.yaml'}")
    best = found.get("fitted") if fitted else found["ranking"][0]
    if best is None:
        raise RunError(f"{run} has no fitted optimum: it takes twelve candidates that do not lie on a line")
    return Coefficients(*(float(best[name]) for name in AXES))


def _target(out: Path | None, name: str, *, several: bool) -> Path:
    if out is None:
        return Path(f"{name}.yaml")
    folder = several or out.is_dir() or out.suffix not in (".yaml", ".yml")
    return out / f"{name}.yaml" if folder else out


def _table(name: str) -> ModelSpec:
    spec = open_baseline(name).native
    if not isinstance(spec, ModelSpec):
        raise ScaleSearchError(f"{name} is a module, no table of stages: `scalesearch check {name}` shows it")
    return spec


def baselines(name: str | None, *, as_yaml: bool, form: str) -> None:
    """List the built-in networks, or show one stage by stage."""
    page = Page(form)
    names = [name] if name else builtin_names()
    specs = {each: _table(each) for each in names}
    if name and as_yaml and page.is_terminal:
        print(dump_spec(specs[name]), end="")
        return
    costs = {spec.name: (spec, closed_form(spec)) for spec in specs.values()}
    document = [
        {"name": spec.name, "source": spec.source, "resolution": spec.resolution} | asdict(cost)
        for spec, cost in costs.values()
    ]
    if name:
        spec, cost = costs[specs[name].name]
        page.remarks().print(f"{spec.name}   {spec.source or ''}\n")
        page.show([stage_table(spec, cost)], document)
    else:
        page.show([baselines_table(costs)], document)
        page.remarks().print("\n`scalesearch baselines NAME` shows the stages, --yaml the spec to copy and edit.")
