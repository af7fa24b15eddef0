"""What INT8 costs a trained network: accuracy on the same images, bytes, and milliseconds on this machine."""

from __future__ import annotations

import math
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field, NonNegativeInt, PositiveFloat, PositiveInt
from torch import Tensor, nn

from scalesearch.data.batches import MEAN, STD, Normaliser, evaluation_views
from scalesearch.data.images import Images, Split, load_images, split_indices
from scalesearch.data.sources import Source, open_source
from scalesearch.errors import RunError, ScaleSearchError
from scalesearch.models.export import TOLERANCE
from scalesearch.models.int8 import Calibration, Int8, Method, processor_flags, reduced_range, save_int8, worst_layers
from scalesearch.models.logits import logits_alone
from scalesearch.models.onnx_file import OnnxNetwork, need_onnx, save_onnx
from scalesearch.ranking.paired import Difference, paired_difference
from scalesearch.runtime.timing import Timing, seconds_of, summary
from scalesearch.training.trained import Trained
from scalesearch.validation import Strict

CPU = torch.device("cpu")
BATCH = 16
"""Images that are run together: the activations of so many are in memory while ranges are found."""
BLAMED = 4
"""Images on which layers' errors are measured: all activations of all of them are in memory."""
SLIGHT = 0.01
"""A loss of accuracy that passes without a warning: one point."""
FLOAT, INT8 = "float.onnx", "int8.onnx"

