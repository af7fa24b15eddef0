"""What a finished run leaves in its folder. Whatever depends on times is kept apart from the ranking."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import pandas as pd

from scalesearch.candidates.grid import Candidate, Plan, same_network
from scalesearch.candidates.last_map import step_in_last_maps
from scalesearch.candidates.quantities import QUANTITIES
from scalesearch.errors import ScalingError
from scalesearch.ranking.class_metrics import METRICS, BaseRate
from scalesearch.ranking.confusions import CLASSES, Confusions
from scalesearch.ranking.metric_columns import in_files
from scalesearch.ranking.ranking import records_json
from scalesearch.ranking.signal import signal_of
from scalesearch.ranking.winners import in_words, winners
from scalesearch.report.class_tables import classes_markdown
from scalesearch.report.matched_words import place_in_words
from scalesearch.report.tables import ranking_markdown, spent_record
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

NAMED = 4
"""Candidates that are named which are not above the base rate."""

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
    markdown = ranking_markdown(result.ranking, title, notes, result.metric)
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
        words = in_words(pair, "latency_ms", "macs", measured, place, prepared.metric)
        return {"cost": measured.name, "unit": measured.unit, "differ": pair.differ, "words": words}
    found = {"cost": quantity.name, "unit": quantity.unit}
    if file is None or ranking["matched"].isna().any():
        return found | {"differ": False, "words": f"candidates have equal {quantity.words}; their MACs differ"}
    pair = winners(ranking, measured="matched", equal="matched")
    found |= file.model_dump(mode="json", include={"device", "threads", "batch", "precision", "base"})
    return found | {
        "differ": pair.differ,
        "words": in_words(pair, "matched", "matched", quantity, place_in_words(file), prepared.metric),
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
    ranking, trials = result.in_files
    named = result.metric != "accuracy"
    if named:
        more |= {"metric": result.metric}
    folder.write("trials.csv", trials.to_csv(index=False, lineterminator="\n"))
    folder.write("ranking.csv", ranking.to_csv(index=False, lineterminator="\n"))
    data = {"title": title, "notes": notes, "fitted": _fitted(result), **more, "ranking": records_json(ranking)}
    folder.write("ranking.json", json.dumps(data, indent=1, ensure_ascii=False) + "\n")
    by = {"metric": result.metric} if named else {}
    for name, found in (("lengths", result.lengths), ("sizes", result.sizes)):
        if found is not None:
            folder.write(f"{name}.json", json.dumps(by | found.to_json(), indent=1, ensure_ascii=False) + "\n")
    if result.finalists is not None:
        plain = result.finalists.to_json()
        folder.write(CLASSES, json.dumps(plain, ensure_ascii=False) + "\n")
        folder.write("classes.md", classes_markdown(plain, title))
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


COLUMNS = {
    "to first": "the difference to the first, in points",
    "to baseline": "the difference to the baseline, in points",
    "interval": "the row's own accuracy",
}
"""What the tables' intervals are of, by their columns' headings."""


def caveats(prepared: Prepared, result: Result, column: str = "to first") -> list[str]:
    """What a reader must know before believing the ranking, one sentence a line.

    Args:
        column: that of `COLUMNS` which the table has.
    """
    recipe, trials, ranking = prepared.recipe, result.trials, result.ranking
    sure = f"{100 * result.judgement.confidence:g} %"
    notes = [
        *certainty(prepared, result),
        f"{column}: {sure} interval of {COLUMNS[column]}; it, P (of being the best) and the order know seeds, images"
        f"{'' if recipe.search.rows else ', neighbours'} and cost",
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
    if result.metric != "accuracy":
        notes.append(
            f"ranked by {METRICS[result.metric]}, in which every class counts alike; P, intervals and val. are of it"
        )
    if prepared.target is not None:
        notes.append(f"ranked by accuracy·(MACs/{prepared.target:,})^−0.07; P is of this")
    return notes + images(prepared, ranking)


MACS = "MACs are multiply-adds of convolutions and linear layers, what the paper calls FLOPS"


def certainty(prepared: Prepared, result: Result) -> list[str]:
    """How sure the order is, what the minival's size is worth, and what is known of the spread between seeds."""
    ranking = result.ranking
    most, metric = int(ranking["seeds"].max()), METRICS.get(result.metric, "accuracy")
    return [
        result.judgement.words,
        f"{metric} on a minival of {prepared.minival_images:,} images: sampling alone is worth "
        f"±{100 * result.error:.1f} points (one standard error)",
        *above_base(prepared, result),
        *_top5(ranking),
        "one seed: the spread between trainings is not measured; --seeds 3 measures it"
        if most == 1
        else f"± is the standard deviation over seeds ({int(ranking['seeds'].min())} to {most} of each candidate)",
    ]


def _top5(ranking: pd.DataFrame) -> list[str]:
    """How often the class is among the first's five likeliest, where there are more than ten."""
    if "top5" not in ranking or math.isnan(five := float(ranking["top5"].iloc[0])):
        return []
    return [f"top-5: of the first, the class is among the five likeliest in {100 * five:.1f} % of the minival"]


def above_base(prepared: Prepared, result: Result) -> list[str]:
    """What one answer for all images comes to, and which candidates' intervals are not above it."""
    base, ranking = result.base, result.ranking
    if base is None:
        return []
    names = {c.model.fingerprint: c.name for c in prepared.plan.candidates}
    within = [
        names[network] for network, low in zip(ranking["network"], ranking["low"], strict=True) if low <= base.value
    ]
    told = base.words(result.metric, prepared.source.classes)
    if not within:
        return [told]
    sure = f"{100 * result.judgement.confidence:g} %"
    if len(within) == len(ranking):
        return [f"{told}; no candidate is above it at {sure}"]
    shown = ", ".join(within[:NAMED]) + (f" and {len(within) - NAMED} more" if len(within) > NAMED else "")
    first = ", the first among them" if names[ranking["network"].iloc[0]] in within else ""
    return [f"{told}; not above it at {sure}{first}: {shown}"]


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
    found = signal_of(trials)
    if found is None:
        return []
    verdict = ": that candidates differ by more than seeds is not shown, and the order may be luck"
    return [f"variance between candidates over what seeds leave: {found}{verdict if found.p >= 0.05 else ''}"]


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
    ranking after several lengths of training and with other test sizes; ``records`` are the trials' own. ``metric`` is
    what stands as accuracy in all of them, ``base`` what one answer for all images comes to by it, ``error`` one
    standard error of the first's, of the minival's size; ``finalists`` what they took images for."""

    ranking: pd.DataFrame
    trials: pd.DataFrame
    judgement: Judgement
    quoted: tuple[float, int] | None = None
    lengths: Lengths | None = None
    sizes: Sizes | None = None
    records: Sequence[Record] = ()
    metric: str = "accuracy"
    base: BaseRate | None = None
    error: float = math.nan
    finalists: Confusions | None = None

    @property
    def in_files(self) -> tuple[pd.DataFrame, pd.DataFrame]:
        """Ranking and trials with the columns' names of files, where ``accuracy`` is top-1 accuracy whatever ranks."""
        named = in_files(self.metric)
        return self.ranking.rename(columns=named), self.trials.rename(columns=named)
