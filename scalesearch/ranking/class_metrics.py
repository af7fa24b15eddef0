"""Metrics in which every class counts alike, however rare its images are: of a training, and image by image.

Balanced accuracy is the mean of the classes' recalls (Brodersen et al. 2010, "The balanced accuracy and its posterior
distribution", ICPR), macro F1 the mean of their F1, both as scikit-learn has them. Images are held out by class, so
that a class's number is fixed; what an image tells of a mean over classes is in `per_image`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from scalesearch.errors import RunError
from scalesearch.trials import unpacked_classes

if TYPE_CHECKING:
    from collections.abc import Iterable

    from scalesearch.trials import Record

Classes = NDArray[np.int64]
Floats = NDArray[np.float64]

METRICS = {"balanced_accuracy": "balanced accuracy", "macro_f1": "macro F1"}
"""By the objective's name, in words."""


LACKING = "it was trained by a version that did not keep what images were taken for, which {} needs"
"""Why a run cannot be seen by one of them."""


@dataclass(frozen=True, eq=False)
class _Counts:
    """Of every class: images that are of it, that were said to be, and both (K,); one with neither is left out."""

    of: Floats
    said: Floats
    right: Floats

    @classmethod
    def taken(cls, labels: Classes, predicted: Classes) -> _Counts:
        size = int(max(labels.max(initial=0), predicted.max(initial=0))) + 1
        every = (labels, predicted, labels[labels == predicted])
        return cls(*(np.bincount(each, minlength=size).astype(float) for each in every))


def balanced_accuracy(labels: Classes, predicted: Classes) -> float:
    """Mean recall of the classes that have images, in [0, 1].

    Args:
        labels: the images' classes (N,).
        predicted: what they were taken for (N,).

    >>> balanced_accuracy(np.array([0, 0, 0, 1]), np.array([0, 0, 0, 0]))
    0.5
    """
    n = _Counts.taken(labels, predicted)
    there = n.of > 0
    return float((n.right[there] / n.of[there]).mean())


def macro_f1(labels: Classes, predicted: Classes) -> float:
    """Mean F1, in [0, 1], of the classes that images have or were taken for.

    Args:
        labels: the images' classes (N,).
        predicted: what they were taken for (N,).
    """
    n = _Counts.taken(labels, predicted)
    there = n.of + n.said > 0
    return float((2 * n.right[there] / (n.of + n.said)[there]).mean())


def value_of(metric: str, labels: Classes, predicted: Classes) -> float:
    """One of `METRICS`, or accuracy."""
    if metric == "accuracy":
        return float((labels == predicted).mean())
    return (balanced_accuracy if metric == "balanced_accuracy" else macro_f1)(labels, predicted)


def per_image(metric: str, labels: Classes, predicted: Classes) -> Floats:
    """What each image adds to one of `METRICS`: values (N,) whose mean is the metric.

    Of balanced accuracy they are N/(K·n_c) for an image of class c that is right, and 0. Macro F1 is no mean over
    images: there they are F1 and its influence function (Hampel 1974), so that the metric changes by their sum when few
    images do.
    """
    n, count = _Counts.taken(labels, predicted), len(labels)
    right = labels == predicted
    if metric == "balanced_accuracy":
        return np.asarray(right * count / ((n.of > 0).sum() * n.of[labels]))
    both = n.of + n.said
    there = both > 0
    f1 = np.divide(2 * n.right, both, out=np.zeros_like(both), where=there)
    share = np.divide(f1, both, out=np.zeros_like(both), where=there)
    moved = 2 * right / both[labels] - share[labels] - share[predicted]
    return np.asarray(f1[there].mean() + count / there.sum() * moved)


def worth(labels: Classes) -> float:
    """How many images of equally frequent classes err as much in a mean over classes: K²/Σ(1/n_c), N if they are so.

    >>> worth(np.array([0] * 90 + [1] * 10))
    36.0
    """
    counts = np.bincount(labels)
    counts = counts[counts > 0]
    return float(round(len(counts) ** 2 / (1 / counts).sum(), 6))


