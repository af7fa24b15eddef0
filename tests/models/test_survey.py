"""Planning many points at once: the same plan as point by point, in milliseconds."""

from __future__ import annotations

import io
import resource
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import astuple

import pandas as pd
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from rich.console import Console

from scalesearch.candidates.grid import Candidate, Plan, plan
from scalesearch.errors import EmptyGridError, ScalingError
from scalesearch.models.catalogue import builtin, builtin_names
from scalesearch.models.spec_baseline import SpecBaseline
from scalesearch.models.survey import OneByOne
from scalesearch.report.tables import plan_table
from scalesearch.scaling.compound import AXES, Coefficients, Rounding, scale_spec
from scalesearch.scaling.cost import closed_form
from scalesearch.scaling.points import Points
from scalesearch.scaling.spec import ModelSpec
from scalesearch.search.outputs import candidates_frame
from scalesearch.settings import SearchSettings
from tests.support.hypothesis_strategies import roundings_to
from tests.support.plain_grid import PlainGrid, Row

B0 = SpecBaseline(builtin("efficientnet_b0"))
MILLION = 0.0063
"""Step at which the default ranges hold 1,017,600 points."""


def _rows(made: Plan) -> list[Row]:
    rows = [Row(c.coefficients, "admitted", _spec(c.model.spec), c.cost, c.also) for c in made.candidates]
    for refused in made.rejected:
        candidate = refused.candidate
        known = (_spec(candidate.model.spec), candidate.cost) if candidate else (None, None)
        rows.append(Row(refused.coefficients, refused.reason, *known))
    return sorted(rows, key=lambda row: (row.coefficients, row.verdict))


def _spec(spec: object) -> ModelSpec:
    assert isinstance(spec, ModelSpec)
    return spec


def _same(baseline: SpecBaseline, phi: float, search: SearchSettings) -> None:
    made = plan(baseline, phi, search, num_classes=37, dropout=0.3)
    plain = PlainGrid(baseline, phi, search, 37)
    assert _rows(made) == sorted(plain.rows, key=lambda row: (row.coefficients, row.verdict))
    admitted = [row for row in plain.rows if row.verdict == "admitted"]
    assert [c.coefficients for c in made.candidates] == [row.coefficients for row in admitted]
    assert [c.ratio for c in made.candidates] == [
        row.cost.macs / made.baseline_cost.macs for row in admitted if row.cost
    ]
    pd.testing.assert_frame_equal(_csv(candidates_frame(made)), _csv(_plain_frame(plain, made)))


def _csv(frame: pd.DataFrame) -> pd.DataFrame:
    """Line by line, as the file has it."""
    return pd.DataFrame(frame.to_csv(index=False).splitlines())


def _plain_frame(plain: PlainGrid, made: Plan) -> pd.DataFrame:
    frame = pd.DataFrame(
        {
            "alpha": row.coefficients.alpha,
            "beta": row.coefficients.beta,
            "gamma": row.coefficients.gamma,
            "growth": round(row.coefficients.growth(), 6),
            "verdict": row.verdict,
            "shape": row.spec
            and f"{row.spec.blocks} · {row.spec.stem.channels}–{row.spec.widest} · {row.spec.resolution}",
            "macs": row.cost and row.cost.macs,
            "ratio": row.cost and round(row.cost.macs / made.baseline_cost.macs, 6),
            "params": row.cost and row.cost.params,
            "network": row.spec and row.spec.fingerprint,
        }
        for row in sorted(plain.rows, key=lambda row: (row.coefficients, row.verdict))
    )
    return frame.astype({"macs": "Int64", "params": "Int64"})


@pytest.mark.parametrize("phi", [0.5, 1.0, 2.0, -1.0])
@pytest.mark.parametrize("name", builtin_names())
def test_a_plan_is_the_one_made_point_by_point(name: str, phi: float) -> None:
    _same(SpecBaseline(builtin(name)), phi, SearchSettings(step=0.125, tolerance=0.25, also=((1.2, 1.1, 1.15),)))


@pytest.mark.parametrize("phi", [0.5, 2.0, -1.0])
@pytest.mark.parametrize("name", builtin_names())
def test_a_matched_plan_is_the_one_made_pair_by_pair(name: str, phi: float) -> None:
    _same(SpecBaseline(builtin(name)), phi, SearchSettings(match="macs", solve="any", step=0.5, match_tolerance=0.05))


roundings = roundings_to(pixels=16)


