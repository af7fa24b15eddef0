"""Options of equal cost: in what candidates are equal, and how that is measured."""

from typing import Annotated

import typer

from scalesearch.cli.keys import CANDIDATES, Key


def tolerances(value: float) -> dict[str, object]:
    """``--match-tolerance``: of what is counted, and of what is measured."""
    return {"search.match_tolerance": value, "search.measured_tolerance": value}


MatchOption = Annotated[
    str | None,
    Key("search.match"),
    typer.Option(
        "--match",
        help="nominal: admit by α·β²·γ²; at equal cost: macs, params, activations or memory by counting, latency, "
        "train-time or energy by measuring on this device.",
        rich_help_panel=CANDIDATES,
    ),
]
MatchBatchOption = Annotated[
    int | None,
    Key("search.match_batch"),
    typer.Option(
        "--match-batch",
        help="Images per call where costs are measured (default: 1; of train-time, the training's).",
        rich_help_panel=CANDIDATES,
    ),
]
MatchThreadsOption = Annotated[
    int | None,
    Key("search.match_threads"),
    typer.Option(
        "--match-threads",
        help="Torch's threads where costs are measured (default: torch's; of train-time, a worker's).",
        rich_help_panel=CANDIDATES,
    ),
]
MatchToleranceOption = Annotated[
    float | None,
    Key("search.match_tolerance", tolerances),
    typer.Option(
        "--match-tolerance",
        help="With --match, the largest relative miss of the cost (default: 0.02, of what is measured 0.05).",
        rich_help_panel=CANDIDATES,
    ),
]
SolveOption = Annotated[
    str | None,
    Key("search.solve"),
    typer.Option(
        "--solve",
        help="With --match, the coefficient solved for: alpha, beta, gamma or any.",
        rich_help_panel=CANDIDATES,
    ),
]
