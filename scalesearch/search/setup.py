"""From a recipe to a plan: every open question answered, nothing decoded or trained yet."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple, Self

import numpy as np
import torch

from scalesearch.candidates.grid import Candidate, Plan, plan
from scalesearch.candidates.quantities import is_measured
from scalesearch.candidates.resolve import resolve_baseline
from scalesearch.data.about import described
from scalesearch.data.images import split_indices
from scalesearch.data.sources import Source, open_source
from scalesearch.errors import DeviceError
from scalesearch.files import kept
from scalesearch.models.protocols import Baseline
from scalesearch.ranking.class_metrics import base_rate, metric_of
from scalesearch.ranking.ranking import EXPONENT
from scalesearch.recipe import Recipe, refuse_nas
from scalesearch.run_contents import MatchedFile
from scalesearch.run_folder import default_folder, settings_of
from scalesearch.runtime.device import check_graphs, device_name, pick_device, pick_precision
from scalesearch.scaling.compound import Multipliers
from scalesearch.scaling.cost import Cost
from scalesearch.scaling.spec_files import Spec
from scalesearch.search.measuring import measure_grid
from scalesearch.search.planner import Planner
from scalesearch.training.autotune import decide
from scalesearch.training.benchmark import bench
from scalesearch.training.benchmark_settings import BenchSettings
from scalesearch.training.class_weights import weights_words
from scalesearch.training.idle import idle_in_search
from scalesearch.training.inputs import kept_at, settled
from scalesearch.training.memory_estimate import estimated_memory
from scalesearch.training.normalisation import with_normalisation
from scalesearch.training.precision import cpu_precision
from scalesearch.training.progressive import replaced
from scalesearch.trials import Choice, Task

LATENCY_SECONDS = 1.0
"""How long each candidate is timed for ``target_latency``."""


@dataclass(frozen=True)
class Prepared:
    """A recipe whose every open question is answered: what will be trained, on which images, on which device."""

    recipe: Recipe
    baseline: Baseline
    source: Source
    plan: Plan
    device: torch.device
    precision: str
    train_images: int
    minival_images: int
    tuned: tuple[str, ...] = ()
    """What was decided, a sentence each: how images are normalised for weights of elsewhere, what a probe found, class
    weights; and the base rate."""
    unplanned: Mapping[str, Any] | None = None
    """Of a plan that was measured: the settings as they are known before it."""

    @property
    def about_images(self) -> str:
        """Classes, images per class, sizes: what is known of the images before they are decoded."""
        return described(self.source)

    @property
    def planner(self) -> Planner:
        """What decides which trials there are."""
        return Planner(self.recipe, self.plan.candidates, self.minival_images)

    @property
    def trainings(self) -> float:
        """How many there will be, those of a budget's unknown number taken for all."""
        return len(self.plan.candidates) * self.recipe.seeds

    @property
    def aim(self) -> str:
        """What is searched, in a word or two."""
        rows = self.recipe.search.rows
        return f"{self.baseline.name} · " + (f"{len(rows)} rows" if rows else f"φ {self.recipe.phi:g}")

    @property
    def axes(self) -> Mapping[str, Sequence[Choice]]:
        """What architectures are proposed from: nothing, where networks are scaled."""
        return {}

    @property
    def tasks(self) -> list[Task]:
        """The trials to begin with."""
        return self.planner.first()

    @property
    def target(self) -> int | None:
        """The MACs that the paper's objective aims at; None where the objective knows no cost."""
        if self.recipe.objective != "acc_macs":
            return None
        return round(self.plan.baseline_cost.macs * float(self.recipe.search.target**self.recipe.phi))

    @property
    def metric(self) -> str:
        """What a training is known by: accuracy, or one of `class_metrics.METRICS`."""
        return metric_of(self.recipe.objective)

    @property
    def exponent(self) -> float:
        """Of the objective's MACs."""
        return EXPONENT

    @property
    def settings(self) -> dict[str, Any]:
        """Everything that changes a result, by dotted key."""
        return settings_of(self.recipe, self.baseline.identity, self.source.fingerprint)

    @property
    def named_by(self) -> Mapping[str, Any]:
        """The settings that a run's folder is named after, which are the same once more before anything is measured."""
        return self.unplanned or self.settings

    def of(self, candidates: Iterable[Candidate]) -> Self:
        """The same with these candidates."""
        return replace(self, plan=replace(self.plan, candidates=tuple(candidates)))

    def memory(self, cost: Cost) -> int:
        """Bytes that training a network of this cost is expected to take."""
        return estimated_memory(cost, self.recipe.train, self.precision)


