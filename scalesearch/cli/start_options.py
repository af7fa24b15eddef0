"""Options that say what a training starts from."""

from typing import Annotated

import typer

from scalesearch.cli.keys import TRAINING, Key

FromWeightsOption = Annotated[
    str | None,
    Key("train.from_weights"),
    typer.Option(
        "--from-weights",
        metavar="FILE",
        help="Begin with these weights (safetensors or torch's; or a folder of `train`, or a run), as far as they fit.",
        rich_help_panel=TRAINING,
    ),
]
GrowFromOption = Annotated[
    str | None,
    Key("train.grow_from"),
    typer.Option(
        "--grow-from",
        metavar="FILE",
        help="Start with the function of a smaller network's trained weights (Net2Net): a file, a folder, or a run.",
        rich_help_panel=TRAINING,
    ),
]
FreezeOption = Annotated[
    bool | None,
    Key("train.freeze"),
    typer.Option("--freeze", help="Train the classifier alone.", rich_help_panel=TRAINING),
]
HeadOnlyOption = Annotated[
    float | None,
    Key("train.head_only_epochs"),
    typer.Option(
        "--head-only", help="Epochs in which the classifier alone is trained, first.", rich_help_panel=TRAINING
    ),
]
