"""Candidates that start with the function of a smaller, trained network."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from scalesearch.candidates.start import see_grown, start_of
from scalesearch.errors import BaselineError, RecipeError, SurgeryError
from scalesearch.models.grown_model import GrownModel
from scalesearch.models.spec_model import SpecModel
from scalesearch.recipe import load_recipe
from scalesearch.run_folder import settings_of
from scalesearch.scaling.compound import Multipliers, Rounding, scale_spec
from scalesearch.scaling.spec import ModelSpec
from scalesearch.scaling.spec_files import dump_spec
from tests.support.grow_coverage import difference, shake

SMALL = ModelSpec.model_validate({
    "name": "small", "resolution": 32, "activation": "silu", "stem": {"channels": 8}, "stochastic_depth": 0.2,
    "stages": [
        {"op": "mbconv", "channels": 8, "repeats": 1, "expand": 1, "se": 0.25},
        {"op": "mbconv", "channels": 16, "repeats": 2, "stride": 2, "expand": 4, "se": 0.25},
    ],
    "head": {"channels": 32},
})  # fmt: skip


@pytest.fixture
def trained(tmp_path: Path) -> Path:
    """Weights of the small network for five classes, and its spec beside them, as `train` leaves them."""
    torch.manual_seed(0)
    torch.save(shake(SpecModel(SMALL).build(5)).state_dict(), tmp_path / "weights.pt")
    (tmp_path / "spec.yaml").write_text(dump_spec(SMALL))
    return tmp_path / "weights.pt"


def _larger(depth: float, width: float) -> SpecModel:
    return SpecModel(scale_spec(SMALL, Multipliers(depth, width, 1), Rounding()))


@pytest.mark.parametrize(("depth", "width"), [(1, 1.5), (2, 1), (1.5, 2)])
def test_a_table_of_stages_starts_with_the_same_logits(trained: Path, depth: float, width: float) -> None:
    recipe = load_recipe("quick", {"train.grow_from": str(trained)})
    small = SpecModel(SMALL).build(5)
    small.load_state_dict(torch.load(trained, weights_only=True))
    large = start_of(_larger(depth, width), recipe)
    assert isinstance(large, GrownModel) and large.fingerprint == _larger(depth, width).fingerprint
    assert difference(small, large.build(5), 32) < 1e-5


def test_without_the_key_nothing_is_grown() -> None:
    model = _larger(1, 2)
    assert start_of(model, load_recipe("quick", {})) is model


def test_what_is_smaller_is_refused_before_anything_is_trained(trained: Path) -> None:
    recipe = load_recipe("quick", {"train.grow_from": str(trained)})
    with pytest.raises(SurgeryError, match="fewer channels than small's"):
        see_grown([_larger(2, 1), _larger(1, 0.5)], recipe, 5, print)


def test_weights_of_nobody_knows_what_are_refused(trained: Path) -> None:
    (trained.parent / "spec.yaml").unlink()
    recipe = load_recipe("quick", {"train.grow_from": str(trained)})
    with pytest.raises(BaselineError, match=r"put its spec\.yaml beside it"):
        start_of(_larger(1, 2), recipe)


def test_a_network_starts_once() -> None:
    with pytest.raises(RecipeError, match="not both"):
        load_recipe("quick", {"train.grow_from": "a.pt", "train.from_weights": "b.pt"})


def test_a_run_goes_by_what_the_file_holds(trained: Path, tmp_path: Path) -> None:
    def settings(file: Path) -> dict[str, object]:
        return settings_of(load_recipe("quick", {"train.grow_from": str(file)}), {}, "f")

    same, other = _written(tmp_path / "same.pt", trained.read_bytes()), _written(tmp_path / "other.pt", b"other")
    assert settings(trained) == settings(same) != settings(other)


def _written(file: Path, content: bytes) -> Path:
    file.write_bytes(content)
    return file
