"""Commands about one network: scale, baselines, check, train, linear, bench."""

from pathlib import Path
from typing import Annotated

import typer

from scalesearch.cli.keys import CANDIDATES, MACHINE, OUTPUT, TRAINING, Key, batch, format_of, given, overrides
from scalesearch.cli.options import (
    AdaptivePoolOption,
    BaselineOption,
    CompileOption,
    CudaGraphsOption,
    DataOption,
    EpochsOption,
    FormatOption,
    JsonOption,
    KeepGroupsOption,
    KeepOutputChannelsOption,
    LearningRateOption,
    LimitOption,
    MaxChannelsOption,
    MaxResolutionOption,
    NotifyOption,
    OptimizerOption,
    PrecisionOption,
    RecipeOption,
    SetOption,
    StageDepthsOption,
    StepsOption,
)
from scalesearch.cli.sizes import SIZE, size_of
from scalesearch.cli.start_options import FreezeOption, FromWeightsOption, GrowFromOption, HeadOnlyOption
from scalesearch.cli.trained_options import NETWORKS


def scale(
    baseline: BaselineOption = None,
    phi: Annotated[str, typer.Option(help="φ: a number, several (1,2,4), or a range (1..7).")] = "1",
    alpha: Annotated[float | None, typer.Option(help="Depth coefficient α (default: the paper's 1.2).")] = None,
    beta: Annotated[float | None, typer.Option(help="Width coefficient β (default: the paper's 1.1).")] = None,
    gamma: Annotated[float | None, typer.Option(help="Resolution coefficient γ (default: the paper's 1.15).")] = None,
    from_: Annotated[
        Path | None, typer.Option("--from", help="A run's folder: take its winner's coefficients.")
    ] = None,
    fitted: Annotated[
        bool, typer.Option("--fitted", help="With --from, the optimum fitted beyond the grid instead of its winner.")
    ] = False,
    preset: Annotated[str, typer.Option(help="formula: α^φ, β^φ, γ^φ; published: B1–B7's constants.")] = "formula",
    resolution: Annotated[
        str | None, typer.Option(metavar=SIZE, help="The baseline's input side, or HEIGHTxWIDTH, pixels.")
    ] = None,
    fix_stem_head: Annotated[
        bool | None,
        typer.Option("--fix-stem-head", help="Keep stem, head and the outer stages' repeats (EfficientNet-Lite)."),
    ] = None,
    depth_rounding: Annotated[str | None, typer.Option(help="ceil (official) or round (TinyNet, pycls).")] = None,
    resolution_multiple: Annotated[int | None, typer.Option(help="Round the resolution to a multiple of it.")] = None,
    max_resolution: MaxResolutionOption = None,
    max_channels: MaxChannelsOption = None,
    stage_depths: StageDepthsOption = None,
    keep_groups: KeepGroupsOption = None,
    keep_output_channels: KeepOutputChannelsOption = None,
    adaptive_pool: AdaptivePoolOption = None,
    num_classes: Annotated[int, typer.Option(min=1, max=10**7, help="Classes, for the counts.")] = 1000,
    out: Annotated[Path | None, typer.Option(help="File for one φ, folder for several (default: here).")] = None,
    format_: FormatOption = "table",
    json_: JsonOption = False,
) -> None:
    """Write the spec of the baseline scaled by φ."""
    from scalesearch.cli.commands.scale import scale as command

    command(
        baseline,
        phi,
        (alpha, beta, gamma),
        run=from_,
        fitted=fitted,
        preset=preset,
        resolution=size_of(resolution),
        rounding={
            "fix_stem_head": fix_stem_head,
            "depth": depth_rounding,
            "resolution_multiple": resolution_multiple,
            "max_resolution": max_resolution,
            "max_channels": max_channels,
            "stage_depths": stage_depths and stage_depths.split(","),
            "keep_groups": keep_groups,
            "keep_output_channels": keep_output_channels,
            "adaptive_pool": adaptive_pool,
        },
        num_classes=num_classes,
        out=out,
        form=format_of(format_, json=json_),
    )


def baselines(
    name: Annotated[str | None, typer.Argument(help="Show this one's stages; a path works too.")] = None,
    yaml: Annotated[bool, typer.Option("--yaml", help="Print the spec, to copy and edit.")] = False,
    format_: FormatOption = "table",
    json_: JsonOption = False,
) -> None:
    """List the built-in baselines, or show one as a table of stages."""
    from scalesearch.cli.commands.scale import baselines as command

    command(name, as_yaml=yaml, form=format_of(format_, json=json_))


