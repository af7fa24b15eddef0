"""The call of timm's train.py: timm's own scheduler, built from its options, gives the rates of our schedule."""

from __future__ import annotations

import shlex
from argparse import Namespace
from pathlib import Path

import pytest
import torch

from scalesearch.recipe import load_recipe
from scalesearch.training.optim import learning_rate_factor
from scalesearch.training.timm_schedule import timm_schedule

scheduler_factory = pytest.importorskip("timm.scheduler.scheduler_factory")

UPDATES = 50
"""Of an epoch."""


def _options(command: list[str]) -> dict[str, list[str]]:
    """The options with their values, as a shell would split them."""
    found: dict[str, list[str]] = {}
    for word in shlex.split(" ".join(line.removesuffix("\\") for line in command)):
        if word.startswith("-"):
            name = word.lstrip("-").replace("-", "_")
            found[name] = []
        elif found:
            found[name].append(word)
    return found


def _theirs(options: dict[str, list[str]]) -> list[float]:
    """The factors of the rate that timm takes, update by update, until its own last."""
    rate = float(options["lr"][0])
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=rate)
    numbers = {name: float(options[name][0]) for name in ("min_lr", "warmup_lr", "decay_rate", "decay_epochs")
               if name in options}  # fmt: skip
    asked = Namespace(
        sched=options["sched"][0], sched_on_updates="sched_on_updates" in options, epochs=int(options["epochs"][0]),
        warmup_epochs=int(options["warmup_epochs"][0]), warmup_prefix="warmup_prefix" in options, cooldown_epochs=0,
        **{"min_lr": 0.0, **numbers},
    )  # fmt: skip
    keywords = scheduler_factory.scheduler_kwargs(asked)
    made, epochs = scheduler_factory.create_scheduler_v2(optimizer, **keywords, updates_per_epoch=UPDATES)
    rates = []
    for update in range(epochs * UPDATES):
        made.step_update(update)
        rates.append(optimizer.param_groups[0]["lr"] / rate)
    return rates


@pytest.mark.parametrize("warmup", [0, 2, 3])
@pytest.mark.parametrize("schedule", ["cosine", "exponential", "wsd"])
@pytest.mark.parametrize("epochs", [4, 10, 20])
def test_timms_scheduler_makes_our_rates(schedule: str, warmup: int, epochs: int) -> None:
    changes = {"train.schedule": schedule, "train.epochs": epochs, "train.steps": None, "train.warmup_epochs": warmup,
               "train.learning_rate": 0.2, "data.source": "folder:images"}  # fmt: skip
    recipe = load_recipe("imagenette", changes)
    made = timm_schedule(recipe, "net", None)
    theirs = _theirs(_options(list(made.command)))
    ours = [learning_rate_factor(i, epochs * UPDATES, UPDATES, recipe.train) for i in range(epochs * UPDATES)]
    if schedule == "wsd" and "cosine here" in " ".join(made.unlike):
        pytest.skip("this timm has no such schedule, and the words say so")
    assert len(theirs) == len(ours)
    assert theirs == pytest.approx(ours, abs=0.15 if schedule == "wsd" else 1.1 / UPDATES)


def test_a_rise_all_along_is_said() -> None:
    recipe = load_recipe("imagenette", {"train.epochs": 2, "train.warmup_epochs": 3})
    made = timm_schedule(recipe, "net", None)
    options = _options(list(made.command))
    assert (options["epochs"], options["warmup_epochs"]) == (["1"], ["1"])
    assert any("the rate rose all along" in words for words in made.unlike)


@pytest.mark.parametrize("path", ["my data/pics", "it's here", "plain"])
def test_paths_reach_the_program_whole(path: str, tmp_path: Path) -> None:
    made = timm_schedule(load_recipe("imagenette", {"data.source": f"folder:{tmp_path / path}"}), "net", None)
    options = _options(list(made.command))
    assert options["data_dir"] == [str(tmp_path / path)]
    assert options["scale"] == ["0.6", "1"] and options["train_interpolation"] == ["bicubic"]
