"""A network's features judged by a linear classifier: computed once, fitted, measured, and put into the network.

The protocol of Kornblith, Shlens and Le (2019, "Do better ImageNet models transfer better?"), §3: features in
evaluation mode without augmentation, logistic regression with an L2 penalty that is chosen on held-out training images,
and a last fit of those too.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch
from pydantic import Field, PositiveInt
from torch import Tensor, nn

from scalesearch.data.batches import Normaliser, evaluation_batches
from scalesearch.data.images import Images, Split
from scalesearch.data.sources import Source
from scalesearch.errors import BaselineError
from scalesearch.files import write_whole
from scalesearch.image_size import Resolution, decoded_at, image_shape
from scalesearch.models.linear_head import LinearHead, agree, linear_head, logits_of
from scalesearch.models.protocols import ScaledModel
from scalesearch.models.weights import Loaded, load_weights, read_weights
from scalesearch.runtime.timing import seconds_of
from scalesearch.settings import DataSettings
from scalesearch.training.normalisation import Images as TrainingImages
from scalesearch.training.normalisation import Normalisation, normalisation_of
from scalesearch.training.regression import Labelled, Regression, regression
from scalesearch.validation import Strict

FEATURES = ("features-train.npy", "features-minival.npy", "features-val.npy")
"""Files of features that are kept until a network is finished."""

Counts = np.ndarray[Any, np.dtype[np.int64]]


class LinearSettings(Strict):
    """Which images, how much of each is seen (``eval_crop``, a share of its side), how many at once, and where."""

    data: DataSettings = DataSettings()
    eval_crop: Annotated[float, Field(gt=0, le=1)] = 1.0
    batch_size: Annotated[PositiveInt, Field(le=10**6)] = 32
    device: str = "auto"


@dataclass(frozen=True)
class Probe:
    """A network with somebody's weights, ready to compute features, and its classifier."""

    model: ScaledModel
    network: nn.Module
    head: LinearHead
    loaded: Loaded
    normalisation: Normalisation
    classes: int
    settings: LinearSettings
    device: torch.device

    @property
    def decoded_at(self) -> Resolution:
        """The size at which images are wanted, pixels."""
        return decoded_at(self.settings.data.cache_resolution, self.model.resolution, self.settings.eval_crop)

    def normalised(self, views: Tensor) -> Tensor:
        """Views, (N, C, h, w), as the network sees them."""
        mean, std = self.normalisation.mean, self.normalisation.std
        return Normaliser(self.device, channels_last=True, mean=mean, std=std)(views)

    @torch.inference_mode()
    def seconds_an_image(self) -> float:
        """How long a batch takes on this device, per image: the median of three after one that is not measured."""
        size = self.settings.batch_size
        image = image_shape(self.model.channels, self.model.resolution)
        batch = self.normalised(torch.zeros(size, *image, dtype=torch.uint8))
        self.network.eval()
        self.network(batch)
        return statistics.median(seconds_of(lambda: self.network(batch), self.device) for _ in range(3)) / size


@dataclass(frozen=True)
class Judged:
    """What came out. ``correct``, bool (N,), and ``labels``, int64 (N,), are of the images ``measured_on``: "val", or
    "minival" where the set has no validation split."""

    fit: Regression
    features: int
    correct: np.ndarray[tuple[int], np.dtype[np.bool_]]
    labels: np.ndarray[tuple[int], np.dtype[np.int64]]
    classes: int
    measured_on: str
    trained_on: int
    chosen_on: int
    feature_seconds: float
    fit_seconds: float

    def of_classes(self, chosen: np.ndarray[tuple[int], np.dtype[np.bool_]] | None = None) -> Counts:
        """How many of the images, or of those ``chosen``, bool (N,), each class has: int64 (classes,)."""
        labels = self.labels if chosen is None else self.labels[chosen]
        return np.bincount(labels, minlength=self.classes)


def open_probe(
    model: ScaledModel,
    weights: Path,
    classes: int,
    settings: LinearSettings,
    device: torch.device,
    source: Source | None = None,
) -> Probe:
    """Build the network with a file's weights.

    Args:
        source: of the images, by whose statistics they are normalised where nobody states any for their channels.

    Raises:
        BaselineError: the file does not fit, or leaves features that nobody has trained; the classifier is not one
            linear layer.
    """
    network = model.build(classes)
    loaded = load_weights(network, read_weights(weights), weights.name)
    network.to(device, memory_format=torch.channels_last).eval()  # type: ignore[call-overload]
    head = linear_head(network, _noise(model).to(device), classes)
    untrained = [name for name in loaded.new if name.rpartition(".")[0] != head.name]
    if untrained:
        shown = ", ".join(untrained[:3]) + (f" and {len(untrained) - 3} more" if len(untrained) > 3 else "")
        raise BaselineError(f"{weights} leaves features of {model.spec.name} that nobody has trained: {shown}")
    images = None if source is None else TrainingImages(source, settings.data, model.resolution)
    normalisation = normalisation_of(weights, model.spec, settings.data, images)
    return Probe(model, network, head, loaded, normalisation, classes, settings, device)


