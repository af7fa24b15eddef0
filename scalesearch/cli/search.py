"""Commands that search: grid, compare, worker, candidates."""

from pathlib import Path
from typing import Annotated

import typer

from scalesearch.cli.options import (
    NOT_IN_A_RECIPE,
    OF_A_COMPARISON,
    BaselineOption,
    CompileOption,
    CudaGraphsOption,
    FormatOption,
    JsonOption,
    KeepWeightsOption,
    SetOption,
    StorageOption,
    _form,
    _overrides,
)


def grid(
    baseline: BaselineOption = None,
    phi: Annotated[float | None, typer.Option(help="Compound coefficient φ; 1 about doubles the MACs.")] = None,
    recipe: Annotated[str | None, typer.Option(help="A shipped recipe by name, or a recipe's path.")] = None,
    data: Annotated[
        str | None,
        typer.Option(help="embedded, folder:PATH, cifar10:PATH, cifar100:PATH or torchvision:NAME[:PATH]."),
    ] = None,
    seeds: Annotated[int | None, typer.Option(help="Trainings per candidate, each with its own seed.")] = None,
    confidence: Annotated[
        float | None, typer.Option(help="Add seeds until one candidate is the best with this probability, e.g. 0.95.")
    ] = None,
    within: Annotated[
        float | None, typer.Option(help="With --confidence, an accuracy too small to matter, e.g. 0.01 (one point).")
    ] = None,
    max_seeds: Annotated[int | None, typer.Option(help="With --confidence, most seeds of a candidate.")] = None,
    exhaustive: Annotated[
        bool | None, typer.Option("--exhaustive", help="Train every candidate to the end, also those far behind.")
    ] = None,
    resolution: Annotated[int | None, typer.Option(min=1, help="The baseline's input side, pixels.")] = None,
    step: Annotated[float | None, typer.Option(help="Step of the grid in α, β and γ.")] = None,
    min_alpha: Annotated[float | None, typer.Option(help="Smallest α (depth).")] = None,
    max_alpha: Annotated[float | None, typer.Option(help="Largest α (depth).")] = None,
    min_beta: Annotated[float | None, typer.Option(help="Smallest β (width).")] = None,
    max_beta: Annotated[float | None, typer.Option(help="Largest β (width).")] = None,
    min_gamma: Annotated[float | None, typer.Option(help="Smallest γ (resolution).")] = None,
    max_gamma: Annotated[float | None, typer.Option(help="Largest γ (resolution).")] = None,
    also: Annotated[
        list[str] | None, typer.Option(metavar="α,β,γ", help="Try this point too, whatever it costs (repeatable).")
    ] = None,
    target: Annotated[float | None, typer.Option(help="Growth per unit of φ that α·β²·γ² aims at.")] = None,
    tolerance: Annotated[float | None, typer.Option(help="Largest |α·β²·γ² − target|.")] = None,
    match: Annotated[str | None, typer.Option(help="nominal: admit by α·β²·γ²; macs: by measured cost.")] = None,
    solve: Annotated[
        str | None, typer.Option(help="With --match macs, the coefficient solved for: alpha, beta, gamma or any.")
    ] = None,
    match_tolerance: Annotated[
        float | None, typer.Option(help="With --match macs, the largest relative miss of the cost.")
    ] = None,
    target_macs: Annotated[str | None, typer.Option(help="Most MACs per image, e.g. 800M.")] = None,
    target_params: Annotated[str | None, typer.Option(help="Most parameters, e.g. 10M.")] = None,
    target_memory: Annotated[str | None, typer.Option(help="Most estimated training memory, e.g. 8GiB.")] = None,
    target_activations: Annotated[
        str | None, typer.Option(help="Most activations (outputs of layers with MACs) per image, e.g. 10M.")
    ] = None,
    target_latency: Annotated[
        float | None, typer.Option(help="Most milliseconds for one image, measured on this device before training.")
    ] = None,
    objective: Annotated[
        str | None, typer.Option(help="accuracy, or acc_macs: the paper's accuracy·(MACs/target)^−0.07.")
    ] = None,
    verify: Annotated[
        int | None, typer.Option(min=3, help="Train so many of the ranking on a longer schedule, and compare.")
    ] = None,
    longer: Annotated[float, typer.Option(min=1, help="With --verify, how many times as long.")] = 4,
    epochs: Annotated[float | None, typer.Option(help="Length of the schedule in epochs.")] = None,
    steps: Annotated[int | None, typer.Option(help="Length of the schedule in steps.")] = None,
    batch_size: Annotated[
        str | None, typer.Option(help="Images per step, or auto: doubled while that trains faster.")
    ] = None,
    compile_: CompileOption = None,
    cuda_graphs: CudaGraphsOption = None,
    optimizer: Annotated[str | None, typer.Option(help="sgd, adamw or rmsprop_tf.")] = None,
    learning_rate: Annotated[float | None, typer.Option(help="Peak learning rate at this batch size.")] = None,
    precision: Annotated[str | None, typer.Option(help="auto, fp32, bf16 or fp16.")] = None,
    limit: Annotated[int | None, typer.Option(help="Most training images, balanced over classes.")] = None,
    cache_size: Annotated[
        str | None, typer.Option(help="Most bytes of decoded images kept on the disk, e.g. 20GiB [default: 64GiB].")
    ] = None,
    top: Annotated[int | None, typer.Option(help="How many of the best to measure on the validation split.")] = None,
    keep_weights: KeepWeightsOption = None,
    device: Annotated[
        str | None, typer.Option(help="auto (every GPU there is, else the CPU), cpu, mps, cuda or cuda:N.")
    ] = None,
    workers: Annotated[
        int | None, typer.Option(help="Processes that train side by side [default: one per device]; 0: only this one.")
    ] = None,
    per_device: Annotated[
        str | None, typer.Option(help="Worker processes on each device, or auto: as many as a probe finds fastest.")
    ] = None,
    retries: Annotated[int | None, typer.Option(help="How often a trial whose worker died is repeated.")] = None,
    trial_minutes: Annotated[float | None, typer.Option(help="Longest that one trial may take, minutes.")] = None,
    storage: StorageOption = None,
    study: Annotated[
        str | None, typer.Option(help="With --storage, the study's name [default: that of the run's folder].")
    ] = None,
    engine: Annotated[
        str,
        typer.Option(
            help="processes: workers on this machine; ray: on a Ray cluster, one per GPU of it, or one per CPU if it "
            "has no GPU."
        ),
    ] = "processes",
    address: Annotated[
        str | None,
        typer.Option(help="With --engine ray, the cluster: auto or HOST:PORT [default: a Ray started for this run]."),
    ] = None,
    assign: SetOption = None,
    out: Annotated[Path | None, typer.Option(help="The run's folder [default: results/NAME-FROM-SETTINGS].")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show the plan and its price; train nothing.")] = False,
    format_: FormatOption = "table",
    json_: JsonOption = False,
) -> None:
    """Search the coefficients: train every candidate on a short schedule, rank them, write the scaled family."""
    given = {key: value for key, value in locals().items() if key not in NOT_IN_A_RECIPE}
    from scalesearch.cli.commands.grid import grid as command

    command(
        recipe,
        _overrides(given, assign),
        out=out,
        dry_run=dry_run,
        form=_form(format_, json=json_),
        storage=storage,
        study=study,
        verify=verify,
        longer=longer,
        engine=engine,
        address=address,
    )


def compare(
    comparison: Annotated[
        str | None,
        typer.Argument(help="table3, table7, figure3, figure4, figure8 or a file of one's own [default: table3]."),
    ] = None,
    baseline: Annotated[
        list[str] | None,
        typer.Option("--baseline", help="Compare this network's rows (repeatable) [default: the comparison's own]."),
    ] = None,
    match_macs: Annotated[
        str | None,
        typer.Option(metavar="4x", help="Depth, width, resolution, compound and dWr, each at this measured cost."),
    ] = None,
    match_tolerance: Annotated[float, typer.Option(help="With --match-macs, the largest relative miss.")] = 0.02,
    from_: Annotated[
        Path | None, typer.Option("--from", help="With --match-macs, scale by this run's winner too.")
    ] = None,
    recipe: Annotated[str | None, typer.Option(help="A shipped recipe by name, or a recipe's path.")] = None,
    data: Annotated[
        str | None,
        typer.Option(help="embedded, folder:PATH, cifar10:PATH, cifar100:PATH or torchvision:NAME[:PATH]."),
    ] = None,
    seeds: Annotated[int | None, typer.Option(help="Trainings per row, each with its own seed.")] = None,
    resolution: Annotated[int | None, typer.Option(min=1, help="The baselines' input side, pixels.")] = None,
    epochs: Annotated[float | None, typer.Option(help="Length of the schedule in epochs.")] = None,
    steps: Annotated[int | None, typer.Option(help="Length of the schedule in steps.")] = None,
    batch_size: Annotated[
        str | None, typer.Option(help="Images per step, or auto: doubled while that trains faster.")
    ] = None,
    compile_: CompileOption = None,
    cuda_graphs: CudaGraphsOption = None,
    optimizer: Annotated[str | None, typer.Option(help="sgd, adamw or rmsprop_tf.")] = None,
    learning_rate: Annotated[float | None, typer.Option(help="Peak learning rate at this batch size.")] = None,
    precision: Annotated[str | None, typer.Option(help="auto, fp32, bf16 or fp16.")] = None,
    limit: Annotated[int | None, typer.Option(help="Most training images, balanced over classes.")] = None,
    top: Annotated[int | None, typer.Option(help="How many of each baseline's best to validate.")] = None,
    keep_weights: KeepWeightsOption = None,
    device: Annotated[str | None, typer.Option(help="auto, cpu, mps, cuda or cuda:N.")] = None,
    workers: Annotated[int | None, typer.Option(help="Processes that train side by side; 0: only this one.")] = None,
    storage: StorageOption = None,
    engine: Annotated[str, typer.Option(help="processes, or ray.")] = "processes",
    address: Annotated[str | None, typer.Option(help="With --engine ray, the cluster: auto or HOST:PORT.")] = None,
    assign: SetOption = None,
    out: Annotated[Path | None, typer.Option(help="Folder for the result [default: results/NAME.]")] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Show the networks and their costs; train nothing.")
    ] = False,
    format_: FormatOption = "table",
    json_: JsonOption = False,
) -> None:
    """Compare ways to grow: the paper's Table 3 and figures, or every way at one cost, on your network and images."""
    given = {key: value for key, value in locals().items() if key not in NOT_IN_A_RECIPE + OF_A_COMPARISON}
    from scalesearch.cli.commands.compare import CompareRequest, compare_command, growth_of

    wish = CompareRequest(
        comparison, tuple(baseline or ()), recipe, _overrides(given, assign), growth_of(match_macs), match_tolerance,
        from_, out, storage, engine, address,
    )  # fmt: skip
    compare_command(wish, dry_run=dry_run, form=_form(format_, json=json_))


