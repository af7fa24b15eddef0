"""Every generator that a trial may draw from: seeded together, saved and restored together."""

from __future__ import annotations

import random
from typing import Any

import numpy as np
import torch


def seed_all(seed: int) -> None:
    """Seed torch (every device), and Python's and NumPy's own generators, which somebody's module may use."""
    torch.manual_seed(seed)
    random.seed(seed)
    np.random.seed(seed % 2**32)


def seed_of(seed: int, rank: int) -> int:
    """A seed for one process of a team; those of different seeds and ranks have nothing in common."""
    return int(np.random.SeedSequence((seed, rank)).generate_state(1)[0])


def generator_states(device: torch.device) -> dict[str, Any]:
    """The state of all of them, as plain values and tensors."""
    name, keys, *rest = np.random.get_state(legacy=True)
    return {
        "torch": torch.get_rng_state(),
        "device": torch.get_device_module(device).get_rng_state(device) if device.type != "cpu" else None,
        "python": random.getstate(),
        "numpy": [name, np.asarray(keys).tolist(), *rest],
    }


def restore_generators(states: dict[str, Any], device: torch.device) -> None:
    """Put all of them where `generator_states` found them."""
    torch.set_rng_state(states["torch"].cpu())
    if states["device"] is not None:
        torch.get_device_module(device).set_rng_state(states["device"].cpu(), device)
    version, numbers, gauss = states["python"]
    random.setstate((version, tuple(numbers), gauss))
    name, keys, *rest = states["numpy"]
    np.random.set_state((name, np.array(keys, dtype=np.uint32), *rest))
