"""What a worker is given and what it says: its terms, its work, its events."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import astuple, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from numpy.typing import NDArray

from scalesearch.candidates.resolve import ResolvedBaseline, resolve_baseline
from scalesearch.errors import RecipeError, RunError
from scalesearch.models.protocols import ScaledModel
from scalesearch.recipe import Recipe
from scalesearch.runtime.threads import threads_each
from scalesearch.scaling.spec_files import parse_spec
from scalesearch.search.ledger.ledger import Ledger
from scalesearch.trials import Choice, Task, packed_classes, unpacked_classes
from scalesearch.validation import parse


@dataclass(frozen=True)
class Terms:
    """Where a worker finds its work and what it works with; plain values, to be sent to another process.

    ``data`` is where the images are on this node, if elsewhere than the recipe says; ``folder`` holds checkpoints and
    weights; ``threads`` are torch's, for several workers on one machine; ``beside`` is how many share the device.
    """

    storage: Path | str
    study: str
    folder: Path
    device: str
    threads: int | None = None
    data: str | None = None
    beside: int = 1

    def dealt(self, devices: Sequence[str], count: int) -> list[Terms]:
        """The terms of each of ``count`` workers of this machine, dealt out to the devices in turn."""
        threads, beside = threads_each(count), math.ceil(count / len(devices))
        return [replace(self, device=devices[i % len(devices)], threads=threads, beside=beside) for i in range(count)]


@dataclass(frozen=True)
class Event:
    """What a worker says: ``kind`` is ready, started, step, finished, dropped, failed, lost, or broken."""

    kind: str
    key: tuple[str, int] = ("", 0)
    values: tuple[Any, ...] = ()


class BrokenDeviceError(Exception):
    """The device answers nothing but errors from here on; only a new process helps."""


@dataclass(frozen=True)
class Work:
    """What the trials of a study have in common, as its ledger has it."""

    recipe: Recipe
    resolved: ResolvedBaseline

    @classmethod
    def of(cls, ledger: Ledger, data: str | None = None) -> Work:
        """Read it from the ledger.

        Args:
            data: where the images are on this node, if elsewhere than the recipe says.

        Raises:
            RunError: no search has begun there yet.
            BaselineError: the network is not there, or is another one on this node.
        """
        plain, native = ledger.noted("recipe"), ledger.noted("baseline")
        if plain is None or native is None:
            raise RunError(f"{ledger} holds no search yet; `scalesearch grid` starts one")
        recipe = parse(Recipe, plain, RecipeError)
        if data:
            recipe = recipe.model_copy(update={"data": recipe.data.model_copy(update={"source": data})})
        return cls(recipe, resolve_baseline(recipe, parse_spec(yaml.safe_load(native))))

    def model(self, task: Task) -> ScaledModel:
        """What the task trains: its own architecture, or else the candidate that its coefficients make of the baseline;
        of rows that share them, the one with its fingerprint.

        Raises:
            RunError: that gives another network here.
        """
        at = astuple(task.coefficients)
        resolved, rows = self.resolved, self.recipe.search.rows
        if task.architecture is not None:
            resolved, rows = resolve_baseline(self.recipe, task.architecture.spec), ()
        changes_at = [row.changes for row in rows if (row.depth, row.width, row.resolution) == at]
        found = ""
        for changes in changes_at or [{}]:
            model = resolved.model(task.coefficients, changes)
            if model.fingerprint == task.fingerprint:
                return model
            found = found or model.fingerprint
        raise RunError(
            f"{task.coefficients} is network {found} here and {task.fingerprint} in the study: the versions of the "
            "packages it comes from differ"
        )


LABELS = "minival labels"
"""Under which a ledger has the classes of the images that rank, as `packed_classes`."""


def note_labels(ledger: Ledger, labels: NDArray[np.int64]) -> None:
    """Write the minival's classes (N,) into the ledger, once: with what trials took images for, they are all that a
    metric of classes needs."""
    if ledger.noted(LABELS) is None:
        ledger.note(LABELS, packed_classes(labels))


def labels_of(ledger: Ledger) -> NDArray[np.int64] | None:
    """What `note_labels` wrote; None where an older version did not."""
    told = ledger.noted(LABELS)
    return None if told is None else unpacked_classes(told)


def note_work(
    ledger: Ledger,
    recipe: Recipe,
    native: str,
    fingerprint: str,
    axes: Mapping[str, Sequence[Choice]] | None = None,
) -> None:
    """Write what the trials have in common into the ledger, for workers elsewhere.

    Args:
        native: the baseline's spec, as YAML.
        fingerprint: of the images.
        axes: of the space that architectures are proposed from, where they are.
    """
    work = {"recipe": recipe.model_dump(mode="json"), "baseline": native, "data": fingerprint}
    if axes:
        work["axes"] = {name: list(options) for name, options in axes.items()}
    for key, value in work.items():
        if ledger.noted(key) != value:
            ledger.note(key, value)
