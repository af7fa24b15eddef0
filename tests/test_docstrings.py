"""Whatever is public says what it is, and what the package exports says it by an example that runs."""

from __future__ import annotations

import ast
import doctest
import importlib
from collections.abc import Iterator
from pathlib import Path

import pytest

import scalesearch

HOUSE = Path(scalesearch.__file__).parent
EXPORTED = [name for name in scalesearch.__all__ if not name.startswith("__")]


def _bare(body: list[ast.stmt], prefix: str = "") -> Iterator[str]:
    """The public classes, functions and methods that have no docstring."""
    for node in body:
        if isinstance(node, (ast.ClassDef, ast.FunctionDef)) and not node.name.startswith("_"):
            if not ast.get_docstring(node):
                yield f"{prefix}{node.name}"
            if isinstance(node, ast.ClassDef):
                yield from _bare(node.body, f"{prefix}{node.name}.")


def test_every_public_definition_has_a_docstring() -> None:
    bare = {
        f"{path.relative_to(HOUSE)}: {name}"
        for path in HOUSE.rglob("*.py")
        for name in _bare(ast.parse(path.read_text(encoding="utf-8")).body)
    }
    assert bare == set()


def test_one_without_is_found() -> None:
    source = 'class A:\n    """It is."""\n    def b(self): ...\n    def _c(self): ...\ndef d(): ...'
    assert list(_bare(ast.parse(source).body)) == ["A.b", "d"]


@pytest.mark.parametrize("name", EXPORTED)
def test_every_exported_name_has_an_example_that_runs(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    thing = getattr(scalesearch, name)
    (found,) = doctest.DocTestFinder(recurse=False).find(thing, name, globs={})
    assert found.examples
    runner = doctest.DocTestRunner(optionflags=doctest.NORMALIZE_WHITESPACE | doctest.ELLIPSIS)
    said: list[str] = []
    assert runner.run(found, out=said.append).failed == 0, "".join(said)


def _with_examples() -> list[str]:
    """The modules of the package that hold an example."""
    paths = [path for path in HOUSE.rglob("*.py") if ">>> " in path.read_text(encoding="utf-8")]
    return sorted(".".join(path.relative_to(HOUSE.parent).with_suffix("").parts) for path in paths)


@pytest.mark.parametrize("name", _with_examples())
def test_every_example_runs(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    module = importlib.import_module(name)
    parts = [part for part in doctest.DocTestFinder().find(module, name) if part.examples]
    assert parts
    runner = doctest.DocTestRunner(optionflags=doctest.NORMALIZE_WHITESPACE | doctest.ELLIPSIS)
    said: list[str] = []
    for part in parts:
        assert runner.run(part, out=said.append).failed == 0, "".join(said)
