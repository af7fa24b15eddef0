"""A trial that was interrupted goes on from its checkpoint and ends as if nothing had happened."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from scalesearch.data.images import Images, load_images
from scalesearch.data.sources import open_source
from scalesearch.models.spec_model import SpecModel
from scalesearch.recipe import load_recipe
from scalesearch.scaling.spec import ModelSpec
from scalesearch.training.checkpoints import Checkpoints
from scalesearch.training.train import NullListener, train
from scalesearch.trials import Outcome, unpacked

CPU = torch.device("cpu")
EVERYTHING = {
    "train.steps": 24, "train.evaluations": 6, "train.ema": 0.9, "train.dropout": 0.3, "train.stochastic_depth": 0.3,
    "augment.policy": "randaugment", "run.checkpoint_steps": 5,
}  # fmt: skip


class StopError(Exception):
    """As if the process had been killed."""


class StopAt(NullListener):
    def __init__(self, step: int) -> None:
        self.at = step

    def evaluated(self, step: int, accuracy: float, loss: float, steps: int) -> None:
        if step == self.at:
            raise StopError


@pytest.fixture(scope="module")
def images() -> Images:
    settings = load_recipe("quick", {"data.limit": 96}).data
    return load_images(open_source(settings), settings, 24)


def _results(outcome: Outcome) -> tuple[object, ...]:
    return (
        outcome.accuracy,
        outcome.loss,
        outcome.train_loss,
        outcome.curve,
        outcome.correct,
        outcome.memory,
        outcome.readings,
    )


@pytest.mark.parametrize(("optimizer", "more"), [
    ("sgd", {}), ("adamw", {}), ("rmsprop_tf", {}), ("sgd", {"train.readings": True, "train.ema": 0.0}),
])  # fmt: skip
def test_a_trial_interrupted_twice_is_bit_equal_to_one_never_interrupted(
    tiny: ModelSpec, images: Images, tmp_path: Path, optimizer: str, more: dict[str, object]
) -> None:
    recipe = load_recipe("quick", {**EVERYTHING, "train.optimizer": optimizer, "train.learning_rate": 0.01, **more})
    whole, _ = train(SpecModel(tiny), images, recipe, seed=3, device=CPU)
    checkpoints = Checkpoints(tmp_path)
    for step in (8, 16):
        with pytest.raises(StopError):
            train(SpecModel(tiny), images, recipe, seed=3, device=CPU, listener=StopAt(step), checkpoints=checkpoints)
        torch.rand(7)
    resumed, _ = train(SpecModel(tiny), images, recipe, seed=3, device=CPU, checkpoints=checkpoints)
    assert _results(resumed) == _results(whole)
    assert (whole.resumed, resumed.resumed) == (0, 2)


def test_which_images_were_right_is_kept(tiny: ModelSpec, images: Images) -> None:
    outcome, _ = train(SpecModel(tiny), images, load_recipe("quick", {"train.steps": 6}), seed=0, device=CPU)
    correct = unpacked(outcome.correct, len(images.minival))
    assert correct.shape == (300,)
    assert correct.mean() == outcome.accuracy


def test_the_newest_whole_checkpoint_is_read(tmp_path: Path) -> None:
    checkpoints = Checkpoints(tmp_path)
    assert checkpoints.newest() is None
    for step in (10, 20, 30):
        assert checkpoints.save(step, {"step": step, "weights": torch.full((1000,), float(step))})
    assert [file.name for file in sorted(tmp_path.iterdir())] == ["step-000000020.pt", "step-000000030.pt"]
    newest = checkpoints.newest()
    assert newest is not None and newest["step"] == 30


@pytest.mark.parametrize("damage", ["cut", "flipped", "empty"])
def test_a_torn_checkpoint_is_skipped(tmp_path: Path, damage: str) -> None:
    checkpoints = Checkpoints(tmp_path)
    for step in (10, 20):
        checkpoints.save(step, {"step": step, "weights": torch.arange(1000.0)})
    file = tmp_path / "step-000000020.pt"
    content = bytearray(file.read_bytes())
    place = content.find(torch.arange(500.0, 510.0).numpy().tobytes())
    content[place] ^= 0x40
    damaged = {"cut": content[:900], "flipped": content, "empty": bytearray()}
    file.write_bytes(damaged[damage])
    newest = checkpoints.newest()
    assert newest is not None and newest["step"] == 10


def test_no_room_costs_the_checkpoint_and_not_the_trial(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    assert not Checkpoints(tmp_path / "file").save(1, {"step": 1})
