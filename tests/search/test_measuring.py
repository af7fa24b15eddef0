"""What was measured for a plan is kept, and not measured again."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from scalesearch.candidates.grid import Plan, plan
from scalesearch.candidates.resolve import resolve_baseline
from scalesearch.errors import RunError
from scalesearch.recipe import Recipe, load_recipe
from scalesearch.runtime.device import pick_device
from scalesearch.scaling.compound import Multipliers
from scalesearch.search.measuring import MATCHED, measure_grid
from tests.support.meters import CLASSES, LawMeter


def _recipe(target: float = 2.0) -> Recipe:
    keys = {"search.match": "latency", "search.step": 0.5, "search.also": [], "resolution": 64, "search.target": target}
    return load_recipe("quick", keys)


def _planned(recipe: Recipe, folder: Path) -> tuple[Plan, LawMeter]:
    resolved = resolve_baseline(recipe)
    meter = LawMeter(resolved.baseline.scaled(Multipliers(1, 1, 1)))
    measure = measure_grid(
        recipe, resolved, pick_device("cpu"), CLASSES, told=lambda _: None, folder=folder, meter=meter
    )
    made = plan(resolved.baseline, 1.0, recipe.search, num_classes=CLASSES, dropout=resolved.dropout, measure=measure)
    return made, meter


def test_a_plan_that_the_folder_holds_is_not_measured_again(tmp_path: Path) -> None:
    first, meter = _planned(_recipe(), tmp_path)
    assert meter.asked and first.measured is not None
    (tmp_path / MATCHED).write_text(first.measured.model_dump_json())
    again, silent = _planned(_recipe(), tmp_path)
    assert silent.asked == []
    assert again.candidates == first.candidates
    other, asked = _planned(_recipe(target=2.2), tmp_path)
    assert asked.asked, "another target is another plan"
    assert other.candidates != first.candidates


def test_a_broken_file_of_measurements_is_named(tmp_path: Path) -> None:
    first, _ = _planned(_recipe(), tmp_path)
    assert first.measured is not None
    plain = first.measured.model_dump(mode="json") | {"base": -1}
    (tmp_path / MATCHED).write_text(json.dumps(plain))
    with pytest.raises(RunError, match=r"matched\.json: base"):
        _planned(_recipe(), tmp_path)
