"""`scalesearch cam`: where trained networks look, side by side on the same images (Tan & Le 2019, Fig. 7)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import islice, zip_longest
from pathlib import Path

import numpy as np
import torch
from rich.console import Console
from torch import Tensor

from scalesearch.data.batches import Normaliser, evaluation_views
from scalesearch.data.images import load_images
from scalesearch.data.sources import Source, open_source
from scalesearch.errors import RecipeError, RunError
from scalesearch.image_size import Resolution, decoded_for, height_width, of_sides, times
from scalesearch.models.class_activation import Maps, class_maps
from scalesearch.recipe import load_recipe
from scalesearch.report.figures.cam import MapColumn, cam_figure
from scalesearch.report.units import amount
from scalesearch.run_files import read_result
from scalesearch.runtime.default_recipe import default_recipe
from scalesearch.runtime.device import pick_device
from scalesearch.settings import DataSettings
from scalesearch.training.inputs import settled
from scalesearch.training.normalisation import normalisation_of
from scalesearch.training.trained import TrainedNetwork, check_classes, open_networks
from scalesearch.training.trained_files import all_trained_files
from scalesearch.validation import is_file

SHOWN = 224
"""Pixels of the images in the figure; those that are drawn to order come as the networks saw them."""


def cam_command(
    names: Sequence[str],
    weights: Sequence[Path],
    *,
    images: int,
    seed: int,
    true_class: bool,
    data: str | None,
    device: str,
    out: Path | None = None,
) -> None:
    """Draw the class-activation maps of trained networks, those that a run has kept among them.

    Raises:
        BaselineError: there is no such network, or no weights of it.
        RunError: its images are other ones by now, or a network has no feature map.
        DataError: its images are not where they were.
    """
    place, files = pick_device(device), all_trained_files(names, weights)
    first, networks = files[0], open_networks(files)
    if first.recipe is None and data is None:
        raise RecipeError("--data", f"images, which no recipe.yaml beside {first.weights} names", "none")
    recipe = load_recipe(str(first.recipe or default_recipe(device)), {"data.source": data} if data else {})
    settings, crop = recipe.data, first.crop or recipe.augment.eval_crop
    model = networks[0].model
    found = settled(settings, open_source(settings), networks[0].name, model.channels, model.resolution)
    settings, source = found.data, found.source
    for network in networks:
        _same_images(network, source, settings)
        check_classes(network, source.classes, source.title)
    side = decoded_for([network.model.resolution for network in networks], settings.cache_resolution, 1)
    larger = times(side, math.ceil(SHOWN / crop) / max(height_width(side)))
    seen, labels = held_out(source, settings, side, images, seed)
    shown = seen if source.drawn else held_out(source, settings, larger, images, seed)[0]
    console, columns = Console(highlight=False, markup=False), []
    for network in networks:
        maps = _maps(network, crop, len(source.classes), seen, labels if true_class else None, place)
        right = int((maps.predicted == labels).sum())
        cost = f"{amount(network.model.cost(len(source.classes)).macs)} MACs"
        cost += "" if network.files.accuracy is None else f" · {100 * network.files.accuracy:.1f} %"
        columns.append(MapColumn([network.name, cost], maps))
        console.print(f"{network.name}  {cost} · {right} of these {len(labels)} · {maps.method}")
    about = "the true class" if true_class else "the predicted class"
    methods = " and ".join(dict.fromkeys(column.maps.method for column in columns))
    whose = Path(recipe.baseline).name.removesuffix(".yaml") if first.name else networks[0].model.spec.name
    title = f"{whose}, {source.title}: where the evidence for {about} is ({methods})"
    pictures = evaluation_views(in_colour(shown), of_sides(shown.shape[-2], shown.shape[-1]), crop)
    target = out or first.folder / "figures"
    cam_figure(pictures, labels.tolist(), source.classes, columns, title, target)
    console.print(f"wrote   {target}/cam.png, .svg", soft_wrap=True)


def in_colour(images: Tensor) -> Tensor:
    """Images of any channels and bits as they are shown, uint8 (N, 3, H, W); alpha is left out."""
    shown = images.expand(-1, 3, -1, -1) if images.shape[1] == 1 else images[:, :3]
    return shown.round().to(torch.uint8) if shown.is_floating_point() else shown


def held_out(source: Source, settings: DataSettings, side: Resolution, count: int, seed: int) -> tuple[Tensor, Tensor]:
    """``count`` of the minival, one of every class in turn: uint8 (N, 3, S, S) at ``side`` pixels or their own, and
    int64 (N,). The seed alone says which classes come first and which of their images.
    """
    few = settings.model_copy(update={"cache": False, "workers": 1})
    minival = load_images(source, few, side).minival
    random = np.random.default_rng(seed)
    of_class = [random.permutation(np.flatnonzero(minival.labels.numpy() == i)) for i in range(len(source.classes))]
    turns = zip_longest(*(of_class[i].tolist() for i in random.permutation(len(of_class))))
    chosen = islice((index for turn in turns for index in turn if index is not None), count)
    return minival.take(torch.tensor(list(chosen)))


def _same_images(network: TrainedNetwork, source: Source, settings: DataSettings) -> None:
    """See that the images are those that the network was trained on, where its folder tells."""
    folder = network.files.folder
    if not is_file(folder / "settings.json"):
        return
    wanted = read_result(folder, "settings.json").get("data.fingerprint")
    if wanted is not None and source.fingerprint != wanted:
        raise RunError(f"the images at {settings.source} are not those of {folder}; --data says where those are now")


def _maps(
    network: TrainedNetwork, crop: float, classes: int, images: Tensor, about: Tensor | None, device: torch.device
) -> Maps:
    built = network.build(classes)[0].to(device)
    normal = normalisation_of(network.weights, network.model.spec)
    views = evaluation_views(images, network.model.resolution, crop)
    normalise = Normaliser(device, channels_last=False, mean=normal.mean, std=normal.std)
    try:
        return class_maps(built, normalise(views), classes=about)
    except ValueError as failure:
        raise RunError(f"{network.name}: {failure}") from failure
