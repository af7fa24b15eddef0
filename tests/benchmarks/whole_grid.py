"""A whole grid, from the command to the ranking, beside its candidates trained one by one by torchvision's loop."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader
from torchvision.transforms import v2

from scalesearch.data.images import split_indices
from scalesearch.data.sources import open_source
from scalesearch.models.protocols import ScaledModel
from scalesearch.recipe import Recipe, load_recipe
from scalesearch.search.setup import prepare
from tests.benchmarks.common import Spread, alone, in_turns, pick, ratios, write_page
from tests.benchmarks.loops import loader_of, loaders, torchvision_epochs, warm_up, where

GRID = {"baseline": "mobilenet_v2", "resolution": 64, "search.step": 0.12, "top": 0, "exhaustive": True}
CPU = {"data.limit": 640, "train.epochs": 2, "train.batch_size": 32, "train.evaluations": 2}
"""An evaluation after each epoch, as the others' loop makes them."""
LARGE = {"data.limit": 7680, "train.epochs": 4, "train.batch_size": 256, "train.evaluations": 4}


def whole_grid(data: Path, rounds: int) -> None:
    """Measure both in turns and write the page."""
    device = pick()
    options = GRID | (LARGE if device.type == "cuda" else CPU) | {"data.source": f"folder:{data.resolve()}"}
    prepared = prepare(load_recipe("imagenette", options))
    models = [candidate.model for candidate in prepared.plan.candidates]
    contenders: dict[str, Callable[[], float]] = {
        "scalesearch grid": lambda: _search(options),
        "scalesearch grid --per-device auto": lambda: _search(options | {"run.per_device": "auto"}),
    }
    other = "one by one"
    measured = in_turns(contenders | {other: lambda: alone(_one_by_one, models, prepared.recipe, data)}, rounds)
    rows = [(name, Spread.of(seconds), ratios(measured, other, name)) for name, seconds in measured.items()]
    count, recipe = len(prepared.plan.candidates), prepared.recipe
    write_page(
        "grid" if device.type == "cpu" else "grid-gpu",
        "A whole grid",
        ("", "seconds", "one by one ÷ it"),
        rows,
        f"{count} candidates of MobileNetV2 at 64 px × γ, {prepared.train_images} images × {recipe.train.epochs:g} "
        f"epochs, batch {recipe.train.batch_size}, {prepared.minival_images} images held out and measured "
        f"{recipe.train.evaluations} times. The grid: the command in a process of its own with an empty cache, so with "
        "start-up, plan, decoding, counting, checkpoints, ledger, figures and specs, and with the probe of `auto`. One "
        f"by one: torchvision's loop as in `peers`, loading {where(loaders())}, in a process that has everything "
        "imported, each candidate evaluated as often; its epochs and evaluations alone are timed. In turns, "
        f"{rounds} rounds: median (lowest–highest).",
        f"grid --data PATH --rounds {rounds}",
    )


def _search(options: dict[str, object]) -> float:
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "scalesearch", "grid", "--recipe", "imagenette", "--out", f"{folder}/run"]
        for key, value in options.items():
            command += ["--set", f"{key}={value}"]
        start = time.perf_counter()
        done = subprocess.run(
            command,
            env=os.environ | {"SCALESEARCH_CACHE": f"{folder}/cache"},
            capture_output=True,
            text=True,
            check=False,
        )
        seconds = time.perf_counter() - start
        if done.returncode:
            raise RuntimeError(done.stderr)
        return seconds


def _one_by_one(models: Sequence[ScaledModel], recipe: Recipe, data: Path) -> float:
    device = pick()
    train, minival = split_indices(open_source(recipe.data), recipe.data)
    workers, batch = loaders(), recipe.train.batch_size
    seconds = 0.0  # of epochs and evaluations: neither the folder's listing nor the networks' making is in it
    for model in models:
        network, size = model.build(10), model.resolution
        assert isinstance(size, int)
        warm_up(network, size, batch, device)
        views = [v2.Resize(round(size / 0.875)), v2.CenterCrop(size)]
        held_out = loader_of(data, minival, views, batch=batch, workers=workers, device=device, training=False)
        seconds += sum(torchvision_epochs(
            network, data, train, size=size, batch=batch, epochs=recipe.train.evaluations, workers=workers,
            device=device, after=partial(_evaluate, network, held_out, device),
        ))  # fmt: skip
    return seconds


@torch.inference_mode()
def _evaluate(network: nn.Module, held_out: DataLoader[tuple[Tensor, int]], device: torch.device) -> int:
    """How many were right; in full precision, as the reference evaluates."""
    network.eval()
    right = torch.zeros((), dtype=torch.int64, device=device)
    for images, labels in held_out:
        moved = images.to(device, non_blocking=True, memory_format=torch.channels_last)
        right += (network(moved).argmax(1) == labels.to(device, non_blocking=True)).sum()
    return int(right)
