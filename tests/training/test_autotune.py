"""What a probe decides before a run: the batch that trains fastest, and whether compiling pays."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn

from scalesearch.errors import RecipeError
from scalesearch.models.catalogue import open_baseline
from scalesearch.recipe import Recipe, load_recipe
from scalesearch.scaling.compound import Multipliers, Rounding
from scalesearch.training import autotune as tune
from scalesearch.training.compile import compile_blocks, repeated_blocks
from scalesearch.training.step_timing import noise
from scalesearch.training.trainer import Trainer

CPU = torch.device("cpu")
MODEL = open_baseline("mobilenet_v2", Rounding()).at(resolution=32).scaled(Multipliers(1, 1, 1))


def _recipe(**train: object) -> Recipe:
    return load_recipe("quick", {f"train.{key}": value for key, value in train.items()} | {"train.precision": "fp32"})


@pytest.fixture(autouse=True)
def _own_memory(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """What was measured is remembered for one test only."""
    monkeypatch.setenv("SCALESEARCH_CACHE", str(tmp_path))


class Rates:
    """Images per second by batch size, in place of measuring; ``asked`` are those that were wanted."""

    def __init__(self, known: dict[int, float]) -> None:
        self.known, self.asked = known, list[int]()

    def __call__(self, recipe: Recipe, *_: object) -> float:
        self.asked.append(recipe.train.batch_size)
        return self.known[recipe.train.batch_size]


def test_the_batch_doubles_while_it_pays_and_the_rate_grows_with_it() -> None:
    rates = Rates({16: 100, 32: 150, 64: 180, 128: 185, 256: 400})
    recipe = _recipe(epochs=10, steps=None, batch_size=16, optimizer="sgd", learning_rate=0.1, grow_batch=True)
    found, words = tune.grown(recipe, MODEL, CPU, 10, 10_000, rate_of=rates)
    assert rates.asked == [16, 32, 64, 128]
    assert (found.train.batch_size, found.train.grow_batch) == (64, False)
    assert found.train.learning_rate == pytest.approx(0.4)
    assert words.startswith(
        "batch size 64, learning rate 0.4 (the dearest candidate: 16 trains 100 images a second, 32"
    )
    tune.grown(recipe, MODEL, CPU, 10, 10_000, rate_of=rates)
    assert len(rates.asked) == 4  # it was kept


def test_memory_ends_the_doubling() -> None:
    rates = Rates({16: 100, 32: 150, 64: 0})
    found, words = tune.grown(_recipe(epochs=10, steps=None, batch_size=16), MODEL, CPU, 10, 10_000, rate_of=rates)
    assert found.train.batch_size == 32
    assert "64 ends the memory" in words


def test_a_hundred_updates_remain() -> None:
    rates = Rates({16: 1, 32: 2, 64: 4, 128: 8})
    found, _ = tune.grown(_recipe(epochs=1, steps=None, batch_size=16), MODEL, CPU, 10, 3_300, rate_of=rates)
    assert (rates.asked, found.train.batch_size) == ([16, 32], 32)


def test_as_many_images_are_seen_in_fewer_steps_and_adamws_rate_grows_by_the_root() -> None:
    found = tune.with_batch(_recipe(steps=400, batch_size=16, optimizer="adamw", learning_rate=0.001), 64)
    assert (found.train.steps, found.train.batch_size) == (100, 64)
    assert found.train.learning_rate == pytest.approx(0.002)


def test_a_memory_target_needs_a_batch_size() -> None:
    recipe = load_recipe("quick", {"train.grow_batch": True, "search.target_memory": "1GiB"})
    with pytest.raises(RecipeError, match="batch_size"):
        tune.decide(recipe, MODEL, MODEL, CPU, 10, 1_000)


def test_a_short_schedule_is_never_compiled() -> None:
    found, (words,) = tune.decide(_recipe(steps=3, batch_size=4, compile="auto"), MODEL, MODEL, CPU, 10, 100)
    assert found.train.compile == "off"
    assert words.startswith("compile off: a trial's 3 steps take")


@pytest.mark.parametrize(("saved", "choice"), [(0.5, "on"), (0.05, "off"), (-0.2, "off")])
def test_compiling_must_earn_its_time_back(saved: float, choice: str) -> None:
    """A step takes a second, building ten, and there are a hundred steps."""
    recipe = _recipe(steps=100, batch_size=4)
    timings = tune.Timings(plain=1.0, built=10.0, compiled=1.0 - saved)
    changed, words = tune.compiled(recipe, MODEL, CPU, 10, 1_000, timings_of=lambda *_: timings)
    assert changed.train.compile == choice
    assert "10 s to build" in words


def test_the_repeated_blocks_are_the_networks_own() -> None:
    blocks = repeated_blocks(MODEL.build(10))
    assert len(blocks) >= 17
    assert {type(block).__name__ for block in blocks} >= {"InvertedResidual"}
    assert not any(
        inner is other for block in blocks for inner in block.modules() if inner is not block for other in blocks
    )
    assert repeated_blocks(nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2))) == []  # leaves are not worth it


@pytest.mark.long
def test_a_compiled_network_learns_the_same() -> None:
    """Two steps of a small network, blocks compiled and not: the same losses, and the same weights to save."""
    model = open_baseline("resnet18", Rounding()).at(resolution=32).scaled(Multipliers(1, 0.125, 1))
    split = noise(4, 32, 10)
    assert isinstance(split.images, torch.Tensor)
    found = {}
    for choice in ("off", "on"):
        torch.manual_seed(0)
        trainer = Trainer(model, 10, _recipe(compile=choice, learning_rate=0.01), CPU)
        losses = [trainer.step(split.images, split.labels, 4).item() for _ in range(2)]
        found[choice] = (losses, trainer.evaluate(split).loss, sorted(trainer.state()["model"]))
    assert found["on"][0] == pytest.approx(found["off"][0], rel=1e-4)
    assert found["on"][1] == pytest.approx(found["off"][1], rel=1e-3)
    assert found["on"][2] == found["off"][2]


def test_compiling_leaves_the_weights_names_alone() -> None:
    model = MODEL.build(10)
    before = list(model.state_dict())
    assert compile_blocks(model) == len(repeated_blocks(model))
    assert list(model.state_dict()) == before
