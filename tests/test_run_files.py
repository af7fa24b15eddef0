"""A run's folder with one file of another shape: every command that reads it says which file, and where in it."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from scalesearch.errors import RunError
from scalesearch.files import kept_one
from scalesearch.ranking.finished_run import read_run
from scalesearch.run_files import read_recipe_settings, read_result, read_sessions, read_table
from tests.support.small import run_here

FROZEN = Path(__file__).parent / "frozen" / "format-2"
RESULTS = Path(__file__).parents[1] / "results"
SHAPES = ("", "{", "[]", "[[]]", "[1]", "1", '"x"', "null", "{}", "\0", "a,b\n1\n", '{"ranking": [{}]}')
FILES = ("ranking.json", "environment.json", "settings.json", "candidates.csv", "recipe.yaml", "study.journal",
         "baseline.yaml")  # fmt: skip
COMMANDS = {
    "show": ("show", "run"), "report": ("report", "run"), "merit": ("merit", "run", "run"),
    "replay": ("replay", "run", "--replays", "2"), "scale": ("scale", "--from", "run", "--out", "made.yaml"),
}  # fmt: skip


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return Path(shutil.copytree(FROZEN, tmp_path / "run"))


def _said(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, *arguments: str) -> tuple[int, str]:
    code, _, err = run_here(monkeypatch, capsys, *arguments)
    assert code in (0, 2, None)
    return 2 if code == 2 else 0, err


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize("name", FILES)
def test_a_file_of_another_shape_is_named(
    name: str, command: str, run: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for shape in SHAPES:
        (run / name).write_text(shape)
        code, said = _said(capsys, monkeypatch, *COMMANDS[command])
        assert "this is a bug" not in said, (shape, said)
        assert code == 0 or said.startswith("error: "), (shape, said)


WRONG: tuple[tuple[str, tuple[str | int, ...], Any], ...] = (
    ("ranking.json", ("ranking", 0, "alpha"), "1.2"),
    ("ranking.json", ("ranking", 1, "beta"), None),
    ("ranking.json", ("ranking", 0, "gamma"), -1),
    ("ranking.json", ("ranking", 0, "macs"), 10**30),
    ("ranking.json", ("ranking", 0, "accuracy"), 23.3),
    ("ranking.json", ("ranking", 0, "seeds"), True),
    ("ranking.json", ("ranking", 0, "network"), 7),
    ("ranking.json", ("ranking", 0, "low"), "low"),
    ("ranking.json", ("ranking", 0, "sd"), float("nan")),
    ("ranking.json", ("title",), []),
    ("ranking.json", ("notes",), "none"),
    ("ranking.json", ("fitted",), {"alpha": 1}),
    ("ranking.json", ("ranking",), []),
    ("environment.json", (0, "data"), None),
    ("environment.json", (0, "data", "minival"), "300"),
    ("environment.json", (0, "started"), 0),
    ("environment.json", (0,), []),
    ("settings.json", ("data.fingerprint",), 1),
    ("settings.json", ("resolution",), "16"),
)


@pytest.mark.parametrize(("name", "place", "value"), WRONG)
def test_a_value_of_the_wrong_kind_is_named_by_its_place(
    name: str, place: tuple[str | int, ...], value: object, run: Path
) -> None:
    found = json.loads((run / name).read_text())
    holder = found
    for part in place[:-1]:
        holder = holder[part]
    holder[place[-1]] = value
    (run / name).write_text(json.dumps(found))
    with pytest.raises(RunError) as told:
        read_run(run)
    assert name in str(told.value)
    assert str(place[-1]) in str(told.value)


CELLS = (
    ("ratio", "x"), ("ratio", "-1"), ("macs", "1e300"), ("alpha", "inf"), ("params", "99999999999999999999999999"),
    ("beta", "1.2.3"), ("gamma", "1000"),
)  # fmt: skip


@pytest.mark.parametrize(("column", "text"), CELLS)
def test_a_cell_of_a_table_is_named_by_its_line(column: str, text: str, run: Path) -> None:
    lines = (run / "candidates.csv").read_text().splitlines()
    at = lines[0].split(",").index(column)
    cells = lines[4].split(",")
    cells[at] = text
    lines[4] = ",".join(cells)
    (run / "candidates.csv").write_text("\n".join(lines) + "\n")
    with pytest.raises(RunError, match=rf"candidates\.csv, line 5: {column}: expected a number"):
        read_table(run, "candidates.csv")


@pytest.mark.parametrize("curve", ["1", "1:2", "a:0.1", "1:0.1,2:0.2", "1:nan", "1:0.5 "])
def test_a_curve_that_is_none_is_named(curve: str, run: Path) -> None:
    (run / "trials.csv").write_text(
        f'alpha,beta,gamma,network,state,curve\n1,1,1,a,complete,4:0.5\n1,1,1,b,x,"{curve}"\n'
    )
    with pytest.raises(RunError, match=r"trials\.csv, line 3: curve: expected"):
        read_table(run, "trials.csv")


def test_a_table_without_its_first_columns_is_none(run: Path) -> None:
    (run / "candidates.csv").write_text("alpha,beta\n1,1\n")
    with pytest.raises(RunError, match="no column gamma, network"):
        read_table(run, "candidates.csv")


def test_a_recipe_that_lacks_a_section_has_its_defaults_and_a_wrong_one_is_named(run: Path) -> None:
    text = (run / "recipe.yaml").read_text()
    whole = read_recipe_settings(run)
    (run / "recipe.yaml").write_text(text[: text.index("rounding:")])
    assert read_recipe_settings(run)["rounding"] == whole["rounding"]
    (run / "recipe.yaml").write_text(text.replace("rounding:", "rouding:"))
    with pytest.raises(RunError, match="did you mean rounding"):
        read_recipe_settings(run)


def _kept() -> Iterator[Path]:
    for file in sorted((*RESULTS.rglob("ranking.json"), FROZEN / "ranking.json")):
        yield file.parent


@pytest.mark.parametrize(("share", "read"), [(1.0000000000000002, True), (-1e-17, True), (1.001, False), (-0.1, False)])
def test_a_share_that_was_rounded_is_one(share: float, read: bool, run: Path) -> None:
    found = json.loads((run / "ranking.json").read_text())
    parts = {"depth": 0.0, "width": 0.0, "resolution": share}
    found["fitted"] = {"alpha": 1.0, "beta": 1.0, "gamma": 1.4, "accuracy": 0.5, "flat": False, "shares": parts}
    (run / "ranking.json").write_text(json.dumps(found))
    if read:
        assert read_result(run, "ranking.json")["fitted"]
        return
    with pytest.raises(RunError, match=r"fitted\.shares\.resolution"):
        read_result(run, "ranking.json")


def test_every_run_that_is_kept_can_be_read() -> None:
    for folder in _kept():
        assert read_run(folder).ranking["accuracy"].between(0, 1).all()
        assert read_sessions(folder)
        assert read_result(folder, "settings.json")


@pytest.mark.parametrize("content", ["[]", "1", "null", "{}", '{"accuracy": 40}', "{"])
def test_an_outcome_of_another_shape_is_named(content: str, tmp_path: Path) -> None:
    (tmp_path / "outcome.json").write_text(content)
    with pytest.raises(RunError, match=r"outcome\.json"):
        read_result(tmp_path, "outcome.json")


@pytest.mark.parametrize("content", ["[]", "1", "null", "[1]", '["ab"]', "{", "\0"])
def test_a_cache_of_another_shape_is_made_again(content: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SCALESEARCH_CACHE", str(tmp_path))
    (tmp_path / "speeds.json").write_text(content)
    assert kept_one("speeds", "a", lambda: 7) == 7
    assert json.loads((tmp_path / "speeds.json").read_text())["a"] == 7
