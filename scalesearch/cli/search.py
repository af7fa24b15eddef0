"""Commands that search: grid, worker, candidates."""

from pathlib import Path
from typing import Annotated

import typer

from scalesearch.cli.keys import ANSWER, CANDIDATES, COST, MACHINE, OUTPUT, TRAINING, Key, format_of, overrides, points
from scalesearch.cli.match_options import (
    MatchBatchOption,
    MatchOption,
    MatchThreadsOption,
    MatchToleranceOption,
    SolveOption,
)
from scalesearch.cli.options import (
    AddressOption,
    BaselineOption,
    BatchSizeOption,
    BudgetOption,
    CompileOption,
    CudaGraphsOption,
    DataOption,
    DevicesOption,
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
    MaxChannelsOption,
    MaxResolutionOption,
    NotifyOption,
    ObjectiveOption,
    OptimizerOption,
    PhiOption,
    PrecisionOption,
    RecipeOption,
    SeedsOption,
    SetOption,
    StageDepthsOption,
    StepOption,
    StepsOption,
    StorageOption,
    StudyOption,
    TargetMacsOption,
    TargetParamsOption,
    ToleranceOption,
    WorkersOption,
)
from scalesearch.cli.sizes import ResolutionOption
from scalesearch.cli.start_options import FromWeightsOption, GrowFromOption


def grid(
    ctx: typer.Context,
    baseline: BaselineOption = None,
    phi: PhiOption = None,
    recipe: RecipeOption = None,
    data: DataOption = None,
    seeds: SeedsOption = None,
    confidence: Annotated[
        float | None,
        Key("confidence"),
        typer.Option(
            help="Train until one candidate is the best with this probability, e.g. 0.95.", rich_help_panel=ANSWER
        ),
    ] = None,
    within: Annotated[
        float | None,
        Key("within"),
        typer.Option(
            help="With --confidence, an accuracy too small to matter, e.g. 0.01 (one point).", rich_help_panel=ANSWER
        ),
    ] = None,
    max_seeds: Annotated[
        int | None,
        Key("max_seeds"),
        typer.Option(help="With --budget or --confidence, most seeds of a candidate.", rich_help_panel=ANSWER),
    ] = None,
    budget: BudgetOption = None,
    exhaustive: Annotated[
        bool | None,
        Key("exhaustive"),
        typer.Option(
            "--exhaustive", help="Train every candidate to the end, also those far behind.", rich_help_panel=ANSWER
        ),
    ] = None,
    resolution: ResolutionOption = None,
    step: StepOption = None,
    max_resolution: MaxResolutionOption = None,
    max_channels: MaxChannelsOption = None,
    stage_depths: StageDepthsOption = None,
    min_alpha: Annotated[
        float | None, Key("search.min_alpha"), typer.Option(help="Smallest α (depth).", rich_help_panel=CANDIDATES)
    ] = None,
    max_alpha: Annotated[
        float | None, Key("search.max_alpha"), typer.Option(help="Largest α (depth).", rich_help_panel=CANDIDATES)
    ] = None,
    min_beta: Annotated[
        float | None, Key("search.min_beta"), typer.Option(help="Smallest β (width).", rich_help_panel=CANDIDATES)
    ] = None,
    max_beta: Annotated[
        float | None, Key("search.max_beta"), typer.Option(help="Largest β (width).", rich_help_panel=CANDIDATES)
    ] = None,
    min_gamma: Annotated[
        float | None, Key("search.min_gamma"), typer.Option(help="Smallest γ (resolution).", rich_help_panel=CANDIDATES)
    ] = None,
    max_gamma: Annotated[
        float | None, Key("search.max_gamma"), typer.Option(help="Largest γ (resolution).", rich_help_panel=CANDIDATES)
    ] = None,
    also: Annotated[
        list[str] | None,
        Key("search.also", points),
        typer.Option(
            metavar="α,β,γ", help="Try this point too, whatever it costs (repeatable).", rich_help_panel=CANDIDATES
        ),
    ] = None,
    target: Annotated[
        float | None,
        Key("search.target"),
        typer.Option(help="Growth per unit of φ that α·β²·γ² aims at.", rich_help_panel=CANDIDATES),
    ] = None,
    tolerance: ToleranceOption = None,
    match: MatchOption = None,
    solve: SolveOption = None,
    match_tolerance: MatchToleranceOption = None,
    match_batch: MatchBatchOption = None,
    match_threads: MatchThreadsOption = None,
    target_macs: TargetMacsOption = None,
    target_params: TargetParamsOption = None,
    target_memory: Annotated[
        str | None,
        Key("search.target_memory"),
        typer.Option(help="Most estimated training memory, e.g. 8GiB.", rich_help_panel=COST),
    ] = None,
    target_activations: Annotated[
        str | None,
        Key("search.target_activations"),
        typer.Option(help="Most activations (outputs of layers with MACs) per image, e.g. 10M.", rich_help_panel=COST),
    ] = None,
    target_latency: Annotated[
        float | None,
        Key("search.target_latency"),
        typer.Option(
            help="Most milliseconds for one image, measured on this device before training.", rich_help_panel=COST
        ),
    ] = None,
    objective: ObjectiveOption = None,
    verify: Annotated[
        int | None,
        typer.Option(
            min=3, help="Train so many of the ranking on a longer schedule, and compare.", rich_help_panel=ANSWER
        ),
    ] = None,
    longer: Annotated[
        float, typer.Option(min=1, help="With --verify, how many times as long.", rich_help_panel=ANSWER)
    ] = 4,
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
    cache_size: Annotated[
        str | None,
        Key("data.cache_size"),
        typer.Option(
            help="Most bytes of decoded images kept on the disk, e.g. 20GiB (default: 64GiB).", rich_help_panel=TRAINING
        ),
    ] = None,
    top: Annotated[
        int | None,
        Key("top"),
        typer.Option(help="How many of the best to measure on the validation split.", rich_help_panel=ANSWER),
    ] = None,
    keep_weights: KeepWeightsOption = None,
    device: DevicesOption = None,
    workers: WorkersOption = None,
    per_device: Annotated[
        str | None,
        Key("run.per_device"),
        typer.Option(
            help="Worker processes on each device, or auto: as many as a probe finds fastest.", rich_help_panel=MACHINE
        ),
    ] = None,
    retries: Annotated[
        int | None,
        Key("run.retries"),
        typer.Option(help="How often a trial whose worker died is repeated.", rich_help_panel=MACHINE),
    ] = None,
    trial_minutes: Annotated[
        float | None,
        Key("run.trial_minutes"),
        typer.Option(help="Longest that one trial may take, minutes.", rich_help_panel=MACHINE),
    ] = None,
    storage: StorageOption = None,
    study: StudyOption = None,
    engine: EngineOption = "processes",
    address: AddressOption = None,
    assign: SetOption = None,
    out: Annotated[
        Path | None,
        typer.Option(help="The run's folder (default: results/NAME-FROM-SETTINGS).", rich_help_panel=OUTPUT),
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Show the plan and its price; train nothing.", rich_help_panel=OUTPUT)
    ] = False,
    log: LogOption = None,
    notify: NotifyOption = None,
    format_: FormatOption = "table",
    json_: JsonOption = False,
) -> None:
    """Search the coefficients: train every candidate on a short schedule, rank them, write the scaled family."""
    from scalesearch.cli.commands.grid import grid as command
    from scalesearch.cli.notify import notifying

    with notifying(notify, dry_run=dry_run) as ended:
        command(
            recipe,
            overrides(grid, ctx, assign),
            out=out,
            dry_run=dry_run,
            form=format_of(format_, json=json_),
            storage=storage,
            study=study,
            verify=verify,
            longer=longer,
            engine=engine,
            address=address,
            ended=ended,
        )


