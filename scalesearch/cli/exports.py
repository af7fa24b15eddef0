"""Commands that take a trained network elsewhere: export, quantize."""

from pathlib import Path
from typing import Annotated

import typer

from scalesearch.cli.keys import Key, format_of, given
from scalesearch.cli.options import DataOption, FormatOption, JsonOption, SetOption
from scalesearch.cli.sizes import SIZE, size_of
from scalesearch.cli.trained_options import (
    NETWORKS,
    CalibrationImagesOption,
    KeepFloatOption,
    MethodOption,
    QuantizeRecipeOption,
    ReduceRangeOption,
    WeightsOption,
)


def export(
    ctx: typer.Context,
    network: Annotated[
        str, typer.Argument(help="A spec, any baseline, a folder of `train` or `linear`, or a run (RUN, RUN:2).")
    ],
    format_: Annotated[
        str,
        typer.Option(
            "--format",
            help="pt2 (torch.export), onnx, executorch, litert; python, timm (source code); safetensors, pt (weights).",
        ),
    ] = "pt2",
    weights: Annotated[Path | None, typer.Option(help="Trained weights to load (default: fresh weights).")] = None,
    num_classes: Annotated[
        int | None,
        typer.Option(min=1, max=10**7, help="Outputs of the classifier (default: 1000; of a folder, its own)."),
    ] = None,
    resolution: Annotated[
        str | None, typer.Option(metavar=SIZE, help="Input side, or HEIGHTxWIDTH, pixels (default: the network's own).")
    ] = None,
    out: Annotated[Path | None, typer.Option(help="The file to write (default: NAME and the format's suffix).")] = None,
    int8: Annotated[
        bool, typer.Option("--int8", help="ONNX: write NAME-int8.onnx too, its ranges from --data's training images.")
    ] = False,
    recipe: QuantizeRecipeOption = None,
    data: DataOption = None,
    calibration_images: CalibrationImagesOption = None,
    method: MethodOption = None,
    reduce_range: ReduceRangeOption = None,
    keep_float: KeepFloatOption = None,
) -> None:
    """Write a network for other programs, or as source code that needs no scalesearch, held against its own logits."""
    from scalesearch.cli.commands.export import export_command

    options = given(export, ctx)
    source = options.pop("data.source", None)
    export_command(
        network,
        format_name=format_,
        num_classes=num_classes,
        weights=weights,
        resolution=size_of(resolution),
        out=out,
        int8=int8,
        options=options,
        recipe=recipe,
        overrides={} if source is None else {"data.source": source},
    )


def quantize(
    ctx: typer.Context,
    specs: Annotated[
        list[str],
        typer.Argument(metavar="SPEC...", help=NETWORKS),
    ],
    weights: WeightsOption = None,
    recipe: QuantizeRecipeOption = None,
    data: DataOption = None,
    resolution: Annotated[
        str | None, typer.Option(metavar=SIZE, help="Input side, or HEIGHTxWIDTH, pixels (default: the network's own).")
    ] = None,
    calibration_images: CalibrationImagesOption = None,
    method: MethodOption = None,
    reduce_range: ReduceRangeOption = None,
    keep_float: KeepFloatOption = None,
    validation_images: Annotated[
        int | None, Key("validation_images"), typer.Option(help="Images that are measured (default: all of val).")
    ] = None,
    seconds: Annotated[
        float | None, Key("seconds"), typer.Option(help="Seconds of timing for each file (default: 2).")
    ] = None,
    rounds: Annotated[
        int | None, Key("rounds"), typer.Option(help="Turns of timing that each file takes (default: 5).")
    ] = None,
    threads: Annotated[
        int | None, Key("threads"), typer.Option(help="CPU threads (default: onnxruntime's own choice).")
    ] = None,
    seed: Annotated[int | None, Key("seed"), typer.Option(help="Which images calibrate (default: 0).")] = None,
    assign: SetOption = None,
    out: Annotated[Path, typer.Option(help="Folder for the files, the table and the JSON.")] = Path("quantized"),
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would be done and how long it takes.")] = False,
    format_: FormatOption = "table",
    json_: JsonOption = False,
) -> None:
    """Turn trained networks into INT8 (onnxruntime), and measure what that costs and saves: accuracy, size, latency."""
    from scalesearch.cli.commands.quantize import quantize_command
    from scalesearch.recipe import parse_assignments

    options = given(quantize, ctx)
    overrides_ = parse_assignments(assign or [])
    if (source := options.pop("data.source", None)) is not None:
        overrides_["data.source"] = source
    quantize_command(
        specs,
        weights or [],
        options,
        recipe=recipe,
        overrides=overrides_,
        resolution=size_of(resolution),
        out=out,
        dry_run=dry_run,
        form=format_of(format_, json=json_),
    )
