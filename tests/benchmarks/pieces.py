"""What surrounds a training step, piece by piece: as libraries do it, and as scalesearch does it."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import NamedTuple
from unittest import mock

import numpy as np
import torch
from PIL import Image
from torch import nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn
from torchvision.datasets import ImageFolder
from torchvision.transforms import InterpolationMode, v2

from scalesearch.data.augment import Augmentation
from scalesearch.data.batches import MEAN, STD, Normaliser
from scalesearch.data.decoded_cache import decode
from scalesearch.data.sources import folder
from scalesearch.models.catalogue import open_baseline
from scalesearch.models.fvcore_count import count, counted
from scalesearch.runtime.allocator import keep_freed
from scalesearch.scaling.compound import Multipliers
from scalesearch.settings import AugmentSettings, TrainSettings
from scalesearch.training.optim import WeightAverage, make_optimizer
from tests.benchmarks.common import Spread, baseline, in_turns, ratios, write_page

CPU = torch.device("cpu")
CACHED, SEEN, BATCH, CLASSES = 73, 64, 32, 10
"""Pixels of a decoded image and of a view of it; images at a time."""
SECONDS = 0.5
"""That a measurement takes."""
USUAL, OURS = "usual", "scalesearch"

Work = Callable[[], object]


class Piece(NamedTuple):
    """Two ways of the same work on ``parts`` things at once; ``usual`` says how ``theirs`` does it."""

    name: str
    usual: str
    theirs: Work
    ours: Work
    parts: int = 1


def pieces(data: Path, rounds: int) -> None:
    """Measure every piece, in turns, with one thread, and write the page; it is about CPUs."""
    torch.set_num_threads(1)
    torch.manual_seed(0)
    keep_freed()  # as in a process that trains
    rows = []
    with tempfile.TemporaryDirectory() as cache, mock.patch.dict("os.environ", {"SCALESEARCH_CACHE": cache}):
        for piece in (_decoding(data), *_views(data), _normalising(), _update(), _averaging(), _counting()):
            print(piece.name, flush=True)
            measured = in_turns(
                {
                    USUAL: partial(_milliseconds, piece.theirs, piece.parts),
                    OURS: partial(_milliseconds, piece.ours, piece.parts),
                },
                rounds,
            )
            spreads = Spread.of(measured[USUAL]), Spread.of(measured[OURS]), ratios(measured, USUAL, OURS)
            rows.append((piece.name, piece.usual, *spreads))
    write_page(
        "pieces",
        "What surrounds a step",
        ("piece", "as libraries do it", "ms", "scalesearch, ms", "times as fast"),
        rows,
        "On a CPU, with one thread and memory that is kept. Images are photographs, decoded to "
        f"{CACHED} px and seen at {SEEN}, {BATCH} at a time; milliseconds are per image where the piece says so. In "
        f"turns, {rounds} rounds: median (lowest–highest).",
        f"pieces --data PATH --rounds {rounds}",
        CPU,
    )


def _milliseconds(work: Work, parts: int) -> float:
    """Of one part, when the work is done again and again."""
    work()
    repeats, start = 0, time.perf_counter()
    while (seconds := time.perf_counter() - start) < SECONDS:
        work()
        repeats += 1
    return 1e3 * seconds / repeats / parts


def _decoding(data: Path) -> Piece:
    files = [path for path, _ in ImageFolder(str(data / "train")).samples[: 4 * BATCH]]
    part = folder(data).train

    def theirs() -> None:
        for path in files:
            with Image.open(path) as image:
                square = v2.functional.center_crop(image.convert("RGB"), [min(image.size)])
            v2.functional.pil_to_tensor(v2.functional.resize(square, [CACHED, CACHED], InterpolationMode.BICUBIC))

    def ours() -> None:
        for index in range(len(files)):
            decode(part, index, CACHED)

    return Piece(f"decoding an image to {CACHED} px", "torchvision's v2 on Pillow's image", theirs, ours, len(files))


def _views(data: Path) -> Iterator[Piece]:
    part = folder(data).train
    images = torch.from_numpy(np.stack([decode(part, index, CACHED) for index in range(BATCH)]))
    plain = [
        v2.RandomResizedCrop(SEEN, interpolation=InterpolationMode.BICUBIC, antialias=True),
        v2.RandomHorizontalFlip(),
    ]

    def piece(name: str, transform: v2.Compose, settings: AugmentSettings) -> Piece:
        made, generator = Augmentation(settings, SEEN), torch.Generator().manual_seed(0)
        return Piece(
            name,
            "torchvision's v2 on each tensor",
            lambda: torch.stack([transform(image) for image in images]),
            lambda: made(images, made.draw(BATCH, CACHED, generator)),
            BATCH,
        )

    yield piece("cropping, flipping and resizing an image", v2.Compose(plain), AugmentSettings())
    yield piece(
        "the same and RandAugment",
        v2.Compose([*plain, v2.RandAugment()]),
        AugmentSettings(policy="randaugment"),
    )


def _normalising() -> Piece:
    plain = torch.randint(256, (BATCH, 3, 128, 128), dtype=torch.uint8)
    views, normalise = plain.to(memory_format=torch.channels_last), Normaliser(CPU, channels_last=True)
    usual = v2.Compose([v2.ToDtype(torch.float32, scale=True), v2.Normalize(list(MEAN), list(STD))])
    return Piece(
        f"normalising {BATCH} views of 128 px for channels_last",
        "torchvision's v2 on the batch",
        lambda: usual(plain).to(memory_format=torch.channels_last),
        lambda: normalise(views),
    )


def _update() -> Piece:
    settings = TrainSettings(steps=1, optimizer="sgd")
    models = _with_gradients(), _with_gradients()
    usual = torch.optim.SGD(
        models[0].parameters(),
        settings.learning_rate,
        settings.momentum,
        nesterov=True,
        weight_decay=settings.weight_decay,
    )
    return Piece(
        "SGD's update, EfficientNet-B0", "torch's SGD as it comes", usual.step, make_optimizer(models[1], settings).step
    )


def _averaging() -> Piece:
    model = _network()
    usual = AveragedModel(model, multi_avg_fn=get_ema_multi_avg_fn(0.999), use_buffers=True)  # type: ignore[no-untyped-call]
    return Piece(
        "the weights' average, EfficientNet-B0",
        "torch's AveragedModel, all at once",
        lambda: usual.update_parameters(model),
        WeightAverage(model, 0.999).update,
    )


def _counting() -> Piece:
    scaled = open_baseline("efficientnet_b0").scaled(Multipliers(1, 1, 1))
    return Piece(
        "counting EfficientNet-B0 again",
        "building it, and fvcore",
        lambda: count(scaled.build(CLASSES), scaled.resolution),
        lambda: counted(scaled, CLASSES),
    )


def _with_gradients() -> nn.Module:
    model = _network()
    for parameter in model.parameters():
        parameter.grad = torch.zeros_like(parameter)
    return model


def _network() -> nn.Module:
    return baseline("efficientnet_b0", SEEN).build(CLASSES)
