"""Options and help that commands about trained networks share."""

from pathlib import Path
from typing import Annotated

import typer

from scalesearch.cli.keys import Key

NETWORKS = (
    "Folders of `train` or `linear`; runs that kept weights (RUN:2 or RUN:LABEL for one network of them); or specs and "
    "baselines, each with its weights."
)
"""Help for whatever takes trained networks."""

WeightsOption = Annotated[
    list[Path] | None,
    typer.Option("--weights", metavar="FILE", help="Of each network that is no folder, in order (repeatable)."),
]
QuantizeRecipeOption = Annotated[
    str | None,
    typer.Option("--recipe", help="Which images, and how they are cut (default: the recipe beside the weights)."),
]
CalibrationImagesOption = Annotated[
    int | None,
    Key("calibration_images"),
    typer.Option("--calibration-images", help="INT8: training images that set the ranges (default: 128)."),
]
MethodOption = Annotated[
    str | None,
    Key("method"),
    typer.Option("--method", help="INT8: ranges by minmax, entropy or percentile (default: minmax)."),
]
ReduceRangeOption = Annotated[
    bool | None,
    Key("reduce_range"),
    typer.Option(
        "--reduce-range/--no-reduce-range",
        help="INT8: seven bits, for x86 without VNNI (default: by this processor).",
        show_default=False,
    ),
]
KeepFloatOption = Annotated[
    list[str] | None,
    Key("keep_float"),
    typer.Option(
        "--keep-float", metavar="PATTERN", help="INT8: layers (features.1.*) or operators (Sigmoid) left in float."
    ),
]
