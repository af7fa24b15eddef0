"""Shorter schedules that branch off a long one: each is what it would have been by itself, and so is the long one."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from scalesearch.data.images import Images, load_images
from scalesearch.data.sources import open_source
from scalesearch.errors import RecipeError
from scalesearch.models.spec_model import SpecModel
from scalesearch.recipe import Recipe, load_recipe
from scalesearch.scaling.spec import ModelSpec
from scalesearch.settings import TrainSettings
from scalesearch.training.checkpoints import Checkpoints
from scalesearch.training.legs import legs, shorter_lengths, steps_in_all
from scalesearch.training.optim import learning_rate_factor
from scalesearch.training.train import NullListener, train

CPU = torch.device("cpu")
WSD = {"train.schedule": "wsd", "train.steps": 40, "train.evaluations": 8}
KINDS: list[dict[str, object]] = [
    {},
    {"train.ema": 0.9, "train.dropout": 0.3, "augment.policy": "randaugment"},
    {"train.optimizer": "adamw", "train.learning_rate": 0.001, "train.warmup_epochs": 1},
    {"train.optimizer": "rmsprop_tf", "train.learning_rate": 0.01, "train.readings": True},
]


@pytest.fixture(scope="module")
def images() -> Images:
    settings = load_recipe("quick", {"data.limit": 96}).data
    return load_images(open_source(settings), settings, 24)


def _recipe(**changes: object) -> Recipe:
    return load_recipe("quick", {**WSD, **{f"train.{name}": value for name, value in changes.items()}})


@pytest.mark.parametrize("kind", KINDS)
def test_a_branch_is_what_a_schedule_of_that_length_would_be(
    kind: dict[str, object], tiny: ModelSpec, images: Images
) -> None:
    recipe = load_recipe("quick", {**WSD, "train.lengths": [0.25, 0.5], **kind})
    whole, _ = train(SpecModel(tiny), images, recipe, seed=1, device=CPU)
    assert [each["steps"] for each in whole.shorter] == [10, 20]
    for each in whole.shorter:
        alone = load_recipe("quick", {**WSD, **kind, "train.steps": each["steps"]})
        dedicated, _ = train(SpecModel(tiny), images, alone, seed=1, device=CPU)
        assert (each["accuracy"], each["loss"], each["correct"]) == (
            dedicated.accuracy,
            dedicated.loss,
            dedicated.correct,
        )
    without, _ = train(SpecModel(tiny), images, load_recipe("quick", {**WSD, **kind}), seed=1, device=CPU)
    assert (whole.accuracy, whole.loss, whole.correct) == (without.accuracy, without.loss, without.correct)
    if without.readings:
        assert whole.readings[-1] == without.readings[-1]


def test_the_curve_is_in_order_and_a_branch_is_measured_at_its_end_only(tiny: ModelSpec, images: Images) -> None:
    outcome, _ = train(SpecModel(tiny), images, _recipe(lengths=[0.25, 0.5]), seed=1, device=CPU)
    steps = [step for step, _, _ in outcome.curve]
    assert steps == sorted(set(steps)) == [5, 10, 15, 20, 25, 30, 35, 40]
    by_step = {step: accuracy for step, accuracy, _ in outcome.curve}
    assert [by_step[each["steps"]] for each in outcome.shorter] == [each["accuracy"] for each in outcome.shorter]


class _Killed(NullListener):
    """Ends a trial at its n-th step, branches counted."""

    def __init__(self, last: int) -> None:
        self.last, self.told = last, list[tuple[int, int]]()

    def step(self, step: int, steps: int, loss: float, images_per_second: float) -> None:
        self.told.append((step, steps))
        if step >= self.last:
            raise KeyboardInterrupt


@pytest.mark.parametrize("last", [10, 12, 20, 34, 40])
def test_an_interrupted_trial_goes_on_to_the_same_result(
    last: int, tiny: ModelSpec, images: Images, tmp_path: Path
) -> None:
    """Interrupted on the trunk and within a branch; a branch begins again."""
    recipe = _recipe(lengths=[0.25, 0.5]).model_copy(
        update={"run": load_recipe("quick", {"run.checkpoint_steps": 3}).run}
    )
    whole, _ = train(SpecModel(tiny), images, recipe, seed=1, device=CPU)
    with pytest.raises(KeyboardInterrupt):
        train(SpecModel(tiny), images, recipe, seed=1, device=CPU, listener=_Killed(last), checkpoints=_kept(tmp_path))
    again, _ = train(SpecModel(tiny), images, recipe, seed=1, device=CPU, checkpoints=_kept(tmp_path))
    assert again.resumed == 1
    assert (again.accuracy, again.loss, again.curve, again.shorter, again.correct) == (
        whole.accuracy, whole.loss, whole.curve, whole.shorter, whole.correct,
    )  # fmt: skip


def _kept(folder: Path) -> Checkpoints:
    return Checkpoints(folder)


def test_progress_counts_the_branches(tiny: ModelSpec, images: Images) -> None:
    listener = _Killed(10**9)
    train(SpecModel(tiny), images, _recipe(lengths=[0.25, 0.5]), seed=1, device=CPU, listener=listener)
    done = [step for step, _ in listener.told]
    assert done == sorted(done) and done[-1] == 40 + 2 + 4
    assert {steps for _, steps in listener.told} == {46}


@given(
    steps=st.integers(1, 500),
    lengths=st.lists(st.floats(0.001, 0.999), max_size=5),
    cooldown=st.floats(0.01, 1),
)
def test_legs_cover_every_schedule(steps: int, lengths: list[float], cooldown: float) -> None:
    settings = TrainSettings(steps=steps, schedule="wsd", lengths=tuple(lengths), cooldown=cooldown)
    found = legs(settings, steps)
    trunk = [leg for leg in found if not leg.branch]
    assert trunk[0].start == 0 and trunk[-1].stop == steps
    assert all(before.stop == after.start for before, after in pairwise(trunk))
    branches = [leg for leg in found if leg.branch]
    assert [leg.stop for leg in branches] == shorter_lengths(settings, steps)
    at = 0
    for leg in found:
        assert leg.start == at and leg.steps > 0
        at = leg.start if leg.branch else leg.stop
    assert steps_in_all(settings, steps) == steps + sum(leg.steps for leg in branches)


def test_the_rate_is_constant_and_then_cools_down() -> None:
    settings = TrainSettings(steps=100, schedule="wsd", warmup_epochs=1)
    factors = [learning_rate_factor(step, 100, 10, settings) for step in range(100)]
    assert factors[:10] == pytest.approx([(i + 1) / 11 for i in range(10)])
    assert set(factors[10:81]) == {1.0}
    assert factors[85] == pytest.approx(1 - 0.25**0.5) and 0 < factors[99] < 0.03
    assert factors[80:] == sorted(factors[80:], reverse=True)


@pytest.mark.parametrize("schedule", ["cosine", "exponential"])
def test_lengths_need_a_constant_rate(schedule: str) -> None:
    with pytest.raises(RecipeError, match="wsd"):
        _recipe(schedule=schedule, lengths=[0.5])


def test_an_old_checkpoint_knows_no_branches(tiny: ModelSpec, images: Images, tmp_path: Path) -> None:
    recipe = _recipe().model_copy(update={"run": load_recipe("quick", {"run.checkpoint_steps": 3}).run})
    with pytest.raises(KeyboardInterrupt):
        train(SpecModel(tiny), images, recipe, seed=1, device=CPU, listener=_Killed(20), checkpoints=_kept(tmp_path))
    state: dict[str, Any] = _kept(tmp_path).newest(CPU) or {}
    assert state.pop("shorter") == []
    _kept(tmp_path).save(state["step"], state)
    again, _ = train(SpecModel(tiny), images, recipe, seed=1, device=CPU, checkpoints=_kept(tmp_path))
    assert again.resumed == 1
