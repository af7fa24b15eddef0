"""Which coefficients become candidates."""

from __future__ import annotations

import statistics

import pytest

from scalesearch.candidates.grid import enumerate_points, plan, select
from scalesearch.errors import EmptyGridError
from scalesearch.models.catalogue import builtin
from scalesearch.models.spec_baseline import SpecBaseline
from scalesearch.scaling.compound import PAPER, Coefficients, Rounding
from scalesearch.settings import SearchSettings

B0 = SpecBaseline(builtin("efficientnet_b0"))


def test_the_papers_own_coefficients_survive_the_default_tolerance() -> None:
    """(1.2, 1.1, 1.15) grows MACs by 1.92: a tolerance of 0.05 would lose the paper's answer."""
    points = enumerate_points(SearchSettings())
    assert PAPER in select(points)[0]
    assert PAPER not in select(points, tolerance=0.05)[0]


def test_the_default_grid_has_109_points_and_keeps_the_one_on_the_boundary() -> None:
    inside, outside = select(enumerate_points(SearchSettings()))
    assert (len(inside), len(inside) + len(outside)) == (109, 2541)
    assert Coefficients(1.9, 1.0, 1.0) in inside  # exactly 0.1 below 2; float noise decides elsewhere
    assert len(select(enumerate_points(SearchSettings(step=0.1)))[0]) in (20, 21)


def test_109_points_are_65_networks_on_b0_and_the_list_says_who_shares() -> None:
    made = plan(B0, 1.0, SearchSettings(), num_classes=1000)
    assert (made.points, len(made.candidates)) == (109, 65)
    assert sum(1 + len(c.also) for c in made.candidates) == 109
    for candidate in made.candidates:
        for other in candidate.also:
            assert B0.scaled(other.at(1)).fingerprint == candidate.model.fingerprint


def test_measured_cost_of_the_default_grid() -> None:
    """Of the 109 points, six cost within 2 ± 0.1 times the baseline; nominally all do."""
    made = plan(B0, 1.0, SearchSettings(), num_classes=1000)
    ratios = [c.ratio for c in made.candidates for _ in range(1 + len(c.also))]
    assert min(ratios) == pytest.approx(1.93, abs=5e-3)
    assert max(ratios) == pytest.approx(3.33, abs=5e-3)
    assert statistics.median(ratios) == pytest.approx(2.55, abs=5e-3)
    assert sum(abs(ratio - 2) <= 0.1 for ratio in ratios) == 6


def test_no_point_names_the_nearest() -> None:
    search = SearchSettings(step=0.1, max_alpha=1.6, tolerance=0.001)
    with pytest.raises(EmptyGridError, match=r"nearest is α 1\.40, β 1\.00, γ 1\.20 \(growth 2\.016\)"):
        plan(B0, 1.0, search, num_classes=10)


@pytest.mark.parametrize("phi", [1.0, 2.0, -1.0])
@pytest.mark.parametrize("solve", ["alpha", "beta", "gamma", "any"])
def test_matched_candidates_really_cost_two_to_the_phi(phi: float, solve: str) -> None:
    search = SearchSettings.model_validate({"match": "macs", "solve": solve, "step": 0.1})
    made = plan(B0, phi, search, num_classes=1000)
    assert len(made.candidates) >= 2
    for candidate in made.candidates:
        again = B0.scaled(candidate.coefficients.at(phi))  # from the four decimals that are shown
        assert again.cost(1000).macs / made.baseline_cost.macs == pytest.approx(2**phi, rel=0.02)


def test_of_values_that_cost_the_same_the_one_nearest_to_the_nominal_growth_is_taken() -> None:
    """Of EfficientNet-B0's repeats (1, 2, 2, 3, 3, 4, 1), all α from 1.0001 to 1.25 make 23 blocks."""
    search = SearchSettings(match="macs", solve="alpha", step=0.2)
    made = plan(B0.at(resolution=48), 1.0, search, num_classes=10)
    (found,) = [c for c in made.candidates if (c.coefficients.beta, c.coefficients.gamma) == (1, 1.2)]
    assert found.model.spec.blocks == 23
    assert found.coefficients.alpha == pytest.approx(1.25)


def test_matching_what_cannot_be_matched_names_the_nearest() -> None:
    coarse = SpecBaseline(builtin("efficientnet_b0"), Rounding(resolution_multiple=224))
    with pytest.raises(EmptyGridError, match=r"no candidate costs 2× .* The nearest is"):
        plan(coarse, 1.0, SearchSettings(match="macs", step=0.5, match_tolerance=0.001), num_classes=10)


def test_a_coefficient_that_can_only_be_one_is_not_solved() -> None:
    with pytest.raises(EmptyGridError, match="--solve gamma: it can only be 1"):
        plan(B0, 1.0, SearchSettings(match="macs", max_gamma=1.0), num_classes=10)


def test_budgets_drop_what_is_over_them_with_the_reason() -> None:
    search = SearchSettings(target_macs=900_000_000, target_params=8_000_000)
    made = plan(B0, 1.0, search, num_classes=1000)
    assert made.candidates
    assert all(c.cost.macs <= 900_000_000 and c.cost.params <= 8_000_000 for c in made.candidates)
    assert any("MACs, over 900,000,000" in r.reason for r in made.rejected)
    assert any("parameters, over 8,000,000" in r.reason for r in made.rejected)


def test_a_memory_budget_uses_the_estimate_it_is_given() -> None:
    search = SearchSettings(target_memory=10_000_000)
    made = plan(B0, 1.0, search, num_classes=10, training_memory=lambda cost: cost.params)
    assert all(c.cost.params <= 10_000_000 for c in made.candidates)
    with pytest.raises(EmptyGridError, match="bytes of training memory"):
        plan(B0, 1.0, search, num_classes=10, training_memory=lambda cost: cost.macs)


def test_points_named_by_hand_are_tried_whatever_they_cost() -> None:
    made = plan(B0, 1.0, SearchSettings(step=0.2, also=((1.2, 1.1, 1.15),)), num_classes=10)
    assert PAPER in [c.coefficients for c in made.candidates]
    assert made.points == 6
