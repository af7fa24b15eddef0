"""What a candidate's training starts from: fresh weights, or the function of a smaller network that is trained."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from scalesearch.candidates.grid import Candidate
from scalesearch.errors import BaselineError, ScaleSearchError, SurgeryError
from scalesearch.image_size import Resolution
from scalesearch.models.catalogue import baseline_of, builtin, builtin_names, model_of, open_baseline
from scalesearch.models.grown_model import GrownModel, trained
from scalesearch.models.protocols import ScaledModel
from scalesearch.models.spec_model import SpecModel
from scalesearch.recipe import Recipe
from scalesearch.scaling.module_spec import ModuleSpec
from scalesearch.scaling.spec_files import Spec, load_spec
from scalesearch.validation import is_file

SPEC = "spec.yaml"
"""Beside a file of weights, what it is the network of: as `scalesearch train` writes it."""


def start_of(model: ScaledModel, recipe: Recipe) -> ScaledModel:
    """``model`` as the recipe has it start: grown from a file's weights, if there is one.

    Of weights for images of other channels the first kernel is adapted, as where a training begins with them.

    Raises:
        BaselineError: nobody knows which network the file is of.
    """
    if recipe.train.grow_from is None:
        return model
    file = Path(recipe.train.grow_from).expanduser()
    if not is_file(file):
        raise BaselineError(f"no weights to grow from: there is no file {file}")
    small = _network_of(file, model, recipe)
    if small.channels != model.channels:
        small = model_of(baseline_of(small.spec).meant_for(None, model.channels).native)
    return GrownModel(model, small, file)


def see_grown(models: Iterable[ScaledModel], recipe: Recipe, classes: int, told: Callable[[str], None]) -> None:
    """Grow each network once, before anything is trained, if the recipe grows them.

    Args:
        told: is given a line about what was done.

    Raises:
        SurgeryError: one cannot be grown; the message names it and the layer.
        BaselineError: the file's weights are not of the smaller network.
    """
    if recipe.train.grow_from is None:
        return
    count = 0
    for model in models:
        start = start_of(model, recipe)
        try:
            start.build(classes)
        except SurgeryError as failure:
            words = f"{model.spec.name} ({model.shape}) cannot be grown from {recipe.train.grow_from}: {failure.reason}"
            raise SurgeryError(failure.layer, words) from failure
        count += 1
        small = start.small.spec.name if isinstance(start, GrownModel) else ""
    if count:
        whom = "the network starts" if count == 1 else f"all {count} networks start"
        told(f"{whom} with the function of {recipe.train.grow_from} ({small}), proved by running both")


def try_grown(candidates: Sequence[Candidate], recipe: Recipe, classes: int, told: Callable[[str], None]) -> None:
    """Grow the deepest and the widest candidate, for a plan that trains nothing, if the recipe grows them.

    Args:
        told: is given a line about what was done.

    Raises:
        ScaleSearchError: of `see_grown`.
    """
    if recipe.train.grow_from is None:
        return
    deepest = max(candidates, key=lambda c: (c.coefficients.alpha, c.cost.macs))
    widest = max(candidates, key=lambda c: (c.coefficients.beta, c.cost.macs))
    far = {c.model.fingerprint: c.model for c in (deepest, widest)}
    see_grown(far.values(), recipe, classes, lambda _: None)
    if len(far) < len(candidates):
        told(f"{len(far)} of {len(candidates)} networks were grown to see; the others are before the first is trained")
    else:
        told(f"all {len(far)} networks can be grown from {recipe.train.grow_from}")


def say_start(candidates: Sequence[Candidate], recipe: Recipe, classes: int, told: Callable[[str], None]) -> None:
    """Tell what the candidates of a dry run begin with, where that is somebody's weights.

    Raises:
        ScaleSearchError: of `loaded_words` and `try_grown`.
    """
    for words in loaded_words(candidates, recipe, classes):
        told(words)
    try_grown(candidates, recipe, classes, told)


def loaded_words(candidates: Sequence[Candidate], recipe: Recipe, classes: int) -> tuple[str, ...]:
    """What is said of a file's weights with which every candidate begins as far as its layers are as wide: how they fit
    the one that they fit best, and which they do not fit at all.

    Raises:
        BaselineError: they fit none.
    """
    from scalesearch.models.weights import Loaded, OtherWidthsError, load_weights, read_weights

    if recipe.train.from_weights is None:
        return ()
    file = Path(recipe.train.from_weights)
    weights, fits, fresh = read_weights(file), list[tuple[Candidate, Loaded]](), list[str]()
    for candidate in candidates:
        try:
            fits.append((candidate, load_weights(candidate.model.build(classes), weights, file.name)))
        except OtherWidthsError as failure:
            fresh.append(candidate.name)
            why = failure
    if not fits:
        raise BaselineError(f"no candidate has a layer as wide as the file's: {why}")
    best, loaded = min(fits, key=lambda pair: len(pair[1].new))
    words = [f"{best.name}: {loaded.words}"]
    if fresh:
        named = ", ".join(fresh[:3]) + (", …" if len(fresh) > 3 else "")
        words.append(
            f"{len(fresh)} of {len(candidates)} candidates have no layer as wide as the file's and start afresh, which "
            f"counts against them ({named}): --grow-from begins wider ones too"
        )
    return tuple(words)


def _network_of(file: Path, model: ScaledModel, recipe: Recipe) -> ScaledModel:
    """The network whose weights a file has: the spec beside it, or the first of those it may be that it fits."""
    from scalesearch.models.weights import read_weights
    from scalesearch.models.weights_file import read_about

    beside = file.parent / SPEC
    if is_file(beside):
        return model_of(load_spec(beside))
    if (about := read_about(file)) is not None:
        return model_of(about.spec)

    weights, reasons = read_weights(file), []
    for small in _possible(model.spec, recipe):
        try:
            trained(small, weights, str(file), 1000)
        except ScaleSearchError as failure:
            reasons.append(str(failure))
            continue
        return small
    why = f": {reasons[0]}" if reasons else ""
    raise BaselineError(f"{file} is of a network that is not known; put its {SPEC} beside it{why}")


def _possible(spec: Spec, recipe: Recipe) -> Sequence[ScaledModel]:
    """Networks that a spec may have been made from."""
    found: list[ScaledModel] = []
    if isinstance(spec, ModuleSpec):
        found.append(_native(spec.module, recipe, spec.opened_at))
    elif spec.origin is not None and spec.origin.baseline in builtin_names():
        found.append(SpecModel(builtin(spec.origin.baseline)))
    found.append(_native(recipe.baseline, recipe, recipe.resolution))
    return found


def _native(name: str, recipe: Recipe, size: Resolution | None) -> ScaledModel:
    opened = open_baseline(name, recipe.rounding, size)
    return model_of(opened.meant_for(None, recipe.data.channels).native)
