"""From a recipe to a search for a baseline: the space, the target, and what the search will take."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import islice
from typing import Any

import numpy as np

from scalesearch.candidates.grid import Candidate, Plan, Rejections
from scalesearch.candidates.resolve import resolve_baseline
from scalesearch.candidates.space import Space, open_space
from scalesearch.errors import EmptyGridError, RecipeError, ScaleSearchError
from scalesearch.models.spec_baseline import SpecBaseline
from scalesearch.recipe import Recipe
from scalesearch.report.units import amount
from scalesearch.run_folder import settings_of
from scalesearch.scaling.points import Points
from scalesearch.search.nas.planner import UNSCALED, ArchitecturePlanner, network_of
from scalesearch.search.setup import Prepared, place_of, settle
from scalesearch.trials import Choice

SAMPLE = 1_000
"""Architectures at random whose costs say what the space's are like."""


@dataclass(frozen=True)
class Costs:
    """MACs of architectures at random (N,), ascending, and of the skeleton."""

    sample: tuple[int, ...]
    skeleton: int

    def share(self, low: float, high: float) -> float:
        """Of the sample, how many cost from ``low`` to ``high``."""
        return float(np.mean([low <= macs <= high for macs in self.sample]))

    def __str__(self) -> str:
        low, middle, high = self.sample[0], self.sample[len(self.sample) // 2], self.sample[-1]
        return f"{amount(low)} to {amount(high)}, median {amount(middle)}"


@dataclass(frozen=True)
class PreparedNas(Prepared):
    """A search for a baseline: ``baseline`` is the space's skeleton, and ``plan`` has the first architectures."""

    space: Space | None = None
    costs: Costs | None = None

    @cached_property
    def planner(self) -> ArchitecturePlanner:
        """What decides which architectures there are."""
        assert self.space is not None and self.target is not None
        classes = len(self.source.classes)
        return ArchitecturePlanner(self.recipe, self.space, self.target, images=self.minival_images, classes=classes)

    @property
    def target(self) -> int:
        """MACs that an architecture should have."""
        return _target(self.recipe)

    @property
    def exponent(self) -> float:
        """Of the reward's MACs."""
        return self.recipe.nas.exponent

    @property
    def trainings(self) -> float:
        """Of architectures, and further ones of the best."""
        planner = self.planner
        if planner.trials is None:
            return float("inf")
        return planner.trials + min(planner.finalists, planner.trials) * (self.recipe.seeds - 1)

    @property
    def aim(self) -> str:
        """The space, the target and the sampler."""
        assert self.space is not None
        nas, side = self.recipe.nas, self.baseline.resolution
        return f"space {self.space.name} · {amount(self.target)} MACs at {side} px · {nas.sampler}"

    @property
    def axes(self) -> Mapping[str, Sequence[Choice]]:
        """What is chosen, and from what."""
        assert self.space is not None
        return self.space.axes

    @property
    def settings(self) -> dict[str, Any]:
        """Everything that changes a result, by dotted key; the space as it stands, wherever its file is."""
        assert self.space is not None
        network = {"skeleton": self.baseline.identity, "space": self.space.table.model_dump(mode="json")}
        network["space"].pop("skeleton")
        found = settings_of(self.recipe, network, self.source.fingerprint)
        found.pop("nas.space", None)
        return found


def _target(recipe: Recipe) -> int:
    if recipe.nas.target_macs is None:
        raise ScaleSearchError("--target-macs: how many MACs the network should have, such as 60M")
    return recipe.nas.target_macs


def prepare_nas(recipe: Recipe) -> PreparedNas:
    """Open the space, list the images, and choose what to begin with; nothing is decoded or trained.

    Args:
        recipe: of `search.nas.wishes.recipe_for_nas`.

    Raises:
        EmptyGridError: no architecture of the space costs about what it should.
        ScaleSearchError: whatever else the user can mend.
    """
    if recipe.train.grow_from is not None:
        raise RecipeError(
            "train.grow_from", "nothing: architectures of a space do not grow from one network", recipe.train.grow_from
        )
    space = open_space(recipe.nas.space)
    recipe = recipe.model_copy(update={"baseline": space.table.skeleton})
    baseline = resolve_baseline(recipe, space.skeleton).baseline
    assert isinstance(baseline, SpecBaseline)
    place = place_of(recipe, baseline)
    recipe, classes = place.recipe, len(place.source.classes)
    baseline = baseline.at(channels=recipe.data.channels)
    costs = costs_of(space, recipe, classes)
    if recipe.nas.target_macs is None:
        raise ScaleSearchError(
            "--target-macs: how many MACs the network should have, such as "
            f"{_short(costs.skeleton)} (what {space.skeleton.name} has at {baseline.resolution} px); architectures of "
            f"{space.name} have {costs}"
        )
    planner = ArchitecturePlanner(recipe, space, recipe.nas.target_macs, images=0, classes=classes)
    if not planner.first():
        nearest = min(costs.sample, key=lambda macs: abs(np.log(macs / planner.target)))
        raise EmptyGridError(
            f"no architecture of {space.name} was found within ×{recipe.nas.factor:g} of {amount(planner.target)} "
            f"MACs at {baseline.resolution} px: at random they have {costs}, the nearest {amount(nearest)}; change "
            "--target-macs or --factor, or give --space another skeleton"
        )
    made = _plan(
        tuple(planner.by_network.values()), resolve_baseline(recipe, space.skeleton).model(UNSCALED).cost(classes)
    )
    settled = settle(place, made)
    return PreparedNas(
        settled.recipe, baseline, place.source, made, place.device, *settled.rest, space=space, costs=costs
    )


def _plan(candidates: tuple[Candidate, ...], base: Any) -> Plan:
    return Plan(base, candidates, Rejections(Points.of([]), "", (), ()), 0)


def costs_of(space: Space, recipe: Recipe, classes: int) -> Costs:
    """What architectures at random cost, as the recipe trains them."""
    drawn = islice(space.draws(recipe.nas.seed), SAMPLE)
    sample = sorted(network_of(recipe, space.realise(choices)).cost(classes).macs for choices in drawn)
    return Costs(tuple(sample), network_of(recipe, space.skeleton).cost(classes).macs)


def _short(macs: int) -> str:
    """As `--target-macs` takes it: ``32M``."""
    return amount(macs).replace(" ", "")
