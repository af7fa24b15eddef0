"""What a finished run leaves in its folder. Whatever depends on times is kept apart from the ranking."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import pandas as pd

from scalesearch.candidates.grid import Candidate, Plan, same_network
from scalesearch.candidates.last_map import step_in_last_maps
from scalesearch.candidates.quantities import QUANTITIES
from scalesearch.errors import ScalingError
from scalesearch.ranking.ranking import holdout_error, records_json
from scalesearch.ranking.signal import signal
from scalesearch.ranking.winners import in_words, winners
from scalesearch.report.tables import place_in_words, ranking_markdown, spent_record
from scalesearch.run_folder import RunFolder, slug
from scalesearch.runtime.device import device_name
from scalesearch.scaling.compound import AXES, Coefficients
from scalesearch.scaling.points import Points
from scalesearch.scaling.spec_files import Spec, dump_spec
from scalesearch.search.setup import Prepared

if TYPE_CHECKING:
    from scalesearch.ranking.certainty import Judgement
    from scalesearch.ranking.eval_sizes import Sizes
    from scalesearch.ranking.lengths import Lengths
    from scalesearch.trials import Record

FAMILY = range(8)
"""φ of the specs a run writes: the baseline and seven larger ones, as in the paper."""


def publish(prepared: Prepared, folder: RunFolder, result: Result) -> None:
    """Write ranking, trials and the specs of the winner's family, or of every named row; `report` makes the page.

    Raises:
        RunError: the folder cannot be written.
    """
    recipe = prepared.recipe
    growth = f"{len(recipe.search.rows)} rows" if recipe.search.rows else f"φ = {recipe.phi:g}"
    title = f"{prepared.baseline.name}, {growth}, {prepared.source.title} ({recipe.name})"
    notes = caveats(prepared, result)
    markdown = ranking_markdown(result.ranking, title, notes)
    match = match_note(prepared, result.ranking)
    more = {} if match is None else {"match": match}
    write_result(folder, result, title, notes, _specs(prepared, result.ranking), markdown, **more)


def match_note(prepared: Prepared, ranking: pd.DataFrame) -> dict[str, Any] | None:
    """By what candidates were made equal, and who wins by that and by MACs; None where that is MACs alone or nothing.

    A latency that was measured as a bound counts as well, where candidates are of equal MACs.
    """
    search, file = prepared.recipe.search, prepared.plan.measured
    quantity = QUANTITIES.get(search.match)
    if quantity is None or search.rows:
        return None
    timed = bool(ranking["latency_ms"].notna().all())
    if quantity.name == "macs":
        if not timed:
            return None
        measured, place = QUANTITIES["latency"], f"{device_name(prepared.device)}, batch 1"
        pair = winners(ranking, measured="latency_ms", equal="macs")
        words = in_words(pair, "latency_ms", "macs", measured, place)
        return {"cost": measured.name, "unit": measured.unit, "differ": pair.differ, "words": words}
    found = {"cost": quantity.name, "unit": quantity.unit}
    if file is None or ranking["matched"].isna().any():
        return found | {"differ": False, "words": f"candidates have equal {quantity.words}; their MACs differ"}
    pair = winners(ranking, measured="matched", equal="matched")
    found |= file.model_dump(mode="json", include={"device", "threads", "batch", "precision", "base"})
    return found | {
        "differ": pair.differ,
        "words": in_words(pair, "matched", "matched", quantity, place_in_words(file)),
    }


def write_result(
    folder: RunFolder,
    result: Result,
    title: str,
    notes: list[str],
    specs: Mapping[str, Spec],
    markdown: str,
    **more: object,
) -> None:
    """Write a finished search.

    Args:
        specs: by the names of their files.
        markdown: the ranking for people.
        more: what `ranking.json` holds beside.

    Raises:
        RunError: the folder cannot be written.
    """
    trials, ranking = result.trials, result.ranking
    folder.write("trials.csv", trials.to_csv(index=False, lineterminator="\n"))
    folder.write("ranking.csv", ranking.to_csv(index=False, lineterminator="\n"))
    data = {"title": title, "notes": notes, "fitted": _fitted(result), **more, "ranking": records_json(ranking)}
    folder.write("ranking.json", json.dumps(data, indent=1, ensure_ascii=False) + "\n")
    if result.lengths is not None:
        folder.write("lengths.json", json.dumps(result.lengths.to_json(), indent=1, ensure_ascii=False) + "\n")
    if result.sizes is not None:
        folder.write("sizes.json", json.dumps(result.sizes.to_json(), indent=1, ensure_ascii=False) + "\n")
    folder.write("ranking.md", markdown)
    for name, spec in specs.items():
        folder.write(f"specs/{name}.yaml", dump_spec(spec))


def _specs(prepared: Prepared, ranking: pd.DataFrame) -> dict[str, Spec]:
    """What the run proposes to build, by file name: every named row, else the winner's family."""
    if prepared.recipe.search.rows:
        return {slug(f"{prepared.baseline.name}-{c.name}"): c.model.spec for c in prepared.plan.candidates}
    best = ranking.iloc[0]
    winner, family = Coefficients(float(best["alpha"]), float(best["beta"]), float(best["gamma"])), {}
    for phi in FAMILY:
        try:
            member = prepared.baseline.member(winner, phi).spec
        except ScalingError:
            break  # coefficients below 1: from here on nothing is left of a layer
        family[member.name] = member
    return family


