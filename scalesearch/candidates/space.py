"""A space of architectures: what may be chosen for each stage of a table, and the network that choices come to."""

from __future__ import annotations

import math
import random
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field, PositiveFloat, model_validator

from scalesearch.errors import BaselineError, RecipeError, ScaleSearchError
from scalesearch.models.catalogue import builtin
from scalesearch.recipe import recipe_folder
from scalesearch.scaling.compound import Rounding
from scalesearch.scaling.spec import CHOSEN, Fraction01, Kernel, ModelSpec, Op, StageSpec
from scalesearch.scaling.spec_files import load_spec
from scalesearch.trials import Choice
from scalesearch.validation import Strict, parse, read_yaml, shipped_or_path

NEAREST = Rounding(lowest_share=0)
"""Channels become the nearest multiple of 8."""


class SpaceTable(Strict):
    """What a space's file holds: a table of stages, and what each of them may be in its place.

    ``skeleton`` is a built-in table or a spec's path, beside the file. Stem, strides, head, activation and
    regularisation are the skeleton's. ``repeats`` are added to a stage's own, ``channels`` multiply them. Of what is
    left out, a stage keeps its own; an operator takes from ``kernel``, ``expand`` and ``se`` what it has.
    """

    title: str
    source: str | None = None
    skeleton: str
    op: tuple[Op, ...] = ()
    kernel: tuple[Kernel, ...] = ()
    expand: tuple[PositiveFloat, ...] = ()
    se: tuple[Fraction01, ...] = ()
    repeats: Annotated[tuple[Annotated[int, Field(ge=-100, le=100)], ...], Field(min_length=1)] = (0,)
    channels: Annotated[tuple[Annotated[float, Field(gt=0, le=100)], ...], Field(min_length=1)] = (1.0,)

    @model_validator(mode="after")
    def _each_once(self) -> SpaceTable:
        for name in ("op", "kernel", "expand", "se", "repeats", "channels"):
            values = getattr(self, name)
            if len(set(values)) < len(values):
                raise ValueError(f"every value of {name} once")
        return self


@dataclass(frozen=True)
class Space:
    """A space by its name, its table, and the skeleton that the table names."""

    name: str
    table: SpaceTable
    skeleton: ModelSpec

    @cached_property
    def options(self) -> tuple[Mapping[str, tuple[Choice, ...]], ...]:
        """Of each stage, what each of its fields may be."""
        return tuple(self._options(stage) for stage in self.skeleton.stages)

    def _options(self, stage: StageSpec) -> dict[str, tuple[Choice, ...]]:
        table = self.table
        found: dict[str, tuple[Choice, ...]] = {
            name: tuple(getattr(table, name)) or (getattr(stage, name),) for name in ("op", "kernel", "expand", "se")
        }
        found["repeats"] = tuple(dict.fromkeys(max(1, stage.repeats + more) for more in table.repeats))
        found["channels"] = tuple(dict.fromkeys(NEAREST.channels(stage.channels, by) for by in table.channels))
        return found

    @cached_property
    def axes(self) -> dict[str, tuple[Choice, ...]]:
        """What has to be chosen, by the path of the spec's field (``stages[3].kernel``)."""
        return {
            f"stages[{place}].{name}": values
            for place, stage in enumerate(self.options)
            for name, values in stage.items()
            if len(values) > 1
        }

    @cached_property
    def size(self) -> int:
        """How many architectures it has: choices that an operator does not have count once."""
        return math.prod(
            len(stage["repeats"])
            * len(stage["channels"])
            * sum(math.prod(len(stage[field]) for field in CHOSEN[_op(op)]) for op in stage["op"])
            for stage in self.options
        )

    def realise(self, choices: Mapping[str, Choice]) -> ModelSpec:
        """The network of a choice for every axis.

        >>> from scalesearch.candidates.space import open_space
        >>> space = open_space("mbconv")
        >>> spec = space.realise({axis: values[0] for axis, values in space.axes.items()})
        >>> spec.blocks, spec.stages[1].op, spec.stages[1].channels
        (11, 'mbconv', 16)
        """
        stages = []
        for place, (own, options) in enumerate(zip(self.skeleton.stages, self.options, strict=True)):
            chosen: dict[str, Any] = {
                name: choices.get(f"stages[{place}].{name}", options[name][0]) for name in options
            }
            has = CHOSEN[_op(chosen["op"])]
            stages.append(
                StageSpec(
                    op=chosen["op"],
                    channels=chosen["channels"],
                    repeats=chosen["repeats"],
                    stride=own.stride,
                    **{name: chosen[name] for name in has},
                )
            )
        return self.skeleton.model_copy(update={"stages": tuple(stages), "source": None, "origin": None})

    @cached_property
    def own_choices(self) -> dict[str, Choice] | None:
        """The choices that realise the skeleton; None where it is no member of the space."""
        found: dict[str, Choice] = {}
        for axis, values in self.axes.items():
            place, _, name = axis.removeprefix("stages[").partition("].")
            own = getattr(self.skeleton.stages[int(place)], name)
            found[axis] = own if own in values else values[0]
        return found if self.realise(found).fingerprint == self.skeleton.fingerprint else None

    def draws(self, seed: int) -> Iterator[dict[str, Choice]]:
        """Choices at random, every option of an axis equally often, without an end."""
        dice = random.Random(seed)
        while True:
            yield {axis: dice.choice(values) for axis, values in self.axes.items()}


def _op(value: Any) -> Op:
    found: Op = value
    return found


def space_names() -> list[str]:
    """The shipped spaces, sorted."""
    return sorted(path.stem for path in (recipe_folder() / "spaces").glob("*.yaml"))


def open_space(name: str) -> Space:
    """A shipped space by name, or a file by path.

    Raises:
        ScaleSearchError: there is none, or only one architecture in it.
        RecipeError, SpecError: a key of it, or of its skeleton, breaks its rule.
        BaselineError: there is no such skeleton, or it is no table of stages.
    """
    path = shipped_or_path(name, recipe_folder() / "spaces", "space")
    table = parse(SpaceTable, read_yaml(path, RecipeError), RecipeError)
    space = Space(path.stem, table, _skeleton(table.skeleton, path.parent))
    if not space.axes:
        raise ScaleSearchError(f"{path}: there is nothing to choose: give op, kernel, expand, se, repeats or channels")
    return space


def _skeleton(name: str, folder: Path) -> ModelSpec:
    file = Path(name).expanduser()
    if file.suffix not in (".yaml", ".yml"):
        if ":" in name:
            raise BaselineError(f"skeleton {name}: a module has no table of stages; name a built-in table or SPEC.yaml")
        return builtin(name)
    spec = load_spec(folder / file)
    if not isinstance(spec, ModelSpec):
        raise BaselineError(f"skeleton {name}: it is a scaled module, no table of stages")
    return spec