@dataclass(frozen=True)
class BaseRate:
    """What one and the same answer for every image comes to: the most frequent class, its share of the images, the
    metric's value in [0, 1]; ``classes`` is how many there are."""

    label: int
    share: float
    value: float
    classes: int
    even: bool

    def words(self, metric: str, names: tuple[str, ...], split: str = "minival") -> str:
        """One sentence."""
        share = f"{100 * self.share:.3g} % of the {split}"
        told = f"base rate: {share} is {names[self.label]!r}"
        if self.even:
            told = f"base rate: each of {self.classes} classes is {share}"
        if metric == "accuracy":
            return told
        return f"{told}; one answer for all images has a {METRICS[metric]} of {100 * self.value:.3g} %"


def base_rate(metric: str, labels: Classes) -> BaseRate:
    """Of accuracy the share of the most frequent class; of balanced accuracy 1/K; of macro F1 that class's over K."""
    counts = np.bincount(labels)
    classes, most = int((counts > 0).sum()), int(counts.argmax())
    share = float(counts[most] / counts.sum())
    value = {"accuracy": share, "balanced_accuracy": 1 / classes, "macro_f1": 2 * share / (1 + share) / classes}[metric]
    return BaseRate(most, share, value, classes, int(counts[counts > 0].min()) == int(counts[most]))


@dataclass(frozen=True, eq=False)
class Measure:
    """Trials as one of `METRICS` sees them: it stands where accuracy stood, which is then ``top1``."""

    metric: str
    labels: Classes

    @property
    def worth(self) -> float:
        """`worth` of the images."""
        return worth(self.labels)

    def check(self, records: Iterable[Record], where: object) -> None:
        """Raises RunError if a trial that ended does not say what it took the images for."""
        if not all(is_known(r) for r in records):
            raise RunError(f"{where}: {LACKING.format(self.metric)}: leave --objective out, or choose another --out")

    def seen(self, record: Record) -> Record:
        """The record with the metric in accuracy's place, in its curve, and in shorter schedules and other sizes."""
        outcome = record.outcome
        if not outcome or record.state not in ("complete", "dropped"):
            return record
        by_class = {int(step): scores for step, *scores in outcome.get("by_class", ())}
        place = list(METRICS).index(self.metric)
        curve = [(step, by_class[step][place], by_class[step][2]) for step, *_ in outcome["curve"] if step in by_class]
        changed = dict(outcome)
        if record.state == "complete":
            changed = self._seen({**outcome, "balanced_loss": outcome["by_class"][-1][3]})
            for key in ("shorter", "sizes"):
                changed[key] = tuple(self._seen(each) for each in outcome.get(key, ()))
        changed["curve"] = curve
        return replace(record, outcome=changed, curve={step: value for step, value, _ in curve} or record.curve)

    def _seen(self, part: Mapping[str, Any]) -> dict[str, Any]:
        predicted = unpacked_classes(part["predicted"], len(self.labels))
        found = dict(part) | {
            "top1": part["accuracy"],
            "accuracy": value_of(self.metric, self.labels, predicted),
            "loss": part["balanced_loss"],
            "of_images": per_image(self.metric, self.labels, predicted),
            "classes": self.labels,
        }
        if "kept" in part:
            found["kept"] = part["kept_by_class"][list(METRICS).index(self.metric)]
        return found


def metric_of(objective: str) -> str:
    """What a training is known by: one of `METRICS`, or accuracy."""
    return objective if objective in METRICS else "accuracy"


def measure_of(objective: str, labels: Classes) -> Measure | None:
    """What trials are seen by; None where accuracy is what counts."""
    return Measure(objective, labels) if objective in METRICS else None


def is_known(record: Record) -> bool:
    """Whether a trial says what it took images for, if it has ended: older versions did not keep that."""
    needed = {"complete": "predicted", "dropped": "by_class"}.get(record.state)
    return needed is None or bool((record.outcome or {}).get(needed))


def seen(records: Iterable[Record], measure: Measure | None) -> list[Record]:
    """The records by a measure, or as they are."""
    return [r if measure is None else measure.seen(r) for r in records]
