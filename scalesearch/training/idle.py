"""Settings that do nothing where they are: told before anything trains."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from scalesearch.models.protocols import ScaledModel
from scalesearch.models.surgery.regularisation import drop_paths
from scalesearch.recipe import Recipe
from scalesearch.scaling.module_spec import ModuleSpec

OF_SEARCHES = (
    "phi", "seeds", "confidence", "within", "max_seeds", "budget", "exhaustive", "objective", "top", "search", "nas",
)  # fmt: skip
"""Keys and sections of a recipe that say what a search does, and nothing about one training."""


def idle_in_training(recipe: Recipe, model: ScaledModel, classes: int) -> tuple[str, ...]:
    """Of the settings of a training of ``model``, those that change nothing of it, a sentence each."""
    return tuple(_of_a_training(recipe, model, classes))


def idle_in_search(recipe: Recipe, model: ScaledModel, classes: int) -> tuple[str, ...]:
    """Of a search's, with ``model`` as one of its candidates."""
    told = list(_of_a_training(recipe, model, classes))
    fields = type(recipe).model_fields
    idle = [key for key in ("within", "max_seeds") if getattr(recipe, key) != fields[key].default]
    if idle and recipe.confidence is None and recipe.budget is None:
        told.append(f"{_listed(idle)} nothing without a confidence or a budget")
    return tuple(told)


def of_searches(asked: Iterable[str], recipe: Recipe) -> tuple[str, ...]:
    """What is said of ``asked``, keys that somebody has given for one training, and of its recipe."""
    idle = [key for key in asked if key.partition(".")[0] in OF_SEARCHES]
    told = [f"{_listed(idle)} nothing about one training: searches take it"] if idle else []
    if recipe.run.log:
        told.append("run.log is of searches: this training writes nothing for TensorBoard")
    return tuple(told)


def _of_a_training(recipe: Recipe, model: ScaledModel, classes: int) -> Iterator[str]:
    train = recipe.train
    if train.freeze and train.head_only_epochs:
        yield "train.head_only_epochs changes nothing beside freeze, which trains the classifier alone to the end"
    elif train.epochs is not None and train.head_only_epochs >= train.epochs:
        yield f"train.head_only_epochs are all {train.epochs:g} epochs: nothing but the classifier is trained"
    if train.stochastic_depth and isinstance(model.spec, ModuleSpec) and not drop_paths(model.build(classes)):
        yield f"train.stochastic_depth changes nothing: {model.spec.name} has no drop paths"


def _listed(keys: list[str]) -> str:
    return f"{' and '.join(keys)} {'says' if len(keys) == 1 else 'say'}"
