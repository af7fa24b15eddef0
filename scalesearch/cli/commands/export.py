"""What `export` does, between its options and what it prints."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

from rich.console import Console

from scalesearch.cli.commands import take_home
from scalesearch.errors import BaselineError, RecipeError
from scalesearch.files import write_text
from scalesearch.image_size import Resolution, image_shape
from scalesearch.models.catalogue import model_of, open_baseline
from scalesearch.models.export import FORMATS, Agreement, export_network
from scalesearch.models.logits import logits_alone, maps_alone
from scalesearch.models.probe import Probed
from scalesearch.recipe import load_recipe
from scalesearch.training.int8_files import QuantizeSettings, tasks_of, write_files
from scalesearch.training.normalisation import normalisation_of, unsaid
from scalesearch.training.trained import on_images, open_network
from scalesearch.training.trained_files import TrainedFiles, about_classes, all_trained_files, trained_files
from scalesearch.validation import parse


def export_command(
    asked: str,
    *,
    format_name: str,
    num_classes: int | None,
    weights: Path | None,
    resolution: Resolution | None,
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
    known = [*FORMATS, *take_home.FORMATS]
    if format_name not in known:
        raise RecipeError("--format", f"{', '.join(known[:-1])} or {known[-1]}", format_name)
    about_images = {**options, **overrides, **({"recipe": recipe} if recipe and format_name != "timm" else {})}
    _check_int8(int8, format_name, about_images)
    console = Console(highlight=False, markup=False, soft_wrap=True)
    if format_name in FORMATS:
        FORMATS[format_name].needs()
    if int8:
        if num_classes is not None:
            raise RecipeError("--num-classes", "none with --int8: the images say how many there are", num_classes)
        _export_int8(asked, weights, resolution, out, options, recipe, overrides, console)
        return
    network = _network(asked, weights, resolution, num_classes, console)
    if format_name in take_home.FORMATS:
        take_home.show(_taken_home(network, format_name, out, recipe), console)
        return
    form, side = FORMATS[format_name], network.model.resolution
    target = out or Path(f"{network.name}{form.suffix}")
    take_home.see_it_is_no_input(network, target)
    image = image_shape(network.model.channels, side)
    if isinstance(network.module, Probed):
        console.print("a backbone: the file gives out its maps, without the probe head of training", style="dim")
        alone = maps_alone(network.module.backbone)
    else:
        alone = logits_alone(network.module, image, network.classes, network.name)
    done = export_network(alone, image, target, format_name)
    batches = "any batch" if form.any_batch else "batches of one"
    named = _say_classes(target, None if network.files is None else network.files.classes, network.classes)
    console.print(f"wrote {target} ({target.stat().st_size / 1e6:.1f} MB), {side} px, {batches}{named}")
    console.print(_differ(done), style="dim")


def _taken_home(network: take_home.Network, format_name: str, out: Path | None, recipe: str | None) -> list[str]:
    """Write weights or source code; what there is to say of it."""
    if format_name not in ("python", "timm"):
        return take_home.write_weights_alone(network, out or Path(f"{network.name}{take_home.FORMATS[format_name]}"))
    name = take_home.identifier(network.name)
    if format_name == "timm" and take_home.theirs_already(name):
        name = take_home.identifier(f"{name}_{network.model.resolution}")
    target = out or Path(f"{name}{take_home.FORMATS[format_name]}")
    if format_name == "python":
        return take_home.write_code(network, target)
    beside = network.files.recipe if network.files is not None else None
    chosen = recipe or (None if beside is None else str(beside))
    return take_home.write_entry(network, target, None if chosen is None else load_recipe(chosen))


def _check_int8(int8: bool, format_name: str, options: Mapping[str, object]) -> None:
    if int8 and format_name != "onnx":
        raise RecipeError("--int8", "--format onnx, the one that scalesearch calibrates", format_name)
    if not int8 and options:
        raise RecipeError("--int8", "it, where images or ranges are given: nothing else looks at images", "none of it")


def _network(
    asked: str, weights: Path | None, resolution: Resolution | None, num_classes: int | None, console: Console
) -> take_home.Network:
    files = one_of(asked, weights, console)
    if files is None:
        baseline = open_baseline(asked, resolution=resolution)
        model = model_of(baseline.meant_for(resolution).native)
        console.print("its weights are fresh: --weights FILE takes trained ones", style="dim")
        classes = num_classes or 1000
        normal = unsaid(model.channels)
        return take_home.Network(baseline.name, model, model.build(classes).eval(), classes, normal, None)
    trained = open_network(files, resolution)
    classes = num_classes or files.num_classes or 1000
    try:
        network, loaded = trained.build(classes)
    except BaselineError as failure:
        raise BaselineError(f"{failure} (for {classes} classes: --num-classes)") from failure
    if loaded.by_shape:
        console.print(loaded.words)
    normal = normalisation_of(files.weights, trained.model.spec)
    return take_home.Network(trained.model.spec.name, trained.model, network, classes, normal, files)


def one_of(asked: str, weights: Path | None, console: Console) -> TrainedFiles | None:
    """The one trained network that is named, the best of a run's; None where it has no weights, and needs none.

    Raises:
        ScaleSearchError: there is no such network.
    """
    found = trained_files(asked) if weights is None else all_trained_files([asked], [weights])
    if found is None:
        return None
    if len(found) > 1:
        others = f"{asked}:2" + (f" to {asked}:{len(found)}" if len(found) > 2 else "")
        console.print(f"{found[0].name}, the best of {asked} ({others}: the others)", style="dim")
    return found[0]


def _say_classes(target: Path, names: Sequence[str] | None, outputs: int) -> str:
    """Write what the outputs mean beside a file, where that is known; the words for it."""
    if names is None or len(names) != outputs:
        return ""
    file = target.with_name(f"{target.name}.json")
    write_text(file, json.dumps(about_classes(names), indent=1, ensure_ascii=False) + "\n")
    return f"; its {len(names)} classes are named in {file}"


def _export_int8(
    asked: str,
    weights: Path | None,
    resolution: Resolution | None,
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
    for words in task.seen:
        console.print(words)
    target = out or Path(f"{trained.name}.onnx")
    int8_target = target.with_name(f"{target.stem}-int8{target.suffix}")
    done = write_files(task, settings, target, int8_target)
    for file in (target, int8_target):
        _say_classes(file, task.source.classes, len(task.source.classes))
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
