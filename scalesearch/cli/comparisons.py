"""The command that compares named networks."""

from pathlib import Path
from typing import Annotated

import typer

from scalesearch.cli.keys import ANSWER, CANDIDATES, MACHINE, OUTPUT, Key, format_of, overrides
from scalesearch.cli.match_options import MatchBatchOption, MatchThreadsOption
from scalesearch.cli.options import (
    AddressOption,
    BatchSizeOption,
    CompileOption,
    CudaGraphsOption,
    DataOption,
    EngineOption,
    EpochsOption,
    EvalResolutionOption,
    FormatOption,
    JsonOption,
    KeepWeightsOption,
    LearningRateOption,
    LengthsOption,
    LimitOption,
    LogOption,
    NotifyOption,
    ObjectiveOption,
    OptimizerOption,
    PrecisionOption,
    RecipeOption,
    SeedsOption,
    SetOption,
    StepsOption,
    StorageOption,
    WorkersOption,
)
from scalesearch.cli.sizes import ResolutionOption
from scalesearch.cli.start_options import FromWeightsOption, GrowFromOption


def compare(
    ctx: typer.Context,
    comparison: Annotated[
        str | None,
        typer.Argument(help="table3, table7, figure3, figure4, figure8, se-ratio or a file (default: table3)."),
    ] = None,
    baseline: Annotated[
        list[str] | None,
        typer.Option("--baseline", help="Compare this network's rows (repeatable) (default: the comparison's own)."),
    ] = None,
    sweep: Annotated[
        list[str] | None,
        typer.Option(
            metavar="FIELD=V1,V2,…",
            help="Compare the baseline with other values in a field of its table, such as spec.stages.se=0,0.25 "
            "(repeatable: every combination).",
            rich_help_panel=CANDIDATES,
        ),
    ] = None,
    match_macs: Annotated[
        str | None,
        typer.Option(
            metavar="4x",
            help="Depth, width, resolution, compound and dWr, each at this measured cost; of a sweep, every row (1x).",
            rich_help_panel=CANDIDATES,
        ),
    ] = None,
    match: Annotated[
        str | None,
        typer.Option(
            metavar="COST=2x",
            help="The same at another equal cost: params, activations or memory by counting, latency, train-time or "
            "energy by measuring on this device (latency=2x).",
            rich_help_panel=CANDIDATES,
        ),
    ] = None,
    match_tolerance: Annotated[
        float | None,
        typer.Option(
            help="With --match or --match-macs, the largest relative miss (default: 0.02, of what is measured 0.05).",
            rich_help_panel=CANDIDATES,
        ),
    ] = None,
    match_batch: MatchBatchOption = None,
    match_threads: MatchThreadsOption = None,
    from_: Annotated[
        Path | None,
        typer.Option(
            "--from", help="With --match or --match-macs, scale by this run's winner too.", rich_help_panel=CANDIDATES
        ),
    ] = None,
    recipe: RecipeOption = None,
    data: DataOption = None,
    seeds: SeedsOption = None,
    resolution: ResolutionOption = None,
    epochs: EpochsOption = None,
    steps: StepsOption = None,
    lengths: LengthsOption = None,
    from_weights: FromWeightsOption = None,
    grow_from: GrowFromOption = None,
    eval_resolution: EvalResolutionOption = None,
    batch_size: BatchSizeOption = None,
    compile_: CompileOption = None,
    cuda_graphs: CudaGraphsOption = None,
    optimizer: OptimizerOption = None,
    learning_rate: LearningRateOption = None,
    precision: PrecisionOption = None,
    limit: LimitOption = None,
    top: Annotated[
        int | None,
        Key("top"),
        typer.Option(help="How many of each baseline's best to validate.", rich_help_panel=ANSWER),
    ] = None,
    objective: ObjectiveOption = None,
    keep_weights: KeepWeightsOption = None,
    device: Annotated[
        str | None, Key("device"), typer.Option(help="auto, cpu, mps, cuda or cuda:N.", rich_help_panel=MACHINE)
    ] = None,
    workers: WorkersOption = None,
    storage: StorageOption = None,
    engine: EngineOption = "processes",
    address: AddressOption = None,
    assign: SetOption = None,
    out: Annotated[
        Path | None, typer.Option(help="Folder for the result (default: results/NAME.)", rich_help_panel=OUTPUT)
    ] = None,
    dry_run: Annotated[
        bool,
        typer.Option("--dry-run", help="Show the networks and their costs; train nothing.", rich_help_panel=OUTPUT),
    ] = False,
    log: LogOption = None,
    notify: NotifyOption = None,
    format_: FormatOption = "table",
    json_: JsonOption = False,
) -> None:
    """Compare ways to grow, at one cost or as the paper's Table 3 and figures have them, or variants of a network."""
    from scalesearch.candidates.sweep import read_sweep
    from scalesearch.cli.commands.compare import compare_command
    from scalesearch.cli.commands.compare_request import CompareRequest
    from scalesearch.cli.notify import notifying
    from scalesearch.search.start import PlaceRequest

    wish = CompareRequest(
        comparison=comparison,
        baselines=tuple(baseline or ()),
        recipe=recipe,
        overrides=overrides(compare, ctx, assign),
        match_macs=match_macs,
        match=match,
        tolerance=match_tolerance,
        own=from_,
        out=out,
        place=PlaceRequest(storage=storage, engine=engine, address=address),
        sweep=read_sweep(sweep or []),
    )
    with notifying(notify, dry_run=dry_run) as ended:
        compare_command(wish, ended, dry_run=dry_run, form=format_of(format_, json=json_))
