"""What `export` does, between its options and what it prints."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from rich.console import Console
from torch import nn

from scalesearch.errors import BaselineError, RecipeError
from scalesearch.models.catalogue import model_of, open_baseline
from scalesearch.models.export import FORMATS, Agreement, export_network
from scalesearch.models.logits import logits_alone
from scalesearch.models.protocols import ScaledModel
from scalesearch.training.int8_files import QuantizeSettings, tasks_of, write_files
from scalesearch.training.trained import on_images, open_network
from scalesearch.training.trained_files import TrainedFiles, all_trained_files, folder_of
from scalesearch.validation import parse


def export_command(
    asked: str,
    *,
    format_name: str,
    num_classes: int | None,
    weights: Path | None,
    resolution: int | None,
    out: Path | None,
    int8: bool,
    options: Mapping[str, object],
    recipe: str | None,
    overrides: Mapping[str, object],
) -> None:
    """Write a network in a form that needs no scalesearch, and with ``int8`` its INT8 form beside it.

    Raises:
        ScaleSearchError: whatever the user can mend.
    """
    if format_name not in FORMATS:
        raise RecipeError("--format", f"{', '.join(list(FORMATS)[:-1])} or {list(FORMATS)[-1]}", format_name)
    _check_int8(int8, format_name, {**options, **overrides, **({"recipe": recipe} if recipe else {})})
    console = Console(highlight=False, markup=False, soft_wrap=True)
    form = FORMATS[format_name]
    form.needs()
    if int8:
        _export_int8(asked, weights, resolution, out, options, recipe, overrides, console)
        return
    name, model, network = _network(asked, weights, resolution, num_classes, console)
    target = out or Path(f"{name}{form.suffix}")
    done = export_network(network, model.resolution, target, format_name)
    batches = "any batch" if form.any_batch else "batches of one"
    console.print(f"wrote {target} ({target.stat().st_size / 1e6:.1f} MB), {model.resolution} px, {batches}")
    console.print(_differ(done), style="dim")


def _check_int8(int8: bool, format_name: str, options: Mapping[str, object]) -> None:
    if int8 and format_name != "onnx":
        raise RecipeError("--int8", "--format onnx, the one that scalesearch calibrates", format_name)
    if not int8 and options:
        raise RecipeError("--int8", "it, where images or ranges are given: nothing else looks at images", "none of it")


def _network(
    asked: str, weights: Path | None, resolution: int | None, num_classes: int | None, console: Console
) -> tuple[str, ScaledModel, nn.Module]:
    files = one_of(asked, weights, console)
    if files is None:
        baseline = open_baseline(asked, resolution=resolution)
        model = model_of((baseline if resolution is None else baseline.meant_for(resolution)).native)
        console.print("its weights are fresh: --weights FILE takes trained ones", style="dim")
        classes = num_classes or 1000
        return baseline.name, model, logits_alone(model.build(classes), model.resolution, classes, baseline.name)
    trained = open_network(files, resolution)
    classes = num_classes or files.num_classes or 1000
    try:
        network, loaded = trained.build(classes)
    except BaselineError as failure:
        raise BaselineError(f"{failure} (for {classes} classes: --num-classes)") from failure
    if loaded.by_shape:
        console.print(loaded.words)
    name = trained.model.spec.name
    return name, trained.model, logits_alone(network, trained.model.resolution, classes, name)


def one_of(asked: str, weights: Path | None, console: Console) -> TrainedFiles | None:
    """The one trained network that is named, the best of a run's; None where it has no weights, and needs none.

    Raises:
        ScaleSearchError: there is no such network.
    """
    if weights is None and folder_of(asked) is None:
        return None
    found = all_trained_files([asked], [] if weights is None else [weights])
    if len(found) > 1:
        others = f"{asked}:2" + (f" to {asked}:{len(found)}" if len(found) > 2 else "")
        console.print(f"{found[0].name}, the best of {asked} ({others}: the others)", style="dim")
    return found[0]


def _export_int8(
    asked: str,
    weights: Path | None,
    resolution: int | None,
    out: Path | None,
    options: Mapping[str, object],
    recipe: str | None,
    overrides: Mapping[str, object],
    console: Console,
) -> None:
    settings = parse(QuantizeSettings, dict(options), RecipeError)
    files = one_of(asked, weights, console)
    if files is None:
        raise BaselineError(f"no weights for {asked}: --weights FILE says which; fresh ones tell no ranges")
    trained = on_images(open_network(files, resolution), recipe, overrides)
    (task,) = tasks_of([trained], settings)
    target = out or Path(f"{trained.name}.onnx")
    int8_target = target.with_name(f"{target.stem}-int8{target.suffix}")
    done = write_files(task, settings, target, int8_target)
    for file in (target, int8_target):
        console.print(f"wrote {file} ({file.stat().st_size / 1e6:.1f} MB), {trained.model.resolution} px, any batch")
    bits = "7" if done.operators.reduce_range else "8"
    console.print(
        f"{_differ(done.agreement)}; INT8: {task.calibration:,} training images of {task.source.title} set the ranges, "
        f"{bits} bits: {done.why}; what it costs: scalesearch quantize",
        style="dim",
    )


def _differ(agreement: Agreement) -> str:
    return (
        f"its logits and the eager model's differ by at most {agreement.difference:.1e} (the largest is "
        f"{agreement.largest:.2g})"
    )
