"""A team of processes trains the network that one process would."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from itertools import chain
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import nn

from scalesearch.data.batches import Normaliser, TrainBatches, evaluation_batches
from scalesearch.data.images import Split, load_images
from scalesearch.data.sources import open_source
from scalesearch.errors import DeviceError, RecipeError, ScaleSearchError
from scalesearch.models.catalogue import build_model
from scalesearch.recipe import load_recipe
from scalesearch.runtime.team import Team, device_of, place_in, synchronised
from scalesearch.scaling.spec import ModelSpec
from scalesearch.scaling.spec_files import load_spec
from scalesearch.settings import AugmentSettings
from scalesearch.training.single import TrainRequest, job_of
from tests.support.small import TINY, Cli

PLAIN = """
import os, signal
import torch
from torch import nn

class Block(nn.Module):
    def __init__(self):
        super().__init__()
        self.one, self.two = nn.Conv2d(8, 8, 3, padding=1), nn.Conv2d(8, 8, 3, padding=1)

    def forward(self, x):
        return x + self.two(self.one(x).relu())

class Plain(nn.Module):
    def __init__(self):
        super().__init__()
        self.stem, self.body, self.head = nn.Conv2d(3, 8, 3, 2), nn.Sequential(Block(), Block()), nn.Linear(8, 5)

    def forward(self, x):
        return self.head(self.body(self.stem(x)).mean((2, 3)))

class Unlucky(Plain):
    def forward(self, x):
        how = os.environ.get("HOW")
        if os.environ.get("RANK") == "1" and self.training and len(x) == 16:
            if how == "raise":
                raise ValueError("bad luck\\nand more of it")
            if how == "memory":
                raise torch.OutOfMemoryError("out of memory")
            if how == "kill":
                os.kill(os.getpid(), signal.SIGKILL)
        return super().forward(x)
"""
"""Networks without batch norm or dropout: who shares a batch with whom makes no difference to them."""

TWO = ("--nproc-per-node", "2")
RUN = ("--recipe", "quick", "--limit", "96", "--device", "cpu")
pair = [Team(0, 2, 0), Team(1, 2, 1)]


def _split(images: int = 40) -> Split:
    generator = torch.Generator().manual_seed(0)
    pixels = torch.randint(256, (images, 3, 16, 16), dtype=torch.uint8, generator=generator)
    return Split(pixels, torch.arange(images))


def _outcome(folder: Path) -> dict[str, Any]:
    outcome: dict[str, Any] = json.loads((folder / "outcome.json").read_text())
    return outcome


def test_the_images_of_every_step_are_those_of_a_single_run() -> None:
    """Three epochs of random views: each step's shares, put back together, are the batch of one process."""

    def batches(team: Team) -> list[tuple[torch.Tensor, torch.Tensor]]:
        augment = AugmentSettings(policy="randaugment")
        made = TrainBatches(_split(), augment, 12, batch_size=8, seed=5, team=team)
        assert (made.batch_size, made.steps_per_epoch) == (8, 5)
        return list(made.take(15, start=2))

    for whole, first, second in zip(batches(Team()), *map(batches, pair), strict=True):
        for single, one, other in zip(whole, first, second, strict=True):
            assert len(one) == len(other) == 4
            assert torch.equal(single[0::2], one)
            assert torch.equal(single[1::2], other)


@pytest.mark.parametrize("images", [1, 2, 7, 40])
def test_every_image_is_evaluated_by_exactly_one(images: int) -> None:
    trio = [Team(rank, 3, rank) for rank in range(3)]
    seen = [evaluation_batches(_split(images), 8, 1.0, 4, team) for team in trio]
    assert [int(label) for _, labels in chain(*seen) for label in labels] == list(range(images))


def test_a_place_is_what_torchrun_says() -> None:
    assert place_in({"RANK": "5", "WORLD_SIZE": "8", "LOCAL_RANK": "1"}) == Team(5, 8, 1)
    assert place_in({"RANK": "5"}) is None
    with pytest.raises(ScaleSearchError, match="not torchrun's"):
        place_in({"RANK": "five", "WORLD_SIZE": "8"})


def _wish(tmp_path: Path, **changes: object) -> TrainRequest:
    (tmp_path / "tiny.yaml").write_text(TINY)
    overrides = {"device": "cpu", "data.limit": 96, **changes}
    return TrainRequest(str(tmp_path / "tiny.yaml"), "quick", overrides)


