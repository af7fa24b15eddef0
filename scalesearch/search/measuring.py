"""What candidates are measured to cost on this device, and where that is kept so that it is measured once."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

from scalesearch.candidates.comparison import ComparisonRow
from scalesearch.candidates.counted_cost import CountMemory
from scalesearch.candidates.matching import Measure, range_of
from scalesearch.candidates.measured_cost import MeasuredCost, Meter, Solved, Wish, match_measured
from scalesearch.candidates.pricing import Measured, Pricing
from scalesearch.candidates.quantities import QUANTITIES
from scalesearch.candidates.resolve import ResolvedBaseline
from scalesearch.files import kept_one
from scalesearch.models.protocols import Survey
from scalesearch.recipe import Recipe
from scalesearch.run_contents import MatchedFile, MatchedPoint
from scalesearch.run_files import read_result
from scalesearch.run_folder import digest
from scalesearch.runtime.device import pick_device, pick_precision
from scalesearch.scaling.compound import AXES, Coefficients, Multipliers
from scalesearch.settings import SearchSettings
from scalesearch.training.memory_estimate import estimated_memory
from scalesearch.training.meter import TurnMeter
from scalesearch.training.step_timing import here

MATCHED = "matched.json"
"""The file of a run's folder that holds what was measured."""

WIDE = (0.25, 8.0)
"""Of a comparison's coefficients, which no range bounds."""
LEAST_GROWTH = 1.5
"""To which networks grow that are measured for the estimate, also where rows cost what the baseline costs."""

Told = Callable[[str], None]


def wish_of(recipe: Recipe, told: Told) -> Wish:
    """What the recipe wants to be equal."""
    search = recipe.search
    return Wish(QUANTITIES[search.match], search.target**recipe.phi, search.measured_tolerance, told)


def measure_grid(
    recipe: Recipe,
    resolved: ResolvedBaseline,
    device: torch.device,
    classes: int,
    *,
    told: Told,
    folder: Path | None = None,
    meter: Meter | None = None,
) -> Measure:
    """How a grid's points are measured: kept ones of the run's folder first, then this machine's cache, then anew.

    Args:
        recipe: its precision is settled.
        folder: of the run, if there is one yet.
        meter: measures; this device in turns by default.
    """
    baseline = resolved.baseline

    def measure(survey: Survey, search: SearchSettings, solved: Sequence[Solved]) -> MatchedFile:
        asked = _asked(recipe, search, resolved, classes)
        if (known := kept_in(folder, asked)) is not None:
            told(f"{known.cost} as measured when this run was planned, on {known.device}")
            return known
        measuring = meter or TurnMeter(baseline.scaled(Multipliers(1, 1, 1)), recipe, device, classes)
        fresh = False

        def anew() -> dict[str, Any]:
            nonlocal fresh
            fresh = True
            base = baseline.scaled(Multipliers(1, 1, 1))
            ranges = [range_of(search, name) for name in AXES]
            cost = MeasuredCost(
                survey, base.cost(classes), base.spec.blocks, wish_of(recipe, told), measuring, ranges, search.target
            )
            also = [Coefficients(*each) for each in search.also]
            found = match_measured(cost, survey, solved, search.target, also)
            return found.model_copy(update={"asked": asked}).model_dump(mode="json")

        key = f"{asked} {here(device)} {measuring.place}"
        found = MatchedFile.model_validate_json(json.dumps(anew() if meter else kept_one("matched", key, anew)))
        if not fresh:
            told(f"{found.cost} as measured here before")
        return found

    return measure


@dataclass(frozen=True)
class Rows:
    """Rows of a comparison, and what they were measured to cost, if they were."""

    lines: tuple[ComparisonRow, ...]
    file: MatchedFile | None = None