def check(
    baseline: Annotated[str, typer.Argument(help="Any baseline: timm:NAME, FILE.py:FACTORY, …")],
    resolution: Annotated[
        str | None,
        typer.Option(metavar=SIZE, help="Its input side, or HEIGHTxWIDTH, pixels (default: the native one)."),
    ] = None,
    fix_stem_head: Annotated[
        bool | None, typer.Option("--fix-stem-head", help="Keep stem, head and the outer stages' repeats.")
    ] = None,
    keep_groups: KeepGroupsOption = None,
    keep_output_channels: KeepOutputChannelsOption = None,
    adaptive_pool: AdaptivePoolOption = None,
    account: Annotated[bool, typer.Option("--account", help="Also print every layer at depth 1.2, width 1.1.")] = False,
    format_: FormatOption = "table",
    json_: JsonOption = False,
) -> None:
    """Show what of a network can be scaled, what cannot and why; exit code 1 if a scaled copy fails its proof."""
    from scalesearch.cli.commands.check import check_command

    rounding = {
        "fix_stem_head": fix_stem_head,
        "keep_groups": keep_groups,
        "keep_output_channels": keep_output_channels,
        "adaptive_pool": adaptive_pool,
    }
    form = format_of(format_, json=json_)
    if not check_command(baseline, resolution=size_of(resolution), rounding=rounding, account=account, form=form):
        raise typer.Exit(1)


def train(
    ctx: typer.Context,
    spec: Annotated[
        str, typer.Argument(help="A spec file, as `scale` and `grid` write them, or any baseline: timm:NAME, …")
    ],
    recipe: RecipeOption = None,
    data: DataOption = None,
    nproc_per_node: Annotated[
        int,
        typer.Option(
            min=1,
            help="Processes that share every batch (DistributedDataParallel), one device each.",
            rich_help_panel=MACHINE,
        ),
    ] = 1,
    seed: Annotated[
        int,
        typer.Option(
            min=0, max=2**31 - 1, help="Seed of weights, order, augmentation and dropout.", rich_help_panel=TRAINING
        ),
    ] = 0,
    resolution: Annotated[
        str | None,
        typer.Option(
            metavar=SIZE,
            help="Input side, or HEIGHTxWIDTH, pixels (default: the network's own).",
            rich_help_panel=CANDIDATES,
        ),
    ] = None,
    epochs: EpochsOption = None,
    steps: StepsOption = None,
    batch_size: Annotated[
        str | None,
        Key("train.batch_size", batch),
        typer.Option(help="Images per step, of all processes together, or auto.", rich_help_panel=TRAINING),
    ] = None,
    from_weights: FromWeightsOption = None,
    grow_from: GrowFromOption = None,
    freeze: FreezeOption = None,
    head_only: HeadOnlyOption = None,
    compile_: CompileOption = None,
    cuda_graphs: CudaGraphsOption = None,
    optimizer: OptimizerOption = None,
    learning_rate: LearningRateOption = None,
    precision: PrecisionOption = None,
    limit: LimitOption = None,
    sync_batchnorm: Annotated[
        bool,
        typer.Option(
            "--sync-batchnorm", help="CUDA: batch norm over the whole batch, not per process.", rich_help_panel=TRAINING
        ),
    ] = False,
    device: Annotated[
        str | None, Key("device"), typer.Option(help="auto, cpu, mps, cuda or cuda:N.", rich_help_panel=MACHINE)
    ] = None,
    assign: SetOption = None,
    dry_run: Annotated[
        bool,
        typer.Option("--dry-run", help="Say what would be trained and how long it takes.", rich_help_panel=OUTPUT),
    ] = False,
    out: Annotated[
        Path | None,
        typer.Option(help="Folder for the result (default: results/NAME-FROM-SETTINGS).", rich_help_panel=OUTPUT),
    ] = None,
    notify: NotifyOption = None,
    json_: JsonOption = False,
) -> None:
    """Train one network on the recipe's schedule, on one device or several; the same command goes on after a stop."""
    from scalesearch.cli.commands.train import train_command
    from scalesearch.cli.notify import notifying
    from scalesearch.training.single import TrainRequest

    wish = TrainRequest(spec, recipe, overrides(train, ctx, assign), seed, size_of(resolution), sync_batchnorm, out)
    with notifying(notify, dry_run=dry_run) as ended:
        train_command(wish, ended, processes=nproc_per_node, as_json=json_, dry_run=dry_run)


