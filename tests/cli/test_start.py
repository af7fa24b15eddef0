"""How soon the command line is there, beside a Typer program that does nothing."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

EMPTY = """
import typer
app = typer.Typer()
@app.command()
def main() -> None:
    pass
app()
"""
ROUNDS = 15


def _seconds(arguments: list[str], folder: Path) -> float:
    """Of a processor: other tests may be running beside this one."""
    compiled = {"PYTHONPYCACHEPREFIX": str(folder / "compiled")}  # as modules are, once they are installed
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONDONTWRITEBYTECODE"} | compiled
    before = os.times()
    subprocess.run([sys.executable, *arguments], cwd=folder, env=environment, capture_output=True, check=True)
    after = os.times()
    return after.children_user + after.children_system - before.children_user - before.children_system


@pytest.mark.parametrize("arguments", [("--help",), ("scale", "--phi", "4")])
def test_it_starts_within_twice_the_time_of_an_empty_program(arguments: tuple[str, ...], tmp_path: Path) -> None:
    """Best of a few in turns, and of more while that is not enough: a busy machine is slow now and then."""
    (tmp_path / "empty.py").write_text(EMPTY)
    programs = {"empty": ["empty.py"], "ours": ["-m", "scalesearch", *arguments]}
    for program in programs.values():
        _seconds(program, tmp_path)
    best = dict.fromkeys(programs, float("inf"))
    for done in range(1, ROUNDS + 1):
        best = {name: min(best[name], _seconds(program, tmp_path)) for name, program in programs.items()}
        if done >= 3 and best["ours"] < 2 * best["empty"]:
            break
    assert best["ours"] < 2 * best["empty"], best


@pytest.mark.parametrize("arguments", [("--help",), ("grid", "--help"), ("scale", "--phi", "4"), ("baselines",)])
def test_what_needs_no_arrays_loads_none(arguments: tuple[str, ...], tmp_path: Path) -> None:
    code = (
        "import sys; sys.argv = ['scalesearch', *sys.argv[1:]]\n"
        "from scalesearch.cli.main import main\n"
        "try: main()\n"
        "except SystemExit: pass\n"
        "print(sorted({'torch', 'numpy', 'pandas', 'optuna', 'matplotlib', 'jinja2', 'scipy'} & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    assert done.stdout.splitlines()[-1] == "[]"


@pytest.mark.parametrize(("own", "expected"), [({}, "PASSIVE"), ({"OMP_WAIT_POLICY": "ACTIVE"}, "ACTIVE"),
                                               ({"GOMP_SPINCOUNT": "9"}, "None")])  # fmt: skip
def test_threads_wait_passively_unless_the_user_says_otherwise(own: dict[str, str], expected: str) -> None:
    code = (
        "import os, sys; sys.argv = ['scalesearch', '--version']\n"
        "from scalesearch.cli.main import main\n"
        "try: main()\n"
        "except SystemExit: print(os.environ.get('OMP_WAIT_POLICY'), 'torch' in sys.modules)"
    )
    names = ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT", "KMP_BLOCKTIME")
    plain = {key: value for key, value in os.environ.items() if key not in names}
    done = subprocess.run([sys.executable, "-c", code], env=plain | own, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == f"{expected} False"