def worker(
    run: Annotated[Path | None, typer.Argument(help="A run's folder on this machine, if it has no --storage.")] = None,
    storage: StorageOption = None,
    study: Annotated[
        str | None, typer.Option(help="The study to work for; `grid` prints its name.", rich_help_panel=MACHINE)
    ] = None,
    data: Annotated[
        str | None,
        typer.Option(
            help="Where the images are on this node, if elsewhere than the recipe says.", rich_help_panel=TRAINING
        ),
    ] = None,
    device: Annotated[
        str, typer.Option(help="auto (every GPU there is, else the CPU), cpu, mps, cuda:N.", rich_help_panel=MACHINE)
    ] = "auto",
    workers: Annotated[
        int | None, typer.Option(min=1, help="Processes (default: one per device).", rich_help_panel=MACHINE)
    ] = None,
    folder: Annotated[
        Path | None,
        typer.Option(
            help="For checkpoints and weights; share it to go on elsewhere (default: the cache).",
            rich_help_panel=MACHINE,
        ),
    ] = None,
    patience: Annotated[
        float, typer.Option(help="Seconds without work after which it ends.", rich_help_panel=MACHINE)
    ] = 600,
) -> None:
    """Train trials of a search that was started elsewhere, until it is over."""
    from scalesearch.cli.commands.worker import worker_command

    worker_command(run, storage, study, data=data, device=device, workers=workers, folder=folder, patience=patience)


def candidates(
    ctx: typer.Context,
    baseline: BaselineOption = None,
    recipe: RecipeOption = None,
    phi: PhiOption = None,
    resolution: ResolutionOption = None,
    step: StepOption = None,
    max_resolution: MaxResolutionOption = None,
    max_channels: MaxChannelsOption = None,
    stage_depths: StageDepthsOption = None,
    tolerance: ToleranceOption = None,
    match: MatchOption = None,
    solve: SolveOption = None,
    match_tolerance: MatchToleranceOption = None,
    match_batch: MatchBatchOption = None,
    match_threads: MatchThreadsOption = None,
    target_macs: TargetMacsOption = None,
    target_params: TargetParamsOption = None,
    num_classes: Annotated[int, typer.Option(min=1, max=10**7, help="Classes of the classifier.")] = 1000,
    assign: SetOption = None,
    format_: FormatOption = "table",
    json_: JsonOption = False,
) -> None:
    """List the networks a grid would train, with their nominal growth and measured cost."""
    from scalesearch.cli.commands.grid import candidates as command

    command(recipe, overrides(candidates, ctx, assign), num_classes=num_classes, form=format_of(format_, json=json_))
