"""What many tests are given: a small network and recipe, the command line as a process, a cache of their own."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from scalesearch.errors import SpecError
from scalesearch.recipe import Recipe, load_recipe
from scalesearch.scaling.spec import ModelSpec
from scalesearch.validation import parse
from tests.support.command_server import CommandServer
from tests.support.small import TINY, Cli


def pytest_configure(config: pytest.Config) -> None:
    """Tests that run side by side would starve each other with a thread pool each."""
    if getattr(config.option, "numprocesses", None):
        os.environ.setdefault("OMP_NUM_THREADS", "1")


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


@pytest.fixture(scope="session")
def _commands() -> Iterator[CommandServer]:
    server = CommandServer()
    yield server
    server.close()


@pytest.fixture
def cli(tmp_path: Path, _commands: CommandServer) -> Cli:
    """Run ``scalesearch …`` in a folder of its own, which holds tiny.yaml, as `CommandServer` does."""
    (tmp_path / "tiny.yaml").write_text(TINY)

    def run(*arguments: str, timeout: float = 300) -> subprocess.CompletedProcess[str]:
        return _commands.run(arguments, cwd=tmp_path, timeout=timeout)

    return run if sys.platform == "linux" else _fresh(tmp_path)


@pytest.fixture
def fresh_cli(tmp_path: Path) -> Cli:
    """The same in a new Python, for what depends on how a command starts."""
    (tmp_path / "tiny.yaml").write_text(TINY)
    return _fresh(tmp_path)


def _fresh(folder: Path) -> Cli:
    def run(*arguments: str, timeout: float = 300) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "scalesearch", *arguments],
            cwd=folder,
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
        )

    return run