Told = Callable[[str], None]


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

    ``split`` says on which images accuracies are measured: val, or the minival where the source has no val.
    """

    trained: Trained
    label: str
    source: Source
    split: str
    calibration: int
    validation: int


@dataclass(frozen=True)
class Quantized:
    """What was measured of one network.

    Attributes:
        eager, plain, int8: accuracies in [0, 1] of PyTorch's network, the float file and the INT8 file.
        difference: of ``int8`` to ``plain``, paired over images.
        agreement: the share of images of which both files say the same class.
        logit_error: the largest difference of a logit between PyTorch's network and the float file.
        plain_bytes, int8_bytes: sizes of the files.
        latency: of the float and of the INT8 file at batch 1.
        why: the reason for `Int8.reduce_range`.
        weights: how the weights were found, where not all were by name.
        blamed: layers that eight bits hold worst, with dB; measured where more than `SLIGHT` is lost.
    """

    task: Task
    eager: float
    plain: float
    int8: float
    difference: Difference
    agreement: float
    logit_error: float
    plain_bytes: int
    int8_bytes: int
    latency: tuple[Timing, Timing]
    operators: Int8
    why: str
    weights: str | None
    blamed: tuple[tuple[str, float], ...]

    @property
    def lossy(self) -> bool:
        """Whether the interval leaves no doubt that more than `SLIGHT` is lost."""
        return self.difference.high < -SLIGHT

    @property
    def sound(self) -> bool:
        """Whether the interval leaves no doubt that no more than `SLIGHT` is lost."""
        return self.difference.low >= -SLIGHT


def tasks_of(networks: Sequence[Trained], settings: QuantizeSettings) -> list[Task]:
    """List every network's images.

    Raises:
        DataError: images are not there.
        ScaleSearchError: a package is missing.
    """
    need_onnx()
    names = [trained.name for trained in networks]
    tasks = []
    for place, trained in enumerate(networks):
        own = trained.name if names.count(trained.name) == 1 else f"{trained.name}-{place + 1}"
        source = open_source(trained.recipe.data)
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
            )
        )
    return tasks


def price(tasks: Sequence[Task], settings: QuantizeSettings) -> float:
    """About how many seconds it takes: a forward pass of each network is timed, of fresh weights and on no images."""
    seconds = 2 * settings.seconds * len(tasks)
    for task in tasks:
        network = task.trained.model.build(len(task.source.classes)).eval()
        images = torch.randn(BATCH, 3, task.trained.model.resolution, task.trained.model.resolution)
        with torch.inference_mode():
            network(images)
            start = time.perf_counter()
            network(images)
            each = (time.perf_counter() - start) / BATCH
        # Three networks see every validation image, and calibration runs the float one.
        seconds += each * (3 * task.validation + task.calibration)
    return seconds


def quantize(
    tasks: Sequence[Task], settings: QuantizeSettings, out: Path, told: Told = lambda _: None
) -> list[Quantized]:
    """Quantise and measure every network; the files are ``out``/LABEL/float.onnx and int8.onnx.

    Accuracies come network by network; then all files are timed, in turns. A network's files appear when all of it
    is measured.

    Raises:
        ScaleSearchError: weights do not fit, a network cannot be exported or quantised, or the float file computes
            something else than the network.
        RunError: ``out`` cannot be written.
    """
    try:
        out.mkdir(parents=True, exist_ok=True)
        scratch = tempfile.TemporaryDirectory(dir=out, prefix=".quantize-")
    except OSError as failure:
        raise RunError(f"cannot write to {out}: {failure.strerror}; choose another folder with --out") from failure
    with scratch:
        folders = [Path(scratch.name) / str(place) for place in range(len(tasks))]
        measured = []
        for task, folder in zip(tasks, folders, strict=True):
            folder.mkdir()
            measured.append(_measured(task, settings, folder, lambda words, of=task.label: told(f"{of}: {words}")))
        timings = _latencies(tasks, folders, settings, told)
        for task, folder in zip(tasks, folders, strict=True):
            place = out / task.label
            place.mkdir(exist_ok=True)
            for name in (FLOAT, INT8):
                shutil.move(folder / name, place / name)
    return [Quantized(latency=each, **rest) for rest, each in zip(measured, timings, strict=True)]


def _measured(task: Task, settings: QuantizeSettings, folder: Path, told: Told) -> dict[str, Any]:
    """All of `Quantized` but the latency; the files are left in ``folder``."""
    trained, side = task.trained, task.trained.model.resolution
    classes = len(task.source.classes)
    network, loaded = trained.build(classes)
    network = logits_alone(network, side, classes, task.label)
    told("listing images")
    images = _images(task)
    held_out = images.minival if images.val is None else images.val
    crop = trained.recipe.augment.eval_crop
    told("writing float.onnx")
    float_file, int8_file = folder / FLOAT, folder / INT8
    example = torch.randn(2, 3, side, side, generator=torch.Generator().manual_seed(0))
    save_onnx(network, example, float_file, _about(task))
    drawn = _drawn(len(images.train), settings.calibration_images, settings.seed)
    batches = [partial(_batch, images.train, part, side, crop) for part in torch.split(drawn, BATCH)]
    reduce_range, why = reduced_range(settings.reduce_range, processor_flags())
    operators = save_int8(
        float_file,
        int8_file,
        [lambda make=make: make()[0].numpy() for make in batches],  # type: ignore[misc]
        Calibration(settings.method, settings.reduce_range, settings.keep_float),
        reduce_range=reduce_range,
        told=lambda place: told(f"calibrating, {place * BATCH} of {len(drawn)} images"),
    )
    chosen = _drawn(len(held_out), settings.validation_images, settings.seed).sort().values
    right, same, error = _compared(
        network,
        [OnnxNetwork(file, settings.threads) for file in (float_file, int8_file)],
        (_batch(held_out, part, side, crop) for part in torch.split(chosen, BATCH)),
        lambda done: told(f"measuring, {done} of {len(chosen)} images"),
    )
    difference = paired_difference(right[1], right[2])
    blamed: list[tuple[str, float]] = []
    if difference.high < -SLIGHT:
        told("looking for the layers to blame")
        blamed = worst_layers(float_file, int8_file, batches[0]()[0][:BLAMED].numpy())
    return {
        "task": task,
        "eager": float(right[0].mean()),
        "plain": float(right[1].mean()),
        "int8": float(right[2].mean()),
        "difference": difference,
        "agreement": float(same.mean()),
        "logit_error": error,
        "plain_bytes": float_file.stat().st_size,
        "int8_bytes": int8_file.stat().st_size,
        "operators": operators,
        "why": why,
        "weights": loaded.words if loaded.by_shape else None,
        "blamed": tuple(blamed),
    }


def _images(task: Task) -> Images:
    """The images, each decoded when it is looked at: every one is looked at once, and few of the training images."""
    recipe, side = task.trained.recipe, task.trained.model.resolution
    size = recipe.data.cache_resolution or math.ceil(side / recipe.augment.eval_crop)
    return load_images(task.source, recipe.data.model_copy(update={"cache": False}), size)


def _about(task: Task) -> dict[str, str]:
    """What the files say of themselves, for whoever feeds them."""
    return {
        "classes": "\n".join(task.source.classes),
        "resolution": str(task.trained.model.resolution),
        "eval_crop": str(task.trained.recipe.augment.eval_crop),
        "mean": " ".join(map(str, MEAN)),
        "std": " ".join(map(str, STD)),
    }


def _drawn(there: int, wanted: int | None, seed: int) -> Tensor:
    """Indices of images, int64 (N,), in an order that the seed fixes."""
    order = torch.randperm(there, generator=torch.Generator().manual_seed(seed))
    return order[: wanted or there]


def _batch(split: Split, chosen: Tensor, side: int, crop: float) -> tuple[Tensor, Tensor]:
    """Images as the network is measured on them, float32 (N, 3, side, side), and their labels, int64 (N,)."""
    images, labels = split.take(chosen)
    return Normaliser(CPU, channels_last=False)(evaluation_views(images, side, crop)).contiguous(), labels


@torch.inference_mode()
def _compared(
    network: nn.Module,
    files: Sequence[OnnxNetwork],
    batches: Iterator[tuple[Tensor, Tensor]],
    told: Callable[[int], None],
) -> tuple[NDArray[np.bool_], NDArray[np.bool_], float]:
    """Which images PyTorch's network, the float and the INT8 file get right, bool (3, N); on which the files say the
    same, bool (N,); the largest difference of a logit between the first two.

    Raises:
        ScaleSearchError: that is more than `TOLERANCE` of the largest logit.
    """
    right: list[NDArray[np.bool_]] = []
    same: list[NDArray[np.bool_]] = []
    error = largest = 0.0
    done = 0
    for images, labels in batches:
        told(done)
        eager = network(images).numpy()
        plain, int8 = (file(images.numpy()) for file in files)
        error = max(error, float(np.abs(plain - eager).max()))
        largest = max(largest, float(np.abs(eager).max()))
        if not error <= TOLERANCE * max(1.0, largest):
            raise ScaleSearchError(
                f"{FLOAT} differs from the network by {error:.2g} in a logit: torch exported it wrong"
            )
        classes = [logits.argmax(1) for logits in (eager, plain, int8)]
        right.append(np.stack([each == labels.numpy() for each in classes]))
        same.append(classes[1] == classes[2])
        done += len(labels)
    return np.concatenate(right, axis=1), np.concatenate(same), error


def _latencies(
    tasks: Sequence[Task], folders: Sequence[Path], settings: QuantizeSettings, told: Told
) -> list[tuple[Timing, Timing]]:
    """Of every network's two files, at batch 1: all are warmed up, then they take turns."""
    calls, counts = [], []
    share = settings.seconds / settings.rounds
    for task, folder in zip(tasks, folders, strict=True):
        side = task.trained.model.resolution
        image = np.random.default_rng(0).standard_normal((1, 3, side, side), np.float32)
        for name in (FLOAT, INT8):
            call = partial(OnnxNetwork(folder / name, settings.threads), image)
            told(f"{task.label}: timing, warming up")
            each = sorted(seconds_of(call, CPU) for _ in range(5))[2]
            calls.append(call)
            counts.append(max(4, math.ceil(share / each)))
    rounds: list[list[list[float]]] = [[] for _ in calls]
    for number in range(settings.rounds):
        told(f"timing, round {number + 1} of {settings.rounds}")
        for times, call, count in zip(rounds, calls, counts, strict=True):
            seconds_of(call, CPU)
            times.append([seconds_of(call, CPU) for _ in range(count)])
    timings = [summary(times) for times in rounds]
    return list(zip(timings[::2], timings[1::2], strict=True))