def worker(
    run: Annotated[Path | None, typer.Argument(help="A run's folder on this machine, if it has no --storage.")] = None,
    storage: StorageOption = None,
    study: Annotated[str | None, typer.Option(help="The study to work for; `grid` prints its name.")] = None,
    data: Annotated[
        str | None, typer.Option(help="Where the images are on this node, if elsewhere than the recipe says.")
    ] = None,
    device: Annotated[str, typer.Option(help="auto (every GPU there is, else the CPU), cpu, mps, cuda:N.")] = "auto",
    workers: Annotated[int | None, typer.Option(min=1, help="Processes [default: one per device].")] = None,
    folder: Annotated[
        Path | None, typer.Option(help="For checkpoints and weights; share it to go on elsewhere [default: the cache].")
    ] = None,
    patience: Annotated[float, typer.Option(help="Seconds without work after which it ends.")] = 600,
) -> None:
    """Train trials of a search that was started elsewhere, until it is over."""
    from scalesearch.cli.commands.worker import worker_command

    worker_command(run, storage, study, data=data, device=device, workers=workers, folder=folder, patience=patience)


def candidates(
    baseline: BaselineOption = None,
    phi: Annotated[float | None, typer.Option(help="Compound coefficient φ; 1 about doubles the MACs.")] = None,
    resolution: Annotated[int | None, typer.Option(min=1, help="The baseline's input side, pixels.")] = None,
    step: Annotated[float | None, typer.Option(help="Step of the grid in α, β and γ.")] = None,
    tolerance: Annotated[float | None, typer.Option(help="Largest |α·β²·γ² − target|.")] = None,
    match: Annotated[str | None, typer.Option(help="nominal: admit by α·β²·γ²; macs: by measured cost.")] = None,
    target_macs: Annotated[str | None, typer.Option(help="Most MACs per image, e.g. 800M.")] = None,
    target_params: Annotated[str | None, typer.Option(help="Most parameters, e.g. 10M.")] = None,
    num_classes: Annotated[int, typer.Option(help="Classes of the classifier.")] = 1000,
    assign: SetOption = None,
    format_: FormatOption = "table",
    json_: JsonOption = False,
) -> None:
    """List the networks a grid would train, with their nominal growth and measured cost."""
    given = {key: value for key, value in locals().items() if key not in ("num_classes", "assign", "format_", "json_")}
    from scalesearch.cli.commands.grid import candidates as command

    command(_overrides(given, assign), num_classes=num_classes, form=_form(format_, json=json_))