def linear(
    ctx: typer.Context,
    specs: Annotated[list[str], typer.Argument(metavar="SPEC...", help=NETWORKS)],
    from_weights: Annotated[
        list[Path] | None,
        typer.Option(metavar="FILE", help="Weights of each network that is no folder, in their order."),
    ] = None,
    data: DataOption = None,
    limit: LimitOption = None,
    resolution: Annotated[
        str | None,
        typer.Option(metavar=SIZE, help="Input side, or HEIGHTxWIDTH, pixels (default: each network's own)."),
    ] = None,
    batch_size: Annotated[int | None, Key("batch_size"), typer.Option(help="Images at once (default: 32).")] = None,
    device: Annotated[str | None, Key("device"), typer.Option(help="auto, cpu, mps, cuda or cuda:N.")] = None,
    confidence: Annotated[float, typer.Option(help="Of the intervals.")] = 0.95,
    assign: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="data.… as in a recipe, eval_crop (repeatable)."),
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what fits and how long it takes, and stop.")] = False,
    out: Annotated[Path | None, typer.Option(help="Folder for the networks (default: results/linear-…).")] = None,
    format_: FormatOption = "table",
    json_: JsonOption = False,
) -> None:
    """Judge trained networks' features on your images: logistic regression in place of the classifier."""
    from scalesearch.cli.commands.linear import LinearRequest, linear_command

    wish = LinearRequest(
        specs, from_weights or [], overrides(linear, ctx, assign), size_of(resolution), out, confidence
    )
    linear_command(wish, dry_run=dry_run, form=format_of(format_, json=json_))


def bench(
    ctx: typer.Context,
    specs: Annotated[
        list[str], typer.Argument(metavar="SPEC...", help="Spec files, or any baseline: timm:NAME, FILE.py:FACTORY, …")
    ],
    batch_size: Annotated[
        int | None,
        Key("batch_size"),
        typer.Option(help="Images per batch, beside batches of one (default: 32; on CUDA 256)."),
    ] = None,
    resolution: Annotated[
        str | None,
        typer.Option(metavar=SIZE, help="Input side, or HEIGHTxWIDTH, pixels (default: each network's own)."),
    ] = None,
    seconds: Annotated[float | None, Key("seconds"), typer.Option(help="Seconds per measurement (default: 2).")] = None,
    rounds: Annotated[
        int | None, Key("rounds"), typer.Option(help="Turns that each network takes (default: 5).")
    ] = None,
    training: Annotated[
        bool, Key("training"), typer.Option("--training", help="Time a training step as well.")
    ] = False,
    energy: Annotated[
        bool, Key("energy"), typer.Option("--energy", help="Measure joules too, ten seconds of each (NVML or RAPL).")
    ] = False,
    precision: Annotated[str | None, Key("precision"), typer.Option(help="auto, fp32, bf16 or fp16.")] = None,
    channels_last: Annotated[
        bool, Key("channels_last"), typer.Option(help="Channels last in memory, or contiguous images.")
    ] = True,
    compile_: Annotated[bool, Key("compile"), typer.Option("--compile", help="Compile with torch.compile.")] = False,
    threads: Annotated[
        int | None, Key("threads"), typer.Option(help="CPU threads (default: torch's own choice).")
    ] = None,
    device: Annotated[str | None, Key("device"), typer.Option(help="auto, cpu, mps, cuda or cuda:N.")] = None,
    num_classes: Annotated[
        int | None, Key("num_classes"), typer.Option(help="Outputs of the classifier (default: 1000).")
    ] = None,
    out: Annotated[Path | None, typer.Option(help="Write the result as JSON to this file.")] = None,
    format_: FormatOption = "table",
    json_: JsonOption = False,
) -> None:
    """Measure latency, throughput and memory of networks on this machine; exit code 1 if none of them ran."""
    from scalesearch.cli.commands.bench import bench_command

    form = format_of(format_, json=json_)
    if not bench_command(specs, given(bench, ctx), resolution=size_of(resolution), out=out, form=form):
        raise typer.Exit(1)
