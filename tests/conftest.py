"""Small things to test with: a network of a few layers, a folder of JPEG files, the command line as a process."""

from __future__ import annotations

import math
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from statistics import fmean

import numpy as np
import pytest
from PIL import Image

from scalesearch.errors import SpecError
from scalesearch.recipe import Recipe, load_recipe
from scalesearch.scaling.spec import ModelSpec
from scalesearch.validation import parse


def pytest_configure(config: pytest.Config) -> None:
    """Tests that run side by side would starve each other with a thread pool each."""
    if getattr(config.option, "numprocesses", None):
        os.environ.setdefault("OMP_NUM_THREADS", "1")


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


@pytest.fixture(scope="session", autouse=True)
def _own_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Decoded images go where the tests' other files go, in this process and in those it starts."""
    os.environ["SCALESEARCH_CACHE"] = str(tmp_path_factory.mktemp("cache"))
    os.environ["NO_COLOR"] = "1"
    yield
    del os.environ["SCALESEARCH_CACHE"]


@pytest.fixture
def tiny() -> ModelSpec:
    import yaml

    return parse(ModelSpec, yaml.safe_load(TINY), SpecError)


@pytest.fixture
def quick() -> Recipe:
    """The shipped ``quick`` recipe, cut to seconds."""
    return load_recipe("quick", {"resolution": 16, "train.steps": 6, "data.limit": 96, "device": "cpu"})


@pytest.fixture
def cli(tmp_path: Path) -> Cli:
    """Run ``scalesearch …`` in a folder of its own, which holds tiny.yaml."""
    (tmp_path / "tiny.yaml").write_text(TINY)

    def run(*arguments: str, timeout: float = 300) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "scalesearch", *arguments],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
        )

    return run


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
