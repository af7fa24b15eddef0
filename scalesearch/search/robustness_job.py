"""What `robustness` is to measure: from a wish to networks, images and settings, all checked."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import torch

from scalesearch.data.batches import MEAN, STD
from scalesearch.data.corruptions import CLEAN, CORRUPTIONS, PUBLISHED, SEVERITIES, Condition, Corruptor, conditions_of
from scalesearch.data.held_out import HeldOut, chosen, held_out, kind_of, readable
from scalesearch.data.sources import Source, open_source
from scalesearch.errors import DataError, RecipeError
from scalesearch.image_size import Resolution, covering, decoded_at, decoded_for, mean_side, near_ratio
from scalesearch.recipe import Recipe, load_recipe
from scalesearch.run_folder import SEEN, digest, file_digest, without_defaults
from scalesearch.runtime.default_recipe import default_recipe
from scalesearch.runtime.device import pick_device, pick_precision
from scalesearch.training.inputs import settled
from scalesearch.training.normalisation import Normalisation, normalisation_of
from scalesearch.training.trained import TrainedNetwork, check_classes, open_networks
from scalesearch.training.trained_files import all_trained_files
from scalesearch.validation import nearest


@dataclass(frozen=True)
class RobustnessRequest:
    """What the command line asks for, as it was written."""

    networks: tuple[str, ...]
    weights: tuple[Path, ...]
    recipe: str | None
    overrides: Mapping[str, object]
    domains: tuple[str, ...] = ()
    corruption: str = "all"
    severity: str = "1,2,3,4,5"
    levels: str = "imagenet-c"
    size: int | None = None
    resolution: Resolution | None = None
    split: str = "auto"
    images: int | None = None
    seed: int = 0
    confidence: float = 0.95
    out: Path | None = None


@dataclass(frozen=True)
class ImageSet:
    """Images that are not decoded yet: whose, which, and the conditions to show them under."""

    name: str
    source: Source
    kind: str
    indices: tuple[int, ...]
    conditions: tuple[Condition, ...]


@dataclass(frozen=True)
class RobustnessJob:
    """What will be measured. Of the ``sets``, the first is corrupted; the others are the domains."""

    networks: tuple[TrainedNetwork, ...]
    normalisations: tuple[Normalisation, ...]
    recipe: Recipe
    device: torch.device
    sets: tuple[ImageSet, ...]
    side: Resolution
    settings: Mapping[str, Any]
    folder: Path
    seen: tuple[str, ...] = ()
    """What is said of how images are seen."""

    @property
    def clean(self) -> ImageSet:
        """The set that is corrupted."""
        return self.sets[0]

    def decoded(self, images: ImageSet, few: int | None = None) -> HeldOut:
        """The images of a set at the size at which they are corrupted, or the first ``few``, without a cache.

        Raises:
            DataError: they cannot be decoded, and are not to be skipped; or none is left.
        """
        settings, indices = self.recipe.data, images.indices
        if few is None:
            return held_out(images.source, settings, self.side, images.kind, indices)
        if settings.on_error == "skip":
            indices = tuple(islice(readable(images.source, images.kind, indices), few))
        settings = settings.model_copy(update={"cache": False, "on_error": "refuse"})
        return held_out(images.source, settings, self.side, images.kind, indices[:few])

    def corruptor(self, images: HeldOut) -> Corruptor:
        """What corrupts them: what networks see of these images is the part that counts as the published size."""
        seen = self.recipe.augment.eval_crop * mean_side(images.size)
        return Corruptor(PUBLISHED[self.settings["levels"]], seen, int(self.settings["seed"]))

    @property
    def remarks(self) -> list[str]:
        """What a reader of the accuracies has to know of networks and images, a sentence each."""
        source, kind, count = self.clean.source, self.clean.kind, len(self.clean.indices)
        told = [*(note for note in [source.note] if note), *self.seen]
        if kind == "minival":
            told.append(
                f"the {count:,} images are the minival of {source.title}, which `train` holds out; a network that was "
                "trained otherwise may have seen them"
            )
        if kind == "all":
            told.append("these are all images of the set: those that a network was trained on flatter it")
        for network, normalisation in zip(self.networks, self.normalisations, strict=True):
            if network.files.crop is None or (normalisation.mean, normalisation.std) != (MEAN, STD):
                told.append(f"{network.name}: {normalisation.words}")
        own = self.recipe.augment.eval_crop
        other = [n.name for n in self.networks if n.files.crop is not None and n.files.crop != own]
        if other:
            told.append(
                f"the central {own:g} of every image is seen; {', '.join(other)} were measured with another share when "
                "they were trained (--set augment.eval_crop)"
            )
        return told


def robustness_job(wish: RobustnessRequest) -> RobustnessJob:
    """Open the networks and list the images; nothing is decoded or measured.

    Raises:
        ScaleSearchError: whatever of it the user can mend.
    """
    if not 0 < wish.confidence < 1:
        raise RecipeError("--confidence", "a probability between 0 and 1", wish.confidence)
    _one_of("--levels", wish.levels, tuple(PUBLISHED))
    corruptions, severities = _corruptions(wish.corruption), _severities(wish.severity)
    if not corruptions and not wish.domains:
        raise RecipeError("--corruption", "some corruption, or another set by --domain NAME=SOURCE", wish.corruption)
    files = all_trained_files(wish.networks, wish.weights)
    beside = next((str(each.recipe) for each in files if each.recipe is not None), None)
    name = wish.recipe or beside or default_recipe(str(wish.overrides.get("device", "auto")))
    recipe = load_recipe(name, wish.overrides)
    device = pick_device(recipe.device)
    precision = pick_precision(recipe.train, device)
    recipe = recipe.model_copy(update={"train": recipe.train.model_copy(update={"precision": precision})})
    networks = open_networks(files, wish.resolution)
    kinds = {network.model.channels for network in networks}
    if len(kinds) > 1:
        told = ", ".join(f"{network.name} {network.model.channels}" for network in networks)
        raise DataError(f"networks that see the same images take as many channels, and these take: {told}")
    first, source = networks[0].model, open_source(recipe.data)
    seen = settled(recipe.data, source, networks[0].name, first.channels, first.resolution)
    recipe, source = recipe.model_copy(update={"data": seen.data}), seen.source
    asked = recipe.data if wish.recipe or "data.mean" in wish.overrides else None  # each folder says its own
    normalisations = tuple(normalisation_of(n.weights, n.model.spec, asked) for n in networks)
    for network in networks:
        check_classes(network, source.classes, source.title)
    kind, conditions = kind_of(source, wish.split), tuple(conditions_of(corruptions, severities))
    clean = ImageSet("", source, kind, chosen(source, recipe.data, kind, wish.images, wish.seed), conditions)
    sets = (clean, *(_domain(text, recipe, source, wish) for text in wish.domains))
    names = [each.name for each in sets]
    if twice := [name for name in names if names.count(name) > 1 or name in CORRUPTIONS]:
        raise RecipeError("--domain", "a name of its own for each set", twice[0])
    crop = recipe.augment.eval_crop
    shapes = [network.model.resolution for network in networks]
    if odd := next((shape for shape in shapes if not near_ratio(shape, shapes[0])), None):
        raise DataError(f"networks that see the same images have one ratio, and these see {shapes[0]} and {odd} px")
    needed = covering(shapes, share=crop)
    kept = wish.size or decoded_for(shapes, recipe.data.cache_resolution, crop)
    side = decoded_at(kept, needed, 1)
    settings = {
        "networks": [[n.name, n.model.fingerprint, n.model.resolution, file_digest(n.weights)] for n in networks],
        "data.fingerprint": source.fingerprint,
        "split": kind,
        "domains": {each.name: [each.source.fingerprint, each.kind] for each in sets[1:]},
        "most_images": wish.images,
        "minival": [recipe.data.minival, recipe.data.split_seed] if kind == "minival" else None,
        "normalisation": [[*n.mean, *n.std] for n in normalisations],
        "px": side,
        "eval_crop": crop,
        "corruptions": list(corruptions),
        "severities": list(severities),
        "levels": wish.levels,
        "seed": wish.seed,
        "precision": precision,
        **{f"data.{key}": value for key, value in _seen(recipe).items()},
    }
    folder = wish.out or Path("results") / f"robustness-{digest(settings)}"
    return RobustnessJob(tuple(networks), normalisations, recipe, device, sets, side, settings, folder, seen.words)


def _seen(recipe: Recipe) -> dict[str, Any]:
    """How images become what networks see, where that is not as it ever was."""
    data = recipe.data.model_dump(mode="json", include=set(SEEN))
    return without_defaults(data)


def _one_of(option: str, wanted: str, known: Sequence[str]) -> str:
    if wanted in known:
        return wanted
    near = nearest(wanted, known)
    raise RecipeError(option, f"{', '.join(known)}{f' (did you mean {near}?)' if near else ''}", wanted)


def _corruptions(text: str) -> tuple[str, ...]:
    if text in ("all", "none"):
        return CORRUPTIONS if text == "all" else ()
    asked = {_one_of("--corruption", part.strip().replace("-", "_"), CORRUPTIONS) for part in text.split(",")}
    return tuple(name for name in CORRUPTIONS if name in asked)


def _severities(text: str) -> tuple[int, ...]:
    found = {part.strip() for part in text.split(",")}
    if not found <= set(map(str, SEVERITIES)):
        raise RecipeError("--severity", "numbers from 1 to 5, such as 1,3,5", text)
    return tuple(sorted(map(int, found)))


def _domain(text: str, recipe: Recipe, clean: Source, wish: RobustnessRequest) -> ImageSet:
    """Another set: its validation images if it has some, else all, since no network was trained on it."""
    name, equals, place = (part.strip() for part in text.partition("="))
    if not equals or not name or not place:
        raise RecipeError("--domain", "NAME=SOURCE, such as sketch=folder:PATH", text)
    source = open_source(recipe.data.model_copy(update={"source": place}))
    if source.fingerprint == clean.fingerprint:
        raise DataError(f"--domain {name}: these are the images of --data itself")
    if source.classes != clean.classes:
        odd = sorted(set(source.classes) ^ set(clean.classes))
        named = ", ".join(odd[:4]) + (", …" if len(odd) > 4 else "")
        raise DataError(
            f"--domain {name}: its classes are not those of {clean.title}: {named or 'their order differs'}"
        )
    kind = "val" if source.val is not None else "all"
    return ImageSet(name, source, kind, chosen(source, recipe.data, kind, wish.images, wish.seed), (CLEAN,))
