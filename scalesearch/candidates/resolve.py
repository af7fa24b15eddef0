"""From a recipe to its baseline, and from the baseline to networks: the one place where both are decided."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from scalesearch.image_size import Resolution
from scalesearch.models.catalogue import baseline_of, model_of, open_baseline
from scalesearch.models.protocols import Baseline, ScaledModel
from scalesearch.recipe import Recipe
from scalesearch.scaling.changes import Value
from scalesearch.scaling.compound import Coefficients
from scalesearch.scaling.spec import ModelSpec
from scalesearch.scaling.spec_files import Spec


@dataclass(frozen=True)
class ResolvedBaseline:
    """A recipe's baseline at the recipe's resolution, for its images' channels and with its regularisation.

    ``dropout`` is the head's, of every candidate; None leaves the network's own.
    """

    baseline: Baseline
    phi: float
    dropout: float | None

    def model(self, coefficients: Coefficients, changes: Mapping[str, Value] | None = None) -> ScaledModel:
        """The candidate's network.

        Args:
            changes: of a `settings.Row`, made before the baseline is scaled.
        """
        baseline = self.baseline.changed(changes or {})
        return baseline.scaled(coefficients.at(self.phi), dropout=self.dropout)


def resolve_baseline(recipe: Recipe, native: Spec | None = None) -> ResolvedBaseline:
    """Open the baseline that the recipe names, or ``native`` in its place, as the recipe trains it.

    Raises:
        BaselineError: there is none of that name.
        SpecError: its file breaks a rule.
        SurgeryError: it is a module that cannot be scaled.
    """
    opened = (
        baseline_of(native, recipe.rounding)
        if native
        else open_baseline(recipe.baseline, recipe.rounding, recipe.resolution)
    )
    baseline = opened.at(
        resolution=recipe.resolution,
        stochastic_depth=recipe.train.stochastic_depth,
        channels=recipe.data.channels,
    )
    dropout = baseline.dropout_at(recipe.phi) if recipe.train.dropout is None else recipe.train.dropout
    return ResolvedBaseline(baseline, recipe.phi, dropout)


def resolve_network(
    recipe: Recipe, resolution: Resolution | None = None, channels: int | None = None
) -> tuple[str, ScaledModel]:
    """The recipe's baseline itself, as one network to train, and its name.

    Dropout and stochastic depth are the network's own unless the recipe has them; nothing grows with φ.

    Args:
        resolution: size of the images, pixels; the network's own if None.
        channels: of the images; the network's own if None.

    Raises:
        BaselineError, SpecError, SurgeryError: as `resolve_baseline`.
    """
    opened = open_baseline(recipe.baseline, recipe.rounding, resolution)
    native = opened.meant_for(resolution, channels).native
    changes: dict[str, Any] = {}
    if recipe.train.stochastic_depth is not None:
        changes["stochastic_depth"] = recipe.train.stochastic_depth
    if recipe.train.dropout is not None and isinstance(native, ModelSpec):
        changes["head"] = native.head.model_copy(update={"dropout": recipe.train.dropout})
    elif recipe.train.dropout is not None:
        changes["dropout"] = recipe.train.dropout
    return native.name, model_of(native.model_copy(update=changes))
