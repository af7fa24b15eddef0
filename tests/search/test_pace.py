"""Trials that train far slower than they were timed: told once, when it has lasted."""

from __future__ import annotations

from scalesearch.search.pace import PATIENCE, Pace


def test_far_slower_for_long_is_told_once() -> None:
    pace = Pace({"net": 230.0})
    assert pace.told("net", 40, now=0) is None
    assert pace.told("net", 40, now=PATIENCE / 2) is None
    words = pace.told("net", 40, now=PATIENCE)
    assert words is not None
    assert "40 images a second, 230 were timed" in words
    assert "OMP_NUM_THREADS=1" in words
    assert pace.told("net", 40, now=9 * PATIENCE) is None


def test_a_slow_moment_or_an_unknown_network_is_not_told() -> None:
    pace = Pace({"net": 230.0})
    assert pace.told("net", 40, now=0) is None
    assert pace.told("net", 100, now=PATIENCE / 2) is None
    assert pace.told("net", 40, now=PATIENCE) is None
    assert pace.told("another", 1, now=0) is None
    assert Pace().told("net", 1, now=9 * PATIENCE) is None


def test_trials_that_share_a_device_are_not_something_else() -> None:
    pace = Pace({"net": 2300.0}, sharing=8)
    assert pace.told("net", 250, now=0) is None
    assert pace.told("net", 250, now=PATIENCE) is None
    assert pace.told("net", 40, now=2 * PATIENCE) is None
    words = pace.told("net", 40, now=3 * PATIENCE)
    assert words is not None and "by one trial alone, where 8 share the device" in words
