"""The bare step with the C library's memory as it comes, and with what `keep_freed` makes of it."""

from __future__ import annotations

import resource
import statistics
import time
from functools import partial

import torch
from torch.nn import functional

from scalesearch.runtime.allocator import keep_freed
from tests.benchmarks.common import Spread, alone, baseline, in_turns, ratios, write_page

ROWS = (
    ("efficientnet_b0", 64, 32, 30),
    ("mobilenet_v2", 64, 32, 30),
    ("resnet50", 64, 32, 15),
    ("mobilenet_v2", 128, 32, 15),
    ("efficientnet_b0", 224, 16, 10),
)
"""Network, pixels, batch, steps."""
CLASSES = 10
PLAIN, KEPT = "as it comes", "kept"

Row = tuple[str, int, int, int]


def allocator(rounds: int) -> None:
    """Measure every row, in turns, and write the page; it is about CPUs."""
    rows = []
    for row in ROWS:
        measured = in_turns(
            {PLAIN: partial(alone, _measured, row, False), KEPT: partial(alone, _measured, row, True)},
            rounds,
            told=lambda found: f"{found[0]:.3g} images/s",
        )
        speeds = {key: [speed for speed, _ in found] for key, found in measured.items()}
        name, size, batch, _ = row
        counts = (f"{statistics.median(faults for _, faults in found):,.0f}" for found in measured.values())
        rows.append((name, size, batch, *map(Spread.of, speeds.values()), ratios(speeds, KEPT, PLAIN), *counts))
        print(*rows[-1], flush=True)
    write_page(
        "allocator",
        "Memory that is kept from step to step",
        ("network", "px", "batch", "as it comes, images/s", "kept, images/s", "÷", "page faults a step", "kept"),
        rows,
        "Forward, backward and SGD on one batch in memory, on a CPU, without scalesearch's trainer: with glibc's "
        "memory as it comes, and after `scalesearch.runtime.allocator.keep_freed`. Each measurement in a process of "
        "its own, "
        f"in turns, {rounds} rounds: median (lowest–highest).",
        f"allocator --rounds {rounds}",
        torch.device("cpu"),
    )


def _measured(row: Row, kept: bool) -> tuple[float, float]:
    """Images per second and page faults per step."""
    if kept and not keep_freed():
        raise RuntimeError("this C library cannot be told to keep memory")
    name, size, batch, steps = row
    torch.manual_seed(0)
    network = baseline(name, size).build(CLASSES)
    network = network.to(memory_format=torch.channels_last).train()
    optimizer = torch.optim.SGD(network.parameters(), lr=0.01, momentum=0.9, nesterov=True, fused=True)
    images = torch.randn(batch, 3, size, size).to(memory_format=torch.channels_last)
    labels = torch.randint(CLASSES, (batch,))

    def step() -> None:
        optimizer.zero_grad(set_to_none=True)
        functional.cross_entropy(network(images), labels).backward()  # type: ignore[no-untyped-call]
        optimizer.step()

    for _ in range(3):
        step()
    before, start = resource.getrusage(resource.RUSAGE_SELF).ru_minflt, time.perf_counter()
    for _ in range(steps):
        step()
    seconds = time.perf_counter() - start
    return steps * batch / seconds, (resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before) / steps
