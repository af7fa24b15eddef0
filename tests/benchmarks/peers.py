"""The same network, images, batch and epochs, trained by others' loops."""

from __future__ import annotations

import os
import tempfile
import time
from functools import partial
from itertools import pairwise
from pathlib import Path
from unittest import mock

import torch

from scalesearch.data.images import load_images, split_indices
from scalesearch.data.sources import open_source
from scalesearch.image_size import times
from scalesearch.recipe import Recipe
from scalesearch.settings import DataSettings, TrainSettings
from scalesearch.training.step_timing import noise, seconds_per_step
from scalesearch.training.train import NullListener, train
from tests.benchmarks.common import Spread, alone, baseline, in_turns, pick, ratios, write_page
from tests.benchmarks.loops import DECAY, RATE, loaders, timm_epochs, torchvision_epochs, warm_up, where

ROWS = (
    ("mobilenet_v2", 64, 32, 960),
    ("efficientnet_b0", 64, 32, 960),
    ("resnet50", 64, 32, 960),
    ("mobilenet_v2", 128, 32, 640),
    ("efficientnet_b0", 224, 16, 320),
)
"""Network, pixels, batch, images; the images are multiples of ten batches, after which progress is told."""

LARGE = (("mobilenet_v2", 128, 256, 7680), ("efficientnet_b0", 224, 256, 7680), ("resnet50", 224, 256, 7680))
"""The rows for an accelerator."""

FEW = 0.001
"""The share held out, which scalesearch decodes beside; the others decode what they train on."""

EPOCHS = 3
OURS = "scalesearch"
LOOPS = {"torchvision's loop": torchvision_epochs, "timm's parts": timm_epochs}

Row = tuple[str, int, int, int]
Seconds = list[float]


def peers(data: Path, rounds: int) -> None:
    """Measure every row, in turns, and write the page."""
    large, rows = pick().type == "cuda", []
    for row in LARGE if large else ROWS:
        name, size, batch, count = row
        print(f"{name} at {size} px, batch {batch}, {count} images", flush=True)
        measured = in_turns(
            {key: partial(alone, _others, key, row, data) for key in LOOPS} | {OURS: partial(alone, _ours, row, data)},
            rounds,
            told=lambda epochs: " ".join(f"{seconds:.2f}" for seconds in epochs),
        )
        first = {key: [count / seconds[0] for seconds in every] for key, every in measured.items()}
        later = {key: [count * (EPOCHS - 1) / sum(seconds[1:]) for seconds in every] for key, every in measured.items()}
        cells = [f"{Spread.of(later[key])} · {Spread.of(first[key]).median:.3g}" for key in measured]
        rows.append((*row, *cells, *(ratios(each, OURS, loop) for each in (later, first) for loop in LOOPS)))
    write_page(
        "peers-gpu" if large else "peers",
        "The same training by other loops",
        ("network", "px", "batch", "images", *LOOPS, OURS,
         *(f"÷ {loop}" for loop in LOOPS), *(f"first epoch ÷ {loop}" for loop in LOOPS)),
        rows,
        f"Images per second of the later epochs (of {EPOCHS}), and behind the dot of the first one, in which "
        "all make the network, and scalesearch decodes the images into its cache and counts it. The same network, "
        "images (Imagenette), batch, SGD; the others decode, crop and flip JPEG files in every epoch, "
        f"{where(loaders())}, and are given channels_last, which neither turns on by itself. No evaluation in any of "
        f"them. Each measurement in a process of its own, in turns, {rounds} rounds: median (lowest–highest).",
        f"peers --data PATH --rounds {rounds}",
    )  # fmt: skip


def _settings(data: Path, count: int) -> DataSettings:
    return DataSettings(source=f"folder:{data}", limit=count, minival=FEW)


def _others(loop: str, row: Row, data: Path) -> Seconds:
    """The chosen indices are an ImageFolder's too: both sort files alike."""
    name, size, batch, count = row
    settings = _settings(data, count)
    chosen = split_indices(open_source(settings), settings)[0]
    torch.manual_seed(0)
    model = baseline(name, size)
    warm_up(model.build(10), size, batch, pick())
    start = time.perf_counter()
    network = model.build(10)
    made = time.perf_counter() - start
    first, *later = LOOPS[loop](
        network, data, chosen, size=size, batch=batch, epochs=EPOCHS, workers=loaders(), device=pick()
    )  # fmt: skip
    return [made + first, *later]


class _Epochs(NullListener):
    """Notes when each epoch ended."""

    def __init__(self, per_epoch: int) -> None:
        self.per_epoch, self.ends = per_epoch, [time.perf_counter()]

    def step(self, step: int, steps: int, loss: float, images_per_second: float) -> None:
        if step % self.per_epoch == 0:
            self.ends.append(time.perf_counter())


def _ours(row: Row, data: Path) -> Seconds:
    name, size, batch, count = row
    settings, device = _settings(data, count), pick()
    model = baseline(name, size)
    recipe = Recipe(
        data=settings,
        train=TrainSettings(epochs=EPOCHS, batch_size=batch, learning_rate=RATE, weight_decay=DECAY, evaluations=1),
    )
    seconds_per_step(model, recipe, device, noise(batch, size, 10), steps=2)  # the kernels' first calls
    with tempfile.TemporaryDirectory() as cache, mock.patch.dict(os.environ, {"SCALESEARCH_CACHE": cache}):
        source, side = open_source(settings), times(model.resolution, 1 / recipe.augment.eval_crop)
        ears = _Epochs(count // batch)
        images = load_images(source, settings, side).on(device)
        train(model, images, recipe, seed=0, device=device, listener=ears)
    return [end - start for start, end in pairwise(ears.ends)]
