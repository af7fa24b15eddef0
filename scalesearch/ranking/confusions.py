"""What the best candidates took images for: how often each class is right, and which classes are confused."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from scalesearch.ranking.class_metrics import balanced_accuracy, macro_f1
from scalesearch.ranking.image_intervals import share

Classes = NDArray[np.int64]

CLASSES = "classes.json"
"""Where a run's folder has them."""


@dataclass(frozen=True)
class OfClass:
    """How often images of a class are right, in [0, 1], with its interval over images; None where there are none."""

    images: int
    accuracy: float | None
    low: float | None
    high: float | None


@dataclass(frozen=True)
class Confusion:
    """One network's: means over its seeds, in [0, 1]; ``top5`` where there are more than ten classes. ``confused``
    holds (class, what it was taken for, how many images, summed over seeds), most first; together with the images that
    are right it is the whole confusion matrix."""

    network: str
    name: str
    seeds: int
    accuracy: float
    balanced_accuracy: float
    macro_f1: float
    top5: float | None
    classes: tuple[OfClass, ...]
    confused: tuple[tuple[int, int, int], ...]


@dataclass(frozen=True)
class Confusions:
    """Of the best candidates, best first, on so many ``images`` of a ``split``: val or minival."""

    split: str
    images: int
    class_names: tuple[str, ...]
    confidence: float
    networks: tuple[Confusion, ...]

    def to_json(self) -> dict[str, Any]:
        """As plain values."""
        return asdict(self)


def confusion(
    labels: Classes,
    predicted: Sequence[Classes],
    classes: int,
    *,
    network: str = "",
    name: str = "",
    top5: Sequence[float | None] = (),
    confidence: float = 0.95,
) -> Confusion:
    """Of one network.

    Args:
        labels: the images' classes (N,).
        predicted: what each seed took them for, (N,) each.
        classes: how many there are.
        top5: of each seed.
    """
    right = np.mean([guesses == labels for guesses in predicted], axis=0)
    counts: Classes = np.zeros((classes, classes), dtype=np.int64)
    for guesses in predicted:
        np.add.at(counts, (labels, guesses), 1)
    wrong = counts.copy()
    np.fill_diagonal(wrong, 0)
    at = np.argwhere(wrong)
    pairs = sorted(((int(a), int(b), int(wrong[a, b])) for a, b in at), key=lambda each: (-each[2], each[0], each[1]))
    known = [value for value in top5 if value is not None]
    return Confusion(
        network,
        name,
        len(predicted),
        float(right.mean()),
        float(np.mean([balanced_accuracy(labels, guesses) for guesses in predicted])),
        float(np.mean([macro_f1(labels, guesses) for guesses in predicted])),
        float(np.mean(known)) if known and len(known) == len(predicted) else None,
        tuple(_of_class(right[labels == label], confidence) for label in range(classes)),
        tuple(pairs),
    )


def _of_class(right: NDArray[np.float64], confidence: float) -> OfClass:
    if not len(right):
        return OfClass(0, None, None, None)
    found = share(right, confidence)
    return OfClass(len(right), round(found.value, 6), round(found.low, 6), round(found.high, 6))


def matrix(network: Mapping[str, Any]) -> NDArray[np.float64]:
    """Shares of a class's images that were taken for each, (K, K), rows summing to 1, of `classes.json`'s."""
    own = network["classes"]
    found = np.diag([each["accuracy"] or 0.0 for each in own])
    for true, taken, count in network["confused"]:
        found[true, taken] = count / (network["seeds"] * own[true]["images"])
    return found
