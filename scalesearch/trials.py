"""What a search is made of: a task (a candidate and a seed), its record in the ledger, its outcome."""

from __future__ import annotations

import base64
import zlib
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from scalesearch.scaling.compound import Coefficients
from scalesearch.scaling.spec import ModelSpec

if TYPE_CHECKING:
    from torch import Tensor

Choice = str | int | float
"""One of an axis's options."""


@dataclass(frozen=True)
class Architecture:
    """A network that was not scaled but proposed: its table of stages, and the choices that it came from.

    ``sampler`` is what the sampler keeps of a proposal beside it, ``passed_over`` how many proposals came before it and
    were not taken, by reason.
    """

    spec: ModelSpec
    choices: Mapping[str, Choice]
    sampler: Mapping[str, Any] = field(default_factory=dict)
    passed_over: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class Task:
    """One trial to do: a candidate, named by its network's fingerprint, and a seed.

    The candidate is what the coefficients make of the search's baseline, or else an architecture, whose coefficients
    are 1.
    """

    coefficients: Coefficients
    fingerprint: str
    seed: int
    architecture: Architecture | None = field(default=None, compare=False)

    @property
    def key(self) -> tuple[str, int]:
        """Network and seed: what makes two tasks the same."""
        return self.fingerprint, self.seed


@dataclass(frozen=True)
class Record:
    """One trial as the ledger has it.

    ``state`` is waiting, running, complete, dropped (a candidate that fell behind), failed, lost (its worker died and
    the task was given to another trial) or withdrawn (no longer asked for). ``outcome`` is there when it is complete or
    dropped, ``reason`` when it failed or was lost; ``curve`` holds accuracy by step, also while it runs.
    """

    number: int
    task: Task
    state: str
    outcome: Mapping[str, Any] | None = None
    reason: str | None = None
    attempt: int = 1
    owner: str | None = None
    beat: int | None = None
    curve: Mapping[int, float] | None = None
    seconds: float | None = None


@dataclass(frozen=True)
class Outcome:
    """What a trial measured. Accuracy and loss are the minival's at the end of the schedule, in [0, 1] and nats.

    ``curve`` holds (step, accuracy, loss); ``correct`` which images of the minival were right, as `packed`; ``memory``
    is the peak of training in bytes (the device's own peak on CUDA; weights, gradients, optimiser state and tensors
    saved for backward elsewhere); ``resumed`` how often the trial went on from a checkpoint; ``readings`` what each
    evaluation measured beside the curve, where the recipe asks for it; ``shorter`` the steps, accuracy, loss and
    correct images of the shorter schedules that branched off, shortest first; ``sizes`` what `eval_sizes` measured.
    ``predicted`` is what the minival's images were taken for, as `packed_classes`; ``by_class`` holds (step, balanced
    accuracy, macro F1, loss of classes that count alike) of the curve's evaluations; ``top5`` is how often the class
    was among the five likeliest, where there are more than ten.
    """

    accuracy: float
    loss: float
    train_loss: float
    curve: tuple[tuple[int, float, float], ...]
    correct: str
    seconds: float
    images_per_second: float
    memory: int
    micro_batch: int
    resumed: int
    readings: tuple[Mapping[str, Any], ...] = ()
    shorter: tuple[Mapping[str, Any], ...] = ()
    sizes: tuple[Mapping[str, Any], ...] = ()
    predicted: str = ""
    by_class: tuple[tuple[int, float, float, float], ...] = ()
    top5: float | None = None

    def to_json(self) -> dict[str, Any]:
        """As plain values."""
        return asdict(self)


def accuracies_by_network(records: Iterable[Record], key: str = "accuracy") -> dict[str, dict[int, float]]:
    """Minival accuracies in [0, 1] of the complete trials, by network and seed, in the order of the seeds.

    Args:
        key: of the outcome, where it is there; by default what trials are ranked by.
    """
    accuracies: dict[str, dict[int, float]] = {}
    for record in sorted(records, key=lambda r: r.task.seed):
        if record.state == "complete" and record.outcome:
            value = record.outcome.get(key, record.outcome["accuracy"])
            accuracies.setdefault(record.task.fingerprint, {})[record.task.seed] = float(value)
    return accuracies


def packed(correct: Tensor) -> str:
    """Bool (N,) as text: eight images a byte, base64."""
    return base64.b64encode(np.packbits(correct.numpy()).tobytes()).decode()


def unpacked(text: str, images: int) -> np.ndarray[Any, np.dtype[np.bool_]]:
    """The bool (N,) that `packed` wrote."""
    return np.unpackbits(np.frombuffer(base64.b64decode(text), np.uint8), count=images).astype(bool)


def packed_classes(classes: Tensor | np.ndarray[Any, Any]) -> str:
    """Classes (N,), below 2³², as text: the smallest integers that hold them, compressed, base64."""
    plain = np.asarray(classes)
    size = next(size for size in (1, 2, 4) if not len(plain) or int(plain.max()) < 2 ** (8 * size))
    return f"{size}:" + base64.b64encode(zlib.compress(plain.astype(f"<u{size}").tobytes(), 9)).decode()


def unpacked_classes(text: str, images: int | None = None) -> np.ndarray[Any, np.dtype[np.int64]]:
    """The int64 (N,) that `packed_classes` wrote.

    Raises:
        ValueError: they are of another number than so many ``images``.
    """
    size, _, content = text.partition(":")
    found = np.frombuffer(zlib.decompress(base64.b64decode(content)), f"<u{size}").astype(np.int64)
    if images is not None and len(found) != images:
        raise ValueError(f"expected classes of {images} images, got {len(found)}")
    return found
