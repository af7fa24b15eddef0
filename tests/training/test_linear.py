"""Features judged by regression: no image that is measured has a say in the fit, and the network that is left does as
well as was said."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from scalesearch.data.images import Images, Split, load_images
from scalesearch.data.sources import open_source
from scalesearch.errors import BaselineError
from scalesearch.models.build import build_model
from scalesearch.models.catalogue import model_of
from scalesearch.recipe import load_recipe
from scalesearch.scaling.spec import ModelSpec
from scalesearch.settings import DataSettings
from scalesearch.training.linear import FEATURES, Judged, LinearSettings, Probe, judge, open_probe
from scalesearch.training.trainer import Trainer

CPU, CLASSES = torch.device("cpu"), 12
SETTINGS = LinearSettings(data=DataSettings(limit=240), device="cpu")


@pytest.fixture(scope="module")
def images() -> Images:
    return load_images(open_source(SETTINGS.data), SETTINGS.data, 16)


@pytest.fixture
def weights(tiny: ModelSpec, tmp_path: Path) -> Path:
    """Of the tiny network for seven classes."""
    torch.manual_seed(3)
    torch.save(build_model(tiny, num_classes=7).state_dict(), tmp_path / "seven.pt")
    return tmp_path / "seven.pt"


def _judged(tiny: ModelSpec, weights: Path, images: Images) -> tuple[Probe, Judged]:
    probe = open_probe(model_of(tiny), weights, CLASSES, SETTINGS, CPU)
    return probe, judge(probe, images)


class _Seen(Images):
    """Images with another validation split."""

    @property
    def val(self) -> Split | None:
        return OTHER


OTHER: Split | None = None


def _with_val(images: Images, val: Split | None) -> Images:
    global OTHER  # noqa: PLW0603 a frozen value's property
    OTHER = val
    return _Seen(images.source, images.size, images.train, images.minival, images.settings)


def test_the_network_that_is_left_does_as_well_as_was_said(tiny: ModelSpec, weights: Path, images: Images) -> None:
    probe, judged = _judged(tiny, weights, images)
    torch.save(probe.network.state_dict(), weights.with_name("fitted.pt"))
    recipe = load_recipe("quick", {"train.from_weights": str(weights.with_name("fitted.pt")), "augment.eval_crop": 1.0})
    trainer = Trainer(model_of(tiny), CLASSES, recipe, CPU)
    assert images.val is not None
    evaluated = trainer.evaluate(images.val)
    assert np.array_equal(evaluated.correct.numpy(), judged.correct)
    assert judged.measured_on == "val" and evaluated.accuracy == judged.correct.mean() > 2 / CLASSES


def test_the_images_that_are_measured_have_no_say_in_the_fit(tiny: ModelSpec, weights: Path, images: Images) -> None:
    assert images.val is not None
    noise = Split(torch.randint_like(images.val.images, 256), images.val.labels.flip(0))  # type: ignore[arg-type]
    _, first = _judged(tiny, weights, images)
    _, other = _judged(tiny, weights, _with_val(images, noise))
    assert torch.equal(first.fit.weight, other.fit.weight) and first.fit.tried == other.fit.tried
    assert not np.array_equal(first.correct, other.correct)


def test_without_a_validation_split_the_minival_is_measured_and_has_no_say(
    tiny: ModelSpec, weights: Path, images: Images
) -> None:
    swapped = replace(images, minival=Split(images.minival.images, images.minival.labels.flip(0)))
    _, first = _judged(tiny, weights, _with_val(images, None))
    _, other = _judged(tiny, weights, _with_val(swapped, None))
    assert first.measured_on == "minival" and len(first.labels) == len(images.minival)
    assert torch.equal(first.fit.weight, other.fit.weight)
    assert first.trained_on == len(images.train) and first.chosen_on == CLASSES * 2


def test_the_split_of_the_training_images_decides(tiny: ModelSpec, weights: Path, images: Images) -> None:
    """Another minival may choose another penalty, and is fitted too."""
    _, judged = _judged(tiny, weights, images)
    assert judged.trained_on == len(images.train) + len(images.minival)
    assert judged.chosen_on == len(images.minival)


def test_features_stay_and_the_classifier_alone_changes(tiny: ModelSpec, weights: Path, images: Images) -> None:
    before = torch.load(weights, weights_only=True)
    probe, judged = _judged(tiny, weights, images)
    after = probe.network.state_dict()
    changed = {name for name, value in after.items() if not torch.equal(value, before[name])}
    assert {after[name].shape[0] for name in changed} == {CLASSES} and len(changed) == 2
    assert judged.features == 16


def test_features_that_nobody_has_trained_are_not_judged(tiny: ModelSpec, weights: Path) -> None:
    state = torch.load(weights, weights_only=True)
    stem = next(iter(state))
    torch.save({name: value for name, value in state.items() if name != stem}, weights)
    with pytest.raises(BaselineError, match=rf"leaves features of tiny that nobody has trained: {stem}"):
        open_probe(model_of(tiny), weights, CLASSES, SETTINGS, CPU)


def test_features_that_are_kept_are_not_computed_again(
    tiny: ModelSpec, weights: Path, images: Images, tmp_path: Path
) -> None:
    probe, first = _judged(tiny, weights, images)
    judge(probe, images, kept=tmp_path)
    assert sorted(path.name for path in tmp_path.glob("*.npy")) == sorted(FEATURES)
    blind = open_probe(model_of(tiny), weights, CLASSES, SETTINGS, CPU)
    nothing = Split(torch.zeros_like(images.train.images), images.train.labels)  # type: ignore[arg-type]
    again = judge(blind, replace(images, train=nothing), kept=tmp_path)
    assert torch.equal(again.fit.weight, first.fit.weight) and np.array_equal(again.correct, first.correct)
