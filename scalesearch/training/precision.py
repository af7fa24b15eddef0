"""Which precision a CPU trains faster in."""

from __future__ import annotations

from pathlib import Path

import torch

from scalesearch.files import kept_one
from scalesearch.models.protocols import ScaledModel
from scalesearch.recipe import Recipe
from scalesearch.training.step_timing import here, noise, seconds_per_step

FASTER = 1.25
"""How much faster bf16 has to be on a CPU to be worth its rounding."""

WORTH_MEASURING = 10**9
"""MACs of a batch below which a step is too short to tell."""


def has_bf16_units() -> bool:
    """Whether this CPU multiplies bf16 in hardware, as far as Linux tells."""
    try:
        told = Path("/proc/cpuinfo").read_text()
    except OSError:
        return False
    return "amx_bf16" in told or "avx512_bf16" in told


def cpu_precision(model: ScaledModel, recipe: Recipe, classes: int) -> str:
    """``bf16`` where this CPU trains ``model`` at least a quarter faster with it than with ``fp32``, measured once.

    Dense convolutions gain, depthwise ones lose.
    """
    batch, device = recipe.train.batch_size, torch.device("cpu")
    if not has_bf16_units() or model.cost(classes).macs * batch < WORTH_MEASURING:
        return "fp32"

    def measure() -> str:
        split, seconds = noise(batch, model.resolution, classes, model.channels), {}
        for precision in ("fp32", "bf16"):
            train = recipe.train.model_copy(update={"precision": precision, "from_weights": None, "freeze": False})
            own = recipe.model_copy(update={"train": train})
            seconds[precision] = seconds_per_step(model, own, device, split, steps=2)
        return "bf16" if seconds["fp32"] > FASTER * seconds["bf16"] else "fp32"

    key = f"{model.fingerprint} {classes} {batch} {recipe.train.channels_last} {here(device)}"
    return kept_one("precision", key, measure)