def test_a_batch_that_does_not_divide_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match="batch_size: expected a multiple of the 2 processes, got '33'"):
        job_of(_wish(tmp_path, **{"train.batch_size": 33}), pair[1])
    few = _wish(tmp_path, **{"data.limit": 13})
    with pytest.raises(RecipeError, match="got '13: there are only 13 training images'"):
        job_of(few, pair[1])
    assert job_of(few, Team()).train_images == 13


def test_devices_that_cannot_be_shared_are_refused() -> None:
    with pytest.raises(DeviceError, match="--sync-batchnorm needs CUDA"):
        device_of(Team(0, 2, 0, sync_batchnorm=True), "cpu")
    assert [device_of(team, "cpu") for team in pair] == [torch.device("cpu")] * 2


def test_a_network_is_trained_at_its_own_size_with_the_recipes_dropout(tmp_path: Path) -> None:
    """The recipe's 48 px are those of another baseline's search."""
    job = job_of(_wish(tmp_path, **{"train.dropout": 0.4}), Team())
    assert (job.model.resolution, job.recipe.resolution) == (16, 16)
    spec = job.model.spec
    assert isinstance(spec, ModelSpec) and spec.head.dropout == 0.4
    again = job_of(_wish(tmp_path, **{"train.dropout": 0.4, "search.step": 0.1}), Team())
    assert again.folder == job.folder, "what a grid would try is no matter of one network"


class Scaled(nn.BatchNorm2d):
    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return 2 * super().forward(images)


def test_batch_norms_are_synchronised_or_refused() -> None:
    import timm

    model = nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4, momentum=0.3))
    names = list(model.state_dict())
    synced = synchronised(model)
    assert isinstance(synced[1], nn.SyncBatchNorm) and synced[1].momentum == 0.3  # type: ignore[index]
    assert list(synced.state_dict()) == names
    with pytest.raises(ScaleSearchError, match="0 is a Scaled, which SyncBatchNorm cannot replace"):
        synchronised(nn.Sequential(Scaled(4)))
    network = timm.create_model("mobilenetv3_small_050")
    activations = sum(isinstance(module, nn.Hardswish) for module in network.modules())
    kinds = [type(module).__name__ for module in synchronised(network).modules()]
    assert kinds.count("SyncBatchNormAct") > 10 and not any("BatchNormAct2d" in kind for kind in kinds)
    assert kinds.count("Hardswish") == activations


