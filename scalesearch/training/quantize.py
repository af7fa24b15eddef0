"""What INT8 costs a trained network: accuracy on the same images, bytes, and milliseconds on this machine."""

from __future__ import annotations

import math
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from scalesearch.errors import RunError, ScaleSearchError
from scalesearch.image_size import image_shape
from scalesearch.models.export import Agreement
from scalesearch.models.int8 import Int8
from scalesearch.models.int8_blame import hurt_by_part
from scalesearch.models.onnx_file import OnnxNetwork
from scalesearch.ranking.image_intervals import Interval, paired_difference
from scalesearch.run_folder import slug
from scalesearch.runtime.timing import Timing, seconds_of, summary
from scalesearch.training.int8_files import BATCH, CPU, Batch, QuantizeSettings, Task, Told, write_files
from scalesearch.training.trained_files import about_classes

BLAMED = 4
"""Batches of calibration images on which the parts of a network are looked at one by one."""
SLIGHT = 0.01
"""A loss of accuracy that passes without a warning: one point."""
SAME = 0.9
"""A share of images with the same class below which the two files are hardly one network."""
FLOAT, INT8 = "float.onnx", "int8.onnx"


@dataclass(frozen=True)
class Quantized:
    """What was measured of one network.

    Attributes:
        eager, plain, int8: accuracies in [0, 1] of PyTorch's network, the float file and the INT8 file.
        difference: of ``int8`` to ``plain``, paired over images.
        lost, won: images that only the float file gets right, and only the INT8 file, of so many ``images``.
        same: the share of images of which both files say the same class.
        agreement: of the float file's logits with PyTorch's network's.
        plain_bytes, int8_bytes: sizes of the files.
        latency: of the float and of the INT8 file at batch 1.
        why: the reason for `Int8.reduce_range`.
        weights: how the weights were found, where not all were by name.
        blamed: parts of the network, and of what share of `BLAMED` batches INT8 in that part alone changes the class;
            found where more than `SLIGHT` is lost, or the files agree on fewer than `SAME` of the images.
    """

    task: Task
    eager: float
    plain: float
    int8: float
    difference: Interval
    lost: int
    won: int
    images: int
    same: float
    agreement: Agreement
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


def price(tasks: Sequence[Task], settings: QuantizeSettings) -> float:
    """About how many seconds it takes, from a timed forward pass of each network.

    Raises:
        BaselineError: weights are not those of their network and its images' classes.
    """
    seconds = 2 * settings.seconds * len(tasks)
    for task in tasks:
        network, _ = task.trained.network.build(len(task.source.classes))
        images = torch.randn(BATCH, *image_shape(task.trained.model.channels, task.trained.model.resolution))
        with torch.inference_mode():
            each = min(seconds_of(partial(network, images), CPU) for _ in range(3)) / BATCH
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
            measured.append(_measured(task, settings, folder, _named(task.label, told)))
        timings = _latencies(tasks, folders, settings, told)
        for task, folder in zip(tasks, folders, strict=True):
            place = out / slug(task.label)
            place.mkdir(exist_ok=True)
            for name in (FLOAT, INT8):
                shutil.move(folder / name, place / name)
    return [Quantized(latency=each, **rest) for rest, each in zip(measured, timings, strict=True)]


def _named(label: str, told: Told) -> Told:
    return lambda words: told(f"{label}: {words}")


def _measured(task: Task, settings: QuantizeSettings, folder: Path, told: Told) -> dict[str, Any]:
    """All of `Quantized` but the latency; the files are left in ``folder``."""
    float_file, int8_file = folder / FLOAT, folder / INT8
    made = write_files(task, settings, float_file, int8_file, told)
    right, same, agreement = _compared(
        made.network, [OnnxNetwork(file, settings.threads) for file in (float_file, int8_file)], made.validation, told
    )
    difference = paired_difference(right[2], right[1])
    blamed: list[tuple[str, float]] = []
    if difference.high < -SLIGHT or same.mean() < SAME:
        told("looking for what INT8 hurts")
        blamed = hurt_by_part(float_file, int8_file, [make()[0].numpy() for make in made.calibration[:BLAMED]])
    return {
        "task": task,
        "eager": float(right[0].mean()),
        "plain": float(right[1].mean()),
        "int8": float(right[2].mean()),
        "lost": int((right[1] & ~right[2]).sum()),
        "won": int((right[2] & ~right[1]).sum()),
        "images": len(right[1]),
        "difference": difference,
        "same": float(same.mean()),
        "agreement": agreement,
        "plain_bytes": float_file.stat().st_size,
        "int8_bytes": int8_file.stat().st_size,
        "operators": made.operators,
        "why": made.why,
        "weights": made.loaded.words if made.loaded.by_shape else None,
        "blamed": tuple(blamed),
    }


