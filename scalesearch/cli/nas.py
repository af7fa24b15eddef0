"""The command that searches for a baseline: nas."""

from pathlib import Path
from typing import Annotated

import typer

from scalesearch.cli.keys import ANSWER, CANDIDATES, COST, OUTPUT, Key, format_of, overrides
from scalesearch.cli.options import (
    AddressOption,
    BatchSizeOption,
    CompileOption,
    DataOption,
    DevicesOption,
    EngineOption,
    EpochsOption,
    FormatOption,
    JsonOption,
    KeepWeightsOption,
    LearningRateOption,
    LimitOption,
    LogOption,
    NotifyOption,
    ObjectiveOption,
    OptimizerOption,
    PrecisionOption,
    RecipeOption,
    SetOption,
    StepsOption,
    StorageOption,
    StudyOption,
    WorkersOption,
)
from scalesearch.cli.sizes import ResolutionOption


def nas(
    ctx: typer.Context,
    space: Annotated[
        str | None,
        Key("nas.space"),
        typer.Option(help="A shipped space by name, or SPACE.yaml (default: mbconv).", rich_help_panel=CANDIDATES),
    ] = None,
    target_macs: Annotated[
        str | None,
        Key("nas.target_macs"),
        typer.Option(
            help="MACs per image that the network should have, at the size that it is trained on, e.g. 60M.",
            rich_help_panel=COST,
        ),
    ] = None,
    factor: Annotated[
        float | None,
        Key("nas.factor"),
        typer.Option(
            help="Train nothing above the target times this, or below the target over it (default: 1.25).",
            rich_help_panel=COST,
        ),
    ] = None,
    exponent: Annotated[
        float | None,
        Key("nas.exponent"),
        typer.Option(help="Of MACs/target in the reward (default: −0.07, MnasNet's).", rich_help_panel=COST),
    ] = None,
    resolution: ResolutionOption = None,
    sampler: Annotated[
        str | None,
        Key("nas.sampler"),
        typer.Option(
            help="tpe: learns from rewards; nsga2: from accuracy and MACs; random (default: tpe).",
            rich_help_panel=ANSWER,
        ),
    ] = None,
    trials: Annotated[
        int | None,
        Key("nas.trials"),
        typer.Option(help="How many architectures to train (default: 40).", rich_help_panel=ANSWER),
    ] = None,
    budget: Annotated[
        str | None,
        Key("budget"),
        typer.Option(
            metavar="2h|40-trials", help="Train architectures for so long, or so many.", rich_help_panel=ANSWER
        ),
    ] = None,
    seeds: Annotated[
        int | None,
        Key("seeds"),
        typer.Option(help="Trainings of each of the best (--top), after the search.", rich_help_panel=ANSWER),
    ] = None,
    top: Annotated[
        int | None,
        Key("top"),
        typer.Option(
            help="How many of the best get further seeds, and are measured on the validation split.",
            rich_help_panel=ANSWER,
        ),
    ] = None,
    objective: ObjectiveOption = None,
    recipe: RecipeOption = None,
    data: DataOption = None,
    epochs: EpochsOption = None,
    steps: StepsOption = None,
    batch_size: BatchSizeOption = None,
    compile_: CompileOption = None,
    optimizer: OptimizerOption = None,
    learning_rate: LearningRateOption = None,
    precision: PrecisionOption = None,
    limit: LimitOption = None,
    keep_weights: KeepWeightsOption = None,
    device: DevicesOption = None,
    workers: WorkersOption = None,
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
        bool, typer.Option("--dry-run", help="Show the space and the price; train nothing.", rich_help_panel=OUTPUT)
    ] = False,
    log: LogOption = None,
    notify: NotifyOption = None,
    format_: FormatOption = "table",
    json_: JsonOption = False,
) -> None:
    """Search for a baseline: propose networks of about the wanted cost, train each, keep the best as a table."""
    from scalesearch.cli.commands.nas import nas_command
    from scalesearch.cli.notify import notifying

    with notifying(notify, dry_run=dry_run) as ended:
        nas_command(
            recipe,
            overrides(nas, ctx, assign),
            out=out,
            dry_run=dry_run,
            form=format_of(format_, json=json_),
            storage=storage,
            study=study,
            engine=engine,
            address=address,
            ended=ended,
        )
