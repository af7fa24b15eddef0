"""The interval of a difference of accuracies on the same images."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import multinomial

from scalesearch.ranking.paired import Difference, paired_difference


def forms(lost: int, won: int, both: int, neither: int) -> Difference:
    first = np.repeat([True, False, True, False], [lost, won, both, neither])
    second = np.repeat([False, True, True, False], [lost, won, both, neither])
    return paired_difference(first, second)


def test_it_is_the_textbooks_on_a_large_sample() -> None:
    """Approval of a prime minister, twice the same 1,600 people: −0.04, 95 % interval (−0.06, −0.02) (Agresti,
    Categorical Data Analysis, 2nd ed., §10.1.1)."""
    found = forms(150, 86, 794, 570)
    assert found.value == pytest.approx(-0.04)
    assert [found.low, found.high] == pytest.approx([-0.06, -0.02], abs=0.002)
    assert (found.lost, found.won, found.images) == (150, 86, 1600)


@pytest.mark.parametrize(("images", "p_lost", "p_won"), [(20, 0.15, 0.05), (30, 0.02, 0.02), (50, 0.3, 0.1)])
def test_it_holds_the_truth_as_often_as_it_says(images: int, p_lost: float, p_won: float) -> None:
    """Summed over all outcomes there are; an exact interval cannot be had, and a plain Wald interval holds it less."""
    held, shares = 0.0, [p_lost, p_won, 1 - p_lost - p_won]
    for lost in range(images + 1):
        for won in range(images + 1 - lost):
            found = forms(lost, won, images - lost - won, 0)
            if found.low <= p_won - p_lost <= found.high:
                held += float(multinomial.pmf([lost, won, images - lost - won], images, shares))
    assert held > 0.935


def test_no_disagreement_is_not_certainty() -> None:
    few, many = forms(0, 0, 30, 10), forms(0, 0, 3000, 1000)
    assert few.value == 0
    assert few.low < -0.05 < many.low < 0 < many.high < 0.05 < few.high


def test_rows_of_other_lengths_are_refused() -> None:
    with pytest.raises(ValueError, match="equal length"):
        paired_difference(np.ones(3, bool), np.ones(4, bool))
