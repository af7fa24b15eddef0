"""Small things to test with: a network of a few layers, a folder of JPEG files, options of a short search."""

from __future__ import annotations

import math
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from statistics import fmean

import numpy as np
import pytest
from PIL import Image

TESTS = Path(__file__).parents[1]
FROZEN = TESTS / "frozen"
"""A run's folder as an earlier version left it."""
RESULTS = TESTS.parent / "results"
"""The committed runs."""

TINY = """\
name: tiny
resolution: 16
activation: relu
stem: {channels: 8}
stages:
  - {op: depthwise_separable, channels: 16, repeats: 1, stride: 2}
  - {op: basic, channels: 16, repeats: 1}
"""
TINY_RUN = (
    "--recipe", "quick", "--resolution", "16", "--steps", "6", "--limit", "96", "--device", "cpu", "--workers", "0",
    "--exhaustive",
)  # fmt: skip
"""Options that make a `grid` of seven candidates a matter of seconds; the baseline is the file tiny.yaml."""

MINE = """
from torch import nn

class Net(nn.Module):
    def __init__(self, width={width}):
        super().__init__()
        self.stem = nn.Conv2d(3, width, 3, 2)
        self.body = nn.Sequential(*[Block(width) for _ in range(2)])
        self.drop = nn.Dropout(0.2)
        self.head = nn.Linear(width, 5)

    def forward(self, x):
        return self.head(self.drop(self.body(self.stem(x)).mean((2, 3))))

class Block(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.one, self.two = nn.Conv2d(width, width, 3, padding=1), nn.Conv2d(width, width, 3, padding=1)

    def forward(self, x):
        return x + self.two(self.one(x).relu())

def build_net():
    return Net()

broken = 3
"""
"""A user's own file: `build_net` makes a small residual network, ``width`` channels wide."""

Cli = Callable[..., "subprocess.CompletedProcess[str]"]


def steps_of(cli: Cli, folder: Path, command: tuple[str, ...], seconds: float) -> tuple[str, str]:
    """The option that makes a trial of a `grid` take so many seconds on this machine: there is time to disturb it."""
    from scalesearch.search.ledger.journal import JOURNAL
    from scalesearch.search.ledger.ledger import Ledger

    probe = 100
    measured = cli(*command, "--steps", str(probe), "--seeds", "1", "--out", "measured", timeout=600)
    assert measured.returncode == 0, measured.stderr
    records = Ledger(folder / "measured" / JOURNAL, "measured").records()
    each = fmean(float(r.outcome["seconds"]) for r in records if r.outcome)
    return "--steps", str(50 * math.ceil(probe * seconds / each / 50))  # whole checkpoints


def make_folder(root: Path, classes: dict[str, int], *, size: int = 24, split: str | None = "train") -> Path:
    """JPEG files of random noise around a colour per class: ``root[/split]/<class>/<n>.jpg``."""
    random = np.random.default_rng(0)
    for number, (name, count) in enumerate(classes.items()):
        folder = root / split / name if split else root / name
        folder.mkdir(parents=True)
        for index in range(count):
            noise = random.integers(0, 80, (size, size + 8, 3))
            noise[..., number % 3] += 150
            Image.fromarray(noise.astype(np.uint8)).save(folder / f"{index}.jpg")
    return root


def run_here(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], *arguments: str
) -> tuple[object, str, str]:
    """``scalesearch …`` in this process: its exit code, and what it wrote to stdout and to stderr."""
    from scalesearch.cli.main import main

    capsys.readouterr()
    monkeypatch.setattr(sys, "argv", ["scalesearch", *arguments])
    with pytest.raises(SystemExit) as ended:
        main()
    return (ended.value.code, *capsys.readouterr())
