"""Candidates of equal measured cost, on a machine whose times follow a law."""

from __future__ import annotations

from collections import Counter

import pytest

from scalesearch.candidates.grid import Plan, plan
from scalesearch.candidates.measured_cost import MOST
from scalesearch.candidates.pricing import Counted
from scalesearch.candidates.resolve import resolve_baseline
from scalesearch.candidates.strategies import STRATEGIES, matched
from scalesearch.errors import EmptyGridError, ScaleSearchError
from scalesearch.models.protocols import ScaledModel
from scalesearch.recipe import Recipe, load_recipe
from scalesearch.report.tables import plan_summary, plan_table
from scalesearch.runtime.device import pick_device
from scalesearch.scaling.compound import Coefficients, Multipliers
from scalesearch.search.measuring import measure_grid, measure_rows
from tests.support.meters import CLASSES, LawMeter, seconds_by_law

ONE = Multipliers(1, 1, 1)


def _recipe(**search: object) -> Recipe:
    keys: dict[str, object] = {f"search.{key}": value for key, value in search.items()}
    told = {"baseline": "mobilenet_v2", "resolution": 96, "search.step": 0.25, "search.also": []}
    return load_recipe("quick", {**told, "search.match": "latency", **keys})


def _planned(recipe: Recipe, noise: float = 0.0) -> tuple[Plan, LawMeter, list[str]]:
    resolved, said = resolve_baseline(recipe), list[str]()
    meter = LawMeter(resolved.baseline.scaled(ONE), noise=noise)
    measure = measure_grid(recipe, resolved, pick_device("cpu"), CLASSES, told=said.append, meter=meter)
    made = plan(
        resolved.baseline, recipe.phi, recipe.search, num_classes=CLASSES, dropout=resolved.dropout, measure=measure
    )
    return made, meter, said


def _truth(recipe: Recipe, model: ScaledModel) -> float:
    return seconds_by_law(model) / seconds_by_law(resolve_baseline(recipe).baseline.scaled(ONE))


@pytest.mark.parametrize("solve", ["alpha", "beta", "gamma", "any"])
def test_every_admitted_candidate_costs_the_target_on_the_machine(solve: str) -> None:
    recipe = _recipe(solve=solve)
    made, _, _ = _planned(recipe)
    assert made.candidates
    for candidate in made.candidates:
        assert _truth(recipe, candidate.model) == pytest.approx(2, rel=0.05)
        assert candidate.spent is not None and candidate.latency_ms == candidate.spent.value
        assert candidate.spent.ratio == pytest.approx(_truth(recipe, candidate.model))
    ratios = [candidate.ratio for candidate in made.candidates]
    assert max(ratios) > 1.1 * min(ratios), "equal in time they differ in MACs"


def test_at_phi_the_target_is_to_the_phi() -> None:
    recipe = _recipe().model_copy(update={"phi": 1.5})
    for candidate in _planned(recipe)[0].candidates:
        assert _truth(recipe, candidate.model) == pytest.approx(2**1.5, rel=0.05)


def test_errors_of_a_few_per_cent_are_averaged_away() -> None:
    recipe = _recipe()
    made, meter, _ = _planned(recipe, noise=0.03)
    truths = [_truth(recipe, candidate.model) for candidate in made.candidates]
    assert len(truths) >= 5
    assert max(abs(truth / 2 - 1) for truth in truths) < 0.08
    turns: Counter[str] = Counter()
    for network, number in meter.asked:
        turns[network] += number
    assert max(turns.values()) <= MOST
    assert made.measured is not None and made.measured.networks == len(turns)


def test_what_cannot_cost_that_is_listed_with_what_it_was_measured_at() -> None:
    made, _, _ = _planned(_recipe(solve="alpha"))
    reasons = [each.reason for each in made.rejected]
    assert any(reason.startswith("measured at ") for reason in reasons)
    assert all("not 2×" in reason for reason in reasons if reason.startswith(("measured", "about")))


def test_nothing_within_the_tolerance_names_the_nearest() -> None:
    with pytest.raises(
        EmptyGridError, match=r"no candidate has 2× the baseline's latency within 0\.0%\. The nearest is"
    ):
        _planned(_recipe(measured_tolerance=1e-6))
    with pytest.raises(EmptyGridError, match=r"no candidate reaches 2× the baseline's latency within the ranges"):
        _planned(_recipe(max_alpha=1.0, max_beta=1.01, max_gamma=1.01))


