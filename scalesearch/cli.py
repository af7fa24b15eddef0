"""The command line: parse, call, print. Everything heavy is imported by the command that needs it.

Annotations are not postponed here: typer would evaluate every option's anew, three times over, at every start.
"""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from scalesearch.version import __version__

if TYPE_CHECKING:
    from rich.console import Console

app = typer.Typer(
    name="scalesearch",
    help="How should this ConvNet grow? Compound-scaling search over depth, width and resolution.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)

BaselineOption = Annotated[
    str | None,
    typer.Option(
        "--baseline",
        help="A built-in network, SPEC.yaml, timm:NAME, torchvision:NAME, FILE.py:FACTORY or package.module:NAME.",
    ),
]
KeepGroupsOption = Annotated[
    bool | None,
    typer.Option("--keep-groups", help="Modules: grouped convolutions keep their number of groups, not their width."),
]
AdaptivePoolOption = Annotated[
    bool | None,
    typer.Option("--adaptive-pool", help="Modules: pool to the size that a fixed-size classifier was made for."),
]
SetOption = Annotated[
    list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Override any key of the recipe (repeatable).")
]
CompileOption = Annotated[
    str | None,
    typer.Option("--compile", help="off, on, or auto: compile networks where a trial earns the time back."),
]
CudaGraphsOption = Annotated[
    bool | None,
    typer.Option("--cuda-graphs", help="CUDA: record a network's forward and backward pass once, and replay it."),
]
KeepWeightsOption = Annotated[
    int | None, typer.Option(help="Of how many of the best to keep the weights, of the first seed, in weights/.")
]
FormatOption = Annotated[str, typer.Option("--format", help="table, markdown, latex, csv or json (also: --json).")]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON for machines.")]

StorageOption = Annotated[
    str | None,
    typer.Option(
        help="postgresql://… or mysql://…: keep the trials on a server, for many nodes; env: take the URL from "
        "SCALESEARCH_STORAGE [default: a file in the run's folder]."
    ),
]

SEARCH_KEYS = (
    "step", "min_alpha", "max_alpha", "min_beta", "max_beta", "min_gamma", "max_gamma", "target", "tolerance", "match",
    "match_tolerance", "solve", "also", "target_macs", "target_params", "target_memory", "target_activations",
    "target_latency",
)  # fmt: skip
RUN_KEYS = ("workers", "per_device", "retries", "trial_minutes", "keep_weights", "cuda_graphs")
TRAIN_KEYS = ("epochs", "steps", "batch_size", "optimizer", "learning_rate", "precision", "grow_batch", "compile")
"""Options that go by the name of the recipe's key; `_overrides` puts them in their section."""
OF_ONE_TRAINING = ("spec", "nproc_per_node", "seed", "resolution", "sync_batchnorm")
OF_A_COMPARISON = ("comparison", "baseline", "match_macs", "match_tolerance", "from_")
NOT_IN_A_RECIPE = (
    "recipe", "assign", "out", "dry_run", "format_", "json_", "storage", "study", "verify", "longer", "engine",
    "address",
)  # fmt: skip
NO_SETTING_OF_BENCH = ("specs", "resolution", "compile_", "out", "format_", "json_")


def _overrides(given: dict[str, Any], assignments: list[str] | None) -> dict[str, object]:
    """Options by the recipe's dotted keys, ``--set`` last."""
    from scalesearch.recipe import parse_assignments

    keys = {"search": SEARCH_KEYS, "train": TRAIN_KEYS, "run": RUN_KEYS}
    sections = {key: f"{section}.{key}" for section, names in keys.items() for key in names}
    sections |= {"data": "data.source", "limit": "data.limit", "cache_size": "data.cache_size"}
    given = given | {"compile": given.get("compile_"), "compile_": None}
    if given.get("batch_size") == "auto":
        given = given | {"batch_size": None, "grow_batch": True}
    if given.get("also"):
        given = given | {"also": [point.split(",") for point in given["also"]]}
    named = {sections.get(key, key): value for key, value in given.items() if value not in (None, [])}
    return named | parse_assignments(assignments or [])


def _form(name: str, *, json: bool) -> str:
    return "json" if json else name


@app.command()
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
    from scalesearch.commands import grid as command

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


@app.command()
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
    from scalesearch.compare_command import Wish, compare_command, growth_of

    wish = Wish(
        comparison, tuple(baseline or ()), recipe, _overrides(given, assign), growth_of(match_macs), match_tolerance,
        from_, out, storage, engine, address,
    )  # fmt: skip
    compare_command(wish, dry_run=dry_run, form=_form(format_, json=json_))


@app.command()
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
    from scalesearch.worker_command import worker_command

    worker_command(run, storage, study, data=data, device=device, workers=workers, folder=folder, patience=patience)


@app.command()
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
    from scalesearch.commands import candidates as command

    command(_overrides(given, assign), num_classes=num_classes, form=_form(format_, json=json_))


@app.command()
def scale(
    baseline: BaselineOption = None,
    phi: Annotated[str, typer.Option(help="φ: a number, several (1,2,4), or a range (1..7).")] = "1",
    alpha: Annotated[float | None, typer.Option(help="Depth coefficient α [default: the paper's 1.2].")] = None,
    beta: Annotated[float | None, typer.Option(help="Width coefficient β [default: the paper's 1.1].")] = None,
    gamma: Annotated[float | None, typer.Option(help="Resolution coefficient γ [default: the paper's 1.15].")] = None,
    from_: Annotated[
        Path | None, typer.Option("--from", help="A run's folder: take its winner's coefficients.")
    ] = None,
    fitted: Annotated[
        bool, typer.Option("--fitted", help="With --from, the optimum fitted beyond the grid instead of its winner.")
    ] = False,
    preset: Annotated[str, typer.Option(help="formula: α^φ, β^φ, γ^φ; published: B1–B7's constants.")] = "formula",
    resolution: Annotated[int | None, typer.Option(min=1, help="The baseline's input side, pixels.")] = None,
    fix_stem_head: Annotated[
        bool | None,
        typer.Option("--fix-stem-head", help="Keep stem, head and the outer stages' repeats (EfficientNet-Lite)."),
    ] = None,
    depth_rounding: Annotated[str | None, typer.Option(help="ceil (official) or round (TinyNet, pycls).")] = None,
    resolution_multiple: Annotated[int | None, typer.Option(help="Round the resolution to a multiple of it.")] = None,
    keep_groups: KeepGroupsOption = None,
    adaptive_pool: AdaptivePoolOption = None,
    num_classes: Annotated[int, typer.Option(min=1, help="Classes, for the counts.")] = 1000,
    out: Annotated[Path | None, typer.Option(help="File for one φ, folder for several [default: here].")] = None,
    format_: FormatOption = "table",
    json_: JsonOption = False,
) -> None:
    """Write the spec of the baseline scaled by φ."""
    from scalesearch.spec_commands import scale as command

    command(
        baseline,
        phi,
        (alpha, beta, gamma),
        run=from_,
        fitted=fitted,
        preset=preset,
        resolution=resolution,
        rounding={
            "fix_stem_head": fix_stem_head,
            "depth": depth_rounding,
            "resolution_multiple": resolution_multiple,
            "keep_groups": keep_groups,
            "adaptive_pool": adaptive_pool,
        },
        num_classes=num_classes,
        out=out,
        form=_form(format_, json=json_),
    )


@app.command()
def baselines(
    name: Annotated[str | None, typer.Argument(help="Show this one's stages; a path works too.")] = None,
    yaml: Annotated[bool, typer.Option("--yaml", help="Print the spec, to copy and edit.")] = False,
    format_: FormatOption = "table",
    json_: JsonOption = False,
) -> None:
    """List the built-in baselines, or show one as a table of stages."""
    from scalesearch.spec_commands import baselines as command

    command(name, as_yaml=yaml, form=_form(format_, json=json_))


@app.command()
def check(
    baseline: Annotated[str, typer.Argument(help="Any baseline: timm:NAME, FILE.py:FACTORY, …")],
    resolution: Annotated[
        int | None, typer.Option(min=1, help="Its input side, pixels [default: the native one].")
    ] = None,
    fix_stem_head: Annotated[
        bool | None, typer.Option("--fix-stem-head", help="Keep stem, head and the outer stages' repeats.")
    ] = None,
    keep_groups: KeepGroupsOption = None,
    adaptive_pool: AdaptivePoolOption = None,
    account: Annotated[bool, typer.Option("--account", help="Also print every layer at depth 1.2, width 1.1.")] = False,
    format_: FormatOption = "table",
    json_: JsonOption = False,
) -> None:
    """Show what of a network can be scaled, what cannot and why; exit code 1 if a scaled copy fails its proof."""
    from scalesearch.module_commands import check_command

    rounding = {"fix_stem_head": fix_stem_head, "keep_groups": keep_groups, "adaptive_pool": adaptive_pool}
    form = _form(format_, json=json_)
    if not check_command(baseline, resolution=resolution, rounding=rounding, account=account, form=form):
        raise typer.Exit(1)


@app.command()
def export(
    spec: Annotated[Path, typer.Argument(help="A spec file, as `scale` and `grid` write them.")],
    format_: Annotated[str, typer.Option("--format", help="pt2 (torch.export) or onnx.")] = "pt2",
    weights: Annotated[Path | None, typer.Option(help="A state dict to load first [default: fresh weights].")] = None,
    num_classes: Annotated[int, typer.Option(min=1, help="Outputs of the classifier.")] = 1000,
    out: Annotated[Path | None, typer.Option(help="The file to write [default: NAME.FORMAT here].")] = None,
) -> None:
    """Write a spec's network as torch.export or ONNX, for any batch size, checked against the module's logits."""
    from scalesearch.module_commands import export_command

    export_command(spec, format_name=format_, num_classes=num_classes, weights=weights, out=out)


@app.command()
def train(
    spec: Annotated[
        str, typer.Argument(help="A spec file, as `scale` and `grid` write them, or any baseline: timm:NAME, …")
    ],
    recipe: Annotated[str | None, typer.Option(help="A shipped recipe by name, or a recipe's path.")] = None,
    data: Annotated[
        str | None,
        typer.Option(help="embedded, folder:PATH, cifar10:PATH, cifar100:PATH or torchvision:NAME[:PATH]."),
    ] = None,
    nproc_per_node: Annotated[
        int, typer.Option(min=1, help="Processes that share every batch (DistributedDataParallel), one device each.")
    ] = 1,
    seed: Annotated[int, typer.Option(min=0, help="Seed of weights, order, augmentation and dropout.")] = 0,
    resolution: Annotated[
        int | None, typer.Option(min=1, help="Input side, pixels [default: the network's own].")
    ] = None,
    epochs: Annotated[float | None, typer.Option(help="Length of the schedule in epochs.")] = None,
    steps: Annotated[int | None, typer.Option(help="Length of the schedule in steps.")] = None,
    batch_size: Annotated[str | None, typer.Option(help="Images per step, of all processes together, or auto.")] = None,
    compile_: CompileOption = None,
    cuda_graphs: CudaGraphsOption = None,
    optimizer: Annotated[str | None, typer.Option(help="sgd, adamw or rmsprop_tf.")] = None,
    learning_rate: Annotated[float | None, typer.Option(help="Peak learning rate at this batch size.")] = None,
    precision: Annotated[str | None, typer.Option(help="auto, fp32, bf16 or fp16.")] = None,
    limit: Annotated[int | None, typer.Option(help="Most training images, balanced over classes.")] = None,
    sync_batchnorm: Annotated[
        bool, typer.Option("--sync-batchnorm", help="CUDA: batch norm over the whole batch, not per process.")
    ] = False,
    device: Annotated[str | None, typer.Option(help="auto, cpu, mps, cuda or cuda:N.")] = None,
    assign: SetOption = None,
    out: Annotated[
        Path | None, typer.Option(help="Folder for the result [default: results/NAME-FROM-SETTINGS].")
    ] = None,
    json_: JsonOption = False,
) -> None:
    """Train one network on the recipe's schedule, on one device or several; the same command goes on after a stop."""
    given = {key: value for key, value in locals().items() if key not in NOT_IN_A_RECIPE + OF_ONE_TRAINING}
    from scalesearch.job import Wish
    from scalesearch.train_command import train_command

    wish = Wish(spec, recipe, _overrides(given, assign), seed, resolution, sync_batchnorm, out)
    train_command(wish, processes=nproc_per_node, as_json=json_)


@app.command()
def bench(
    specs: Annotated[
        list[str], typer.Argument(metavar="SPEC...", help="Spec files, or any baseline: timm:NAME, FILE.py:FACTORY, …")
    ],
    batch_size: Annotated[
        int | None, typer.Option(help="Images per batch, beside batches of one [default: 32; on CUDA 256].")
    ] = None,
    resolution: Annotated[
        int | None, typer.Option(min=1, help="Input side, pixels [default: each network's own].")
    ] = None,
    seconds: Annotated[float | None, typer.Option(help="Seconds per measurement [default: 2].")] = None,
    rounds: Annotated[int | None, typer.Option(help="Turns that each network takes [default: 5].")] = None,
    training: Annotated[bool, typer.Option("--training", help="Time a training step as well.")] = False,
    precision: Annotated[str | None, typer.Option(help="auto, fp32, bf16 or fp16.")] = None,
    channels_last: Annotated[bool, typer.Option(help="Channels last in memory, or contiguous images.")] = True,
    compile_: Annotated[bool, typer.Option("--compile", help="Compile with torch.compile.")] = False,
    threads: Annotated[int | None, typer.Option(help="CPU threads [default: torch's own choice].")] = None,
    device: Annotated[str | None, typer.Option(help="auto, cpu, mps, cuda or cuda:N.")] = None,
    num_classes: Annotated[int | None, typer.Option(help="Outputs of the classifier [default: 1000].")] = None,
    out: Annotated[Path | None, typer.Option(help="Write the result as JSON to this file.")] = None,
    format_: FormatOption = "table",
    json_: JsonOption = False,
) -> None:
    """Measure latency, throughput and memory of networks on this machine; exit code 1 if none of them ran."""
    options = {key: value for key, value in locals().items() if key not in NO_SETTING_OF_BENCH}
    from scalesearch.bench_command import bench_command

    form = _form(format_, json=json_)
    if not bench_command(specs, options | {"compile": compile_}, resolution=resolution, out=out, form=form):
        raise typer.Exit(1)


@app.command()
def replay(
    run: Annotated[Path, typer.Argument(help="The folder of an --exhaustive run with several seeds.")],
    replays: Annotated[int, typer.Option(min=1, help="How often each policy is played.")] = 1000,
    seed: Annotated[int, typer.Option(help="Of the orders in which candidates and seeds come.")] = 0,
    confidence: Annotated[float, typer.Option(help="At which candidates count as tied with the winner.")] = 0.95,
    format_: FormatOption = "table",
    json_: JsonOption = False,
) -> None:
    """Replay the search over a run's curves: what its short cuts would have saved, and how often they would err."""
    from scalesearch.replay_command import replay_command

    replay_command(run, replays=replays, seed=seed, confidence=confidence, form=_form(format_, json=json_))


@app.command()
def show(
    run: Annotated[Path, typer.Argument(help="The folder of a finished `grid` or `compare`.")],
    verified: Annotated[
        bool, typer.Option("--verified", help="What --verify found on a longer schedule, not the ranking.")
    ] = False,
    format_: FormatOption = "table",
    json_: JsonOption = False,
) -> None:
    """Print a finished run's table again, for the eye, for a paper or for machines."""
    from scalesearch.show_command import show_command

    show_command(run, verified=verified, form=_form(format_, json=json_))


@app.command()
def merit(
    nominal: Annotated[Path, typer.Argument(help="The folder of a finished grid of equal nominal growth.")],
    matched: Annotated[Path, typer.Argument(help="That of the same grid with --match macs.")],
    format_: FormatOption = "table",
    json_: JsonOption = False,
) -> None:
    """Say whether a nominal grid's winner is better, or only dearer, by a second grid at equal measured cost."""
    from scalesearch.merit_command import merit_command

    merit_command(nominal, matched, form=_form(format_, json=json_))


@app.command()
def cam(
    run: Annotated[Path, typer.Argument(help="The folder of a run that has kept weights (--keep-weights).")],
    images: Annotated[int, typer.Option(min=1, help="Of the minival, one of every class in turn.")] = 6,
    seed: Annotated[int, typer.Option(min=0, help="Of the choice of images.")] = 0,
    true_class: Annotated[
        bool, typer.Option("--true-class", help="Show the evidence for the true class, not for the predicted one.")
    ] = False,
    data: Annotated[str | None, typer.Option(help="Where the images are now, if they were moved.")] = None,
    device: Annotated[str, typer.Option(help="auto, cpu, mps, cuda or cuda:N.")] = "auto",
) -> None:
    """Draw class-activation maps of a run's best candidates, side by side on the same images."""
    from scalesearch.cam_command import cam_command

    cam_command(run, images=images, seed=seed, true_class=true_class, data=data, device=device)


@app.command()
def report(run: Annotated[Path, typer.Argument(help="The folder of a finished run, or of a comparison.")]) -> None:
    """Write a run's report: one HTML page that needs nothing else, and its figures as PNG and SVG."""
    from scalesearch.report.report_command import report_command

    report_command(run)


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"scalesearch {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[bool, typer.Option("--version", callback=_version, is_eager=True, help="Show it.")] = False,
    debug: Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")] = False,
) -> None:
    """Options of every command."""


