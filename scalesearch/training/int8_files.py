"""A trained network's float and INT8 files, and the images that they are made with and measured on."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Annotated

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field, NonNegativeInt, PositiveFloat, PositiveInt
from torch import Tensor, nn

from scalesearch.data.batches import Normaliser, evaluation_views
from scalesearch.data.images import Images, Split, load_images, split_indices
from scalesearch.data.sources import Source, open_source
from scalesearch.image_size import decoded_for, image_shape
from scalesearch.models.export import Agreement, export_network
from scalesearch.models.int8 import Calibration, Int8, Method, processor_flags, reduced_range, save_int8
from scalesearch.models.logits import logits_alone
from scalesearch.models.onnx_file import describe, need_onnx
from scalesearch.models.weights import Loaded
from scalesearch.run_folder import slug
from scalesearch.training.inputs import settled
from scalesearch.training.trained import OnImages, check_classes
from scalesearch.validation import Strict

CPU = torch.device("cpu")
BATCH = 16
"""Images that are run together: the activations of so many are in memory while ranges are found."""

Told = Callable[[str], None]
Batch = Callable[[], tuple[Tensor, Tensor]]
"""Makes images, float32 (N, 3, S, S), as a network is measured on them, and their labels, int64 (N,)."""


class QuantizeSettings(Strict):
    """How to quantise and what to measure.

    ``calibration_images`` are drawn from the training images with ``seed``; ``validation_images`` of None are all there
    are. Latency at batch 1 is measured ``seconds`` long in all, in ``rounds`` turns.
    """

    calibration_images: PositiveInt = 128
    validation_images: PositiveInt | None = None
    method: Method = "minmax"
    reduce_range: bool | None = None
    keep_float: tuple[str, ...] = ()
    seed: Annotated[NonNegativeInt, Field(lt=2**31)] = 0
    seconds: PositiveFloat = 2.0
    rounds: Annotated[PositiveInt, Field(le=10**4)] = 5
    threads: PositiveInt | None = None


@dataclass(frozen=True)
class Task:
    """A trained network and its images, listed and not yet decoded.

    ``split`` says on which images accuracies are measured: val, or the minival where the source has no val; ``seen``
    what becomes of images that the network sees otherwise than they are.
    """

    trained: OnImages
    label: str
    source: Source
    split: str
    calibration: int
    validation: int
    seen: tuple[str, ...] = ()


def tasks_of(networks: Sequence[OnImages], settings: QuantizeSettings) -> list[Task]:
    """List every network's images.

    Raises:
        DataError: images are not there, or are of other classes.
        ScaleSearchError: a package is missing.
    """
    need_onnx()
    names = [slug(trained.name) for trained in networks]
    tasks = []
    for place, network in enumerate(networks):
        own = names[place] if names.count(names[place]) == 1 else f"{names[place]}-{place + 1}"
        recipe, model = network.recipe, network.model
        seen = settled(recipe.data, open_source(recipe.data), own, model.channels, model.resolution)
        trained = replace(network, recipe=recipe.model_copy(update={"data": seen.data}))
        source = seen.source
        check_classes(network.network, source.classes, source.title)
        train, minival = split_indices(source, trained.recipe.data)
        held_out = len(minival) if source.val is None else len(source.val.labels)
        tasks.append(
            Task(
                trained,
                own,
                source,
                "minival" if source.val is None else "val",
                min(settings.calibration_images, len(train)),
                min(settings.validation_images or held_out, held_out),
                seen.words,
            )
        )
    return tasks


@dataclass(frozen=True)
class Written:
    """Two files, and what they were made of.

    Attributes:
        network: PyTorch's, in evaluation mode, giving out logits alone.
        loaded: how its weights were found.
        agreement: of the float file's logits and the network's.
        operators: what of the network is INT8.
        why: the reason for `Int8.reduce_range`.
        calibration: the batches that set the ranges.
        validation: the batches that accuracies are measured on.
    """

    network: nn.Module
    loaded: Loaded
    agreement: Agreement
    operators: Int8
    why: str
    calibration: Sequence[Batch]
    validation: Sequence[Batch]


def write_files(
    task: Task, settings: QuantizeSettings, float_file: Path, int8_file: Path, told: Told = lambda _: None
) -> Written:
    """Write a network as a float and as an INT8 ONNX file.

    Raises:
        ScaleSearchError: weights do not fit, the network cannot be exported or quantised, or images cannot be decoded.
    """
    trained = task.trained
    image = image_shape(trained.model.channels, trained.model.resolution)
    network, loaded = trained.network.build(len(task.source.classes))
    network = logits_alone(network, image, len(task.source.classes), task.label)
    told("writing the float file")
    agreement = export_network(network, image, float_file, "onnx")
    describe(float_file, _about(task))
    images = _images(task)
    calibration = _batches(images.train, _drawn(len(images.train), settings.calibration_images, settings.seed), trained)
    held_out = images.minival if images.val is None else images.val
    measured = _drawn(len(held_out), settings.validation_images, settings.seed).sort().values
    reduce_range, why = reduced_range(settings.reduce_range, processor_flags())
    operators = save_int8(
        float_file,
        int8_file,
        [partial(_pixels, make) for make in calibration],
        Calibration(settings.method, settings.keep_float),
        reduce_range=reduce_range,
        told=lambda place: told(f"finding ranges, batch {place + 1} of {len(calibration)}"),
    )
    return Written(network, loaded, agreement, operators, why, calibration, _batches(held_out, measured, trained))


def _images(task: Task) -> Images:
    """The images, each decoded when it is looked at: every one is looked at once, and few of the training images."""
    recipe, own = task.trained.recipe, task.trained.model.resolution
    size = decoded_for([own], recipe.data.cache_resolution, recipe.augment.eval_crop)
    return load_images(task.source, recipe.data.model_copy(update={"cache": False}), size)


def _about(task: Task) -> dict[str, str]:
    """What the files say of themselves, for whoever feeds them."""
    normal = task.trained.normalisation
    return {
        "classes": "\n".join(task.source.classes),
        "resolution": str(task.trained.model.resolution),
        "eval_crop": str(task.trained.recipe.augment.eval_crop),
        "mean": " ".join(map(str, normal.mean)),
        "std": " ".join(map(str, normal.std)),
    }


def _drawn(there: int, wanted: int | None, seed: int) -> Tensor:
    """Indices of images, int64 (N,), in an order that the seed fixes."""
    order = torch.randperm(there, generator=torch.Generator().manual_seed(seed))
    return order[: wanted or there]


def _batches(split: Split, chosen: Tensor, trained: OnImages) -> list[Batch]:
    return [partial(_batch, split, part, trained) for part in torch.split(chosen, BATCH)]


def _batch(split: Split, chosen: Tensor, trained: OnImages) -> tuple[Tensor, Tensor]:
    images, labels = split.take(chosen)
    views = evaluation_views(images, trained.model.resolution, trained.recipe.augment.eval_crop)
    mean, std = trained.normalisation.mean, trained.normalisation.std
    return Normaliser(CPU, channels_last=False, mean=mean, std=std)(views).contiguous(), labels


def _pixels(make: Batch) -> NDArray[np.float32]:
    return make()[0].numpy()
