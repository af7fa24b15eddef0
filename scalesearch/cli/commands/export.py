"""What `export` does, between its options and what it prints."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from rich.console import Console
from torch import nn

from scalesearch.errors import BaselineError, RecipeError
from scalesearch.models.catalogue import model_of, open_baseline
from scalesearch.models.export import FORMATS, Agreement, export_network
from scalesearch.models.logits import logits_alone, maps_alone
from scalesearch.models.probe import Probed
from scalesearch.models.protocols import ScaledModel
from scalesearch.models.weights import load_whole, read_weights
from scalesearch.training.int8_files import QuantizeSettings, tasks_of, write_files
from scalesearch.training.trained_file import is_trained_folder, open_trained, outcome_of, spec_and_weights
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
    spec, weights = spec_and_weights(asked, weights)
    if num_classes is None and is_trained_folder(asked):
        outcome = outcome_of(Path(asked).expanduser())
        num_classes = None if outcome is None else int(outcome["environment"]["data"]["classes"])
    classes = 1000 if num_classes is None else num_classes
    tensors = None if weights is None else read_weights(weights.expanduser())
    baseline = open_baseline(spec, resolution=resolution)
    model = model_of((baseline if resolution is None else baseline.meant_for(resolution)).native)
    network = model.build(classes)
    backbone = network.backbone if isinstance(network, Probed) else None
    if tensors is None:
        console.print("its weights are fresh: --weights FILE takes trained ones", style="dim")
    else:
        try:
            loaded = load_whole(network, tensors, str(weights))
        except BaselineError as failure:
            raise BaselineError(f"{failure} (for {classes} classes: --num-classes)") from failure
        if loaded.by_shape:
            console.print(loaded.words)
    if backbone is not None:
        console.print(
            "a backbone: the file gives out its maps, without the probe head that training gives it", style="dim"
        )
        return baseline.name, model, maps_alone(backbone)
    return baseline.name, model, logits_alone(network, model.resolution, classes, baseline.name)


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
    trained = open_trained(asked, weights, recipe=recipe, overrides=overrides, resolution=resolution)
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
        f"its outputs and the eager model's differ by at most {agreement.difference:.1e} (the largest is "
        f"{agreement.largest:.2g})"
    )
