"""Options say which key of a recipe they set, or are used by their command: one that does nothing is a mistake."""

from __future__ import annotations

import ast
import inspect
import json
import textwrap
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import typer
from pydantic import BaseModel

from scalesearch.cli.keys import Key, keys_of
from scalesearch.cli.main import PANELS, app
from scalesearch.recipe import Recipe
from scalesearch.training.benchmark_settings import BenchSettings
from scalesearch.training.int8_files import QuantizeSettings
from scalesearch.training.linear import LinearSettings
from tests.support.small import Cli

OWN: dict[str, tuple[type[BaseModel], ...]] = {
    "bench": (BenchSettings,),
    "linear": (LinearSettings,),
    "quantize": (QuantizeSettings, Recipe),
    "export": (QuantizeSettings, Recipe),
}
"""Commands with settings of their own, beside a recipe's or in their place."""
COMMANDS = [command for commands in PANELS.values() for command in commands]


def _ids(command: Callable[..., None]) -> str:
    return command.__name__


def _idle(command: Callable[..., None]) -> set[str]:
    """The parameters that neither set a key nor are read by the command's body."""
    body = ast.parse(textwrap.dedent(inspect.getsource(command))).body[0]
    assert isinstance(body, ast.FunctionDef)
    read = {node.id for part in body.body for node in ast.walk(part) if isinstance(node, ast.Name)}
    return set(inspect.signature(command).parameters) - read - set(keys_of(command))


def _is_field(model: type[BaseModel], path: str) -> bool:
    name, _, rest = path.partition(".")
    if name not in model.model_fields:
        return False
    inner = model.model_fields[name].annotation
    return not rest or (inspect.isclass(inner) and issubclass(inner, BaseModel) and _is_field(inner, rest))


@pytest.mark.parametrize("command", COMMANDS, ids=_ids)
def test_every_option_sets_a_key_or_is_used(command: Callable[..., None]) -> None:
    assert _idle(command) == set()


def test_an_option_that_sets_nothing_is_found() -> None:
    def command(used: int = 1, lost: int = 2) -> None:
        print(used)

    assert _idle(command) == {"lost"}


@pytest.mark.parametrize("command", COMMANDS, ids=_ids)
def test_every_key_is_one_of_the_settings(command: Callable[..., None]) -> None:
    settings: tuple[type[BaseModel], ...] = OWN.get(command.__name__, (Recipe,))
    keys = [key.path for key in keys_of(command).values()]
    assert [path for path in keys if not any(_is_field(each, path) for each in settings)] == []
    assert len(keys) == len(set(keys)), "two options set one key"
    assert not any(_is_field(each, "nothing") for each in settings)


@pytest.mark.parametrize("command", [c for c in COMMANDS if keys_of(c)], ids=_ids)
def test_what_an_option_sets_arrives(command: Callable[..., None]) -> None:
    """Each option that has a key, given alone, sets that key and no other, but for what it cannot be without."""
    from scalesearch.cli.keys import given

    click_command = typer.main.get_command(app).commands[command.__name__]  # type: ignore[attr-defined]
    needed: list[str] = [p.name for p in click_command.params if p.param_type_name == "argument" and p.required]
    for parameter in click_command.params:
        key = keys_of(command).get(str(parameter.name))
        if key is None:
            continue
        value = _value(parameter, key)
        arguments = [parameter.opts[0], *([] if value is None else [value]), *needed]
        with click_command.make_context(command.__name__, arguments, resilient_parsing=False) as ctx:
            values = given(command, ctx)
        assert key.path in values, parameter.name
        defaults = {"channels_last", "compile", "training", "energy"} if command.__name__ == "bench" else set()
        needs = {"train.lengths": {"train.schedule"}, "search.match_tolerance": {"search.measured_tolerance"}}.get(
            key.path, set()
        )
        assert set(values) - {key.path} <= defaults | needs


def _value(parameter: Any, key: Key) -> str | None:
    if getattr(parameter, "is_flag", False):
        return None
    return "1,1,1.4" if key.path == "search.also" else "4"


def test_candidates_names_the_networks_that_grid_trains(cli: Cli, tmp_path: Path) -> None:
    for setting in ("train.dropout=0.4", "train.stochastic_depth=0.3", "train.dropout=0"):
        shared = ("--baseline", "tiny.yaml", "--recipe", "quick", "--resolution", "16", "--set", setting)
        listed = json.loads(cli("candidates", *shared, "--format", "json").stdout)
        tried = json.loads(cli("grid", *shared, "--device", "cpu", "--dry-run", "--format", "json").stdout)[
            "candidates"
        ]
        assert [c["network"] for c in listed] == [c["network"] for c in tried] != []
        plain = json.loads(cli("candidates", *shared[:-2], "--format", "json").stdout)
        assert setting == "train.dropout=0" or [c["network"] for c in listed] != [c["network"] for c in plain]
