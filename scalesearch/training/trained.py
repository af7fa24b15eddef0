"""A trained network that lies in files, made ready to be measured: nothing of it may be left as it was initialised."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch

from scalesearch.errors import BaselineError, DataError
from scalesearch.models.protocols import ScaledModel
from scalesearch.models.weights import Loaded, classifier_of, load_weights, read_weights
from scalesearch.recipe import Recipe
from scalesearch.training.normalisation import Normalisation
from scalesearch.training.trainer import Trainer


@dataclass(frozen=True)
class TrainedNetwork:
    """A network and the file of its weights; where its folder tells, the classes that it was trained on, in order, and
    the central share of an image that it was measured on."""

    name: str
    model: ScaledModel
    weights: Path
    classes: tuple[str, ...] | None = None
    crop: float | None = None


def check_classes(network: TrainedNetwork, classes: tuple[str, ...], title: str) -> None:
    """See that the images' classes are the network's, where these are known.

    Raises:
        DataError: they are others, or in another order.
    """
    own = network.classes
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
    own = trainer.model.state_dict()
    fresh = [name for name in loaded.new if own[name].ndim]  # counters of batches change no output
    if not fresh:
        return trainer, loaded
    heads = {id(parameter) for parameter in classifier_of(trainer.model, classes).parameters()}
    head = {name for name, value in trainer.model.named_parameters() if id(value) in heads}
    if set(fresh) <= head:
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
