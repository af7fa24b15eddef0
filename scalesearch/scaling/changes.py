"""Changes to a table of stages, by the field's name: ``spec.stages.se`` of every stage, ``spec.stages.3.se`` of one."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

from pydantic import ValidationError

from scalesearch.errors import BaselineError, ScaleSearchError, SpecError
from scalesearch.scaling.compound import Rounding
from scalesearch.scaling.cost import Conv, convolutions
from scalesearch.scaling.spec import CHOSEN, WITHOUT, ModelSpec, flow
from scalesearch.validation import Strict, nearest

Value = bool | int | float | str | None
"""What a field is set to; ``"x0.75"`` is so many times what the baseline has."""

FIELDS: Mapping[str, tuple[str, ...]] = {
    "stages": ("op", "channels", "repeats", "kernel", "stride", "expand", "se"),
    "stem": ("channels", "kernel", "stride", "pool"),
    "head": ("channels",),
    "norm": ("eps",),
    "": ("activation",),
}
"""The fields of a table that can be changed, by the part that has them."""

BY_RECIPE = {
    "spec.head.dropout": "train.dropout",
    "spec.stochastic_depth": "train.stochastic_depth",
    "spec.norm.momentum": "train.norm_momentum",
    "spec.resolution": "resolution",
    "spec.stem.inputs": "data.channels",
}
"""What a table has too, but a recipe's key decides."""

_FACTOR = re.compile(r"[x×](\d+(?:\.\d*)?|\.\d+)")
_PATH = re.compile(r"spec\.(?:(stages)(?:\.(\d{1,6})(?:-(\d{1,6}))?)?|(stem|head|norm))\.([a-z_]+)|spec\.(activation)")


@dataclass(frozen=True)
class Place:
    """A field of a table: its part (empty: the table itself), its name and, of stages, the first and the last, from 1;
    both are None where it is every stage's."""

    path: str
    part: str
    name: str
    first: int | None = None
    last: int | None = None

    @property
    def short(self) -> str:
        """The field as a label has it: ``se``, ``stage 3 kernel``, ``stem channels``."""
        if self.part == "stages":
            several = f"stages {self.first}-{self.last} " if self.first != self.last else f"stage {self.first} "
            return (several if self.first else "") + self.name
        return f"{self.part} {self.name}".strip()

    def stages(self, count: int) -> range:
        """The indices, from 0, of those that it names among ``count`` stages.

        Raises:
            ScaleSearchError: there are fewer.
        """
        if self.first is None or self.last is None:
            return range(count)
        if not 1 <= self.first <= self.last <= count:
            raise ScaleSearchError(f"{self.path}: the table has stages 1 to {count}, in this order")
        return range(self.first - 1, self.last)


def fields() -> list[str]:
    """What can be changed, as `place_of` reads it."""
    return [f"spec.{part}.{name}".replace("..", ".") for part, names in FIELDS.items() for name in names]


def place_of(path: str) -> Place:
    """The field that ``path`` names: ``spec.stages.se``, ``spec.stages.3.se``, ``spec.stages.2-7.se``, ``spec.stem.…``.

    Raises:
        ScaleSearchError: it names none; the message lists those there are.
    """
    if path in BY_RECIPE:
        raise ScaleSearchError(f"{path}: the recipe's key {BY_RECIPE[path]} decides it, not the table (--set)")
    found = _PATH.fullmatch(path)
    if found:
        stages, first, last, part, name, own = found.groups()
        place = stages or part or ""
        name = name or own
        if name in FIELDS[place]:
            low = int(first) if first else None
            return Place(path, place, name, low, int(last) if last else low)
    near = nearest(path, fields()) or next((each for each in fields() if each.endswith(f".{path}")), None)
    raise ScaleSearchError(
        f"{path}: no field of a table of stages{f' (did you mean {near}?)' if near else ''}: {', '.join(fields())}; "
        "spec.stages.3.se is stage 3's alone, spec.stages.2-7.se that of stages 2 to 7"
    )


def label_of(place: Place, value: Value) -> str:
    """A row's name: ``se 0.25``, ``channels ×0.75``, ``head channels none``."""
    factor = _FACTOR.fullmatch(value) if isinstance(value, str) else None
    words = {True: "yes", False: "no", None: "none"}
    told = f"×{factor[1]}" if factor else words[value] if value is None or isinstance(value, bool) else str(value)
    return f"{place.short} {told}"


def changed(spec: ModelSpec, changes: Mapping[str, Value], rounding: Rounding) -> ModelSpec:
    """``spec`` with its fields at these values.

    A field of every stage is left as it is where the stage's operator has none of it (`left_as_they_are` says where).
    Factors are rounded as ``rounding`` rounds a scaling.

    Raises:
        ScaleSearchError: a path names no field, two name the same one, or a value breaks its field's rule.
    """
    wanted = {place_of(path): value for path, value in changes.items()}
    operators = _operators(spec, wanted)
    data = spec.model_dump()
    for place, value in wanted.items():
        if place.part != "stages":
            before = getattr(spec, place.part) if place.part else spec
            (data[place.part] if place.part else data)[place.name] = _value(place, before, value, rounding)
            continue
        reached = [i for i in place.stages(len(operators)) if _takes(operators[i], place.name, value)]
        missed = next((i for i in place.stages(len(operators)) if i not in reached), None)
        if missed is not None and (place.first or not reached):
            raise SpecError(place.path, _only(operators[missed], place.name), value)
        for i in reached:
            data["stages"][i][place.name] = _value(place, spec.stages[i], value, rounding)
    return _validated(data, list(wanted))


