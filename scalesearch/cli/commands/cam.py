"""`scalesearch cam RUN`: where the trained candidates look, side by side on the same images (Tan & Le 2019, Fig. 7)."""

from __future__ import annotations

import math
from itertools import islice, zip_longest
from pathlib import Path

import numpy as np
import torch
from rich.console import Console
from torch import Tensor

from scalesearch.data.batches import Normaliser, evaluation_views
from scalesearch.data.images import load_images
from scalesearch.data.sources import Source, open_source
from scalesearch.errors import RunError
from scalesearch.image_size import Resolution, covering, height_width, of_sides, times
from scalesearch.models.catalogue import model_of
from scalesearch.models.class_activation import Maps, class_maps
from scalesearch.recipe import load_recipe
from scalesearch.report.figures.cam import MapColumn, cam_figure
from scalesearch.report.units import amount
from scalesearch.run_files import read_recipe_settings, read_result
from scalesearch.runtime.device import pick_device
from scalesearch.scaling.spec_files import Spec, load_spec
from scalesearch.search.weights_index import FOLDER, Kept, KeptWeights, read_kept
from scalesearch.settings import DataSettings

SHOWN = 224
"""Pixels of the images in the figure; those that are drawn to order come as the networks saw them."""


def cam_command(run: Path, *, images: int, seed: int, true_class: bool, data: str | None, device: str) -> None:
    """Draw the class-activation maps of the candidates whose weights a run has kept.

    Raises:
        RunError: it has kept none, its images are other ones by now, or a network has no feature map.
        DataError: its images are not where they were.
    """
    place = pick_device(device)
    plain = read_recipe_settings(run)
    kept = read_kept(run)
    if kept is None or not kept.weights:
        raise RunError(f"{run} has kept no weights: its own command, given again with --keep-weights 3, keeps three")
    settings = load_recipe(str(run / "recipe.yaml"), {"data.source": data} if data else {}).data
    source = _source(run, settings)
    specs = [load_spec(run / FOLDER / each.spec) for each in kept.weights]
    side = settings.cache_resolution or covering([spec.resolution for spec in specs])
    larger = times(side, math.ceil(SHOWN / kept.eval_crop) / max(height_width(side)))
    seen, labels = held_out(source, settings, side, images, seed)
    shown = seen if source.drawn else held_out(source, settings, larger, images, seed)[0]
    normalise = Normaliser(place, channels_last=False, mean=settings.mean, std=settings.std)
    console, columns = Console(highlight=False, markup=False), []
    for each, spec in zip(kept.weights, specs, strict=True):
        maps = _maps(run, each, spec, kept, seen, labels if true_class else None, place, normalise)
        right = int((maps.predicted == labels).sum())
        cost = f"{amount(model_of(spec).cost(kept.num_classes).macs)} MACs · {100 * each.accuracy:.1f} %"
        columns.append(MapColumn([_name(each), cost], maps))
        console.print(f"{_name(each)}  {cost} · {right} of these {len(labels)} · {maps.method}")
    about = "the true class" if true_class else "the predicted class"
    methods = " and ".join(dict.fromkeys(column.maps.method for column in columns))
    name = Path(plain["baseline"]).name.removesuffix(".yaml")
    title = f"{name}, {source.title}: where the evidence for {about} is ({methods})"
    pictures = evaluation_views(in_colour(shown), of_sides(shown.shape[-2], shown.shape[-1]), kept.eval_crop)
    cam_figure(pictures, labels.tolist(), kept.classes, columns, title, run / "figures")
    console.print(f"wrote   {run}/figures/cam.png, .svg", soft_wrap=True)


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


def _source(run: Path, settings: DataSettings) -> Source:
    source = open_source(settings)
    wanted = read_result(run, "settings.json")["data.fingerprint"]
    if source.fingerprint != wanted:
        raise RunError(f"the images at {settings.source} are not those of {run}; --data says where those are now")
    return source


def _maps(
    run: Path,
    each: KeptWeights,
    spec: Spec,
    kept: Kept,
    images: Tensor,
    classes: Tensor | None,
    device: torch.device,
    normalise: Normaliser,
) -> Maps:
    file = run / FOLDER / each.file
    network = model_of(spec).build(kept.num_classes).to(device)
    try:
        network.load_state_dict(torch.load(file, map_location=device, weights_only=True))
    except Exception as failure:  # a torn file makes its reader raise whatever it likes
        raise RunError(f"cannot read {file}: {str(failure).partition(chr(10))[0]}") from failure
    views = evaluation_views(images, each.resolution, kept.eval_crop)
    try:
        return class_maps(network, normalise(views), classes=classes)
    except ValueError as failure:
        raise RunError(f"{_name(each)}: {failure}") from failure


def _name(each: KeptWeights) -> str:
    return each.label or str(each.coefficients)
