"""Trained networks, opened from the files where they lie: the one way in which every command takes them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import nn

from scalesearch.errors import BaselineError, DataError, RecipeError
from scalesearch.image_size import Resolution
from scalesearch.models.catalogue import baseline_of, model_of, open_baseline
from scalesearch.models.protocols import ScaledModel
from scalesearch.models.weights import Loaded, load_weights, load_whole, read_weights, untrained
from scalesearch.recipe import Recipe, load_recipe
from scalesearch.runtime.default_recipe import default_recipe
from scalesearch.training.normalisation import Normalisation, normalisation_of
from scalesearch.training.trained_files import TrainedFiles
from scalesearch.training.trainer import Trainer


@dataclass(frozen=True)
class TrainedNetwork:
    """A network, not built yet, and the files that it is from; ``name`` is its own, or what its run calls it."""

    name: str
    model: ScaledModel
    files: TrainedFiles

    @property
    def weights(self) -> Path:
        """The file of its weights."""
        return self.files.weights

    def build(self, classes: int) -> tuple[nn.Module, Loaded]:
        """The network with its weights in evaluation mode, and how they were found.

        Raises:
            BaselineError: the weights are not those of this network for so many classes.
        """
        network = self.model.build(classes)
        loaded = load_whole(network, read_weights(self.weights), str(self.weights))
        return network.eval(), loaded


@dataclass(frozen=True)
class OnImages:
    """A trained network, and the recipe that says which images it sees and how.

    ``recipe_file``: where the recipe is from; ``normalisation``: how images are normalised for these weights.
    """

    network: TrainedNetwork
    recipe: Recipe
    recipe_file: str
    normalisation: Normalisation

    @property
    def name(self) -> str:
        """The network's."""
        return self.network.name

    @property
    def model(self) -> ScaledModel:
        """The network, not built yet."""
        return self.network.model


def open_network(
    files: TrainedFiles, resolution: Resolution | None = None, channels: int | None = None
) -> TrainedNetwork:
    """Open a network; nothing is built.

    Where the recipe of its training lies beside the weights and no spec file is named, the network has the size and
    the channels of the images on which it was trained, unless ``resolution`` (pixels) and ``channels`` say others.

    Raises:
        BaselineError, SpecError, SurgeryError: there is no such network.
        RecipeError: the recipe beside it breaks a rule.
    """
    beside = load_recipe(str(files.recipe)) if files.recipe is not None else None
    if isinstance(files.spec, str):
        if beside is not None and not files.spec.endswith((".yaml", ".yml")):
            resolution, channels = resolution or beside.resolution, channels or beside.data.channels
        baseline = open_baseline(files.spec, None if beside is None else beside.rounding, resolution)
    else:
        baseline = baseline_of(files.spec)
    model = model_of(baseline.meant_for(resolution, channels).native)
    return TrainedNetwork(files.name or model.spec.name, model, files)


def open_networks(files: Sequence[TrainedFiles], resolution: Resolution | None = None) -> list[TrainedNetwork]:
    """Open several, each under a name of its own.

    Raises:
        ScaleSearchError: as `open_network`.
    """
    return _told_apart([open_network(each, resolution) for each in files])


def on_images(
    network: TrainedNetwork, recipe: str | None = None, overrides: Mapping[str, object] | None = None
) -> OnImages:
    """The images that a network is to see: those of the recipe that is named, else of the one that lies beside the
    weights, else of the default one.

    Raises:
        RecipeError: the recipe breaks a rule, or nothing says which images.
    """
    files, changes = network.files, dict(overrides or {})
    if recipe is None and files.recipe is None and "data.source" not in changes:
        raise RecipeError("--data", f"images, which no recipe.yaml beside {files.weights} names", "none")
    found = recipe or (str(files.recipe) if files.recipe is not None else default_recipe("cpu"))
    chosen = load_recipe(found, changes | {"baseline": files.asked, "device": "cpu"})
    said = chosen.data if recipe or "data.mean" in changes else None
    return OnImages(network, chosen, found, normalisation_of(files.weights, network.model.spec, said))


def fixed_channels(network: TrainedNetwork) -> int | None:
    """How many channels its images have to have; None where nothing but a baseline's name says what it is, and that
    can be made for any number."""
    files = network.files
    if files.recipe is not None or not isinstance(files.spec, str):
        return network.model.channels
    return open_baseline(files.spec, resolution=network.model.resolution).channels


def check_classes(network: TrainedNetwork, classes: tuple[str, ...], title: str) -> None:
    """See that the images' classes are the network's, where these are known.

    Raises:
        DataError: they are others, or in another order.
    """
    own = network.files.classes
    if own is None or own == classes:
        return
    if sorted(own) == sorted(classes):
        raise DataError(f"{network.name} has the classes of {title} in another order: its outputs would be misread")
    odd = sorted(set(own) ^ set(classes))
    named = ", ".join(odd[:3]) + (", …" if len(odd) > 3 else "")
    raise DataError(
        f"{network.name} was trained on {len(own)} classes, and {title} has {len(classes)}; not in both: {named} "
        "(--data says which images)"
    )


def ready(
    network: TrainedNetwork, classes: int, recipe: Recipe, device: torch.device, normalisation: Normalisation
) -> tuple[Trainer, Loaded]:
    """The network on its device, its weights in it, and how these were found; it sees images normalised so.

    Raises:
        BaselineError: the file cannot be read, is another network's, has another number of classes, or leaves a layer
            without weights.
    """
    plain = recipe.train.model_copy(
        update={"from_weights": None, "ema": 0.0, "compile": "off", "freeze": False, "head_only_epochs": 0.0}
    )
    run = recipe.run.model_copy(update={"cuda_graphs": False})
    data = recipe.data.model_copy(update={"mean": normalisation.mean, "std": normalisation.std})
    made = recipe.model_copy(update={"train": plain, "run": run, "data": data})
    trainer = Trainer(network.model, classes, made, device)
    weights = read_weights(network.weights)
    loaded = load_weights(trainer.model, weights, str(network.weights))
    fresh, beyond = untrained(trainer.model, loaded, classes)
    if not fresh:
        return trainer, loaded
    if not beyond:
        theirs = [weights[name] for name in fresh if name in weights] or [weights[n] for n in loaded.unused]
        number = f"{theirs[0].shape[0]:,}" if theirs and theirs[0].ndim else "other"
        raise BaselineError(
            f"{network.weights} has a classifier of {number} classes, and the images have {classes}: train one on "
            "them first (train --from-weights FILE --head-only 2)"
        )
    named = ", ".join(fresh[:3]) + (", …" if len(fresh) > 3 else "")
    raise BaselineError(
        f"{network.weights} has no weights for {len(fresh)} tensors of {network.name} ({named}): untrained layers "
        "would make its accuracy mean nothing"
    )


def _told_apart(networks: Sequence[TrainedNetwork]) -> list[TrainedNetwork]:
    """Where names are the same, with the folder of the weights, else with the file, else with a number."""
    named = list(networks)
    for more in (lambda n: n.weights.parent.name, lambda n: n.weights.name, None):
        names = [network.name for network in named]
        twice = {name for name in names if names.count(name) > 1}
        named = [
            replace(n, name=f"{n.name} {more(n) if more else i}") if n.name in twice else n
            for i, n in enumerate(named, 1)
        ]
    return named