def caveats(prepared: Prepared, result: Result) -> list[str]:
    """What a reader must know before believing the ranking, one sentence a line."""
    recipe, trials, ranking = prepared.recipe, result.trials, result.ranking
    notes = [
        *certainty(prepared, result),
        f"to first: {100 * result.judgement.confidence:g} % interval of the difference to the first, in points; it, P "
        f"(of being the best) and the order know seeds, images{'' if recipe.search.rows else ', neighbours'} and cost",
        MACS,
    ]
    match = match_note(prepared, ranking)
    notes += [match["words"]] if match else []
    notes += _told_apart(trials)
    notes += further(result)
    step = step_in_last_maps(prepared.plan.candidates, prepared.baseline.resolution)
    notes += [step] if step else []
    grown = ranking.loc[ranking["ratio"] != 1, "ratio"]  # the baseline itself may be among named rows
    low, high = grown.min(), grown.max()
    if recipe.search.match == "nominal" and high > 1.05 * low:
        notes.append(f"candidates cost {low:.2f}× to {high:.2f}× the baseline: a dearer one may win by cost alone")
    notes += failed(trials)
    notes += _dropped(prepared, trials)
    if result.judgement.fitted is not None:
        from scalesearch.ranking.certainty import beyond_the_grid

        notes.append(beyond_the_grid(result.judgement.fitted))
    if prepared.target is not None:
        notes.append(f"ranked by accuracy·(MACs/{prepared.target:,})^−0.07; P is of this")
    return notes + images(prepared, ranking)


MACS = "MACs are multiply-adds of convolutions and linear layers, what the paper calls FLOPS"


def certainty(prepared: Prepared, result: Result) -> list[str]:
    """How sure the order is, what the minival's size is worth, and what is known of the spread between seeds."""
    ranking = result.ranking
    best, most = float(ranking["accuracy"].iloc[0]), int(ranking["seeds"].max())
    error = 100 * holdout_error(best, prepared.minival_images)
    return [
        result.judgement.words,
        f"accuracy on a minival of {prepared.minival_images:,} images: sampling alone is worth ±{error:.1f} points "
        "(one standard error)",
        "one seed: the spread between trainings is not measured; --seeds 3 measures it"
        if most == 1
        else f"± is the standard deviation over seeds ({int(ranking['seeds'].min())} to {most} of each candidate)",
    ]


def further(result: Result) -> list[str]:
    """What other lengths and image sizes say, where they were measured."""
    return [found.words for found in (result.lengths, result.sizes) if found is not None]


def failed(trials: pd.DataFrame) -> list[str]:
    """How many trials failed for good, and why the last one did."""
    keys = trials[["network", "seed"]]
    lost = len(keys.drop_duplicates()) - len(keys[trials["state"].isin(["complete", "dropped"])].drop_duplicates())
    if not lost:
        return []
    reason = trials["reason"].dropna().iloc[-1]
    return [f"{lost} trials failed, the last with: {reason}; the same command tries them again"]


def images(prepared: Prepared, ranking: pd.DataFrame) -> list[str]:
    """What the images cannot show."""
    notes = []
    if prepared.source.val is None:
        notes.append("these images have no validation split: the minival, which chose the winner, is all there is")
    elif prepared.recipe.top and ranking["val_accuracy"].isna().all():
        notes.append("the validation split has not been measured")
    if prepared.source.note:
        notes.append(prepared.source.note)
    return notes


