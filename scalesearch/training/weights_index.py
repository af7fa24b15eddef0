"""What a run says of the trained weights that it keeps, so that they can be used without its ledger."""

from __future__ import annotations

import json
from pathlib import Path

from pydantic import NonNegativeInt, PositiveInt

from scalesearch.errors import RecipeError, RunError
from scalesearch.files import write_text
from scalesearch.image_size import InputSize
from scalesearch.scaling.compound import Coefficients
from scalesearch.validation import Strict, parse

FOLDER, LIST = "weights", "weights.json"


class KeptWeights(Strict):
    """One trained network: which, by how much of what it was scaled, and the files of its weights and its spec.

    ``label`` is what a comparison calls it, ``accuracy`` the minival's, in [0, 1], of this seed. The files lie
    beside the list.
    """

    network: str
    alpha: float
    beta: float
    gamma: float
    seed: NonNegativeInt
    accuracy: float
    resolution: InputSize
    file: str
    spec: str
    label: str | None = None

    @property
    def coefficients(self) -> Coefficients:
        """Of the candidate."""
        return Coefficients(self.alpha, self.beta, self.gamma)


class Kept(Strict):
    """The networks that a run kept, best first, what their outputs mean, and the share of an image that they see."""

    num_classes: PositiveInt
    classes: tuple[str, ...]
    eval_crop: float
    weights: tuple[KeptWeights, ...]

    @property
    def files(self) -> set[str]:
        """Everything in the folder that belongs to it."""
        return {LIST} | {name for each in self.weights for name in (each.file, each.spec)}


def write_kept(run: Path, kept: Kept) -> None:
    """Put the list into the run's folder.

    Raises:
        RunError: it cannot be written.
    """
    write_text(run / FOLDER / LIST, kept.model_dump_json(indent=1) + "\n")


def read_kept(run: Path) -> Kept | None:
    """The list of a run, without those whose files are gone; None where it keeps nothing.

    Raises:
        RunError: the list cannot be read.
        RecipeError: it is none.
    """
    folder = run / FOLDER
    try:
        plain = json.loads((folder / LIST).read_text())
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as failure:
        raise RunError(f"cannot read {folder / LIST}: {failure}") from failure
    kept = parse(Kept, plain, RecipeError)
    there = tuple(w for w in kept.weights if (folder / w.file).is_file() and (folder / w.spec).is_file())
    return kept.model_copy(update={"weights": there}) if there else None