@settings(max_examples=15, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow])
@given(
    name=st.sampled_from(builtin_names()),
    rounding=roundings,
    phi=st.floats(-2, 3),
    step=st.sampled_from([0.07, 0.1, 0.15]),
    low=st.floats(0.6, 1.1),
    target=st.floats(0.5, 3),
)
def test_a_plan_is_the_one_made_point_by_point_whatever_the_rules(
    name: str, rounding: Rounding, phi: float, step: float, low: float, target: float
) -> None:
    ends = {f"{end}_{axis}": low + 0.4 * (end == "max") for axis in AXES for end in ("min", "max")}
    search = SearchSettings.model_validate({"step": step, "target": target, **ends})
    try:
        _same(SpecBaseline(builtin(name), rounding), phi, search)
    except (EmptyGridError, ScalingError):
        assume(False)


def test_networks_too_large_for_a_machine_word_are_counted_all_the_same() -> None:
    points = Points.of([Coefficients(1000, 700, 70), Coefficients(3, 1.1, 70)])
    survey = B0.survey(1.0, num_classes=10)
    costs = [closed_form(scale_spec(B0.spec, point.at(1.0)), 10) for point in points]
    assert list(survey.networks(points).costs) == costs
    assert survey.macs(points).tolist() == [cost.macs for cost in costs]
    assert survey.costs(points).tolist() == [list(astuple(cost)) for cost in costs]
    assert max(cost.macs for cost in costs) > 2**63


def test_a_stage_whose_image_is_one_pixel_already_has_no_shortcut_for_its_stride(tiny: ModelSpec) -> None:
    stages = tuple(stage.model_copy(update={"stride": 2, "channels": 16}) for stage in tiny.stages)
    baseline = SpecBaseline(tiny.model_copy(update={"stages": stages, "resolution": 4}))
    points = Points.of(Coefficients(a, b, c) for a in (1, 2) for b in (1, 1.5) for c in (1, 1.5, 2))
    networks = baseline.survey(1.0, num_classes=10).networks(points)
    costs = [closed_form(baseline.scaled(point.at(1)).spec, 10) for point in points]
    assert [networks.costs[i] for i in networks.index] == costs


def test_the_first_point_that_leaves_nothing_is_the_one_that_is_told() -> None:
    points = Points.of([Coefficients(1, 1, 1), Coefficients(1, 1, 0.01), Coefficients(1, 0.01, 1)])
    with pytest.raises(ScalingError, match=r"resolution: ×0\.01 leaves 2 of 224 px"):
        B0.survey(1.0, num_classes=10).networks(points)


def test_no_points_are_no_networks() -> None:
    networks = B0.survey(1.0, num_classes=10).networks(Points.of([]))
    assert (len(networks.index), list(networks.models), list(networks.costs)) == (0, [], [])


def test_one_by_one_finds_the_same_networks() -> None:
    points = Points.of(p for p in map(Coefficients, (1, 1.05, 1.2, 1.2), (1, 1, 1.1, 1.1), (1, 1, 1.15, 1.1501)))
    survey = OneByOne(lambda p: B0.scaled(p.at(1)), lambda p: B0.scaled(p.at(1)).cost(10), 10)
    fast, slow = B0.survey(1.0, num_classes=10).networks(points), survey.networks(points)
    assert fast.index.tolist() == slow.index.tolist() == [0, 1, 2, 2]
    assert (list(fast.models), list(fast.costs)) == (list(slow.models), list(slow.costs))


def test_the_default_grid_is_planned_in_50_milliseconds() -> None:
    def seconds() -> float:
        start = time.process_time()
        made = plan(B0, 1.0, SearchSettings(), num_classes=1000)
        assert made.points == 109
        return time.process_time() - start

    assert min(seconds() for _ in range(5)) < 0.05


@pytest.mark.parametrize("options", [(), ("--match", "macs")])
def test_a_million_points_are_planned_and_listed_in_seconds(options: tuple[str, ...]) -> None:
    command = [sys.executable, "-m", "scalesearch", "candidates", "--step", str(MILLION), *options]
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert ("39976 points" if not options else "12720 pairs") in done.stdout
    assert after.ru_utime - before.ru_utime < 15


def test_thousands_of_rows_look_like_the_table_of_a_few() -> None:
    def lines(candidates: Sequence[Candidate]) -> list[str]:
        console = Console(width=200, file=io.StringIO(), highlight=False)
        with console.capture() as shown:
            console.print(plan_table(candidates))
        return [line.rstrip() for line in shown.get().splitlines()]

    made = plan(B0, 1.0, SearchSettings(), num_classes=1000)
    few, many = lines(made.candidates), lines(made.candidates * 20)
    rows = len(made.candidates)
    assert many[: rows + 1] == few[: rows + 1]
    assert many[1 + 20 * rows :] == few[1 + rows :] * 20


def test_the_table_of_a_million_points_has_a_row_for_each() -> None:
    made = plan(B0, 1.0, SearchSettings(step=MILLION), num_classes=1000)
    start = time.process_time()
    frame = candidates_frame(made)
    assert len(frame) == 159 * 80 * 80
    assert frame["verdict"].value_counts()["admitted"] == len(made.candidates)
    assert time.process_time() - start < 20
