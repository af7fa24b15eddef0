"""One network to train: from what was asked for to settings, images and a folder, every open question answered."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from scalesearch.candidates.resolve import resolve_network
from scalesearch.data.images import split_indices
from scalesearch.data.sources import Source, open_source
from scalesearch.errors import RecipeError
from scalesearch.image_size import Resolution
from scalesearch.models.catalogue import open_baseline
from scalesearch.models.protocols import ScaledModel
from scalesearch.ranking.class_metrics import base_rate
from scalesearch.recipe import Recipe, load_recipe
from scalesearch.run_folder import digest, settings_of
from scalesearch.runtime.default_recipe import default_recipe
from scalesearch.runtime.device import check_graphs, pick_precision
from scalesearch.runtime.team import Team, device_of
from scalesearch.training.autotune import decide
from scalesearch.training.class_weights import weights_words
from scalesearch.training.idle import idle_in_training, of_searches
from scalesearch.training.inputs import kept_at, settled
from scalesearch.training.normalisation import with_normalisation
from scalesearch.training.progressive import replaced

SEARCHED = ("search.", "phi", "rounding.")
"""Settings of a recipe that say what a grid tries: they change nothing about one network."""


@dataclass(frozen=True)
class TrainRequest:
    """What the command line asks for."""

    spec: str
    recipe: str | None
    overrides: Mapping[str, object]
    seed: int = 0
    resolution: Resolution | None = None
    sync_batchnorm: bool = False
    out: Path | None = None


@dataclass(frozen=True)
class Job:
    """What will be trained, on which images and which device, and where the result goes."""

    recipe: Recipe
    model: ScaledModel
    source: Source
    device: torch.device
    seed: int
    train_images: int
    minival_images: int
    folder: Path
    settings: dict[str, Any]
    tuned: tuple[str, ...] = ()
    """What was decided, a sentence each: how images are normalised for weights of elsewhere, what a probe found, class
    weights; and the base rate."""


def job_of(wish: TrainRequest, team: Team) -> Job:
    """Open the network and list the images; nothing is decoded or trained.

    Raises:
        ScaleSearchError: whatever of it the user can mend, a batch that the team cannot share out included.
    """
    name = wish.recipe or default_recipe(str(wish.overrides.get("device", "auto")))
    recipe = load_recipe(name, {**wish.overrides, "baseline": wish.spec})
    device = device_of(team, recipe.device)
    check_graphs(recipe, device)
    network, model = resolve_network(recipe, wish.resolution, recipe.data.channels)
    own = open_baseline(recipe.baseline, recipe.rounding, wish.resolution).channels
    seen = settled(recipe.data, open_source(recipe.data), network, own, model.resolution, recipe.augment)
    recipe, source = recipe.model_copy(update={"data": seen.data}), seen.source
    network, model = resolve_network(recipe, wish.resolution, recipe.data.channels)
    labels = [np.array([source.train.labels[i] for i in part]) for part in split_indices(source, recipe.data)]
    images = len(labels[0])
    _shared_out(min(recipe.train.batch_size, images), recipe.train.batch_size, team)
    side, enlarged = kept_at(recipe, [model.resolution])
    recipe = recipe.model_copy(
        update={
            "resolution": model.resolution,
            "train": recipe.train.model_copy(update={"precision": pick_precision(recipe.train, device)}),
            "data": recipe.data.model_copy(update={"cache_resolution": side}),
        }
    )
    if team.world > 1 and (recipe.train.grow_batch or recipe.train.compile == "auto"):
        raise RecipeError("train", "a batch_size, and compile on or off, where several processes train", "auto")
    if team.world > 1 and recipe.run.cuda_graphs:
        raise RecipeError("run.cuda_graphs", "no CUDA graphs where several processes train", recipe.run.cuda_graphs)
    recipe, normalised = with_normalisation(recipe, model, source)
    recipe, tuned = decide(recipe, model, model, device, len(source.classes), images)
    ranked = settings_of(recipe, {"layers": model.fingerprint}, source.fingerprint)
    settings = {key: value for key, value in ranked.items() if not key.startswith(SEARCHED)} | {
        "seed": wish.seed,
        "processes": team.world,
        "sync_batchnorm": team.sync_batchnorm,
    }
    folder = wish.out or Path("results") / f"{network}-trained-{recipe.name}-{digest(settings)}"
    idle = (*of_searches(wish.overrides, recipe), *idle_in_training(recipe, model, len(source.classes)))
    weights = weights_words(recipe.train, labels[0].tolist(), source.classes)
    base = base_rate("accuracy", labels[1]).words("accuracy", source.classes)
    told = (*seen.words, *enlarged, *normalised, *tuned, *replaced(recipe), *idle, *weights, base)
    return Job(recipe, model, source, device, wish.seed, images, len(labels[1]), folder, settings, told)


def _shared_out(batch: int, wanted: int, team: Team) -> None:
    if batch % team.world:
        why = "" if batch == wanted else f": there are only {batch} training images"
        raise RecipeError("batch_size", f"a multiple of the {team.world} processes", f"{batch}{why}")
