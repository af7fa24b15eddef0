"""The border: files and options become validated, frozen values here, and nowhere else."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, TypeVar, get_args

import yaml
from pydantic import BaseModel, ConfigDict, ValidationError

from scalesearch.errors import FieldError, ScaleSearchError


class Strict(BaseModel):
    """A frozen model that refuses keys it does not know."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


Model = TypeVar("Model", bound=BaseModel)

_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
"""libyaml's, where PyYAML was built with it: ten times as fast."""


MOST_CHANNELS = 10**6
"""Channels of a layer beyond which a number is taken for a slip: no network has as many."""

MOST_REPEATS = 10**4
"""Blocks of a stage beyond which a number is taken for a slip."""

MOST_PIXELS = 2**14
"""Pixels of an image's side beyond which a number is taken for a slip."""

MOST_CLASSES = 10**7
"""Classes beyond which a number is taken for a slip."""


def parse(model: type[Model], data: object, error: type[FieldError]) -> Model:
    """Validate ``data``; every broken field at once, each with its path.

    Raises:
        ScaleSearchError: ``error`` for one broken field, or one message that lists them all.
    """
    try:
        return model.model_validate(data)
    except ValidationError as failure:
        problems = [_problem(model, item, error) for item in failure.errors()]
    if len(problems) == 1:
        raise problems[0]
    raise ScaleSearchError("; ".join(str(problem) for problem in problems))


def _problem(model: type[BaseModel], item: Mapping[str, Any], error: type[FieldError]) -> FieldError:
    path = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in item["loc"]).lstrip(".")
    if item["type"] == "extra_forbidden":
        known = _fields_at(model, item["loc"][:-1])
        near = nearest(str(item["loc"][-1]), known)
        want = f"a known key (did you mean {near}?)" if near else f"one of the keys {', '.join(known)}"
        return error(path, want, item["loc"][-1])
    if item["type"] == "missing":
        return error(path, "a value, and there is none", ...)
    message, got = str(item["msg"]).removeprefix("Value error, ").removeprefix("Input should be "), item["input"]
    if item["type"] == "value_error" and isinstance(got, Mapping):  # a section's rule: of it, the keys that it names
        got = {key: value for key, value in got.items() if re.search(rf"\b{re.escape(str(key))}\b", message)} or ...
    return error(path or "the file", message, got)


def _fields_at(model: Any, loc: tuple[str | int, ...]) -> list[str]:
    """The keys that are allowed at ``loc`` inside ``model``."""
    for part in loc:
        if part in model.model_fields:  # else a place in a list, or a key that the user chose
            model = next(_models_in(model.model_fields[part].annotation), model)
    return list(model.model_fields)


def _models_in(annotation: Any) -> Iterator[type[BaseModel]]:
    """The models in a type, however deep: ``dict[str, tuple[Row, ...] | None]``."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for inner in get_args(annotation):
        yield from _models_in(inner)


def nearest(name: str, known: Iterable[str], *, cutoff: float = 0.6) -> str | None:
    """The known name that ``name`` was probably meant to be; None where none is near.

    Args:
        cutoff: how alike they have to be, from 0 to 1.
    """
    return next(iter(difflib.get_close_matches(name, list(known), n=1, cutoff=cutoff)), None)


def is_file(path: Path) -> bool:
    """Whether there is such a file; a path that cannot be one, being too long or with a zero byte, is none."""
    try:
        return path.is_file()
    except (OSError, ValueError):
        return False


def shipped_or_path(name: str, folder: Path, what: str) -> Path:
    """The file of a shipped ``what`` in ``folder``, by its name, or a file of the user's own.

    Raises:
        ScaleSearchError: there is none; the message names the nearest one.
    """
    shipped = folder / f"{name}.yaml"
    path = shipped if is_file(shipped) else Path(name).expanduser()
    if not is_file(path):
        names = sorted(file.stem for file in folder.glob("*.yaml"))
        near = nearest(name, names)
        hint = f" (did you mean {near}?)" if near else ""
        raise ScaleSearchError(f"no {what} {name!r}{hint}: the shipped ones are {', '.join(names)}; a path works too")
    return path


def read_yaml(path: Path, error: type[FieldError]) -> object:
    """The content of a YAML file as plain Python values."""
    try:
        return yaml.load(path.read_text(encoding="utf-8"), _LOADER)
    except OSError as failure:
        raise ScaleSearchError(f"cannot read {path}: {failure.strerror}") from failure
    except UnicodeDecodeError as failure:
        raise ScaleSearchError(f"{path} is not a text file") from failure
    except (yaml.YAMLError, ValueError, TypeError, OverflowError, RecursionError) as failure:  # its constructors' too
        raise error(str(path), "YAML", " ".join(str(failure).split())[:300]) from failure
