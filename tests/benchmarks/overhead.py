"""Images per second of the whole trainer over those of the bare step."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from statistics import fmean

import torch
from torch.nn import functional

from scalesearch.data.images import Images, Split
from scalesearch.data.sources import embedded
from scalesearch.image_size import image_shape
from scalesearch.models.protocols import ScaledModel
from scalesearch.recipe import Recipe
from scalesearch.runtime.device import Clock
from scalesearch.settings import AugmentSettings, DataSettings, RunSettings, TrainSettings
from scalesearch.training.step_timing import noise, seconds_per_step
from scalesearch.training.train import REPORT_EVERY, NullListener, train
from scalesearch.training.trainer import Trainer
from tests.benchmarks.common import Spread, baseline, pick, write_page

NETWORKS = ("efficientnet_b0", "mobilenet_v2", "resnet50")
SIZES = {64: (32, 16), 128: (32, 8), 224: (16, 6)}
"""Pixels: batch size and turns on a CPU; an accelerator gets eight times the batch and four times the turns."""
CLASSES = 10


def overhead(policy: str = "none", cuda_graphs: bool = False) -> None:
    """Measure every network at every size, and write the page."""
    device, rows = pick(), []
    more_images, more_turns = (8, 4) if device.type == "cuda" else (1, 1)
    for size, (few, short) in SIZES.items():
        batch, turns = more_images * few, more_turns * short
        images = _images(size, 4 * batch, device)
        for name in NETWORKS:
            model = baseline(name, size)
            recipe = Recipe(
                train=TrainSettings(steps=turns * REPORT_EVERY, batch_size=batch, evaluations=1, ema=0.0),
                augment=AugmentSettings.model_validate({"policy": policy}),
                run=RunSettings(cuda_graphs=cuda_graphs),
            )
            bare, whole = _measured(model, recipe, images, device)
            around = [fmean(pair) for pair in pairwise(bare)]  # what is bare before and after
            cells = [Spread.of([REPORT_EVERY * batch / seconds for seconds in each]) for each in (bare, whole)]
            shares = Spread.of([ours / theirs for ours, theirs in zip(around, whole, strict=True)])
            rows.append((name, size, batch, turns, *cells, shares, f"{sum(around) / sum(whole):.3f}"))
            print(*rows[-1], flush=True)
    options = f" --policy {policy}" * (policy != "none") + " --cuda-graphs" * cuda_graphs
    name = "overhead" + f"-{policy}" * (policy != "none") + "-graphs" * cuda_graphs + "-gpu" * (device.type == "cuda")
    header = ("network", "px", "batch", "turns", "bare step, images/s", "whole trainer, images/s", "share", "of all")
    write_page(
        name,
        "What the trainer costs beside the bare step",
        header,
        rows,
        "Bare: forward, backward and SGD on one normalised batch that stays on the device, its memory kept from step "
        "to step as the trainer's is. Whole: `train` with random resized crops, flips "
        f"(policy: {policy}), normalisation, schedule, progress and checks, its first, measured step included and the "
        f"evaluation left out{', replaying a CUDA graph' * cuda_graphs}. In turns of {REPORT_EVERY} steps in one "
        "process: whenever `train` has told its progress, the bare step gets as many. Median (lowest–highest) of the "
        "turns; a turn's share is held against the bare turns before and after it, and the last column is the time of "
        "all bare turns over that of all others.",
        "overhead" + options,
    )


def _images(size: int, count: int, device: torch.device) -> Images:
    """Noise, decoded at the size that a search would keep: a network's own over the evaluation's crop."""
    side = round(size / AugmentSettings().eval_crop)
    generator = torch.Generator().manual_seed(0)
    split = Split(
        torch.randint(256, (count, 3, side, side), dtype=torch.uint8, generator=generator),
        torch.randint(CLASSES, (count,), generator=generator),
    )
    few = Split(split.images[:8], split.labels[:8])
    return Images(embedded(), side, split, few, DataSettings()).on(device)


def _measured(
    model: ScaledModel, recipe: Recipe, images: Images, device: torch.device
) -> tuple[list[float], list[float]]:
    """Seconds of each turn of the bare step, and of each of the trainer's, which lie between them."""
    plain = recipe.model_copy(update={"run": RunSettings()})
    bare = _bare(model, plain, device)
    bare()  # the kernels' first calls; those of the trainer's own:
    seconds_per_step(model, plain, device, noise(recipe.train.batch_size, images.size, CLASSES), steps=2)
    seconds = [bare()]
    ears = _Between(bare, seconds, device, recipe.train.batch_size)
    train(model, images, recipe, seed=0, device=device, listener=ears)
    return seconds, ears.whole


class _Between(NullListener):
    """Gives the bare step its turn whenever the trainer tells its progress, and notes how long the trainer's took."""

    def __init__(self, bare: Callable[[], float], seconds: list[float], device: torch.device, batch: int) -> None:
        self.bare, self.seconds, self.batch = bare, seconds, batch
        self.whole: list[float] = []
        self.clock = Clock(device)

    def step(self, step: int, steps: int, loss: float, images_per_second: float) -> None:
        first = not self.whole  # its start is the trainer's own, who says how fast it was
        self.whole.append(step * self.batch / images_per_second if first else self.clock.seconds())
        self.seconds.append(self.bare())
        self.clock.restart()


def _bare(model: ScaledModel, recipe: Recipe, device: torch.device) -> Callable[[], float]:
    """What does a turn of bare steps, and says how many seconds it took."""
    torch.manual_seed(0)
    trainer = Trainer(model, len(embedded().classes), recipe, device)
    network, optimizer, clock = trainer.model.train(), trainer.optimizer, Clock(device)
    batch = recipe.train.batch_size
    inputs = torch.randn(batch, *image_shape(3, model.resolution), device=device)
    inputs = inputs.to(memory_format=torch.channels_last)
    labels = torch.randint(CLASSES, (batch,), device=device)

    def turn() -> float:
        clock.restart()
        for _ in range(REPORT_EVERY):
            optimizer.zero_grad(set_to_none=True)
            with trainer.autocast():
                logits = network(inputs)
            functional.cross_entropy(logits.float(), labels, label_smoothing=0.1).backward()  # type: ignore[no-untyped-call]
            optimizer.step()
        return clock.seconds()

    return turn
