"""Class weights: scikit-learn's, the same in whole batches and in their parts, mixed or not."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.metrics import log_loss
from sklearn.utils.class_weight import compute_class_weight

from scalesearch.models.spec_model import SpecModel
from scalesearch.recipe import load_recipe
from scalesearch.run_folder import settings_of
from scalesearch.scaling.spec import ModelSpec
from scalesearch.settings import TrainSettings
from scalesearch.training.class_weights import balanced, cross_entropy, weights_words
from scalesearch.training.trainer import Trainer

LABELS = torch.tensor([0] * 12 + [1] * 5 + [2] * 3)
LOGITS = torch.randn(20, 3, generator=torch.Generator().manual_seed(0))
CPU = torch.device("cpu")
BALANCED = TrainSettings(epochs=1, class_weights="balanced")


def test_weights_are_scikit_learns() -> None:
    wanted = compute_class_weight("balanced", classes=np.arange(3), y=LABELS.numpy())
    np.testing.assert_allclose(balanced(LABELS, 3).numpy(), wanted)
    assert balanced(LABELS, 4).tolist() == [*balanced(LABELS, 3).tolist(), 0.0], "a class without images"


def test_the_loss_is_log_loss_with_sample_weights() -> None:
    weights = balanced(LABELS, 3)
    found = cross_entropy(LOGITS, LABELS, weights.float(), 0.0)
    probabilities = LOGITS.double().softmax(1).numpy()
    probabilities /= probabilities.sum(1, keepdims=True)
    wanted = log_loss(LABELS.numpy(), probabilities, sample_weight=weights[LABELS].numpy())
    assert float(found) == pytest.approx(wanted, rel=1e-5), "the weights' mean over these images is 1"


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_labels_as_shares_give_the_loss_of_labels(smoothing: float) -> None:
    weights = balanced(LABELS, 3).float()
    shares = torch.nn.functional.one_hot(LABELS, 3).float()
    one = cross_entropy(LOGITS, LABELS, weights, smoothing)
    torch.testing.assert_close(cross_entropy(LOGITS, shares, weights, smoothing), one)


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_a_mixed_images_loss_is_mixed_of_both_labels_losses(smoothing: float) -> None:
    weights, shares = balanced(LABELS, 3).float(), torch.nn.functional.one_hot(LABELS, 3).float()
    mixed = 0.3 * shares + 0.7 * shares.flip(0)
    parts = [cross_entropy(LOGITS, labels, weights, smoothing) for labels in (LABELS, LABELS.flip(0))]
    torch.testing.assert_close(cross_entropy(LOGITS, mixed, weights, smoothing), 0.3 * parts[0] + 0.7 * parts[1])


def test_without_weights_the_loss_is_torchs() -> None:
    wanted = torch.nn.functional.cross_entropy(LOGITS, LABELS, label_smoothing=0.1)
    assert torch.equal(cross_entropy(LOGITS, LABELS, None, 0.1), wanted)


def test_equal_weights_change_nothing() -> None:
    plain = cross_entropy(LOGITS, LABELS, None, 0.1)
    torch.testing.assert_close(cross_entropy(LOGITS, LABELS, torch.ones(3), 0.1), plain)


def test_parts_of_a_batch_add_up_to_the_whole(tiny: ModelSpec) -> None:
    """With plain SGD and no norm statistics between images, an update from parts is that from the batch."""
    recipe = load_recipe("quick", {"train.optimizer": "sgd", "train.class_weights": "balanced"})
    generator = torch.Generator().manual_seed(1)
    images = torch.randint(0, 256, (12, 3, 16, 16), dtype=torch.uint8, generator=generator)
    labels = torch.tensor([0] * 9 + [1, 1, 2])
    found = []
    for micro_batch in (12, 5):
        torch.manual_seed(0)
        trainer = Trainer(SpecModel(tiny), 3, recipe, CPU)
        trainer.weigh_classes(balanced(labels, 3))
        for module in trainer.model.modules():
            if isinstance(module, torch.nn.BatchNorm2d):
                module.eval()
                module.train = lambda _mode=True, own=module: own  # type: ignore[method-assign,misc]
        found.append((float(trainer.step(images, labels, micro_batch)), trainer.model.state_dict()))
    (whole, weights), (parts, same) = found
    assert parts == pytest.approx(whole, rel=1e-5)
    for name in weights:
        torch.testing.assert_close(same[name], weights[name], rtol=1e-4, atol=1e-6)


def test_what_the_weights_come_to_is_said_in_a_line() -> None:
    assert weights_words(BALANCED, LABELS.tolist(), ("dog", "cat", "fox")) == (
        "class weights: an image counts 0.556 ('dog') to 2.22 ('fox') times in the loss, n/(k·n_c)",
    )
    assert weights_words(TrainSettings(epochs=1), LABELS.tolist(), ("dog", "cat", "fox")) == ()


def test_weights_of_equal_classes_are_said_to_do_nothing() -> None:
    words = weights_words(BALANCED, [0, 0, 1, 1], ("dog", "cat"))
    assert words == ("class weights: none, since every class has 2 images to train on",)


def test_older_runs_go_on_without_class_weights() -> None:
    recipe = load_recipe("quick", {})
    assert "train.class_weights" not in settings_of(recipe, {}, "")
    weighed = recipe.model_copy(update={"train": recipe.train.model_copy(update={"class_weights": "balanced"})})
    assert settings_of(weighed, {}, "")["train.class_weights"] == "balanced"