def _noise(model: ScaledModel) -> Tensor:
    """Two images of a network's size, float32 (2, C, H, W), always the same."""
    return torch.randn(2, *image_shape(model.channels, model.resolution), generator=torch.Generator().manual_seed(0))


def judge(
    probe: Probe,
    images: Images,
    computed: Callable[[int], object] = lambda count: None,
    told: Callable[[str], object] = lambda words: None,
    kept: Path | None = None,
) -> Judged:
    """Compute features, fit a classifier and put it into the network; how it does on images that it was not fitted to.

    Without a validation split the minival is measured, and other training images choose the penalty.

    Args:
        computed: told of every batch whose features are computed, how many images it has.
        told: what the regression does.
        kept: a folder of this network and these images alone, where features are kept, and taken from where they are.

    Raises:
        BaselineError: the network does more with its logits than its classifier says.
        DataError: a class has no image to fit.
    """
    head, started = probe.head, time.perf_counter()
    train, minival = (
        _features(probe, split, computed, kept and kept / name)
        for split, name in zip((images.train, images.minival), FEATURES, strict=False)
    )
    features, started = time.perf_counter() - started, time.perf_counter()
    choice = minival
    if images.val is None:
        train, choice = _held_out(train, images.settings.minival, images.settings.split_seed)
    fit = regression(train, choice, probe.classes, bias=head.has_bias, told=told)
    fitting, started = time.perf_counter() - started, time.perf_counter()
    file = kept and kept / FEATURES[-1]
    seen = _features(probe, images.val, computed, file) if images.val is not None else minival
    head.put(fit.weight, fit.bias)
    _prove(probe)
    with torch.inference_mode():
        predicted = head.logits(torch.from_numpy(seen.features).to(probe.device)).argmax(1).cpu().numpy()
    return Judged(
        fit,
        head.width,
        predicted == seen.labels,
        seen.labels,
        probe.classes,
        "minival" if images.val is None else "val",
        len(train) + len(choice),
        len(choice),
        features + time.perf_counter() - started,
        fitting,
    )


def _features(probe: Probe, split: Split, computed: Callable[[int], object], file: Path | None) -> Labelled:
    labels = split.labels.cpu().numpy()
    if file is not None and file.is_file() and len(features := np.load(file)) == len(labels):
        computed(len(split))
        return Labelled(features, labels)
    found = []
    size, crop = probe.settings.batch_size, probe.settings.eval_crop
    for views, truth in evaluation_batches(split, probe.model.resolution, crop, size, device=probe.device):
        found.append(probe.head.features(probe.network, probe.normalised(views)).cpu().numpy())
        computed(len(truth))
    features = np.concatenate(found)
    if file is not None:
        with suppress(OSError):  # no room is no reason to stop: they will be computed again
            write_whole(file, lambda content: np.save(content, features))
    return Labelled(features, labels)


def _held_out(images: Labelled, share: float, seed: int) -> tuple[Labelled, Labelled]:
    """A stratified share of the images apart from the others; a class of one image keeps it among those that are
    fitted."""
    random, chosen = np.random.default_rng(seed), np.zeros(len(images), bool)
    for label in np.unique(images.labels):
        members = random.permutation(np.flatnonzero(images.labels == label))
        chosen[members[: min(len(members) - 1, max(1, round(share * len(members))))]] = True
    kept, held = (Labelled(images.features[part], images.labels[part]) for part in (~chosen, chosen))
    return kept, held


@torch.inference_mode()
def _prove(probe: Probe) -> None:
    """See that the network gives out what the classifier makes of its features.

    Raises:
        BaselineError: it does not.
    """
    images = _noise(probe.model).to(probe.device)
    said = logits_of(probe.network, images, probe.classes)
    wanted = probe.head.logits(probe.head.features(probe.network, images))
    if not agree(said, wanted):
        raise BaselineError(
            f"{probe.model.spec.name} does more with its logits than the classifier {probe.head.name} says"
        )
