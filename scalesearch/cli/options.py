"""Options that several commands share.

Annotations are not postponed here, nor in the files of commands: typer would evaluate every option's anew, three times
over, at every start.
"""

from typing import Annotated

import typer

from scalesearch.cli.keys import (
    ANSWER,
    CANDIDATES,
    COST,
    MACHINE,
    OUTPUT,
    TRAINING,
    Key,
    batch,
    factors,
    lengths,
    shares,
)

BaselineOption = Annotated[
    str | None,
    Key("baseline"),
    typer.Option(
        "--baseline",
        help="A built-in network, SPEC.yaml, timm:NAME, torchvision:NAME, FILE.py:FACTORY or package.module:NAME.",
        rich_help_panel=CANDIDATES,
    ),
]
KeepGroupsOption = Annotated[
    bool | None,
    typer.Option("--keep-groups", help="Modules: grouped convolutions keep their number of groups, not their width."),
]
KeepOutputChannelsOption = Annotated[
    bool | None,
    typer.Option("--keep-output-channels", help="Modules: the maps that a backbone gives out keep their channels."),
]
AdaptivePoolOption = Annotated[
    bool | None,
    typer.Option("--adaptive-pool", help="Modules: pool to the size that a fixed-size classifier was made for."),
]
MaxResolutionOption = Annotated[
    int | None,
    Key("rounding.max_resolution"),
    typer.Option(
        "--max-resolution",
        help="No larger images: most pixels of their longer side (EfficientNetV2: 480).",
        rich_help_panel=CANDIDATES,
    ),
]
MaxChannelsOption = Annotated[
    int | None,
    Key("rounding.max_channels"),
    typer.Option("--max-channels", help="No layer grows wider.", rich_help_panel=CANDIDATES),
]
StageDepthsOption = Annotated[
    str | None,
    Key("rounding.stage_depths", shares),
    typer.Option(
        "--stage-depths",
        metavar="0,1,1.5,…",
        help="How much of the growth in depth each stage gets (1: all of it).",
        rich_help_panel=CANDIDATES,
    ),
]
RecipeOption = Annotated[
    str | None,
    typer.Option("--recipe", help="A shipped recipe by name, or a recipe's path.", rich_help_panel=TRAINING),
]
DataOption = Annotated[
    str | None,
    Key("data.source"),
    typer.Option(
        "--data",
        help="embedded, folder:PATH, cifar10:PATH, cifar100:PATH or torchvision:NAME[:PATH].",
        rich_help_panel=TRAINING,
    ),
]
LimitOption = Annotated[
    int | None,
    Key("data.limit"),
    typer.Option("--limit", help="Most training images, balanced over classes.", rich_help_panel=TRAINING),
]
BudgetOption = Annotated[
    str | None,
    Key("budget"),
    typer.Option(
        "--budget",
        metavar="2h|30%|40-trials",
        help="Train what tells most, for so long: hours or min, a share of everything, or trials.",
        rich_help_panel=ANSWER,
    ),
]
ObjectiveOption = Annotated[
    str | None,
    Key("objective"),
    typer.Option(
        "--objective",
        help="accuracy, balanced_accuracy, macro_f1, or acc_macs: accuracy·(MACs/target)^−0.07.",
        rich_help_panel=ANSWER,
    ),
]
EpochsOption = Annotated[
    float | None,
    Key("train.epochs"),
    typer.Option("--epochs", help="Length of the schedule in epochs.", rich_help_panel=TRAINING),
]
StepsOption = Annotated[
    int | None,
    Key("train.steps"),
    typer.Option("--steps", help="Length of the schedule in steps.", rich_help_panel=TRAINING),
]
LengthsOption = Annotated[
    str | None,
    Key("train.lengths", lengths),
    typer.Option(
        "--lengths",
        metavar="0.25,0.5",
        help="Rank after these shares of the schedule too: shorter schedules branch off (schedule: wsd).",
        rich_help_panel=TRAINING,
    ),
]
EvalResolutionOption = Annotated[
    str | None,
    Key("train.eval_resolutions", factors),
    typer.Option(
        "--eval-resolution",
        metavar="1,1.15,1.3",
        help="Measure trained networks at these shares of their image size too.",
        rich_help_panel=TRAINING,
    ),
]
OptimizerOption = Annotated[
    str | None,
    Key("train.optimizer"),
    typer.Option("--optimizer", help="sgd, adamw or rmsprop_tf.", rich_help_panel=TRAINING),
]
LearningRateOption = Annotated[
    float | None,
    Key("train.learning_rate"),
    typer.Option("--learning-rate", help="Peak learning rate at this batch size.", rich_help_panel=TRAINING),
]
PrecisionOption = Annotated[
    str | None,
    Key("train.precision"),
    typer.Option("--precision", help="auto, fp32, bf16 or fp16.", rich_help_panel=TRAINING),
]
CompileOption = Annotated[
    str | None,
    Key("train.compile"),
    typer.Option(
        "--compile",
        help="off, on, or auto: compile networks where a trial earns the time back.",
        rich_help_panel=TRAINING,
    ),
]
CudaGraphsOption = Annotated[
    bool | None,
    Key("run.cuda_graphs"),
    typer.Option(
        "--cuda-graphs",
        help="CUDA: record a network's forward and backward pass once, and replay it.",
        rich_help_panel=TRAINING,
    ),
]
KeepWeightsOption = Annotated[
    int | None,
    Key("run.keep_weights"),
    typer.Option(
        "--keep-weights",
        help="Of how many of the best to keep the weights, of the first seed, in weights/.",
        rich_help_panel=OUTPUT,
    ),
]
BatchSizeOption = Annotated[
    str | None,
    Key("train.batch_size", batch),
    typer.Option(
        "--batch-size", help="Images per step, or auto: doubled while that trains faster.", rich_help_panel=TRAINING
    ),
]
SeedsOption = Annotated[
    int | None,
    Key("seeds"),
    typer.Option("--seeds", help="Trainings of each network, each with its own seed.", rich_help_panel=ANSWER),
]
PhiOption = Annotated[
    float | None,
    Key("phi"),
    typer.Option("--phi", help="Compound coefficient φ; 1 about doubles the MACs.", rich_help_panel=CANDIDATES),
]
StepOption = Annotated[
    float | None,
    Key("search.step"),
    typer.Option("--step", help="Step of the grid in α, β and γ.", rich_help_panel=CANDIDATES),
]
ToleranceOption = Annotated[
    float | None,
    Key("search.tolerance"),
    typer.Option("--tolerance", help="Largest |α·β²·γ² − target|.", rich_help_panel=CANDIDATES),
]
TargetMacsOption = Annotated[
    str | None,
    Key("search.target_macs"),
    typer.Option("--target-macs", help="Most MACs per image, e.g. 800M.", rich_help_panel=COST),
]
TargetParamsOption = Annotated[
    str | None,
    Key("search.target_params"),
    typer.Option("--target-params", help="Most parameters, e.g. 10M.", rich_help_panel=COST),
]
EngineOption = Annotated[
    str,
    typer.Option(
        "--engine",
        help="processes: workers on this machine; ray: on a Ray cluster, one per GPU of it, or one per CPU if it has "
        "no GPU.",
        rich_help_panel=MACHINE,
    ),
]
AddressOption = Annotated[
    str | None,
    typer.Option(
        "--address",
        help="With --engine ray, the cluster: auto or HOST:PORT (default: a Ray started for this run).",
        rich_help_panel=MACHINE,
    ),
]
WorkersOption = Annotated[
    int | None,
    Key("run.workers"),
    typer.Option(
        "--workers",
        help="Processes that train side by side (default: one per device); 0: only this one.",
        rich_help_panel=MACHINE,
    ),
]
DevicesOption = Annotated[
    str | None,
    Key("device"),
    typer.Option(
        "--device",
        help="auto (every GPU there is, else the CPU), cpu, mps, cuda or cuda:N.",
        rich_help_panel=MACHINE,
    ),
]
StudyOption = Annotated[
    str | None,
    typer.Option(
        "--study",
        help="With --storage, the study's name (default: that of the run's folder).",
        rich_help_panel=MACHINE,
    ),
]
SetOption = Annotated[
    list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Override any key of the recipe (repeatable).")
]
FormatOption = Annotated[
    str,
    typer.Option("--format", help="table, markdown, latex, csv or json (also: --json).", rich_help_panel=OUTPUT),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON for machines.", rich_help_panel=OUTPUT)]
LogOption = Annotated[
    str | None,
    Key("run.log"),
    typer.Option(
        "--log",
        metavar="tensorboard",
        help="Write curves and the ranking for TensorBoard too, into the run's folder.",
        rich_help_panel=OUTPUT,
    ),
]
NotifyOption = Annotated[
    str | None,
    typer.Option(
        "--notify",
        metavar="CMD",
        help="Run this when it ends, through the shell; SCALESEARCH_STATE, _RUN, _BEST … say how.",
        rich_help_panel=OUTPUT,
    ),
]
StorageOption = Annotated[
    str | None,
    typer.Option(
        "--storage",
        help="postgresql://… or mysql://…: keep the trials on a server, for many nodes; env: take the URL from "
        "SCALESEARCH_STORAGE (default: a file in the run's folder).",
        rich_help_panel=MACHINE,
    ),
]