@torch.inference_mode()
def _compared(
    network: nn.Module, files: Sequence[OnnxNetwork], batches: Sequence[Batch], told: Told
) -> tuple[NDArray[np.bool_], NDArray[np.bool_], Agreement]:
    """Which images PyTorch's network, the float and the INT8 file get right, bool (3, N); on which the files say the
    same, bool (N,); and how far the float file's logits are the network's.

    Raises:
        ScaleSearchError: they are not.
    """
    right: list[NDArray[np.bool_]] = []
    same: list[NDArray[np.bool_]] = []
    difference = largest = 0.0
    for place, make in enumerate(batches):
        told(f"measuring, batch {place + 1} of {len(batches)}")
        images, labels = make()
        eager = network(images).numpy()
        plain, int8 = (file(images.numpy()) for file in files)
        difference = max(difference, float(np.abs(plain - eager).max()))
        largest = max(largest, float(np.abs(eager).max()))
        classes = [logits.argmax(1) for logits in (eager, plain, int8)]
        right.append(np.stack([each == labels.numpy() for each in classes]))
        same.append(classes[1] == classes[2])
    agreement = Agreement(difference, largest)
    if not agreement.holds:
        raise ScaleSearchError(
            f"the float file is not the network: on these images a logit differs by {difference:.2g}, where the "
            f"largest is {largest:.2g}"
        )
    return np.concatenate(right, axis=1), np.concatenate(same), agreement


def _latencies(
    tasks: Sequence[Task], folders: Sequence[Path], settings: QuantizeSettings, told: Told
) -> list[tuple[Timing, Timing]]:
    """Of every network's two files, at batch 1: all are warmed up, then they take turns."""
    calls, counts = [], []
    share = settings.seconds / settings.rounds
    for task, folder in zip(tasks, folders, strict=True):
        shape = image_shape(task.trained.model.channels, task.trained.model.resolution)
        image = np.random.default_rng(0).standard_normal((1, *shape), np.float32)
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
    task, trained = done.task, done.task.trained
    return {
        "network": task.label,
        "spec": trained.network.files.asked,
        "weights": str(trained.network.weights),
        "recipe": trained.recipe_file,
        "resolution": trained.model.resolution,
        "eval_crop": trained.recipe.augment.eval_crop,
        "source": trained.recipe.data.source,
        "fingerprint": task.source.fingerprint,
        **about_classes(task.source.classes),
        "split": task.split,
        "images": done.images,
        "calibration_images": task.calibration,
        "eager_accuracy": done.eager,
        "float_accuracy": done.plain,
        "int8_accuracy": done.int8,
        "difference": done.difference.value,
        "low": done.difference.low,
        "high": done.difference.high,
        "lost": done.lost,
        "won": done.won,
        "same": done.same,
        "logit_difference": done.agreement.difference,
        "largest_logit": done.agreement.largest,
        "float_bytes": done.plain_bytes,
        "int8_bytes": done.int8_bytes,
        "float_latency": asdict(done.latency[0]),
        "int8_latency": asdict(done.latency[1]),
        "reduce_range": done.operators.reduce_range,
        "reduce_range_why": done.why,
        "in_int8": dict(done.operators.in_int8),
        "in_float": dict(done.operators.in_float),
        "kept_float": list(done.operators.kept),
        "kept_float_in_vain": list(done.operators.idle),
        "hurt_by_part": dict(done.blamed),
    }