def test_a_point_named_by_hand_is_measured_and_kept_whatever_it_costs() -> None:
    recipe = _recipe(also=[[1.5, 1.4, 1.4]])
    made, _, _ = _planned(recipe)
    mine = next(c for c in made.candidates if c.coefficients == Coefficients(1.5, 1.4, 1.4))
    assert mine.spent is not None and mine.spent.ratio == pytest.approx(_truth(recipe, mine.model))
    assert mine.spent.ratio > 3


def test_the_plan_says_where_it_was_measured_how_long_and_how_well_it_was_estimated() -> None:
    recipe = _recipe()
    made, _, said = _planned(recipe)
    words = plan_summary(made, recipe.search, recipe.phi)
    assert "pairs solved for equal latency" in words and "a law, 1 thread, batch 1, fp32" in words
    assert "measured over estimated: median 1.0" in words
    assert said[0].startswith("measuring the latency of 2")
    (table,) = [plan_table(made.candidates)]
    assert [c.heading for c in table.columns][-3:-1] == ["latency", "× base"]


def test_the_estimate_is_near_where_times_are_sums_of_counts() -> None:
    recipe = _recipe()
    resolved = resolve_baseline(recipe)

    def law(model: ScaledModel) -> float:
        return 3e-4 * model.spec.blocks + 1e-9 * model.cost(CLASSES).macs

    meter = LawMeter(resolved.baseline.scaled(ONE), law)
    measure = measure_grid(recipe, resolved, pick_device("cpu"), CLASSES, told=lambda _: None, meter=meter)
    made = plan(resolved.baseline, 1.0, recipe.search, num_classes=CLASSES, dropout=resolved.dropout, measure=measure)
    assert made.measured is not None
    assert made.measured.off_worst == pytest.approx(1, abs=1e-6)
    sampled = 22
    assert made.measured.networks <= sampled + len(made.candidates) + 15, "each candidate is measured once, none twice"


@pytest.mark.parametrize("name", ["params", "activations", "memory"])
def test_counted_costs_are_equal_within_two_per_cent(name: str) -> None:
    recipe = _recipe(match=name, solve="beta", step=0.1)
    resolved = resolve_baseline(recipe)

    def memory(cost: object) -> int:
        return 16 * cost.params + 128 * cost.saved  # type: ignore[attr-defined,no-any-return]

    made = plan(resolved.baseline, 1.0, recipe.search, num_classes=CLASSES, training_memory=memory)
    base = resolved.baseline.scaled(ONE).cost(CLASSES)
    count = memory if name == "memory" else lambda cost: getattr(cost, name)
    assert made.candidates
    for candidate in made.candidates:
        assert count(candidate.cost) / count(base) == pytest.approx(2, rel=0.02)


def test_a_coefficient_that_changes_no_parameters_is_not_solved_for() -> None:
    recipe = _recipe(match="params", solve="gamma")
    with pytest.raises(
        EmptyGridError, match="gamma does not change the number of parameters; add --solve alpha or beta"
    ):
        plan(resolve_baseline(recipe).baseline, 1.0, recipe.search, num_classes=CLASSES)


def test_what_is_measured_needs_a_device() -> None:
    recipe = _recipe()
    with pytest.raises(ScaleSearchError, match="--match latency needs a device to measure on"):
        plan(resolve_baseline(recipe).baseline, 1.0, recipe.search, num_classes=CLASSES)


def test_strategies_cost_the_same_time() -> None:
    recipe = _recipe()
    resolved = resolve_baseline(recipe)
    meter = LawMeter(resolved.baseline.scaled(ONE))
    found = measure_rows(
        recipe, resolved, CLASSES, 2.0,
        lambda pricing: matched(resolved.baseline, 2.0, CLASSES, 0.05, None, pricing),
        told=lambda _: None, meter=meter,
    )  # fmt: skip
    assert [line.label for line in found.lines] == ["baseline", *STRATEGIES]
    for line in found.lines[1:]:
        network = resolved.baseline.scaled(Multipliers(line.depth, line.width, line.resolution))
        assert _truth(recipe, network) == pytest.approx(2, rel=0.05), line.label
    assert found.file is not None
    assert [point.ratio for point in found.file.points] == [
        pytest.approx(_truth(recipe, resolved.baseline.scaled(Multipliers(x.depth, x.width, x.resolution))))
        for x in found.lines
    ]


def test_equal_parameters_leave_the_strategy_of_resolution_out() -> None:
    baseline = resolve_baseline(_recipe()).baseline
    pricing = Counted("params", baseline.scaled(ONE).cost(CLASSES))
    labels = [line.label for line in matched(baseline, 2.0, CLASSES, 0.05, None, pricing)]
    assert "resolution" not in labels and "width" in labels
