"""Images per second of the whole trainer over those of the bare step."""

from __future__ import annotations

import torch
from torch.nn import functional

from scalesearch.baselines import ScaledModel, open_baseline
from scalesearch.data.images import Images, Split
from scalesearch.data.sources import embedded
from scalesearch.device import Clock, pick_precision
from scalesearch.pace import noise, seconds_per_step
from scalesearch.recipe import AugmentSettings, DataSettings, Recipe, TrainSettings
from scalesearch.scaling import Multipliers
from scalesearch.train import train
from scalesearch.trainer import Trainer
from tests.benchmarks.common import Spread, in_turns, pick, ratios, write_page

NETWORKS = ("efficientnet_b0", "mobilenet_v2", "resnet50")
SIZES = {64: (32, 64), 128: (32, 16), 224: (16, 8)}
"""Pixels: batch size and steps on a CPU; an accelerator gets eight times the batch and ten times the steps."""
CLASSES = 10


def overhead(rounds: int, policy: str = "none") -> None:
    """Measure every network at every size, and write the page."""
    device, rows = pick(), []
    more_images, more_steps = (8, 10) if device.type == "cuda" else (1, 1)
    for size, few in SIZES.items():
        batch, steps = more_images * few[0], more_steps * few[1]
        for name in NETWORKS:
            print(f"{name} at {size} px, batch {batch}", flush=True)
            baseline, images = open_baseline(name).at(resolution=size), _images(size, 4 * batch)
            model = baseline.scaled(Multipliers(1, 1, 1))
            recipe = Recipe(
                train=TrainSettings(steps=steps, batch_size=batch, evaluations=1, ema=0.0),
                augment=AugmentSettings.model_validate({"policy": policy}),
            )
            seconds_per_step(model, recipe, device, noise(batch, size, CLASSES), steps=2)  # the kernels' first calls
            measured = in_turns(
                {
                    "bare": lambda m=model, r=recipe: _bare(m, r, device),  # type: ignore[misc]
                    "whole": lambda m=model, r=recipe, i=images: _whole(m, r, i, device),  # type: ignore[misc]
                },
                rounds,
            )
            rows.append(
                (name, size, batch, *(Spread.of(measured[key]) for key in ("bare", "whole")),
                 ratios(measured, "whole", "bare"))
            )  # fmt: skip
    write_page(
        "overhead" if policy == "none" else f"overhead-{policy}",
        "What the trainer costs beside the bare step",
        ("network", "px", "batch", "bare step, images/s", "whole trainer, images/s", "share"),
        rows,
        "Bare: forward, backward and SGD on one normalised batch that stays on the device. Whole: `train` with random "
        f"resized crops, flips (policy: {policy}), normalisation, schedule, progress and checks, its first, measured "
        f"step included and the evaluation left out. Both in turns, {rounds} rounds: median (lowest–highest).",
        f"overhead --rounds {rounds}" + (f" --policy {policy}" if policy != "none" else ""),
    )


def _images(size: int, count: int) -> Images:
    """Noise, decoded at the size that a search would keep: a network's own over the evaluation's crop."""
    side = round(size / AugmentSettings().eval_crop)
    generator = torch.Generator().manual_seed(0)
    split = Split(
        torch.randint(256, (count, 3, side, side), dtype=torch.uint8, generator=generator),
        torch.randint(CLASSES, (count,), generator=generator),
    )
    source = embedded()
    few = Split(split.images[:8], split.labels[:8])
    return Images(source, side, split, few, DataSettings()).on(pick())


def _bare(model: ScaledModel, recipe: Recipe, device: torch.device) -> float:
    torch.manual_seed(0)
    trainer = Trainer(model, 12, recipe, device)
    batch, network, optimizer = recipe.train.batch_size, trainer.model.train(), trainer.optimizer
    inputs = torch.randn(batch, 3, model.resolution, model.resolution, device=device)
    inputs = inputs.to(memory_format=torch.channels_last)
    labels = torch.randint(CLASSES, (batch,), device=device)
    precision = {"fp32": None, "bf16": torch.bfloat16, "fp16": torch.float16}[pick_precision(recipe.train, device)]
    clock = Clock(device)
    for _ in range(recipe.train.steps or 0):
        optimizer.zero_grad(set_to_none=True)
        with torch.autocast(device.type, precision or torch.bfloat16, enabled=precision is not None):
            logits = network(inputs)
        functional.cross_entropy(logits.float(), labels, label_smoothing=0.1).backward()  # type: ignore[no-untyped-call]
        optimizer.step()
    return (recipe.train.steps or 0) * batch / clock.seconds()


def _whole(model: ScaledModel, recipe: Recipe, images: Images, device: torch.device) -> float:
    return train(model, images, recipe, seed=0, device=device)[0].images_per_second
