"""Sizes of images: numbers where they are square, height and width where they are not."""

from __future__ import annotations

from pathlib import Path

import pytest

from scalesearch.errors import RecipeError
from scalesearch.image_size import (
    Rectangle,
    Resolution,
    area,
    as_resolution,
    covering,
    image_shape,
    mean_side,
    same_ratio,
    times,
)
from scalesearch.recipe import Recipe, dump_recipe, load_recipe
from scalesearch.validation import parse, read_yaml


@pytest.mark.parametrize(
    ("written", "meant"),
    [(224, 224), ("224", 224), ("64x192", Rectangle(64, 192)), ("64×192", Rectangle(64, 192)), ([64, 192],
     Rectangle(64, 192)), ("96X96", 96), ([96, 96], 96)],
)  # fmt: skip
def test_a_size_is_read_in_every_spelling_and_squares_are_numbers(written: object, meant: Resolution) -> None:
    assert as_resolution(written) == meant
    assert parse(Recipe, {"resolution": written}, RecipeError).resolution == meant


@pytest.mark.parametrize(
    ("written", "said"),
    [
        (0, "resolution: expected greater than 0, got 0"),
        ("64x0", "resolution: expected greater than 0"),
        ([64, 20000], "resolution: expected less than or equal to 16384"),
        ([64], "height and width"),
        ("wide", "HEIGHTxWIDTH as 64x192"),
        ("64x", "HEIGHTxWIDTH as 64x192"),
        ([64, 64, 3], "height and width"),
    ],
)
def test_what_is_no_size_is_told_in_one_line(written: object, said: str) -> None:
    with pytest.raises(RecipeError) as failure:
        parse(Recipe, {"resolution": written}, RecipeError)
    assert said in str(failure.value) and "\n" not in str(failure.value)


def test_rectangles_survive_a_recipes_file(tmp_path: Path) -> None:
    recipe = load_recipe("quick", {"resolution": "64x192", "data.cache_resolution": [80, 240]})
    file = tmp_path / "recipe.yaml"
    file.write_text(dump_recipe(recipe))
    assert read_yaml(file, RecipeError)["resolution"] == [64, 192]  # type: ignore[index]
    assert load_recipe(str(file)) == recipe


def test_arithmetic_takes_both_sides() -> None:
    wide = Rectangle(64, 192)
    assert str(wide) == f"{wide}" == "64×192" and f"{wide:>8}" == "  64×192"
    assert area(wide) == 64 * 192 and area(64) == 64 * 64
    assert mean_side(Rectangle(50, 200)) == 100
    assert times(wide, 1.5) == Rectangle(96, 288) and times(Rectangle(1, 3), 0.1) == 1
    assert covering([Rectangle(64, 60), 62], 1.25, 0.875) == Rectangle(92, 89)  # 80 / 0.875, 77.5 / 0.875
    assert image_shape(1, wide) == (1, 64, 192)
    assert same_ratio(wide, Rectangle(32, 96)) and same_ratio(1, 7) and not same_ratio(wide, 64)
