"""Processor cores and torch's threads: how many there are, and how they are divided among workers."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

import torch

from scalesearch.recipe import Recipe
from scalesearch.runtime.device import every_device


def cores() -> int:
    """Processors that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def threads_each(workers: int) -> int | None:
    """Torch's threads for each of several workers of one machine, which would starve each other; None: as torch likes.

    Those that train on an accelerator fetch images with theirs.
    """
    return max(1, torch.get_num_threads() // workers) if workers > 1 else None


def workers_side_by_side(recipe: Recipe, device: torch.device) -> int:
    """How many of a run's workers do not slow each other down, as far as its settings tell: those of a CPU with its
    threads shared out; of those that share an accelerator, one.
    """
    run = recipe.run
    if device.type != "cpu":
        devices = len(every_device(recipe.device))
        return devices if run.workers is None else min(run.workers, devices)
    return run.workers if run.workers is not None else run.per_device if run.per_device != "auto" else 1


def worker_threads(recipe: Recipe, device: torch.device) -> int | None:
    """Torch's threads in each of a run's workers."""
    return threads_each(workers_side_by_side(recipe, device))


@contextmanager
def threads(count: int | None) -> Iterator[None]:
    """In here torch works with so many threads; with as many as before where ``count`` is None."""
    before = torch.get_num_threads()
    torch.set_num_threads(count or before)
    try:
        yield
    finally:
        torch.set_num_threads(before)