def as_plain(done: Quantized) -> Mapping[str, Any]:
    """A measurement as JSON's values: accuracies in [0, 1], bytes, milliseconds."""
    from dataclasses import asdict

    task, trained = done.task, done.task.trained
    return {
        "network": task.label,
        "spec": trained.asked,
        "weights": str(trained.weights),
        "recipe": trained.recipe_file,
        "resolution": trained.model.resolution,
        "eval_crop": trained.recipe.augment.eval_crop,
        "source": trained.recipe.data.source,
        "fingerprint": task.source.fingerprint,
        "classes": len(task.source.classes),
        "split": task.split,
        "images": task.validation,
        "calibration_images": task.calibration,
        "eager_accuracy": done.eager,
        "float_accuracy": done.plain,
        "int8_accuracy": done.int8,
        "difference": done.difference.value,
        "low": done.difference.low,
        "high": done.difference.high,
        "lost": done.difference.lost,
        "won": done.difference.won,
        "agreement": done.agreement,
        "logit_error": done.logit_error,
        "float_bytes": done.plain_bytes,
        "int8_bytes": done.int8_bytes,
        "float_latency": asdict(done.latency[0]),
        "int8_latency": asdict(done.latency[1]),
        "reduce_range": done.operators.reduce_range,
        "reduce_range_why": done.why,
        "in_int8": dict(done.operators.in_int8),
        "in_float": dict(done.operators.in_float),
        "kept_float": list(done.operators.kept),
        "worst_layers": dict(done.blamed),
    }
