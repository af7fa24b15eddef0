"""A trained network at other image sizes: measured there, with statistics of there, and left as it was."""

from __future__ import annotations

import pytest
import torch

from scalesearch.data.images import Images, load_images
from scalesearch.data.sources import open_source
from scalesearch.models.spec_model import SpecModel
from scalesearch.recipe import load_recipe
from scalesearch.scaling.spec import ModelSpec
from scalesearch.training.eval_sizes import measured_at
from scalesearch.training.train import train
from scalesearch.trials import unpacked

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def images() -> Images:
    settings = load_recipe("quick", {"data.limit": 96}).data
    return load_images(open_source(settings), settings, 24)


@pytest.mark.parametrize("ema", [0.0, 0.9])
def test_sizes_are_measured_and_the_rest_is_as_without(tiny: ModelSpec, images: Images, ema: float) -> None:
    changes: dict[str, object] = {"train.steps": 20, "train.ema": ema}
    plain, _ = train(SpecModel(tiny), images, load_recipe("quick", changes), seed=1, device=CPU)
    changes |= {"train.eval_resolutions": [1.25, 0.75]}
    outcome, trainer = train(SpecModel(tiny), images, load_recipe("quick", changes), seed=1, device=CPU)
    assert (outcome.accuracy, outcome.loss, outcome.curve) == (plain.accuracy, plain.loss, plain.curve)
    assert [(each["factor"], each["pixels"]) for each in outcome.sizes] == [(0.75, 12), (1.0, 16), (1.25, 20)]
    own = outcome.sizes[1]
    assert (own["accuracy"], own["loss"], own["correct"], own["kept"]) == (
        outcome.accuracy, outcome.loss, outcome.correct, outcome.accuracy,
    )  # fmt: skip
    for each in outcome.sizes:
        assert unpacked(each["correct"], len(images.minival)).mean() == pytest.approx(each["accuracy"])
    assert trainer.resolution == 16
    before = {name: value.clone() for name, value in trainer.model.state_dict().items()}
    again = measured_at(trainer, images, (0.75, 1.25), 16)
    assert [each["accuracy"] for each in again] == [outcome.sizes[0]["accuracy"], outcome.sizes[2]["accuracy"]]
    assert all(torch.equal(value, before[name]) for name, value in trainer.model.state_dict().items())


def test_statistics_of_the_size_are_worth_more_than_trainings(tiny: ModelSpec, images: Images) -> None:
    """With statistics that fit nothing, only those estimated afresh are right."""
    recipe = load_recipe("quick", {"train.steps": 60})
    _, trainer = train(SpecModel(tiny), images, recipe, seed=1, device=CPU)
    for module in trainer.model.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.running_mean.fill_(50.0)  # type: ignore[union-attr]
    (found,) = measured_at(trainer, images, (1.25,), 16)
    assert found["accuracy"] > found["kept"] + 0.05
