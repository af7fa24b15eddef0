"""The layout that docs/architecture.md describes, held to: folders, floors, the size of files."""

from __future__ import annotations

import ast
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

HOUSE = Path(__file__).parent.parent / "scalesearch"
LONGEST = 400


def test_the_package_is_ten_folders_and_a_handful_of_files() -> None:
    folders = sorted(path.name for path in HOUSE.iterdir() if path.is_dir() and (path / "__init__.py").exists())
    assert folders == [
        "candidates", "cli", "data", "models", "ranking", "report", "runtime", "scaling", "search", "training",
    ]  # fmt: skip
    files = sorted(path.name for path in HOUSE.glob("*.py") if not path.name.startswith("__"))
    assert files == [
        "errors.py", "files.py", "image_size.py", "recipe.py", "run_contents.py", "run_files.py",
        "run_folder.py", "settings.py", "trials.py", "validation.py", "version.py",
    ]  # fmt: skip


def test_a_packages_init_holds_a_docstring_alone() -> None:
    """So that importing one file of it loads no other."""
    inits = [path for path in HOUSE.rglob("__init__.py") if path.parent != HOUSE]
    assert [str(path) for path in inits if len(ast.parse(path.read_text()).body) != 1] == []


def test_no_file_is_long() -> None:
    lengths = {str(path.relative_to(HOUSE)): len(path.read_text().splitlines()) for path in HOUSE.rglob("*.py")}
    assert {name: length for name, length in lengths.items() if length > LONGEST} == {}


def test_nothing_that_a_command_wrote_lies_at_the_top() -> None:
    if shutil.which("git") is None:
        pytest.skip("no git")
    listed = subprocess.run(["git", "ls-files"], cwd=HOUSE.parent, capture_output=True, text=True, check=False)
    if listed.returncode:
        pytest.skip("no clone")
    assert {name.partition("/")[0] for name in listed.stdout.splitlines()} <= {
        ".ci", ".dockerignore", ".github", ".gitignore", "CHANGELOG.md", "CONTRIBUTING.md", "Dockerfile", "LICENSE",
        "README.md", "docs", "pyproject.toml", "recipes", "results", "scalesearch", "tests",
    }  # fmt: skip


def test_imports_go_one_way_and_in_no_circle() -> None:
    """The contracts of the import linter, in pyproject.toml."""
    lint = Path(sys.executable).with_name("lint-imports")
    done = subprocess.run([lint, "--no-cache"], cwd=HOUSE.parent, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout
