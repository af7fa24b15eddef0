"""What a search for a baseline leaves in its folder: the files of every search, and the winner as a table."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from typing import TYPE_CHECKING

import pandas as pd

from scalesearch.ranking.class_metrics import METRICS
from scalesearch.ranking.ranking import records_json, trade_off
from scalesearch.report.tables import architectures_table, markdown_page
from scalesearch.report.units import amount
from scalesearch.run_folder import RunFolder, slug
from scalesearch.scaling.spec import CHOSEN, ModelSpec, StageSpec
from scalesearch.scaling.spec_files import dump_spec
from scalesearch.search.ledger.sampling import STARTUP
from scalesearch.search.nas.setup import PreparedNas
from scalesearch.search.outputs import MACS, Result, candidates_frame, certainty, failed, further, images, write_result

if TYPE_CHECKING:
    from scalesearch.search.setup import Prepared

WINNER = "winner.yaml"
"""The winner's table of stages, which `grid --baseline` takes."""

SHORT = {"mbconv": "ir", "fused_mbconv": "er", "depthwise_separable": "ds"}
"""Operators as timm's strings of architectures call them; the others by their names."""


def publish_nas(prepared: Prepared, folder: RunFolder, result: Result) -> None:
    """Write ranking, trials, a spec of every ranked architecture, and the winner; `report` makes the page.

    Raises:
        RunError: the folder cannot be written.
    """
    assert isinstance(prepared, PreparedNas)
    assert prepared.space is not None
    specs = native_specs(prepared, result)
    ranking = result.ranking.copy()
    factors = [trade_off(macs, prepared.target, prepared.exponent) for macs in ranking["macs"]]
    ranking["reward"] = ranking["accuracy"] * factors
    ranking["architecture"] = [notation(specs[name]) for name in ranking["network"]]
    result = replace(result, ranking=ranking)
    title = f"A baseline from {prepared.aim}, {prepared.source.title} ({prepared.recipe.name})"
    notes = caveats(prepared, result)
    folder.write("candidates.csv", candidates_frame(prepared.plan).to_csv(index=False, lineterminator="\n"))
    names = dict(zip(ranking["network"], ranking["label"], strict=True))
    write_result(
        folder,
        result,
        title,
        notes,
        {slug(names[network]): spec for network, spec in specs.items() if network in names},
        markdown_page(title, notes, architectures_table(records_json(ranking), result.metric)),
        nas={"space": prepared.space.name, "target_macs": prepared.target, "exponent": prepared.exponent},
    )
    winner = specs[ranking["network"].iloc[0]]
    told = f"scalesearch nas, space {prepared.space.name}, {amount(prepared.target)} MACs at {winner.resolution} px"
    name = f"{slug(prepared.space.name)}-{amount(prepared.target).replace(' ', '')}"
    folder.write(WINNER, dump_spec(winner.model_copy(update={"name": name, "source": told})))


def native_specs(prepared: PreparedNas, result: Result) -> dict[str, ModelSpec]:
    """The architectures as tables of stages for the images that they were trained on, with the skeleton's own
    regularisation, by network."""
    names = {c.model.fingerprint: c.name for c in prepared.plan.candidates}
    resolution = prepared.baseline.resolution
    return {
        r.task.fingerprint: r.task.architecture.spec.model_copy(
            update={"resolution": resolution, "name": slug(names[r.task.fingerprint])}
        )
        for r in result.records
        if r.task.architecture is not None
    }


def notation(spec: ModelSpec) -> str:
    """Its stages as timm writes them: ``ir_r2_k3_s2_e6_c24_se0.25``."""
    return " ".join(map(_stage, spec.stages))


def _stage(stage: StageSpec) -> str:
    has = CHOSEN[stage.op]
    expand = f"_e{stage.expand:g}" if "expand" in has else ""
    gate = f"_se{stage.se:g}" if stage.se else ""
    op = SHORT.get(stage.op, stage.op)
    return f"{op}_r{stage.repeats}_k{stage.kernel}_s{stage.stride}{expand}_c{stage.channels}{gate}"


