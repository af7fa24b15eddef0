"""Training that begins with somebody's weights: what is frozen stays to the bit, what is slow learns slowly."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from scalesearch.data.images import Images, load_images
from scalesearch.data.sources import open_source
from scalesearch.errors import BaselineError, RecipeError
from scalesearch.models.build import build_model
from scalesearch.models.spec_model import SpecModel
from scalesearch.models.weights import classifier_of
from scalesearch.recipe import load_recipe
from scalesearch.run_folder import settings_of
from scalesearch.scaling.spec import ModelSpec
from scalesearch.training.checkpoints import Checkpoints
from scalesearch.training.train import NullListener, train
from scalesearch.training.trainer import Trainer
from tests.support.small import TINY, Cli

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def images() -> Images:
    settings = load_recipe("quick", {"data.limit": 96}).data
    return load_images(open_source(settings), settings, 24)


@pytest.fixture
def weights(tiny: ModelSpec, tmp_path: Path) -> str:
    """Of the tiny network for five classes, as nobody initialises them."""
    torch.manual_seed(3)
    model = build_model(tiny, num_classes=5)
    for value in model.state_dict().values():
        if value.is_floating_point():
            value.add_(0.01)
    torch.save(model.state_dict(), tmp_path / "weights.pt")
    return str(tmp_path / "weights.pt")


def _features(model: nn.Module, classes: int) -> dict[str, Tensor]:
    """Everything but the classifier, norm statistics too."""
    head = {id(tensor) for tensor in classifier_of(model, classes).parameters()}
    tensors = dict(model.named_parameters()) | dict(model.named_buffers())
    return {name: value.detach().clone() for name, value in tensors.items() if id(value) not in head}


@pytest.mark.parametrize("optimizer", ["sgd", "adamw"])
def test_frozen_features_stay_to_the_bit(tiny: ModelSpec, images: Images, weights: str, optimizer: str) -> None:
    changes = {
        "train.steps": 8, "train.from_weights": weights, "train.freeze": True, "train.optimizer": optimizer,
        "train.weight_decay": 0.1,
    }  # fmt: skip
    recipe = load_recipe("quick", changes)
    fresh = Trainer(SpecModel(tiny), images.num_classes, recipe, CPU)
    before, head = _features(fresh.model, images.num_classes), classifier_of(fresh.model, images.num_classes)
    kept = torch.load(weights, weights_only=True)
    assert all(torch.equal(before[name], kept[name]) for name in before)
    outcome, trainer = train(SpecModel(tiny), images, recipe, seed=1, device=CPU)
    after = _features(trainer.model, images.num_classes)
    assert all(torch.equal(before[name], after[name]) for name in before)
    assert not torch.equal(next(classifier_of(trainer.model, images.num_classes).parameters()), next(head.parameters()))
    assert 0 <= outcome.accuracy <= 1


@pytest.mark.parametrize(
    "changes",
    [
        {"train.optimizer": "sgd"},
        {"train.optimizer": "sgd", "train.momentum": 0.0},
        {"train.optimizer": "adamw"},
        {"train.optimizer": "rmsprop_tf"},
        {"train.optimizer": "sgd", "train.features_rate": 0.1},
        {"train.optimizer": "sgd", "train.ema": 0.9},
    ],
)
def test_the_head_alone_and_then_everything(
    tiny: ModelSpec, images: Images, weights: str, changes: dict[str, object]
) -> None:
    seen: list[bool] = []
    plain = Trainer.step

    def step(self: Trainer, batch: Tensor, labels: Tensor, micro: int) -> Tensor:
        before = _features(self.model, images.num_classes)
        loss = plain(self, batch, labels, micro)
        after = _features(self.model, images.num_classes)
        seen.append(all(torch.equal(before[name], after[name]) for name in before))
        return loss

    recipe = load_recipe(
        "quick", changes | {"train.epochs": 4, "train.head_only_epochs": 2, "train.from_weights": weights}
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Trainer, "step", step)
        train(SpecModel(tiny), images, recipe, seed=1, device=CPU)
    assert seen == [True] * (len(seen) // 2) + [False] * (len(seen) // 2) and len(seen) >= 4


class _Stop(NullListener):
    def evaluated(self, step: int, accuracy: float, loss: float, steps: int) -> None:
        raise KeyboardInterrupt


@pytest.mark.parametrize("head_only", [1, 3])
def test_an_interrupted_transfer_goes_on_the_same(
    tiny: ModelSpec, images: Images, weights: str, tmp_path: Path, head_only: int
) -> None:
    changes = {
        "train.epochs": 4, "train.head_only_epochs": head_only, "train.from_weights": weights,
        "train.features_rate": 0.1, "run.checkpoint_steps": 2, "train.evaluations": 2,
    }  # fmt: skip
    recipe, kept = load_recipe("quick", changes), Checkpoints(tmp_path / "kept")
    whole, _ = train(SpecModel(tiny), images, recipe, seed=1, device=CPU)
    with pytest.raises(KeyboardInterrupt):
        train(SpecModel(tiny), images, recipe, seed=1, device=CPU, listener=_Stop(), checkpoints=kept)
    again, _ = train(SpecModel(tiny), images, recipe, seed=1, device=CPU, checkpoints=kept)
    assert again.resumed == 1
    assert (again.accuracy, again.loss, again.curve) == (whole.accuracy, whole.loss, whole.curve)


@pytest.mark.parametrize("changes", [{"train.freeze": True}, {"train.head_only_epochs": 1}])
def test_features_that_nobody_trained_are_not_frozen(changes: dict[str, object]) -> None:
    with pytest.raises(RecipeError, match="from_weights beside freeze and head_only_epochs"):
        load_recipe("quick", changes)


def test_features_learn_at_a_rate_of_their_own(tiny: ModelSpec, images: Images) -> None:
    recipe = load_recipe("quick", {"train.steps": 2, "train.features_rate": 0.1, "train.learning_rate": 0.5})
    trainer = Trainer(SpecModel(tiny), images.num_classes, recipe, CPU)
    head = {id(p) for p in classifier_of(trainer.model, images.num_classes).parameters()}
    rates = {id(p): group["lr"] for group in trainer.optimizer.param_groups for p in group["params"]}
    assert {rate for key, rate in rates.items() if key in head} == {0.5}
    assert {round(rate, 9) for key, rate in rates.items() if key not in head} == {0.05}
    assert len(rates) == len(list(trainer.model.parameters()))


def test_a_run_knows_weights_by_their_content(tiny: ModelSpec, weights: str, tmp_path: Path) -> None:
    other = tmp_path / "moved.pt"
    other.write_bytes(Path(weights).read_bytes())
    changed = tmp_path / "changed.pt"
    torch.save(build_model(tiny, num_classes=5).state_dict(), changed)
    first, moved, third = (
        settings_of(load_recipe("quick", {"train.from_weights": str(file)}), {}, "f")
        for file in (weights, other, changed)
    )
    assert first == moved != third


def test_train_tells_what_fits(cli: Cli, weights: str, tmp_path: Path) -> None:
    (tmp_path / "tiny.yaml").write_text(TINY)
    command = ("train", "tiny.yaml", "--recipe", "quick", "--steps", "4", "--limit", "96", "--device", "cpu")
    done = cli(*command, "--from-weights", weights, "--head-only", "1", "--out", "out")
    assert done.returncode == 0, done.stderr
    assert "weights of weights.pt: " in done.stdout and "2 start afresh: " in done.stdout
    assert json.loads((tmp_path / "out" / "outcome.json").read_text())["accuracy"] >= 0
    for options, told in (
        (("--from-weights", "nowhere.pt"), "no weights: "),
        (("--from-weights", "tiny.yaml"), "cannot be read as weights alone"),
    ):
        done = cli(*command, *options, "--out", "other")
        assert done.returncode != 0 and told in done.stderr.replace("\n", " ") and "Traceback" not in done.stderr


def test_a_network_without_a_classifier_is_told() -> None:
    with pytest.raises(BaselineError, match="no classifier to train alone"):
        classifier_of(nn.Conv2d(3, 4, 1), 7)
