"""What trainings start from: the function of a smaller network, wherever its weights lie, whatever its images are."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from scalesearch.candidates.start import start_of
from scalesearch.data.batches import MEAN, STD
from scalesearch.data.sources import open_source
from scalesearch.errors import BaselineError
from scalesearch.models.build import build_model
from scalesearch.models.spec_baseline import SpecBaseline
from scalesearch.models.weights_file import About, read_safetensors, write_weights
from scalesearch.recipe import load_recipe
from scalesearch.scaling.compound import Multipliers
from scalesearch.scaling.spec import ModelSpec
from scalesearch.scaling.spec_files import dump_spec
from scalesearch.settings import DataSettings
from scalesearch.training.normalisation import with_normalisation

HALF = (0.5, 0.5, 0.5)


@pytest.fixture
def small(tiny: ModelSpec, tmp_path: Path) -> Path:
    """A folder of `train`, whose images were normalised by halves."""
    folder = tmp_path / "small"
    folder.mkdir()
    write_weights(
        folder / "weights.safetensors", build_model(tiny, 12).state_dict(), About(tiny, None, 16, MEAN, STD, 1.0)
    )
    (folder / "spec.yaml").write_text(dump_spec(tiny))
    (folder / "recipe.yaml").write_text("data: {mean: [0.5, 0.5, 0.5], std: [0.5, 0.5, 0.5]}\n")
    (folder / "settings.json").write_text("{}")
    return folder


def test_a_folder_names_its_weights_and_how_images_are_normalised_for_them(tiny: ModelSpec, small: Path) -> None:
    larger = SpecBaseline(tiny).scaled(Multipliers(1, 1.5, 1))
    recipe = load_recipe("quick", {"train.grow_from": str(small)})
    decided, said = with_normalisation(recipe, larger, open_source(DataSettings()))
    assert decided.train.grow_from == str(small / "weights.safetensors")
    assert (decided.data.mean, decided.data.std) == (HALF, HALF) and "recipe.yaml says of their training" in said[0]
    assert start_of(larger, decided).build(12)


def test_a_grey_network_grows_from_one_for_colour(tiny: ModelSpec, small: Path) -> None:
    """A grey image as three equal channels gives the small network what its sum over them gives the grown one."""
    larger = SpecBaseline(tiny).at(channels=1).scaled(Multipliers(1, 1.5, 1))
    recipe = load_recipe("quick", {"train.grow_from": str(small / "weights.safetensors")})
    grown = start_of(larger, recipe).build(12).double().eval()
    colour = build_model(tiny, 12).double().eval()
    colour.load_state_dict(read_safetensors(small / "weights.safetensors"))
    image = torch.rand(2, 1, 16, 16, dtype=torch.float64)
    torch.testing.assert_close(grown(image), colour(image.expand(-1, 3, -1, -1)), rtol=1e-4, atol=1e-5)


def test_weights_that_are_not_there_are_said_in_a_line(tiny: ModelSpec, tmp_path: Path) -> None:
    recipe = load_recipe("quick", {"train.grow_from": str(tmp_path / "none.pt")})
    with pytest.raises(BaselineError, match=r"there is no file .*none\.pt"):
        start_of(SpecBaseline(tiny).scaled(Multipliers(1, 1.5, 1)), recipe)
