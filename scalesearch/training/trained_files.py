"""Where trained networks lie, by the names that every command takes for them; nothing is opened yet.

``FOLDER`` is what `train` or `linear` wrote, or a file of weights that says its network; ``RUN`` a search that kept
weights, and ``RUN:WHICH`` one network of it, by its place (1 is the best), its row's label, or its coefficients
(1.2,1.1,1.15). Anything else is a spec or a baseline, and comes with a file of weights.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from scalesearch.data.batches import MEAN, STD
from scalesearch.errors import BaselineError, RecipeError
from scalesearch.models.catalogue import builtin_names
from scalesearch.models.weights_file import About, read_about
from scalesearch.recipe import Recipe, load_recipe
from scalesearch.run_files import read_result
from scalesearch.scaling.spec_files import Spec
from scalesearch.training.weights_index import FOLDER, Kept, KeptWeights, read_kept
from scalesearch.validation import is_file, nearest

WEIGHTS, SPEC, RECIPE = "weights.safetensors", "spec.yaml", "recipe.yaml"
"""What `train` and `linear` write into their folders."""
OLD_WEIGHTS = "weights.pt"
"""What they wrote before."""
OUTCOME, FITTED = "outcome.json", "linear.json"
"""What came of it: of `train`, and of `linear`."""


@dataclass(frozen=True)
class TrainedFiles:
    """A network's spec, or what `--baseline` takes, and the file of its weights.

    ``name``: a run's word for it; ``asked``: the command line's; ``classes``, ``num_classes`` and ``crop`` (the central
    share of an image that it was measured on): where its folder tells, as the minival's ``accuracy``, in [0, 1];
    ``recipe``: the file that says how it was trained, where there is one.
    """

    asked: str
    spec: str | Spec
    weights: Path
    name: str | None = None
    classes: tuple[str, ...] | None = None
    num_classes: int | None = None
    crop: float | None = None
    recipe: Path | None = None
    accuracy: float | None = None

    @property
    def folder(self) -> Path:
        """Of the training or the run that left the weights; else the one that they lie in."""
        return self.weights.parent if self.recipe is None else self.recipe.parent


def weights_in(folder: Path) -> Path | None:
    """The file of weights in a folder that `train` or `linear` wrote; None where it is another folder."""
    if not is_file(folder / SPEC):
        return None
    return next((folder / name for name in (WEIGHTS, OLD_WEIGHTS) if is_file(folder / name)), None)


def about_weights(spec: Spec, recipe: Recipe, classes: Sequence[str]) -> About:
    """What a file of weights says of itself that came of the recipe."""
    mean, std = recipe.data.mean or MEAN, recipe.data.std or STD
    return About(spec, tuple(classes), spec.resolution, mean, std, recipe.augment.eval_crop)


def about_classes(names: Sequence[str]) -> dict[str, Any]:
    """What is written beside every file of weights of its outputs' meaning: how many classes, and their names in the
    outputs' order."""
    return {"classes": len(names), "class_names": list(names)}


def outcome_of(folder: Path) -> dict[str, Any] | None:
    """What came of the training or the fit that left this folder; None where there is none.

    Raises:
        RunError: the file cannot be read.
    """
    for name in (OUTCOME, FITTED):
        if is_file(folder / name):
            return read_result(folder, name)
    return None


def folder_of(asked: str) -> tuple[Path, str] | None:
    """The folder that a name stands for, and which network of it ("" for all); None for a spec or a baseline.

    Raises:
        BaselineError: it can only be meant as a folder, and there is none.
    """
    whole, (before, _, which) = Path(asked).expanduser(), asked.rpartition(":")
    if _is_folder(whole):
        return whole, ""
    run = Path(before).expanduser()
    if before and _is_folder(run):
        return run, which
    plain = before or asked
    if is_file(whole) or plain.endswith((".yaml", ".yml", ".py")) or (before and "/" not in before):
        return None
    known = not before and (asked in builtin_names() or nearest(asked, builtin_names(), cutoff=0.7) is not None)
    if known and "/" not in asked:
        return None
    place = Path(plain).expanduser()
    beside = [each.name for each in place.parent.iterdir() if each.is_dir()] if _is_folder(place.parent) else []
    near = nearest(place.name, beside)
    hint = f"; did you mean {place.parent / near}?" if near else ""
    also = "" if "/" in plain else ", and no baseline either (`scalesearch baselines` lists those)"
    raise BaselineError(f"no such folder: {plain}{hint or also}")


def trained_files(asked: str) -> list[TrainedFiles] | None:
    """The networks that a folder holds, a run's best first; None where ``asked`` is a spec or a baseline.

    Raises:
        BaselineError: there is no such folder, or no such network in it, or no trained one at all.
        RunError, RecipeError: what it says of itself cannot be read.
    """
    place, file = folder_of(asked), Path(asked).expanduser()
    if place is None:
        about = read_about(file) if is_file(file) else None
        return None if about is None else [_beside(asked, about.spec, file)]
    folder, which = place
    weights = weights_in(folder)
    if weights is not None:
        if which:
            raise BaselineError(f"{folder} holds one network, and needs no :{which}")
        return [_beside(asked, str(folder / SPEC), weights)]
    kept = read_kept(folder)
    if kept is None or not kept.weights:
        raise BaselineError(_nothing_in(folder))
    chosen = kept.weights if not which else (_chosen(folder, kept, which),)
    return [
        TrainedFiles(
            asked,
            str(folder / FOLDER / each.spec),
            folder / FOLDER / each.file,
            each.label or str(each.coefficients),
            kept.classes,
            kept.num_classes,
            kept.eval_crop,
            folder / RECIPE if is_file(folder / RECIPE) else None,
            each.accuracy,
        )
        for each in chosen
    ]