def main() -> None:
    """Run the command line; a user's mistake is one red line and exit code 2, Ctrl-C is exit code 130."""
    arguments = sys.argv[1:]
    debug = "--debug" in arguments
    command = typer.main.get_command(app)
    try:
        code = command.main([a for a in arguments if a != "--debug"], prog_name="scalesearch", standalone_mode=False)
    except Exception as failure:
        code = _explain(failure, debug=debug)
    except KeyboardInterrupt:
        code = 130
    sys.exit(code if isinstance(code, int) else 0)


def _explain(failure: Exception, *, debug: bool) -> int:
    from scalesearch.errors import ScaleSearchError

    if debug and not isinstance(failure, typer.Abort):
        raise failure
    if isinstance(failure, ScaleSearchError):
        _complain(str(failure))
        return 2
    if isinstance(failure, typer.Abort):
        return 130
    message = getattr(failure, "format_message", None)  # how click words a wrong option or value
    if message is not None:
        _complain(f"{message()} (--help lists the options)")
        return int(getattr(failure, "exit_code", 2))
    raise failure


def _complain(text: str) -> None:
    _console(stderr=True).print(f"error: {text}", style="bold red", markup=False, highlight=False, soft_wrap=True)


def _console(*, stderr: bool = False) -> "Console":
    from rich.console import Console

    return Console(stderr=stderr)


if __name__ == "__main__":
    main()