def measure_rows(
    recipe: Recipe,
    resolved: ResolvedBaseline,
    classes: int,
    target: float,
    make: Callable[[Pricing], Sequence[ComparisonRow]],
    *,
    told: Told,
    folder: Path | None = None,
    asked_too: Mapping[str, Any] | None = None,
    meter: Meter | None = None,
) -> Rows:
    """Rows that cost ``target`` times the baseline: kept ones first, then this machine's cache, then anew.

    Args:
        recipe: its ``search.match`` says what is equal, and is measured.
        make: the rows by a pricing.
        folder: of the baseline's run, if there is one yet.
        asked_too: what else the rows depend on.
        meter: measures; this device in turns by default.

    Raises:
        DeviceError: the device is not there.
    """
    device = pick_device(recipe.device)
    recipe = _settled(recipe, device)
    base = resolved.baseline.scaled(Multipliers(1, 1, 1))
    asked = digest({"rows": target, **(asked_too or {}), "of": _asked(recipe, recipe.search, resolved, classes)})
    known = kept_in(folder, asked)
    if known is not None:
        told(f"{known.cost} as measured when this run was planned, on {known.device}")
        return Rows(_lines(known), known)
    measuring = meter or TurnMeter(base, recipe, device, classes)
    fresh = False

    def anew() -> dict[str, Any]:
        nonlocal fresh
        fresh = True
        wish = Wish(QUANTITIES[recipe.search.match], target, recipe.search.measured_tolerance, told)
        survey = resolved.baseline.survey(1, num_classes=classes)
        ranges = [(1.0, 1.0) if name in resolved.baseline.fixed else WIDE for name in AXES]
        growth = max(target, LEAST_GROWTH)
        pricing = Measured(MeasuredCost(survey, base.cost(classes), base.spec.blocks, wish, measuring, ranges, growth))
        lines = make(pricing)
        points = [_row_point(resolved, line, pricing.ratio_of(line.label), measuring.base) for line in lines]
        file = pricing.cost.file(points, list(pricing.models.values()), len(lines))
        rows = [asdict(line) for line in lines]
        return file.model_copy(update={"asked": asked, "rows": rows}).model_dump(mode="json")

    key = f"{asked} {here(device)} {measuring.place}"
    found = MatchedFile.model_validate_json(json.dumps(anew() if meter else kept_one("matched", key, anew)))
    if not fresh:
        told(f"{found.cost} as measured here before")
    return Rows(_lines(found), found)


def _row_point(resolved: ResolvedBaseline, line: ComparisonRow, ratio: float, base: float) -> MatchedPoint:
    at = Coefficients(line.depth, line.width, line.resolution)
    network = resolved.model(at, line.changes).fingerprint
    return MatchedPoint(
        alpha=at.alpha, beta=at.beta, gamma=at.gamma, network=network, ratio=ratio, value=ratio * base, admitted=True
    )


def _lines(file: MatchedFile) -> tuple[ComparisonRow, ...]:
    return tuple(ComparisonRow(**row) for row in file.rows)


def _settled(recipe: Recipe, device: torch.device) -> Recipe:
    """With the precision that the device takes."""
    train = recipe.train.model_copy(update={"precision": pick_precision(recipe.train, device)})
    return recipe.model_copy(update={"train": train})


def memory_of(recipe: Recipe) -> CountMemory:
    """Bytes that a training step of a network is expected to take, on the recipe's device.

    Raises:
        DeviceError: it is not there.
    """
    settled = _settled(recipe, pick_device(recipe.device))
    return lambda cost: estimated_memory(cost, settled.train, settled.train.precision)


def on_this_device(recipe: Recipe, resolved: ResolvedBaseline, classes: int, told: Told) -> dict[str, Any]:
    """What `plan` needs to match by training memory or by what is measured, where no images are known.

    Raises:
        DeviceError: the device is not there.
    """
    device = pick_device(recipe.device)
    recipe = _settled(recipe, device)
    return {
        "training_memory": memory_of(recipe),
        "measure": measure_grid(recipe, resolved, device, classes, told=told),
    }


def kept_in(folder: Path | None, asked: str) -> MatchedFile | None:
    """What a run's folder holds of what is asked; None where it was made for something else, or is not there.

    Raises:
        RunError: the file is broken.
    """
    if folder is None or not (folder / MATCHED).is_file():
        return None
    read_result(folder, MATCHED)
    found = MatchedFile.model_validate_json((folder / MATCHED).read_text(encoding="utf-8"))
    return found if found.asked == asked else None


def _asked(recipe: Recipe, search: SearchSettings, resolved: ResolvedBaseline, classes: int) -> str:
    """A digest of whatever the points depend on, but for the machine."""
    bounds = {key for key in type(search).model_fields if key.startswith("target_")}
    train = {"batch_size", "optimizer", "precision", "channels_last", "compile", "ema"}
    return digest(
        {
            "search": search.model_dump(mode="json", exclude=bounds),
            "rounding": recipe.rounding.model_dump(mode="json"),
            "network": resolved.baseline.identity,
            "phi": recipe.phi,
            "dropout": resolved.dropout,
            "classes": classes,
            "train": recipe.train.model_dump(mode="json", include=train),
        }
    )
