"""Trained networks as a user names them: a network and a file of weights, or a folder that holds both."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from scalesearch.errors import BaselineError, RunError
from scalesearch.image_size import Resolution
from scalesearch.models.catalogue import baseline_of, model_of, open_baseline
from scalesearch.models.protocols import Baseline, ScaledModel
from scalesearch.recipe import load_recipe
from scalesearch.scaling.spec_files import load_spec
from scalesearch.search.weights_index import FOLDER, read_kept
from scalesearch.training.trained import TrainedNetwork
from scalesearch.training.trained_file import RECIPE, SPEC, WEIGHTS, is_trained_folder, outcome_of


def trained_networks(
    names: Sequence[str], weights: Sequence[Path], resolution: Resolution | None = None
) -> list[TrainedNetwork]:
    """The networks in the order that they are named, each under a name of its own.

    Args:
        names: baselines and specs, each with its file of ``weights``, in order; folders that `train` wrote, and those
            of runs that kept weights, bring their own.
        resolution: size of the images for all of them, pixels; each network's own if None.

    Raises:
        BaselineError: a network has no weights, or weights no network.
        RunError: a folder holds no trained network.
    """
    bare = [name for name in names if not _is_folder(name)]
    if len(bare) != len(weights):
        raise BaselineError(
            f"{len(bare)} network{'s' * (len(bare) != 1)} without a folder of {'their' if len(bare) != 1 else 'its'} "
            f"own, and {len(weights)} file{'s' * (len(weights) != 1)} of weights: give --weights FILE once for each, "
            "in order; folders that `train` wrote bring theirs"
        )
    files, found = iter(weights), []
    for name in names:
        if _is_folder(name):
            found += _in_folder(Path(name).expanduser(), resolution)
        else:
            file = next(files).expanduser()
            model = _at(open_baseline(name, resolution=resolution), resolution)
            found.append(TrainedNetwork(model.spec.name, model, file, _classes(file.parent), _crop(file.parent)))
    return _told_apart(found)


def recipe_beside(names: Sequence[str], weights: Sequence[Path]) -> str | None:
    """The recipe in the first folder among ``names``, or beside the first of the ``weights`` that has one: how that
    network was trained and measured."""
    folders = [Path(name).expanduser() for name in names if _is_folder(name)]
    folders += [folder for file in weights if outcome_of(folder := file.expanduser().parent)]
    return next((str(folder / RECIPE) for folder in folders if (folder / RECIPE).is_file()), None)


def _is_folder(name: str) -> bool:
    try:
        return Path(name).expanduser().is_dir()
    except (OSError, ValueError):
        return False


def _in_folder(folder: Path, resolution: Resolution | None) -> list[TrainedNetwork]:
    if is_trained_folder(str(folder)):
        model = _of_spec(folder / SPEC, resolution)
        return [TrainedNetwork(model.spec.name, model, folder / WEIGHTS, _classes(folder), _crop(folder))]
    kept = read_kept(folder)
    if kept is None:
        raise RunError(
            f"{folder} holds no trained network: `train` and `linear` leave {SPEC} and {WEIGHTS} there, a search with "
            "--keep-weights 3 its best three"
        )
    return [
        TrainedNetwork(
            each.label or str(each.coefficients),
            _of_spec(folder / FOLDER / each.spec, resolution),
            folder / FOLDER / each.file,
            kept.classes,
            kept.eval_crop,
        )
        for each in kept.weights
    ]


def _of_spec(file: Path, resolution: Resolution | None) -> ScaledModel:
    spec = load_spec(file)
    return model_of(spec) if resolution is None else _at(baseline_of(spec), resolution)


def _at(baseline: Baseline, resolution: Resolution | None) -> ScaledModel:
    return model_of(baseline.meant_for(resolution).native)


def _classes(folder: Path) -> tuple[str, ...] | None:
    """The classes that the outcome of a training in ``folder`` names; None where there is none, or an older one."""
    names = (outcome_of(folder) or {}).get("environment", {}).get("data", {}).get("class_names")
    return tuple(map(str, names)) if isinstance(names, list) else None


def _crop(folder: Path) -> float | None:
    """The share of an image that a training in ``folder`` was measured on; None where there was none."""
    if outcome_of(folder) is None or not (folder / RECIPE).is_file():
        return None
    return load_recipe(str(folder / RECIPE)).augment.eval_crop


def _told_apart(networks: Sequence[TrainedNetwork]) -> list[TrainedNetwork]:
    """Where names are the same, with the folder of the weights, else with the file, else with a number."""
    named = list(networks)
    for more in (lambda n: n.weights.parent.name, lambda n: n.weights.name, None):
        names = [network.name for network in named]
        twice = {name for name in names if names.count(name) > 1}
        named = [
            replace(n, name=f"{n.name} {more(n) if more else i}") if n.name in twice else n
            for i, n in enumerate(named, 1)
        ]
    return named
