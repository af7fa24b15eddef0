"""The panels of ``--help``, and how options become a recipe's keys.

Annotations are not postponed here, nor in the files of commands: typer would evaluate every option's anew, three times
over, at every start.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import typer

CANDIDATES = "Candidates"
COST = "Bounds of cost"
ANSWER = "Ranking"
TRAINING = "Images and training"
MACHINE = "Devices, workers and storage"
OUTPUT = "Output"


@dataclass(frozen=True)
class Key:
    """Stands in an option's annotation: the dotted key that the option sets, as ``--set KEY=VALUE`` would.

    ``read`` turns the option's value into keys and values of its own, where it is not simply the key's value.
    """

    path: str
    read: Callable[[Any], dict[str, object]] | None = None


def keys_of(command: Callable[..., None]) -> dict[str, Key]:
    """The keys that a command's parameters set, by the parameter's name."""
    found = {}
    for name, annotation in command.__annotations__.items():
        for note in getattr(annotation, "__metadata__", ()):
            if isinstance(note, Key):
                found[name] = note
    return found


def given(command: Callable[..., None], ctx: typer.Context) -> dict[str, object]:
    """What the command line sets of the keys that ``command`` declares; options that were not given set nothing."""
    values: dict[str, object] = {}
    for name, key in keys_of(command).items():
        value = ctx.params[name]
        if value not in (None, [], ()):
            values |= key.read(value) if key.read else {key.path: value}
    return values


def overrides(command: Callable[..., None], ctx: typer.Context, assignments: list[str] | None) -> dict[str, object]:
    """The keys of a recipe that the command line sets, ``--set`` last."""
    from scalesearch.recipe import parse_assignments

    return given(command, ctx) | parse_assignments(assignments or [])


def points(value: list[str]) -> dict[str, object]:
    """``--also``: each point's three coefficients."""
    return {"search.also": [point.split(",") for point in value]}


def batch(value: str) -> dict[str, object]:
    """``--batch-size``: a number, or auto."""
    return {"train.grow_batch": True} if value == "auto" else {"train.batch_size": value}


def lengths(value: str) -> dict[str, object]:
    """``--lengths``: shares of the schedule, and the schedule from which they can branch off."""
    return {"train.lengths": value.split(","), "train.schedule": "wsd"}


def factors(value: str) -> dict[str, object]:
    """``--eval-resolution``: shares of each network's own image size."""
    return {"train.eval_resolutions": value.split(",")}


def shares(value: str) -> dict[str, object]:
    """``--stage-depths``: a number for each stage."""
    return {"rounding.stage_depths": value.split(",")}


def format_of(name: str, *, json: bool) -> str:
    """The form that ``--format`` and ``--json`` ask for."""
    return "json" if json else name
