"""Training beside other work: how torch's threads wait for each other, and what that costs where cores are shared."""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import torch

from tests.benchmarks.common import Spread, in_turns, write_page

NETWORKS = (("mobilenet_v2", 64, 32), ("resnet18", 64, 32))
"""Network, pixels and batch size."""

WAITS = {
    "active": {"OMP_WAIT_POLICY": "ACTIVE"},
    "passive": {"OMP_WAIT_POLICY": "PASSIVE"},
    "one thread": {"OMP_NUM_THREADS": "1"},
}
"""How the threads wait, by their environment; `scalesearch` waits passively unless it is told otherwise."""

SECONDS = 5.0
COMPETITORS = (0, 1, 2)

MEASURE = """
import sys, time
import torch
from scalesearch.recipe import load_recipe
from scalesearch.scaling.compound import Multipliers
from scalesearch.models.catalogue import open_baseline
from scalesearch.training.step_timing import noise
from scalesearch.training.trainer import Trainer

name, size, batch, seconds = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), float(sys.argv[4])
opened = open_baseline("torchvision:resnet18" if name == "resnet18" else name)
model = opened.at(resolution=size).scaled(Multipliers(1, 1, 1))
trainer = Trainer(model, 10, load_recipe("quick", {"train.precision": "fp32"}), torch.device("cpu"))
images = noise(batch, size, 10)
for _ in range(2):
    trainer.step(images.images, images.labels, batch)
steps, start = 0, time.perf_counter()
while time.perf_counter() - start < seconds:
    trainer.step(images.images, images.labels, batch)
    steps += 1
print(steps * batch / (time.perf_counter() - start))
"""


@contextmanager
def competitors(count: int) -> Iterator[None]:
    """So many processes that each keep a core busy."""
    others = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(count)]
    try:
        yield
    finally:
        for other in others:
            other.kill()
            other.wait()


def fair_share(count: int) -> float:
    """Of what the machine gives an idle trainer, beside so many processes of one thread each."""
    cores = os.cpu_count() or 1
    return min(1.0, cores / (cores + count))


def busy(rounds: int, first_command: bool) -> None:
    """Measure every way to wait beside none, one and two others, in turns, and write the page."""
    rows = []
    for name, size, batch in NETWORKS:
        contenders = {
            (wait, count): partial(_speed, name, size, batch, wait, count) for wait in WAITS for count in COMPETITORS
        }
        measured = in_turns({f"{wait} beside {count}": run for (wait, count), run in contenders.items()}, rounds)
        for wait in WAITS:
            alone = statistics.median(measured[f"{wait} beside 0"])
            cells = [Spread.of(measured[f"{wait} beside {count}"]) for count in COMPETITORS]
            kept = [cell.median / alone / fair_share(n) for cell, n in zip(cells, COMPETITORS, strict=True)][1:]
            rows.append((name, wait, *cells, *(f"{ratio:.2f}" for ratio in kept)))
            print(*rows[-1], flush=True)
    told = _first_command() if first_command else ""
    write_page(
        "busy",
        "Training beside other work",
        ("network", "threads wait", "alone, images/s", "beside one", "beside two", "of a fair share", "of two"),
        rows,
        f"Training steps at 64 px, batches of 32, on a CPU, while none, one or two other processes each keep a core "
        f"busy. Each measurement in a process of its own, in turns, {rounds} rounds of {SECONDS:g} s: median "
        "(lowest–highest). A fair share is cores / (cores + others) of what the same setting does alone. `scalesearch` "
        f"waits passively by default.{told}",
        f"busy --rounds {rounds}" + " --first-command" * first_command,
        torch.device("cpu"),
    )


def _speed(name: str, size: int, batch: int, wait: str, count: int) -> float:
    """Images per second."""
    arguments = (name, str(size), str(batch), str(SECONDS))
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("OMP_", "GOMP_", "KMP_", "MKL_"))}
    with competitors(count):
        told = subprocess.run(
            [sys.executable, "-c", MEASURE, *arguments],
            env=kept | WAITS[wait],
            capture_output=True,
            text=True,
            check=True,
        )
    return float(told.stdout.split()[-1])


def _first_command() -> str:
    """How long the README's first command takes alone and beside one other process."""
    seconds = []
    for count in (0, 1):
        with tempfile.TemporaryDirectory() as folder, competitors(count):
            start = time.perf_counter()
            command = [sys.executable, "-m", "scalesearch", "grid", "--baseline", "efficientnet_b0", "--phi", "1"]
            environment = os.environ | {"SCALESEARCH_CACHE": str(Path(folder) / "cache")}
            subprocess.run(command, cwd=folder, env=environment, capture_output=True, check=True)
            seconds.append(time.perf_counter() - start)
            print(f"  the first command beside {count}: {seconds[-1]:.0f} s", flush=True)
    return (
        f" The README's first command took {seconds[0]:.0f} s alone and {seconds[1]:.0f} s beside one other process, "
        f"{seconds[1] / seconds[0]:.2f} times as long."
    )
