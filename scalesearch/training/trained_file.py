"""A trained network as a command names it: a spec and a file of weights, or the folder that `train` wrote."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import nn

from scalesearch.candidates.resolve import resolve_network
from scalesearch.errors import BaselineError, RecipeError
from scalesearch.image_size import Resolution
from scalesearch.models.protocols import ScaledModel
from scalesearch.models.weights import Loaded, load_whole, read_weights
from scalesearch.recipe import Recipe, load_recipe
from scalesearch.run_files import read_result
from scalesearch.runtime.default_recipe import default_recipe
from scalesearch.training.normalisation import Normalisation, normalisation_of
from scalesearch.validation import is_file

WEIGHTS, SPEC, RECIPE = "weights.pt", "spec.yaml", "recipe.yaml"
"""What `train` and `linear` write into their folders."""
OUTCOME, FITTED = "outcome.json", "linear.json"
"""What came of it: of `train`, and of `linear`."""


@dataclass(frozen=True)
class Trained:
    """A network, the file of its weights, and the recipe that says what images it sees and how.

    ``name``: its own; ``asked``: what the command line called it; ``recipe_file``: where the recipe is from;
    ``normalisation``: how images are normalised for these weights.
    """

    name: str
    asked: str
    model: ScaledModel
    weights: Path
    recipe: Recipe
    recipe_file: str
    normalisation: Normalisation

    def build(self, classes: int) -> tuple[nn.Module, Loaded]:
        """The network with its weights in evaluation mode, and how they were found.

        Raises:
            BaselineError: the weights are not those of this network for so many classes.
        """
        network = self.model.build(classes)
        loaded = load_whole(network, read_weights(self.weights), str(self.weights))
        return network.eval(), loaded


def outcome_of(folder: Path) -> dict[str, Any] | None:
    """What came of the training or the fit that left this folder; None where there is none.

    Raises:
        RunError: the file cannot be read.
    """
    for name in (OUTCOME, FITTED):
        if is_file(folder / name):
            return read_result(folder, name)
    return None


def is_trained_folder(name: str) -> bool:
    """Whether `train` or `linear` wrote this folder."""
    return is_file(Path(name).expanduser() / SPEC) and is_file(Path(name).expanduser() / WEIGHTS)


def spec_and_weights(asked: str, weights: Path | None) -> tuple[str, Path | None]:
    """The spec, and the file of the weights where there is one: a folder's own, or else what was asked for.

    Raises:
        BaselineError: it is a folder, but none that `train` or `linear` wrote.
        RecipeError: a folder has weights of its own, and others were given.
    """
    folder = Path(asked).expanduser()
    if not is_trained_folder(asked):
        if folder.is_dir():
            raise BaselineError(
                f"{asked} is a folder without {SPEC} and {WEIGHTS}: `scalesearch train` and `linear` write both"
            )
        return asked, weights
    if weights is not None:
        raise RecipeError("--weights", f"none for {asked}, a folder that has its own", str(weights))
    return str(folder / SPEC), folder / WEIGHTS


def open_trained(
    asked: str,
    weights: Path | None,
    *,
    recipe: str | None = None,
    overrides: Mapping[str, object] | None = None,
    resolution: Resolution | None = None,
) -> Trained:
    """Open a network that has been trained; nothing is built.

    The recipe is the one that is named, else the one that lies beside the weights, else the default one. Where it lies
    beside them and ``asked`` is no file of a spec, the network has the side at which it was trained.

    Raises:
        BaselineError: there is no such network, or no weights for it.
        RecipeError: the recipe breaks a rule, or nothing says which images.
    """
    spec, weights = spec_and_weights(asked, weights)
    if weights is None:
        raise BaselineError(
            f"no weights for {asked}: it is no folder that `train` or `linear` wrote, so --weights FILE has to say "
            "what was trained"
        )
    weights = weights.expanduser()
    if not is_file(weights):
        raise BaselineError(f"no weights: there is no file {weights}")
    beside = weights.parent / RECIPE
    if recipe is None and not is_file(beside):
        beside = weights.parent.parent / RECIPE  # those that a search keeps lie in a folder of its run
    if recipe is None and not is_file(beside) and "data.source" not in (overrides or {}):
        raise RecipeError("--data", f"images, which no {RECIPE} beside {weights} names", "none")
    found = recipe or (str(beside) if is_file(beside) else default_recipe("cpu"))
    chosen = load_recipe(found, {**(overrides or {}), "baseline": spec, "device": "cpu"})
    if resolution is None and found == str(weights.parent / RECIPE) and not spec.endswith((".yaml", ".yml")):
        resolution = chosen.resolution
    name, model = resolve_network(chosen, resolution, chosen.data.channels)
    said = chosen.data if recipe or "data.mean" in (overrides or {}) else None
    return Trained(name, asked, model, weights, chosen, found, normalisation_of(weights, model.spec, said))