def all_trained_files(names: Sequence[str], weights: Sequence[Path], option: str = "--weights") -> list[TrainedFiles]:
    """The networks in the order that they are named: those of folders, and others with their ``weights``, in order.

    Raises:
        BaselineError: as `trained_files`; a network has no weights, or weights no network.
    """
    found = [trained_files(name) for name in names]
    bare = [name for name, files in zip(names, found, strict=True) if files is None]
    if len(bare) != len(weights):
        if bare and not weights:
            raise BaselineError(f"no weights for {bare[0]}: {option} FILE says which, once for each that is no folder")
        raise RecipeError(
            option,
            f"one for each of {len(bare)} network{'s' * (len(bare) != 1)} without a folder of "
            f"{'their' if len(bare) != 1 else 'its'} own, in their order",
            f"{len(weights)} file{'s' * (len(weights) != 1)}",
        )
    files = iter(weights)
    lists = [each or [with_weights(name, next(files))] for name, each in zip(names, found, strict=True)]
    return [one for several in lists for one in several]


def with_weights(spec: str, weights: Path) -> TrainedFiles:
    """A spec or a baseline with a file of weights, and what lies beside that.

    Raises:
        BaselineError: there is no such file.
        RunError, RecipeError: what lies beside it cannot be read.
    """
    weights = weights.expanduser()
    if not is_file(weights):
        raise BaselineError(f"no weights: there is no file {weights}")
    return _beside(spec, spec, weights)


def weights_file(asked: str) -> Path:
    """The file of weights to begin with: the one that is named, a folder's own, or the best of a run.

    Raises:
        BaselineError: there is none.
    """
    file, (before, _, _) = Path(asked).expanduser(), asked.rpartition(":")
    in_run = before and _is_folder(Path(before).expanduser())  # whose name may have a dot, as its candidates' have
    if is_file(file) or (file.suffix and not _is_folder(file) and not in_run):
        return file
    found = trained_files(asked)
    if found is None:
        raise BaselineError(f"no weights: there is no file or folder {asked}")
    return found[0].weights


def _is_folder(path: Path) -> bool:
    try:
        return path.is_dir()
    except (OSError, ValueError):
        return False


def _beside(asked: str, spec: str | Spec, weights: Path) -> TrainedFiles:
    """With what the folder of the weights says, or the file; those that a search keeps lie in a folder of its run."""
    about = read_about(weights)
    said = about.classes if about is not None else None
    folder = weights.parent
    outcome = outcome_of(folder) or {}
    data = outcome.get("environment", {}).get("data", {})
    names = data.get("class_names")
    run = folder.parent if folder.name == FOLDER and not is_file(folder / RECIPE) else folder
    return TrainedFiles(
        asked,
        spec,
        weights,
        classes=tuple(map(str, names)) if isinstance(names, list) else said,
        num_classes=int(data["classes"]) if "classes" in data else (len(said) if said is not None else None),
        crop=_crop(run / RECIPE) if outcome else about.crop if about is not None else None,
        recipe=run / RECIPE if is_file(run / RECIPE) else None,
        accuracy=outcome.get("accuracy"),
    )


def _crop(recipe: Path) -> float | None:
    return load_recipe(str(recipe)).augment.eval_crop if is_file(recipe) else None


def _chosen(folder: Path, kept: Kept, which: str) -> KeptWeights:
    """The network that a name means by its place, its label or its coefficients, whole or as they are shown."""
    labels = [each.label or f"{each.alpha:g},{each.beta:g},{each.gamma:g}" for each in kept.weights]
    asked = which.replace(" ", "")
    for place, (each, label) in enumerate(zip(kept.weights, labels, strict=True), 1):
        if which in (str(place), label) or asked == f"{each.alpha:g},{each.beta:g},{each.gamma:g}":
            return each
    shown = [each for each in kept.weights if asked == f"{each.alpha:.4g},{each.beta:.4g},{each.gamma:.4g}"]
    if len(shown) == 1:
        return shown[0]
    listed = "; ".join(f"{place} ({label})" for place, label in enumerate(labels, 1))
    raise BaselineError(f"{folder} has kept no network {which!r}, but {listed}")


def _nothing_in(folder: Path) -> str:
    """Why a folder cannot be taken for a trained network, and what could be."""
    inner = [each for each in sorted(folder.iterdir()) if _is_folder(each)]
    trained = [each for each in inner if weights_in(each) or read_kept(each)]
    if trained:
        names = ", ".join(map(str, trained[:4])) + (", …" if len(trained) > 4 else "")
        return f"{folder} is no trained network, but holds some; name one: {names}"
    if is_file(folder / "settings.json") and is_file(folder / "baseline.yaml"):
        return f"{folder} has kept no weights: its own command, given again with --keep-weights 3, keeps its best three"
    if is_file(folder / "settings.json"):
        return f"{folder} holds a training that is not finished: its own command, given again, goes on with it"
    return (
        f"{folder} is a folder without {SPEC} and {WEIGHTS}, and holds no trained network: `train` and `linear` write "
        "both, a search with --keep-weights 3 its best three"
    )
