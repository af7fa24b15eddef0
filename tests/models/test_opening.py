"""A network of the user's own is found where it lies, and opened at the size that it is asked for at."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.support.small import Cli

CIFAR = """
from torch import nn
from torch.nn import functional as F
from parts import conv

class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.one, self.two, self.fc = conv(3, 8), conv(8, 16), nn.Linear(16, 10)

    def forward(self, x):
        x = F.avg_pool2d(self.two(self.one(x).relu()).relu(), 8)
        return self.fc(x.view(x.size(0), -1))
"""
PARTS = "from torch import nn\ndef conv(i, o): return nn.Conv2d(i, o, 3, 2, 1)\n"


@pytest.fixture
def package(tmp_path: Path) -> Path:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "__init__.py").write_text("")
    (tmp_path / "mine" / "nets.py").write_text(CIFAR)
    (tmp_path / "mine" / "parts.py").write_text(PARTS)
    (tmp_path / "parts.py").write_text(PARTS)
    return tmp_path


@pytest.mark.parametrize("name", ["mine/nets.py:Net", "mine.nets:Net"])
def test_the_working_directory_and_a_files_own_folder_are_searched(name: str, cli: Cli, package: Path) -> None:
    done = cli("check", name, "--resolution", "32")
    assert done.returncode == 0, done.stderr
    assert "the pool over the whole map follows its size" in done.stdout


def test_a_size_that_does_not_fit_suggests_the_option(cli: Cli, package: Path) -> None:
    done = cli("candidates", "--baseline", "mine/nets.py:Net")
    assert done.returncode == 2
    assert "--resolution says which" in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_a_grid_opens_it_at_the_size_that_is_asked_for(cli: Cli, package: Path) -> None:
    options: tuple[str, ...] = (
        "--recipe",
        "quick",
        "--resolution",
        "32",
        "--steps",
        "4",
        "--limit",
        "48",
        "--device",
        "cpu",
    )
    options += ("--workers", "0", "--exhaustive", "--top", "0", "--out", "run")
    done = cli("grid", "--baseline", "mine/nets.py:Net", *options)
    assert done.returncode == 0, done.stderr
    ranking = json.loads((package / "run" / "ranking.json").read_text())["ranking"]
    assert len(ranking) >= 2
    again = cli("scale", "--from", "run", "--phi", "2", "--out", "two.yaml")
    assert again.returncode == 0, again.stderr
    assert "opened_at: 32" in (package / "two.yaml").read_text()
    assert cli("check", "mine/nets.py:Net", "--resolution", "32").returncode == 0
