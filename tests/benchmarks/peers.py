"""The same network, images, batch and epochs, trained by others' loops."""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from unittest import mock

import torch

from scalesearch.baselines import ScaledModel, open_baseline
from scalesearch.data import load_images, open_source
from scalesearch.data.images import split_indices
from scalesearch.pace import noise, seconds_per_step
from scalesearch.recipe import DataSettings, Recipe, TrainSettings
from scalesearch.scaling import Multipliers
from scalesearch.train import Deaf, train
from tests.benchmarks.common import Spread, pick, write_page
from tests.benchmarks.loops import DECAY, RATE, timm_epochs, torchvision_epochs

ROWS = (
    ("mobilenet_v2", 64, 32, 960),
    ("efficientnet_b0", 64, 32, 640),
    ("resnet50", 64, 32, 640),
    ("mobilenet_v2", 128, 32, 320),
    ("efficientnet_b0", 224, 16, 160),
)
"""Network, pixels, batch, images; the images are multiples of ten batches, after which progress is told."""

FEW = 0.001
"""The share held out, which scalesearch decodes beside; the others decode what they train on."""

Loop = Callable[..., list[float]]

LOOPS: dict[str, Loop] = {"torchvision's loop": torchvision_epochs, "timm's parts": timm_epochs}

LARGE = (("mobilenet_v2", 128, 256, 7680), ("efficientnet_b0", 224, 256, 7680), ("resnet50", 224, 256, 7680))
"""The rows for an accelerator."""


def peers(data: Path, rounds: int, epochs: int = 3) -> None:
    """Measure every row, in turns, and write the page."""
    device, rows = pick(), []
    for name, size, batch, count in LARGE if device.type == "cuda" else ROWS:
        print(f"{name} at {size} px, batch {batch}, {count} images", flush=True)
        model = open_baseline(name).at(resolution=size).scaled(Multipliers(1, 1, 1))
        settings = DataSettings(source=f"folder:{data}", limit=count, minival=FEW)
        chosen = split_indices(open_source(settings), settings)[0]
        recipe = Recipe(train=TrainSettings(steps=2, batch_size=batch))
        seconds_per_step(model, recipe, device, noise(batch, size, 10), steps=2)  # the kernels' first calls
        first: dict[str, list[float]] = {}
        later: dict[str, list[float]] = {}
        for number in range(rounds):
            measures = {
                key: partial(_others, loop, model, data, chosen, size, batch, epochs, device)
                for key, loop in LOOPS.items()
            }
            measures["scalesearch"] = partial(_ours, model, settings, batch, epochs, device)
            order = list(measures) if number % 2 == 0 else list(measures)[::-1]
            for key in order:
                torch.manual_seed(0)
                seconds = measures[key]()
                first.setdefault(key, []).append(count / seconds[0])
                later.setdefault(key, []).append(count * (epochs - 1) / sum(seconds[1:]))
                print(f"  {key}: " + " ".join(f"{s:.2f}" for s in seconds), flush=True)
        gain = [Spread.of([a / b for a, b in zip(later["scalesearch"], later[k], strict=True)]) for k in LOOPS]
        cells = [f"{Spread.of(later[key])} · {Spread.of(first[key]).median:.3g}" for key in measures]
        rows.append((name, size, batch, count, *cells, *gain))
    write_page(
        "peers" if device.type == "cpu" else "peers-gpu",
        "The same training by other loops",
        ("network", "px", "batch", "images", *LOOPS, "scalesearch", *(f"÷ {loop}" for loop in LOOPS)),
        rows,
        f"Images per second of the later epochs (of {epochs}), and behind the dot of the first one, in which "
        "scalesearch also decodes the images into its cache. The same network, images (Imagenette), batch, SGD; the "
        f"others decode, crop and flip JPEG files in {_workers(device)} processes, and are given channels_last, which "
        f"neither turns on by itself. No evaluation in any of them. In turns, {rounds} rounds: median "
        "(lowest–highest).",
        f"peers --data PATH --rounds {rounds}",
    )  # fmt: skip


def _workers(device: torch.device) -> int:
    return min(16, os.cpu_count() or 1) if device.type == "cuda" else 2


def _others(
    loop: Loop,
    model: ScaledModel,
    data: Path,
    chosen: list[int],
    size: int,
    batch: int,
    epochs: int,
    device: torch.device,
) -> list[float]:
    """``chosen`` are indices of an ImageFolder too: both sort files alike."""
    network = model.build(10)
    workers = _workers(device)
    return loop(network, data, chosen, size=size, batch=batch, epochs=epochs, workers=workers, device=device)


class _Epochs(Deaf):
    """Notes when each epoch ended."""

    def __init__(self, per_epoch: int) -> None:
        self.per_epoch, self.ends = per_epoch, [time.perf_counter()]

    def step(self, step: int, steps: int, loss: float, images_per_second: float) -> None:
        if step % self.per_epoch == 0:
            self.ends.append(time.perf_counter())


def _ours(model: ScaledModel, settings: DataSettings, batch: int, epochs: int, device: torch.device) -> list[float]:
    recipe = Recipe(
        data=settings,
        train=TrainSettings(epochs=epochs, batch_size=batch, learning_rate=RATE, weight_decay=DECAY, evaluations=1),
    )
    with tempfile.TemporaryDirectory() as cache, mock.patch.dict(os.environ, {"SCALESEARCH_CACHE": cache}):
        ears = _Epochs((settings.limit or 0) // batch)
        side = round(model.resolution / recipe.augment.eval_crop)
        images = load_images(open_source(settings), settings, side).on(device)
        train(model, images, recipe, seed=0, device=device, listener=ears)
    return [end - start for start, end in zip(ears.ends, ears.ends[1:], strict=False)]
