"""Two winners: on this machine, and by MACs."""

from __future__ import annotations

import pandas as pd
import pytest

from scalesearch.candidates.quantities import QUANTITIES
from scalesearch.ranking.winners import in_words, winners


def _ranking(accuracies: tuple[float, float], macs: tuple[int, int], ms: tuple[float, float]) -> pd.DataFrame:
    rows = {"alpha": [1.0, 2.0], "beta": [1.4, 1.0], "gamma": [1.0, 1.0], "network": ["wide", "deep"]}
    return pd.DataFrame(rows | {"accuracy": accuracies, "macs": macs, "latency_ms": ms, "matched": ms})


def test_at_equal_latency_the_more_accurate_wins_here_and_the_cheaper_may_by_macs() -> None:
    """0.60·40^−0.07 = 0.463 and 0.59·20^−0.07 = 0.478."""
    found = winners(_ranking((0.60, 0.59), (40, 20), (10.0, 10.2)), measured="matched", equal="matched")
    assert found.differ and (found.on_machine["network"], found.by_macs["network"]) == ("wide", "deep")
    words = in_words(found, "matched", "matched", QUANTITIES["latency"], "cpu: a chip, 1 thread")
    assert words == (
        "two winners: on this machine α 1 β 1.4 γ 1 (60.0 %, 10 ms, 4e-05 M MACs), at equal latency (cpu: a chip, "
        "1 thread); by MACs α 2 β 1 γ 1 (59.0 %, 10.2 ms, 2e-05 M MACs), accuracy·MACs^−0.07"
    )
    words = in_words(found, "matched", "matched", QUANTITIES["latency"], "here", "macro_f1")
    assert "α 1 β 1.4 γ 1 (60.0 % macro F1, 10 ms" in words and words.endswith("macro F1·MACs^−0.07")


def test_one_network_that_wins_by_both_is_said_to() -> None:
    found = winners(_ranking((0.60, 0.50), (40, 40), (10.0, 10.0)), measured="matched", equal="matched")
    assert not found.differ
    assert in_words(found, "matched", "matched", QUANTITIES["latency"], "here").startswith("α 1 β 1.4 γ 1 wins both")


@pytest.mark.parametrize(("ms", "here"), [((10.0, 10.0), "wide"), ((40.0, 10.0), "deep")])
def test_at_equal_macs_the_faster_may_win_on_the_machine(ms: tuple[float, float], here: str) -> None:
    """0.60·(40/10)^−0.07 = 0.545, less than 0.59."""
    found = winners(_ranking((0.60, 0.59), (40, 40), ms), measured="latency_ms", equal="macs")
    assert (found.by_macs["network"], found.on_machine["network"]) == ("wide", here)
