"""A recipe: everything about a run that its author writes down. Its sections are `settings`."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import AfterValidator, BaseModel, Field, NonNegativeInt, PositiveInt

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
from scalesearch.validation import Strict, nearest, parse, read_yaml, shipped_or_path

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
    accuracy, by accuracy·(MACs/target)^−0.07, which pays for cheapness (Tan & Le 2019, §4), or by balanced accuracy or
    macro F1, in which every class counts alike (`ranking.class_metrics`). ``nas`` is `scalesearch nas`'s alone.
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
    objective: Literal["accuracy", "acc_macs", "balanced_accuracy", "macro_f1"] = "accuracy"
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


def overrides_of(keywords: Mapping[str, object], section: str | None = None) -> dict[str, object]:
    """Keywords of a function as overrides by dotted key.

    A keyword is a key of the recipe, with a dict where that is a section, or the last word of a key that one section
    alone has: ``epochs`` is ``train.epochs``. Paths and NumPy's numbers become plain values.

    Args:
        section: whose keys these are, if they are one section's.

    Raises:
        RecipeError: there is no such key, or several sections have it.

    >>> overrides_of({"seeds": 3, "epochs": 2, "augment": {"mixup": 0.2}})
    {'seeds': 3, 'train.epochs': 2, 'augment.mixup': 0.2}
    """
    found: dict[str, object] = {}
    for name, value in keywords.items():
        key = f"{section}.{name}" if section else _key_of(name)
        if isinstance(value, Mapping) and key in _SECTIONS:
            found |= overrides_of(value, key)
        elif isinstance(value, Path):
            found[key] = str(value)
        else:
            found[key] = value.item() if hasattr(value, "item") else value
    return found


_SECTIONS: dict[str, type[BaseModel]] = {
    name: field.annotation
    for name, field in Recipe.model_fields.items()
    if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel)
}


def _key_of(name: str) -> str:
    if name in Recipe.model_fields or "." in name:
        return name
    homes = [section for section, model in _SECTIONS.items() if section != "nas" and name in model.model_fields]
    if len(homes) == 1:
        return f"{homes[0]}.{name}"
    if homes:
        words = " or ".join(f'{home}={{"{name}": …}}' for home in homes)
        raise RecipeError(name, f"one section to be named: {words}", name)
    known = [*Recipe.model_fields, *(key for model in _SECTIONS.values() for key in model.model_fields)]
    near = nearest(name, known)
    raise RecipeError(name, "a key of a recipe" + (f" (did you mean {near}?)" if near else ""), name)


def dump_recipe(recipe: Recipe) -> str:
    """The recipe as YAML with every default written out."""
    return yaml.safe_dump(recipe.model_dump(mode="json"), sort_keys=False, allow_unicode=True, width=100)
