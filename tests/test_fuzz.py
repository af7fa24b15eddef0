"""Whatever is typed, one line says what is wrong with it: exit code 2, no traceback, and nothing that takes long."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from scalesearch.recipe import Recipe
from tests.support.small import TINY, run_here

KEYS = [
    key if not hasattr(field.annotation, "model_fields") else f"{key}.{inner}"
    for key, field in Recipe.model_fields.items()
    for inner in (getattr(field.annotation, "model_fields", None) or [""])
]
ODD = (
    "", "~", "-1", "0", "1e309", "-1e308", "nan", ".inf", "1e30", "9" * 5000, "2020-01-01", "2020-99-99", "[",
    "{a: 1}", "!!int x", "!!python/object:os.system x", "\udc80", "α", "true", "off", "1,2,3", "' '", "*a", "&a [*a]",
    "0x10", "1_000", "1:30", "x" * 10_000, "\x1b[31m", "../..", "/", "/dev/null", "timm:", ":x", "a.py:", "..yaml",
)  # fmt: skip
FILES = (
    "", "[1, 2]", "x", "name: 2020-01-01", "a: !!int abc", "phi: " + "9" * 5000, "phi: 2020-99-99", "a: &x [*x]",
    "\0\1", "a: " + "[" * 3000, "? [a]\n: b", "<<: 1", "search: 1", "train: []", "data: {source: 7}", "name: [",
    "resolution: 1.5", "phi: yes", "!!set {a}", "!!binary x", "name: ''", "a: 1\na: 2",
)  # fmt: skip
COMMANDS = ("candidates", "scale")


def _run(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, *arguments: str) -> None:
    code, _, said = run_here(monkeypatch, capsys, *arguments)
    assert code in (0, 2), arguments
    assert "this is a bug" not in said, (arguments, said)
    if code == 2:
        assert said.startswith("error: ")
        assert len(said.splitlines()) <= 3, said


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "tiny.yaml").write_text(TINY)
    return tmp_path


@pytest.mark.usefixtures("here")
@settings(max_examples=300, deadline=20_000, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(key=st.sampled_from(KEYS), value=st.sampled_from(ODD) | st.text(max_size=20) | st.floats().map(str))
def test_any_value_of_any_key(
    key: str, value: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    _run(capsys, monkeypatch, "candidates", "--baseline", "tiny.yaml", "--step", "0.2", "--set", f"{key}={value}")


@pytest.mark.usefixtures("here")
@settings(max_examples=200, deadline=20_000, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    option=st.sampled_from(
        ["--phi", "--alpha", "--beta", "--gamma", "--resolution", "--num-classes", "--from", "--out"]
    ),
    value=st.sampled_from(ODD) | st.floats().map(str) | st.integers().map(str),
)
def test_any_value_of_any_option_of_scale(
    option: str, value: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    _run(capsys, monkeypatch, "scale", "--baseline", "tiny.yaml", f"{option}={value}", "--out", "made.yaml")


@pytest.mark.parametrize("text", FILES, ids=[str(number) for number in range(len(FILES))])
@pytest.mark.parametrize("where", ["recipe", "baseline", "comparison", "spec"])
def test_any_file(
    text: str, where: str, here: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    (here / "odd.yaml").write_text(text)
    arguments = {
        "recipe": ("candidates", "--baseline", "tiny.yaml", "--step", "0.2", "--recipe", "odd.yaml"),
        "baseline": ("candidates", "--step", "0.2", "--baseline", "odd.yaml"),
        "comparison": ("compare", "odd.yaml", "--baseline", "tiny.yaml", "--dry-run"),
        "spec": ("baselines", "odd.yaml"),
    }[where]
    _run(capsys, monkeypatch, *arguments)


NAMES = ("x" * 5000, "x" * 5000 + ".yaml", "a\0b.yaml", "/", ".", "nofile.yaml", "\udc80.yaml")


@pytest.mark.parametrize("name", NAMES, ids=[str(number) for number in range(len(NAMES))])
@pytest.mark.parametrize("option", ["--recipe", "--baseline"])
def test_any_path(
    name: str, option: str, here: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    _run(capsys, monkeypatch, "candidates", "--step", "0.2", option, name)


CONTENTS = ("", "{", "[]", "1", "null", '{"ranking": 1}', '{"ranking": [{}]}', "\0")


@pytest.mark.parametrize("content", CONTENTS, ids=[str(number) for number in range(len(CONTENTS))])
@pytest.mark.parametrize("command", ["show", "report", "merit", "replay"])
def test_any_content_of_a_runs_files(
    content: str, command: str, here: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("recipe.yaml", "ranking.json", "settings.json", "environment.json", "baseline.yaml", "candidates.csv",
                 "trials.csv", "ranking.csv", "comparison.json"):  # fmt: skip
        (here / "run").mkdir(exist_ok=True)
        (here / "run" / name).write_text(content)
        _run(capsys, monkeypatch, command, *(["run", "run"] if command == "merit" else ["run"]))


@pytest.mark.long
@pytest.mark.timeout(1800)
def test_thousands_of_odd_inputs_end_in_words() -> None:
    """Recipes, specs, comparisons, options, settings and run folders: no traceback, no hang, nothing beyond 2 GiB.

    In a process of its own: autograd cannot be forked once it has run, as it has in a worker of these tests.
    """
    command = [sys.executable, "-m", "tests.support.fuzz", "--count", "1200"]
    done = subprocess.run(command, cwd=Path(__file__).parents[1], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    assert done.stdout == "1200 inputs: nothing but words\n"
