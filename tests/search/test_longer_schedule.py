"""What a longer schedule says of a ranking, in words."""

from __future__ import annotations

from scalesearch.ranking.rank_correlation import rank_agreement
from scalesearch.search.longer_schedule import Verified


def test_where_all_tie_no_number_is_told() -> None:
    words = Verified(4, rank_agreement([0.1, 0.2, 0.3], [0.5, 0.5, 0.5]), True).words
    assert "cannot be said" in words and "nan" not in words


def test_orders_that_agree_are_told_with_their_interval() -> None:
    words = Verified(4, rank_agreement([0.1, 0.2, 0.3, 0.4], [0.5, 0.6, 0.7, 0.8]), True).words
    assert "Kendall's τ 1.00" in words and "stayed the best" in words
