"""Commands about trained networks: robustness."""

from pathlib import Path
from typing import Annotated

import typer

from scalesearch.cli.keys import MACHINE, OUTPUT, Key, format_of, overrides
from scalesearch.cli.options import (
    DataOption,
    FormatOption,
    JsonOption,
    PrecisionOption,
    RecipeOption,
    SetOption,
)
from scalesearch.cli.sizes import SIZE, size_of
from scalesearch.cli.trained_options import NETWORKS, WeightsOption


def robustness(
    ctx: typer.Context,
    networks: Annotated[
        list[str],
        typer.Argument(
            metavar="NETWORK...",
            help=NETWORKS,
        ),
    ],
    weights: WeightsOption = None,
    recipe: RecipeOption = None,
    data: DataOption = None,
    domain: Annotated[
        list[str] | None,
        typer.Option(
            "--domain", metavar="NAME=SOURCE", help="Another set with the same classes, as --data (repeatable)."
        ),
    ] = None,
    corruption: Annotated[
        str,
        typer.Option(help="all, none, or some: gaussian_noise, gaussian_blur, jpeg_compression, brightness, contrast."),
    ] = "all",
    severity: Annotated[str, typer.Option(help="Of 1 to 5, the severities to measure: 1,3,5.")] = "1,2,3,4,5",
    levels: Annotated[
        str, typer.Option(help="Whose levels: imagenet-c (for 224 px), or cifar-c (for 32 px).")
    ] = "imagenet-c",
    size: Annotated[
        int | None,
        typer.Option(
            min=8, max=2**14, help="Longer side at which images are corrupted (default: the largest network's)."
        ),
    ] = None,
    resolution: Annotated[
        str | None, typer.Option(metavar=SIZE, help="Input side of all networks, pixels (default: their own).")
    ] = None,
    split: Annotated[
        str, typer.Option(help="auto: val if there is one, else the minival; or val, minival, all.")
    ] = "auto",
    images: Annotated[
        int | None, typer.Option(min=1, help="Most images of each set, balanced over classes (default: all).")
    ] = None,
    seed: Annotated[int, typer.Option(min=0, max=2**32 - 1, help="Of the noise and the choice of images.")] = 0,
    confidence: Annotated[float, typer.Option(help="Of the intervals.")] = 0.95,
    batch_size: Annotated[
        int | None,
        Key("train.batch_size"),
        typer.Option(help="Images at a time (default: the recipe's).", rich_help_panel=MACHINE),
    ] = None,
    precision: PrecisionOption = None,
    device: Annotated[
        str | None, Key("device"), typer.Option(help="auto, cpu, mps, cuda or cuda:N.", rich_help_panel=MACHINE)
    ] = None,
    assign: SetOption = None,
    dry_run: Annotated[
        bool,
        typer.Option("--dry-run", help="Say what would be measured and how long it takes.", rich_help_panel=OUTPUT),
    ] = False,
    out: Annotated[
        Path | None,
        typer.Option(help="Folder for the result (default: results/robustness-SETTINGS).", rich_help_panel=OUTPUT),
    ] = None,
    format_: FormatOption = "table",
    json_: JsonOption = False,
) -> None:
    """Measure trained networks on the same corrupted images and on other domains, and compare them image by image."""
    from scalesearch.cli.commands.robustness import robustness_command
    from scalesearch.search.robustness_job import RobustnessRequest

    wish = RobustnessRequest(
        tuple(networks), tuple(weights or ()), recipe, overrides(robustness, ctx, assign), tuple(domain or ()),
        corruption, severity, levels, size, size_of(resolution), split, images, seed, confidence, out,
    )  # fmt: skip
    robustness_command(wish, dry_run=dry_run, form=format_of(format_, json=json_))