def _told_apart(trials: pd.DataFrame) -> list[str]:
    """How much candidates differ over how much seeds do, where several seeds say so."""
    complete = trials[trials["state"] == "complete"]
    scores = {
        str(network): dict(zip(rows["seed"].astype(int), rows["accuracy"].astype(float), strict=True))
        for network, rows in complete.groupby("network", sort=False)
    }
    found = signal(scores)
    if found is None:
        return []
    verdict = "" if found.p < 0.05 else ": candidates differ no more than seeds do, and the order is luck"
    return [f"variance between candidates over what seeds leave: {found}{verdict}"]


def _fitted(result: Result) -> dict[str, Any] | None:
    """The optimum beyond the grid, for `scale --fitted`."""
    fitted = result.judgement.fitted
    if fitted is None:
        return None
    c = fitted.optimum.coefficients()
    ranges = {name: getattr(fitted, name) for name in ("depth", "width", "resolution")}
    return {
        **{name: round(value, 4) for name, value in asdict(c).items()},
        "shares": asdict(fitted.optimum),
        "ranges": ranges,
        "accuracy": fitted.accuracy,
        "flat": fitted.flat,
    }


def _dropped(prepared: Prepared, trials: pd.DataFrame) -> list[str]:
    """Who was not trained to the end, and what that saved."""
    out = trials[trials["state"] == "dropped"]
    if out.empty:
        return []
    last = [str(curve).rsplit(" ", 1)[-1].split(":") for curve in out["curve"]]
    told = [
        f"{Coefficients(float(row['alpha']), float(row['beta']), float(row['gamma']))} ({100 * float(accuracy):.1f} % "
        f"after {step} steps)"
        for row, (step, accuracy) in zip(out.to_dict("records"), last, strict=True)
    ]
    shown = ", ".join(told[:4]) + (f", and {len(told) - 4} more" if len(told) > 4 else "")
    return [f"fell behind the leader and were not trained to the end (--exhaustive does): {shown}"]


def candidates_frame(plan: Plan) -> pd.DataFrame:
    """Every grid point: nominal growth, realised network, measured cost, admitted or why not."""
    rejected = plan.rejected
    realised = [(c.coefficients, c, "admitted") for c in plan.candidates]
    realised += [(r.coefficients, r.candidate, r.reason) for r in rejected.realised if r.candidate]
    for first in rejected.merged:
        why = same_network(first)
        realised += [(other, first, why) for other in first.also]
    points = Points.of(point for point, _, _ in realised) + rejected.outside
    frame = pd.DataFrame({name: getattr(points, name) for name in AXES} | {"growth": points.rounded_growth()})
    frame["verdict"] = [why for _, _, why in realised] + [rejected.growth] * len(rejected.outside)
    distinct = {id(candidate.model): candidate for _, candidate, _ in realised}
    place = {model: index for index, model in enumerate(distinct)}
    known = pd.DataFrame([_network(candidate) for candidate in distinct.values()])
    known = known.astype({"macs": "Int64", "params": "Int64"})
    which = [place[id(candidate.model)] for _, candidate, _ in realised] + [-1] * len(rejected.outside)
    frame = frame.join(known.reindex(which).reset_index(drop=True))
    order = ["alpha", "beta", "gamma", "verdict"]
    return frame.sort_values(order, kind="stable", ignore_index=True)


def _network(candidate: Candidate) -> dict[str, Any]:
    return {
        "shape": candidate.model.shape,
        "macs": candidate.cost.macs,
        "ratio": round(candidate.ratio, 6),
        "params": candidate.cost.params,
        **spent_record(candidate),
        "network": candidate.model.fingerprint,
        **({"label": candidate.label} if candidate.label else {}),
    }


@dataclass(frozen=True)
class Result:
    """A finished search: `ranking.rank`'s frame, judged; `ranking.trials_frame`'s; how sure it is; how many seconds of
    training had been expected of how many trials, if that was measured; and, where the recipe asks for them, the
    ranking after several lengths of training and with other test sizes; ``records`` are the trials' own."""

    ranking: pd.DataFrame
    trials: pd.DataFrame
    judgement: Judgement
    quoted: tuple[float, int] | None = None
    lengths: Lengths | None = None
    sizes: Sizes | None = None
    records: Sequence[Record] = ()
