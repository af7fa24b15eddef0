"""The application, its panels, options that several commands share, and how options become a recipe's keys."""

from typing import Annotated, Any

import typer

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