def caveats(prepared: PreparedNas, result: Result) -> list[str]:
    """What a reader must know before believing the ranking, one sentence a line."""
    ranking, side, metric = result.ranking, prepared.baseline.resolution, METRICS.get(result.metric, "accuracy")
    return [
        *certainty(prepared, result),
        _best_of_many(result),
        f"reward: {metric}·(MACs/{prepared.target:,})^{prepared.exponent:g}, MACs at {side} px; exp. is what is "
        "expected of it given all trainings and their losses, which makes the order and P (of being the best)",
        *_skeleton(prepared, ranking),
        *_passed_over(prepared, result),
        *_sampler(prepared, result),
        MACS,
        *further(result),
        *failed(result.trials),
        *images(prepared, ranking),
    ]


def _best_of_many(result: Result) -> str:
    """What the winner's own reading is worth, having been chosen by it."""
    first, trained = result.ranking.iloc[0], len(result.ranking)
    own, low, high = (f"{100 * first[name]:.1f}" for name in ("accuracy", "low", "high"))
    expected = (
        f"the first is the best of {trained} noisy readings, so that its own, {own} %, is biased upward; by all "
        f"of them together {100 * first['pooled']:.1f} % is expected ({low} to {high})"
    )
    trials = result.trials[(result.trials["network"] == first["network"]) & (result.trials["state"] == "complete")]
    again = trials[trials["seed"] > 0]["accuracy"].astype(float)
    if again.empty:
        return f"{expected}; --seeds 3 trains the best again"
    chosen = 100 * float(trials[trials["seed"] == 0]["accuracy"].iloc[0])
    return f"{expected}; the training that it was chosen by came to {chosen:.1f} %, further ones to " + (
        f"{100 * again.mean():.1f} %"
    )


def _skeleton(prepared: PreparedNas, ranking: pd.DataFrame) -> list[str]:
    """Where the skeleton came, which is what the search should beat."""
    assert prepared.space is not None and prepared.costs is not None
    name, macs = prepared.space.skeleton.name, prepared.costs.skeleton
    place = ranking.loc[ranking["label"] == name, "rank"]
    if len(place):
        return [f"the skeleton, {name}, came {int(place.iloc[0])} of {len(ranking)}"]
    if prepared.space.own_choices is None:
        return [f"the skeleton, {name}, is no member of the space: it was not trained beside"]
    if not prepared.planner.is_near(macs):
        return [f"the skeleton, {name}, has {amount(macs)} MACs, too far from the target to be trained beside"]
    return [f"the skeleton, {name}, has no complete trial"]


def _passed_over(prepared: PreparedNas, result: Result) -> list[str]:
    """How many proposals were not trained, and why not."""
    counts: Counter[str] = Counter()
    for record in {r.task.fingerprint: r for r in result.records}.values():
        counts.update(record.task.architecture.passed_over if record.task.architecture else {})
    factor = prepared.recipe.nas.factor
    told = []
    if counts["off target"]:
        told.append(f"{counts['off target']:,} proposals beyond ×{factor:g} of the target were not trained")
    if counts["known"]:
        told.append(f"{counts['known']:,} had been proposed before")
    return [", ".join(told)] if told else []


def _sampler(prepared: PreparedNas, result: Result) -> list[str]:
    """Whether the sampler had anything to learn from, and whether the space was large enough."""
    return [*idle_sampler(prepared), *exhausted(prepared, result)]


def idle_sampler(prepared: PreparedNas) -> list[str]:
    """That a budget ends before the sampler begins to learn, where it does."""
    nas, trials = prepared.recipe.nas, prepared.planner.trials
    first = {"tpe": STARTUP, "nsga2": nas.population}.get(nas.sampler)
    if first is None or trials is None or trials > first:
        return []
    return [f"{nas.sampler} learns from {first} trials on: these {trials} were proposed at random"]


def exhausted(prepared: PreparedNas, result: Result) -> list[str]:
    """That the space, near the target, has fewer architectures than trials, where it has."""
    trials, tried = prepared.planner.trials, {r.task.fingerprint for r in result.records}
    if trials is None or len(tried) >= trials:
        return []
    return [f"{len(tried)} of {trials} architectures: no further one that is new and near the target was found"]
