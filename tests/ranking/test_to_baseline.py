"""Differences to the baseline: intervals that hold for all rows at once, and what is said of them."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

from scalesearch.candidates.comparison import ComparisonRow
from scalesearch.candidates.comparison_rows import BaselineRows
from scalesearch.ranking.to_baseline import Differences, differences

DUNNETT = {1: 1.96, 2: 2.21, 3: 2.35, 4: 2.44}
"""Two-sided 5 % points for so many treatments against a control, infinite degrees of freedom (Dunnett 1964, "New tables
for multiple comparisons with a control", Biometrics 20:482)."""


def _differences(means: list[float], sd: float, *, draws: int = 100_000, seeds: int = 3) -> Differences | None:
    """Of rows with these accuracies, the baseline's first, whose draws vary independently."""
    lines = [ComparisonRow(f"row {i}", "se", 1.0, 1.0, 1.0) for i in range(len(means))]
    made = [SimpleNamespace(labels=(x.label,), model=SimpleNamespace(fingerprint=x.label)) for x in lines]
    group = BaselineRows("net", lines, SimpleNamespace(candidates=made), 224, 16, True)  # type: ignore[arg-type]
    random = np.random.default_rng(0)
    drawn = {x.label: mean + random.normal(0, sd, draws) for x, mean in zip(lines, means, strict=True)}
    return differences(group, drawn, 0.95, seeds)


@pytest.mark.parametrize("rows", DUNNETT)
def test_intervals_are_as_wide_as_dunnetts(rows: int) -> None:
    found = _differences([0.5] * (rows + 1), 0.01)
    assert found is not None
    for row in found.rows.values():
        assert (row.high - row.low) / 2 / (0.01 * 2**0.5) == pytest.approx(DUNNETT[rows], abs=0.03)


def test_rows_are_called_better_and_worse_where_zero_lies_outside() -> None:
    found = _differences([0.5, 0.6, 0.4, 0.501], 0.005)
    assert found is not None
    assert found.rows["row 1"].value == pytest.approx(0.1, abs=0.001)
    assert found.words == (
        "Against the baseline, at 95 % for all rows together: row 1 better; row 2 worse; "
        "1 of 3 rows cannot be told apart from it."
    )


def test_one_seed_is_said_to_be_one() -> None:
    found = _differences([0.5, 0.51], 0.02, seeds=1)
    assert found is not None
    assert found.words.endswith("One seed: how much seeds differ is assumed, not measured.")


def test_the_baseline_alone_differs_from_nothing() -> None:
    assert _differences([0.5], 0.01) is None
