"""How images are normalised for weights of elsewhere: as those were trained, where anybody says how that was."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from scalesearch.data.batches import MEAN, STD, Channels
from scalesearch.data.pixels import View
from scalesearch.data.sources import Source
from scalesearch.data.statistics import channel_statistics
from scalesearch.errors import RecipeError
from scalesearch.image_size import Resolution
from scalesearch.models.catalogue import model_of
from scalesearch.models.protocols import ScaledModel
from scalesearch.models.stated import stated_normalisation
from scalesearch.models.weights_file import read_about
from scalesearch.recipe import Recipe, load_recipe
from scalesearch.scaling.spec_files import Spec
from scalesearch.settings import DataSettings
from scalesearch.training.trained_files import RECIPE, weights_file


class Images(NamedTuple):
    """Whose statistics are taken where nobody states any: a source, which of its images train, and at what size."""

    source: Source
    data: DataSettings
    size: Resolution


@dataclass(frozen=True)
class Normalisation:
    """Mean and standard deviation of the channels, shares of the largest grey level, and who says so; ``source`` is
    None where nobody does and ImageNet's are taken."""

    mean: Channels
    std: Channels
    source: str | None

    @property
    def words(self) -> str:
        """What is done, in a sentence, and how to have it done otherwise where nobody knows."""
        if (self.mean, self.std) == (MEAN, STD):
            numbers = "ImageNet's mean and deviation"
        else:
            numbers = f"mean {_listed(self.mean)} and deviation {_listed(self.std)}"
        if self.source is not None:
            return f"images are normalised by {numbers}: {self.source}"
        return (
            f"images are normalised by {numbers}: nothing says whether the weights were trained so; "
            "if not, --set data.mean=[R,G,B] --set data.std=[R,G,B]"
        )


def _listed(values: Channels) -> str:
    return ", ".join(f"{value:.3g}" for value in values) if len(set(values)) > 1 else f"{values[0]:.3g}"


def unsaid(channels: int) -> Normalisation:
    """Where nobody says how: by ImageNet's numbers; of other channels than three, to −1 to 1."""
    middle = (0.5,) * channels
    return Normalisation(MEAN, STD, None) if channels == len(MEAN) else Normalisation(middle, middle, None)


def normalisation_of(
    weights: Path, spec: Spec, data: DataSettings | None = None, images: Images | None = None
) -> Normalisation:
    """How images are normalised for a file's weights in the network of ``spec``.

    What the user says in ``data`` comes first, then what lies beside the file where scalesearch wrote it, or the file
    itself, then what timm or torchvision state for the network's weights or, in a file of the user's own, the module by
    its attributes ``mean`` and ``std``; else ImageNet's. Where all these are of other channels than the network's,
    those of the ``images`` are taken.

    Raises:
        RecipeError, RunError: what lies beside the file cannot be read.
    """
    if data is not None and data.mean is not None and data.std is not None:
        return Normalisation(data.mean, data.std, "as data.mean and data.std say")
    found = _beside(weights) or _told(weights) or _stated(spec) or Normalisation(MEAN, STD, None)
    channels = model_of(spec).channels
    if len(found.mean) == channels:
        return found
    if images is None:
        raise RecipeError("data.mean", f"{channels} numbers, and as many of data.std: nothing says them", "none")
    return of_images(images)


def of_images(images: Images) -> Normalisation:
    """By the statistics of the training images themselves."""
    return Normalisation(*channel_statistics(images.source, images.data, images.size), "as the training images have")


def _told(weights: Path) -> Normalisation | None:
    about = read_about(weights)
    return None if about is None else Normalisation(about.mean, about.std, f"as {weights.name} says of its weights")


def _stated(spec: Spec) -> Normalisation | None:
    stated = stated_normalisation(spec)
    return None if stated is None else Normalisation(stated[0], stated[1], f"as {stated[2]}")


def _beside(weights: Path) -> Normalisation | None:
    """What the folder says in which `train`, `linear` or a search has left the weights."""
    run = weights.parent.parent if weights.parent.name == "weights" else weights.parent
    if (run / RECIPE).is_file() and (run / "settings.json").is_file():
        settings = load_recipe(str(run / RECIPE)).data
        return Normalisation(settings.mean or MEAN, settings.std or STD, f"as {run / RECIPE} says of their training")
    return None


def with_normalisation(recipe: Recipe, model: ScaledModel, source: Source) -> tuple[Recipe, tuple[str, ...]]:
    """The recipe with the file of the weights that it begins with or grows from, where it names a folder or a run, and
    the normalisation that they expect; and what is said of that.

    Without weights, ImageNet's for three channels of eight bits, and for others that of the training images.

    Raises:
        BaselineError: there are no such weights.
        RecipeError: ``data.mean`` and ``data.std`` are of other channels; as `normalisation_of`.
        RunError: as `normalisation_of`.
    """
    channels, given = model.channels, recipe.data.mean
    if given is not None and len(given) != channels:
        raise RecipeError("data.mean", f"{channels} number{'s' * (channels != 1)}, one for each channel", list(given))
    images = Images(source, recipe.data, model.resolution)
    key = "grow_from" if recipe.train.grow_from is not None else "from_weights"
    if (asked := getattr(recipe.train, key)) is not None:
        file = weights_file(asked)
        recipe = recipe.model_copy(update={"train": recipe.train.model_copy(update={key: str(file)})})
        found = normalisation_of(file, model.spec, recipe.data, images)
    elif given is not None or source.train.view == View(crop=source.train.view.crop):
        return recipe, ()
    else:
        found = of_images(images)
    if (found.mean, found.std) == (MEAN, STD) and recipe.data.mean is None:
        return recipe, (found.words,)
    data = recipe.data.model_copy(update={"mean": found.mean, "std": found.std})
    return recipe.model_copy(update={"data": data}), (found.words,)