def left_as_they_are(spec: ModelSpec, changes: Mapping[str, Value]) -> list[str]:
    """Which stages the changes of every stage do not reach, and why; a sentence for each such field."""
    wanted = {place_of(path): value for path, value in changes.items()}
    found, operators = [], _operators(spec, wanted)
    for place, value in wanted.items():
        spared = [i for i, op in enumerate(operators) if not _takes(op, place.name, value)]
        if place.part == "stages" and place.first is None and spared:
            whose = f"stage{'s' * (len(spared) > 1)} {', '.join(str(i + 1) for i in spared)}"
            reasons = ", ".join(dict.fromkeys(operators[i] for i in spared))
            what = "one kernel alone" if place.name == "kernel" else f"no {place.name}"
            found.append(f"{place.path} does not reach {whose}: {reasons} has {what}")
    return found


def no_table(name: str, path: str) -> BaselineError:
    """Why ``path`` cannot be changed in a network that is a module."""
    return BaselineError(
        f"{name} is a module: only a table of stages has a field {path}. Take a built-in network (`scalesearch "
        "baselines` lists them) or a SPEC.yaml of your own"
    )


def same_network(spec: ModelSpec) -> tuple[str, tuple[Conv, ...]]:
    """Equal for equal networks, also where ``se`` and ``expand`` differ by less than a channel."""
    bare = tuple(stage.model_copy(update={"se": 0.0, "expand": 1.0}) for stage in spec.stages)
    return spec.model_copy(update={"stages": bare}).fingerprint, tuple(convolutions(spec))


def _operators(spec: ModelSpec, wanted: Mapping[Place, Value]) -> list[str]:
    """Every stage's operator after the changes.

    Raises:
        ScaleSearchError: two of them set one field of a stage.
    """
    count = len(spec.stages)
    for one, other in combinations(wanted, 2):
        both = set(one.stages(count)) & set(other.stages(count))
        if one.part == other.part == "stages" and one.name == other.name and both:
            raise ScaleSearchError(f"{one.path} and {other.path} both set {one.name} of stage {min(both) + 1}")
    named = {i: str(op) for place, op in wanted.items() if place.name == "op" for i in place.stages(count)}
    return [named.get(i, stage.op) for i, stage in enumerate(spec.stages)]


def _takes(operator: str, name: str, value: Value) -> bool:
    return name not in WITHOUT or name in CHOSEN.get(operator, WITHOUT) or value == WITHOUT[name]


def _only(operator: str, name: str) -> str:
    only = WITHOUT[name]
    return f"{only:g}, the only {name} that {operator} has" if only > 1 else f"{only:g}, as {operator} has no {name}"


def _value(place: Place, before: Strict, value: Value, rounding: Rounding) -> Value:
    """What the field is set to, a factor applied."""
    if isinstance(value, bool) and place.name != "pool":
        raise SpecError(place.path, "a number or a word", value)
    found = _FACTOR.fullmatch(value) if isinstance(value, str) else None
    if found is None:
        return value
    factor, own = float(found[1]), getattr(before, place.name)
    if place.name not in ("channels", "repeats", "expand", "se"):
        raise SpecError(place.path, "a value (only channels, repeats, expand and se take a factor)", value)
    if not factor:
        raise SpecError(place.path, "a factor above 0", value)
    if own is None:
        raise SpecError(place.path, "a number of channels, since there are none to multiply", value)
    if place.name == "channels":
        return rounding.channels(own, factor)
    return rounding.repeats(own, factor) if place.name == "repeats" else round(own * factor, 9)


def _validated(data: Mapping[str, Any], places: Sequence[Place]) -> ModelSpec:
    """The table, where it keeps every rule; else the first broken one by the name that the change gave it."""
    try:
        return ModelSpec.model_validate(data)
    except ValidationError as failure:
        problem = failure.errors()[0]
    part, *rest = problem["loc"]
    number = int(rest.pop(0)) + 1 if part == "stages" and rest else None  # from 1, as they are named here
    where = ".".join(str(each) for each in ("spec", part, number, *rest) if each is not None)
    for place in places:
        if place.part in (part, "") and place.name == (rest or [part])[-1] and number in (None, *_numbers(place, data)):
            where = place.path
    want = problem["msg"].removeprefix("Value error, ").removeprefix("Input should be ")
    got = problem["input"]
    raise SpecError(where, want, flow({k: got[k] for k in FIELDS["stages"]}) if isinstance(got, dict) else got)


def _numbers(place: Place, data: Mapping[str, Any]) -> list[int]:
    return [i + 1 for i in place.stages(len(data["stages"]))]
