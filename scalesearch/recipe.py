"""A recipe: everything about a run that its author writes down. Its sections are `settings`."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import AfterValidator, Field, NonNegativeInt, PositiveInt

from scalesearch.errors import RecipeError
from scalesearch.image_size import InputSize
from scalesearch.scaling.compound import Rounding
from scalesearch.settings import (
    AugmentSettings,
    DataSettings,
    NasSettings,
    RunSettings,
    SearchSettings,
    Share,
    TrainSettings,
)
from scalesearch.validation import Strict, parse, read_yaml, shipped_or_path

DEFAULT_CONFIDENCE = 0.95
"""Of intervals and of what is called tied, where a recipe does not say."""

Unit = Literal["seconds", "share", "trials"]

_BUDGETS = {
    r"(\d+(?:\.\d+)?) ?h": ("seconds", 3600.0),
    r"(\d+(?:\.\d+)?) ?min": ("seconds", 60.0),
    r"(\d+(?:\.\d+)?) ?%": ("share", 0.01),
    r"(\d+)[ -]trials?": ("trials", 1.0),
}


@dataclass(frozen=True)
class Budget:
    """``amount`` of a ``unit``: seconds by the clock, trials, or a share of what all trials of all candidates cost."""

    amount: float
    unit: Unit

    @classmethod
    def parse(cls, text: str) -> Budget:
        """Read "2h", "90min", "30%" or "40-trials".

        Raises:
            ValueError: it is none of these, or nothing.

        >>> Budget.parse("1.5h")
        Budget(amount=5400.0, unit='seconds')
        """
        for form, (unit, factor) in _BUDGETS.items():
            found = re.fullmatch(form, text.strip())
            if found and float(found[1]) > 0:
                return cls(float(found[1]) * factor, unit)  # type: ignore[arg-type]
        raise ValueError("a budget such as 2h, 90min, 30% or 40-trials")


def _budget(text: str) -> str:
    Budget.parse(text)
    return text


class Recipe(Strict):
    """A whole run: baseline, φ, candidates, images, schedule, seeds.

    Every candidate is trained with ``seeds`` seeds. With ``budget`` ("2h", "30%", "40-trials") or ``confidence``, some
    are, spread over the shares of depth, width and resolution (all, if ``exhaustive``), and then whichever promises
    most, up to ``max_seeds`` seeds of one: until the budget is spent, or one is the best with that probability, or at
    most ``within`` (an accuracy) worse than the best. A candidate whose interval no longer reaches the leader's after
    the same number of steps is dropped in mid-schedule, unless ``exhaustive``. ``objective`` orders the ranking: by
    accuracy, or by accuracy·(MACs/target)^−0.07, which pays for cheapness (Tan & Le 2019, §4). ``nas`` is
    `scalesearch nas`'s alone.
    """

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")] = "custom"
    about: str | None = None
    baseline: str = "efficientnet_b0"
    phi: Annotated[float, Field(ge=-100, le=100)] = 1.0
    resolution: InputSize | None = None
    seeds: Annotated[PositiveInt, Field(le=1000)] = 1
    confidence: Annotated[float, Field(gt=0.5, lt=1)] | None = None
    within: Share = 0.0
    max_seeds: Annotated[PositiveInt, Field(le=1000)] = 10
    budget: Annotated[str, AfterValidator(_budget)] | None = None
    exhaustive: bool = False
    objective: Literal["accuracy", "acc_macs"] = "accuracy"
    top: NonNegativeInt = 3
    device: str = "auto"
    search: SearchSettings = SearchSettings()
    nas: NasSettings = NasSettings()
    rounding: Rounding = Rounding()
    data: DataSettings = DataSettings()
    augment: AugmentSettings = AugmentSettings()
    train: TrainSettings = TrainSettings(epochs=5)
    run: RunSettings = RunSettings()


def refuse_nas(recipe: Recipe) -> None:
    """Raises RecipeError if the recipe is of a search for a baseline: what it asks for would not be done."""
    if recipe.nas.target_macs is not None:
        raise RecipeError("nas.target_macs", "nothing: `scalesearch nas` takes it", recipe.nas.target_macs)


def recipe_folder() -> Path:
    """Where the shipped recipes are: inside the installed package, or beside it in a checkout."""
    inside = Path(__file__).parent / "recipes"
    return inside if inside.is_dir() else Path(__file__).parent.parent / "recipes"


def recipe_names() -> list[str]:
    """The shipped recipes, sorted."""
    return sorted(path.stem for path in recipe_folder().glob("*.yaml"))


def load_recipe(name: str, overrides: Mapping[str, object] | None = None) -> Recipe:
    """A shipped recipe by name, or a file by path, with ``overrides`` by dotted key (``train.epochs``).

    Raises:
        RecipeError: no such recipe; a key that does not exist, or a value out of range, with its path.
    """
    path = shipped_or_path(name, recipe_folder(), "recipe")
    data = read_yaml(path, RecipeError) or {}
    if not isinstance(data, dict):
        raise RecipeError(str(path), "keys and values", data)
    data.setdefault("name", path.stem)
    return parse(Recipe, merged(data, overrides or {}), RecipeError)


def merged(data: dict[str, Any], overrides: Mapping[str, object]) -> dict[str, Any]:
    """``data``, which is changed, with the ``overrides`` at their dotted keys; of epochs and steps the given one stays.

    Raises:
        RecipeError: a key leads through a value that is no section.
    """
    for key, value in overrides.items():
        *parents, leaf = key.split(".")
        place = data
        for parent in parents:
            inner = place.setdefault(parent, {})
            if not isinstance(inner, dict):
                raise RecipeError(parent, "a section with keys", inner)
            place = inner
        place[leaf] = value
        other = {"train.epochs": "steps", "train.steps": "epochs"}.get(key)
        if other and value is not None and f"train.{other}" not in overrides:
            place.pop(other, None)
    return data


def parse_assignments(assignments: Sequence[str]) -> dict[str, object]:
    """``["train.epochs=5"]`` as overrides; values are YAML.

    Raises:
        RecipeError: an assignment has no ``=``.
    """
    overrides: dict[str, object] = {}
    for text in assignments:
        key, equals, value = text.partition("=")
        if not equals or not key:
            raise RecipeError("--set", "KEY=VALUE", text)
        try:
            overrides[key.strip()] = yaml.safe_load(value)
        except (yaml.YAMLError, ValueError, TypeError, OverflowError, RecursionError) as failure:
            raise RecipeError(key, "a YAML value", value) from failure
    return overrides


def dump_recipe(recipe: Recipe) -> str:
    """The recipe as YAML with every default written out."""
    return yaml.safe_dump(recipe.model_dump(mode="json"), sort_keys=False, allow_unicode=True, width=100)
