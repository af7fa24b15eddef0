"""Readings: what an evaluation tells beside accuracy and loss, without a trace in the training."""

from __future__ import annotations

import pytest
import torch

from scalesearch.data.images import Images, load_images
from scalesearch.data.sources import open_source
from scalesearch.models.spec_model import SpecModel
from scalesearch.recipe import load_recipe
from scalesearch.scaling.spec import ModelSpec
from scalesearch.training.train import train

CPU = torch.device("cpu")
FOUR = ("weights", "weights_fresh", "average", "average_fresh")


@pytest.fixture(scope="module")
def images() -> Images:
    settings = load_recipe("quick", {"data.limit": 1100}).data
    return load_images(open_source(settings), settings, 24)


@pytest.mark.parametrize("changes", [{}, {"train.ema": 0.9}, {"train.dropout": 0.3, "train.stochastic_depth": 0.2}])
def test_readings_leave_the_training_as_it_was(tiny: ModelSpec, images: Images, changes: dict[str, object]) -> None:
    settings = {"train.steps": 6, "train.evaluations": 3, "train.batch_size": 32, **changes}
    plain, _ = train(SpecModel(tiny), images, load_recipe("quick", settings), seed=1, device=CPU)
    read, trainer = train(
        SpecModel(tiny), images, load_recipe("quick", {**settings, "train.readings": True}), seed=1, device=CPU
    )
    assert read.curve == plain.curve
    assert plain.readings == ()
    assert [reading["step"] for reading in read.readings] == [2, 4, 6]
    last, used = read.readings[-1], "average" if "train.ema" in changes else "weights"
    assert (last[used]["accuracy"], last[used]["loss"]) == (read.accuracy, read.loss)
    assert last["weights"]["loss"] != last["weights_fresh"]["loss"]
    assert all(0 <= last[name]["brier"] <= 2 and last[name]["loss"] > 0 for name in FOUR)
    held = images.minival
    with torch.inference_mode():  # by hand: the probabilities' squared distance from the truth, its mean over images
        batches = torch.cat([trainer._logits(trainer.result, part)[0] for part, _ in trainer._views(held)])
    truth = torch.nn.functional.one_hot(held.labels, images.num_classes)
    brier = (batches.softmax(1) - truth).square().sum(1).mean().item()
    assert last[used]["brier"] == pytest.approx(brier, rel=1e-5)