def prepare(
    recipe: Recipe,
    native: Spec | None = None,
    *,
    out: Path | None = None,
    told: Callable[[str], None] = lambda _: None,
    measured: MatchedFile | None = None,
) -> Prepared:
    """Resolve the baseline, list the images, and plan the candidates; nothing is decoded or trained.

    Args:
        native: the baseline, in the place of the one that the recipe names.
        out: the run's folder, if it is not the default one: what a plan was measured to cost is kept there.
        told: hears what is being measured for the plan.
        measured: what the recipe's rows were measured to cost.

    Raises:
        ScaleSearchError: whatever of it the user can mend.
    """
    refuse_nas(recipe)
    place = place_of(recipe, resolve_baseline(recipe, native).baseline)
    recipe, classes = place.recipe, len(place.source.classes)
    resolved = resolve_baseline(recipe, native)
    unplanned, measure = None, None
    if is_measured(recipe.search) and not recipe.search.rows:
        unplanned = settings_of(recipe, resolved.baseline.identity, place.source.fingerprint)
        folder = out or default_folder(Path("results"), recipe, resolved.baseline.name, unplanned)
        measure = measure_grid(recipe, resolved, place.device, classes, told=told, folder=folder)
    made = plan(
        resolved.baseline,
        recipe.phi,
        recipe.search,
        num_classes=classes,
        dropout=resolved.dropout,
        training_memory=lambda cost: estimated_memory(cost, recipe.train, recipe.train.precision),
        latency=lambda candidates: _latencies(candidates, recipe, place.device, classes),
        measure=measure,
        measured=measured,
    )
    settled = settle(place, made)
    return Prepared(settled.recipe, resolved.baseline, place.source, made, place.device, *settled.rest, unplanned)


@dataclass(frozen=True)
class Place:
    """Where a search trains: the device, the images, the recipe with its precision, its images' channels and their
    normalisation settled, and what is said of the latter."""

    recipe: Recipe
    source: Source
    device: torch.device
    told: tuple[str, ...]


def place_of(recipe: Recipe, baseline: Baseline) -> Place:
    """Find the device and the images.

    Raises:
        ScaleSearchError: one of them is not there.
    """
    device = pick_device(recipe.device)
    check_graphs(recipe, device)
    recipe, source, told = with_inputs(recipe, baseline)
    baseline = baseline.at(channels=recipe.data.channels)
    precision = _precision(baseline, recipe, device, len(source.classes))
    recipe = recipe.model_copy(update={"train": recipe.train.model_copy(update={"precision": precision})})
    recipe, normalised = with_normalisation(recipe, baseline.scaled(Multipliers(1, 1, 1)), source)
    return Place(recipe, source, device, (*told, *normalised))


def with_inputs(recipe: Recipe, baseline: Baseline) -> tuple[Recipe, Source, tuple[str, ...]]:
    """The recipe with the channels and bits of its images settled, the source seen so, and what is said of it.

    Raises:
        DataError: the images are not there, or have other channels than the network takes.
    """
    size, source = baseline.resolution, open_source(recipe.data)
    found = settled(recipe.data, source, baseline.name, baseline.channels, size, recipe.augment)
    return recipe.model_copy(update={"data": found.data}), found.source, found.words


class Settled(NamedTuple):
    """A recipe without open questions, and the last of `Prepared`'s fields in their order."""

    recipe: Recipe
    rest: tuple[str, int, int, tuple[str, ...]]


def settle(place: Place, made: Plan) -> Settled:
    """Decide what depends on the candidates: how large images are kept, batches, compilation."""
    recipe = place.recipe
    size, enlarged = kept_at(recipe, [c.model.resolution for c in made.candidates])
    recipe = recipe.model_copy(update={"data": recipe.data.model_copy(update={"cache_resolution": size})})
    labels = [[place.source.train.labels[i] for i in part] for part in split_indices(place.source, recipe.data)]
    counts = [len(part) for part in labels]
    dearest, median = made.by_cost[-1].model, made.median.model
    recipe, tuned = decide(recipe, dearest, median, place.device, len(place.source.classes), counts[0])
    weights = weights_words(recipe.train, labels[0], place.source.classes)
    metric = metric_of(recipe.objective)
    base = base_rate(metric, np.array(labels[1])).words(metric, place.source.classes)
    idle = idle_in_search(recipe, median, len(place.source.classes))
    told = (*place.told, *enlarged, *replaced(recipe), *idle, *tuned, *weights, base)
    return Settled(recipe, (recipe.train.precision, counts[0], counts[1], told))


def _precision(baseline: Baseline, recipe: Recipe, device: torch.device, classes: int) -> str:
    """Found once and written down: a run does not change it when it moves."""
    if device.type == "cpu" and recipe.train.precision == "auto":
        return cpu_precision(baseline.scaled(Multipliers(1, 1, 1)), recipe, classes)
    return pick_precision(recipe.train, device)


def _latencies(candidates: Sequence[Candidate], recipe: Recipe, device: torch.device, classes: int) -> list[float]:
    """Milliseconds of one image through each candidate, in turns on this device (median; see `bench`).

    Measured once per network and kind of device, so that a run that goes on admits the same candidates.

    Raises:
        DeviceError: one of them cannot run.
    """
    place = f"{device_name(device)} {recipe.train.precision} {recipe.train.channels_last}"
    keys = {c.model.fingerprint: f"{c.model.fingerprint} {classes} {place}" for c in candidates}
    models = {c.model.fingerprint: c.model for c in candidates}
    settings = BenchSettings(
        batch_size=1,
        seconds=LATENCY_SECONDS,
        precision=recipe.train.precision,
        channels_last=recipe.train.channels_last,
        num_classes=classes,
        device=str(device),
    )

    def measure(new: Sequence[str]) -> dict[str, float]:
        found: dict[str, float] = {}
        for measured in bench({name: models[name] for name in new}, settings):
            if measured.single is None:
                why = measured.failures.get("single")
                raise DeviceError(f"the latency of {measured.name} cannot be measured: {why}")
            found[measured.name] = measured.single.median_ms
        return found

    known = kept("latency", keys, measure)
    return [known[c.model.fingerprint] for c in candidates]
