"""Recipes: the shipped ones are right, and a wrong key is told with its path."""

from __future__ import annotations

from pathlib import Path

import pytest

from scalesearch.errors import RecipeError, ScaleSearchError
from scalesearch.models.catalogue import builtin
from scalesearch.recipe import Recipe, dump_recipe, load_recipe, parse_assignments, recipe_names
from scalesearch.validation import parse


@pytest.mark.parametrize("name", recipe_names())
def test_every_shipped_recipe_is_valid_and_names_its_file(name: str) -> None:
    recipe = load_recipe(name)
    assert recipe.name == name
    assert recipe.about
    builtin(recipe.baseline)


def test_the_shipped_recipes_are_the_ones_the_readme_promises() -> None:
    assert {"quick", "full", "imagenette", "cifar10", "paper", "transfer"} == set(recipe_names())


def test_a_resolved_recipe_reads_back_as_itself(tmp_path: Path) -> None:
    recipe = load_recipe("paper", {"search.target_macs": "1.2G"})
    file = tmp_path / "again.yaml"
    file.write_text(dump_recipe(recipe))
    assert load_recipe(str(file)) == recipe
    assert recipe.search.target_macs == 1_200_000_000


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("train.epoch", 3, "train.epoch: expected a known key (did you mean epochs?)"),
        ("trian.epochs", 3, "trian: expected a known key (did you mean train?)"),
        ("search.step", -1, "search.step: expected greater than 0, got -1"),
        ("data.minival", 1.5, "data.minival: expected less than 1, got 1.5"),
        ("search.target_macs", "many", "search.target_macs: expected a number, with k, M, G"),
        ("train.optimizer", "lion", "train.optimizer: expected 'sgd', 'adamw' or 'rmsprop_tf', got 'lion'"),
        ("search.max_beta", 0.5, "search: expected min_beta ≤ max_beta"),
    ],
)
def test_a_wrong_key_or_value_is_named_with_its_path(key: str, value: object, message: str) -> None:
    with pytest.raises(RecipeError) as failure:
        load_recipe("quick", {key: value})
    assert str(failure.value).startswith(message)


def test_an_unknown_recipe_names_the_nearest() -> None:
    with pytest.raises(ScaleSearchError, match="did you mean imagenette"):
        load_recipe("imagenete")


def test_epochs_on_the_command_line_replace_the_recipes_steps() -> None:
    recipe = load_recipe("quick", {"train.epochs": 3})
    assert (recipe.train.epochs, recipe.train.steps) == (3, None)
    with pytest.raises(RecipeError, match="either epochs or steps"):
        parse(Recipe, {"train": {"epochs": 1, "steps": 1}}, RecipeError)


def test_assignments_are_yaml_values_at_dotted_keys() -> None:
    given = parse_assignments(["train.ema=0.99", "augment.scale=[0.5, 1]", "device=cpu"])
    assert given == {"train.ema": 0.99, "augment.scale": [0.5, 1], "device": "cpu"}
    with pytest.raises(RecipeError, match="KEY=VALUE"):
        parse_assignments(["train.ema"])