@pytest.mark.long
def test_two_processes_train_a_network_without_norm_as_one_does(cli: Cli, tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(PLAIN)
    options = ("train", "mine.py:Plain", *RUN, "--resolution", "16", "--steps", "20", "--set", "train.ema=0.9")
    for name, team in (("one", ()), ("two", TWO)):
        done = cli(*options, "--out", name, *team)
        assert (done.returncode, done.stderr) == (0, "")
    one, two = _outcome(tmp_path / "one"), _outcome(tmp_path / "two")
    assert two["processes"] == 2 and two["micro_batch"] == 16
    assert two["train_loss"] == pytest.approx(one["train_loss"], abs=1e-4)
    for single, shared in zip(one["curve"], two["curve"], strict=True):
        assert shared[0] == single[0]
        assert shared[1:] == pytest.approx(single[1:], abs=1e-4)
    assert two["val_accuracy"] == pytest.approx(one["val_accuracy"], abs=1 / 600)


@pytest.mark.long
def test_a_network_with_batch_norm_agrees_within_noise_and_its_weights_are_the_accuracys(
    cli: Cli, tmp_path: Path
) -> None:
    options = ("train", "tiny.yaml", *RUN, "--steps", "80")
    for name, team in (("one", ()), ("two", TWO)):
        done = cli(*options, "--out", name, *team)
        assert (done.returncode, done.stderr) == (0, "")
    one, two = _outcome(tmp_path / "one"), _outcome(tmp_path / "two")
    assert one["accuracy"] > 2 / 12
    assert two["accuracy"] == pytest.approx(one["accuracy"], abs=0.08)
    exported = cli(
        "export", "two/spec.yaml", "--weights", "two/weights.safetensors", "--num-classes", "12", "--out", "two.pt2"
    )
    assert exported.returncode == 0, exported.stderr
    settings = load_recipe("quick", {"data.limit": 96}).data
    minival = load_images(open_source(settings), settings, 16).minival
    network = build_model(load_spec(tmp_path / "two" / "spec.yaml"), 12)
    network.load_state_dict(load_file(tmp_path / "two" / "weights.safetensors"))
    normalise = Normaliser(torch.device("cpu"), channels_last=True)
    for logits_of in (network.eval(), torch.export.load(tmp_path / "two.pt2").module()):
        right = 0
        for images, labels in evaluation_batches(minival, 16, 1.0, 100):
            with torch.no_grad():
                logits = logits_of(normalise(images))
            right += int((logits.argmax(1) == labels).sum())
        assert right / len(minival) == pytest.approx(two["accuracy"], abs=1.5 / len(minival))


@pytest.mark.long
def test_a_killed_team_goes_on_to_the_result_of_an_undisturbed_one(cli: Cli, tmp_path: Path) -> None:
    """Dropout and random depth draw from each process's own generator, which the checkpoint has to keep."""
    options = (
        "train", "tiny.yaml", *RUN, *TWO, "--steps", "60", "--set", "train.dropout=0.3", "--set", "train.ema=0.9",
        "--set", "run.checkpoint_steps=7",
    )  # fmt: skip
    assert cli(*options, "--out", "whole").returncode == 0
    command = [sys.executable, "-m", "scalesearch", *options, "--out", "killed"]
    with subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as running:
        deadline = time.monotonic() + 200
        while not list((tmp_path / "killed" / "checkpoints").glob("step-*.pt")):
            assert running.poll() is None and time.monotonic() < deadline
            time.sleep(0.01)
        os.kill(running.pid, signal.SIGKILL)
    time.sleep(2)  # its processes notice
    assert not (tmp_path / "killed" / "outcome.json").exists()
    done = cli(*options, "--out", "killed")
    assert (done.returncode, done.stderr) == (0, "")
    whole, resumed = _outcome(tmp_path / "whole"), _outcome(tmp_path / "killed")
    assert (whole["resumed"], resumed["resumed"]) == (0, 1)
    for key in ("curve", "correct", "train_loss", "val_accuracy"):
        assert resumed[key] == whole[key], key
    assert not (tmp_path / "killed" / "checkpoints").exists()
    again = cli(*options, "--out", "killed", "--json")
    assert json.loads(again.stdout) == resumed, "a finished training is not repeated"


@pytest.mark.long
@pytest.mark.parametrize(
    ("how", "extra", "said"),
    [
        ("raise", (), "rank 1: ValueError: bad luck"),
        ("kill", (), "rank 1: killed by SIGKILL (had the machine's memory ended?)"),
        ("memory", (), "rank 1: memory of cpu ended at 16 images a step: lower --batch-size, or share it among more "
         "processes (out of memory)"),
        ("", ("--learning-rate", "1e30", "--optimizer", "sgd"), "the loss is nan at step 10 of 12: lower "
         "train.learning_rate, or warm up longer"),
    ],
)  # fmt: skip
def test_a_failure_in_a_team_is_one_line(
    cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, how: str, extra: tuple[str, ...], said: str
) -> None:
    (tmp_path / "mine.py").write_text(PLAIN)
    monkeypatch.setenv("HOW", how)
    done = cli("train", "mine.py:Unlucky", *RUN, *TWO, *extra, "--resolution", "16", "--steps", "12", "--out", "out")
    assert (done.returncode, done.stderr) == (2, f"error: {said}\n")


def test_a_mistake_is_one_line(cli: Cli) -> None:
    done = cli("train", "tiny.yaml", *RUN, *TWO, "--sync-batchnorm")
    said = "error: --sync-batchnorm needs CUDA: torch.nn.SyncBatchNorm does not run on cpu\n"
    assert (done.returncode, done.stdout, done.stderr) == (2, "", said)


@pytest.mark.long
def test_under_the_users_own_torchrun_it_joins(cli: Cli, tmp_path: Path) -> None:
    options = ["train", "tiny.yaml", *RUN, "--steps", "6"]
    assert cli(*options, *TWO, "--out", "ours").returncode == 0
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", *TWO, "-m", "scalesearch"]
    done = subprocess.run([*torchrun, *options, "--out", "theirs"], cwd=tmp_path, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr
    ours, theirs = _outcome(tmp_path / "ours"), _outcome(tmp_path / "theirs")
    assert theirs["processes"] == 2
    assert theirs["curve"] == ours["curve"]
