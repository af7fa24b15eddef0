"""Measuring in turns: what slows the machine down slows both."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch

from scalesearch.candidates.resolve import resolve_baseline
from scalesearch.errors import DeviceError
from scalesearch.recipe import Recipe, load_recipe
from scalesearch.runtime.energy import counter_of
from scalesearch.scaling.compound import Multipliers
from scalesearch.training.meter import EnergyGauge, Stopwatch, TurnMeter

CPU = torch.device("cpu")


class Drifting:
    """A gauge of a machine that becomes slower with every turn; the second call takes three times as long."""

    def __init__(self) -> None:
        self.turns = 0

    def seconds(self, call: Callable[[], object]) -> float:
        """The call is made, and takes as long as it pleases."""
        call()
        return 1.0

    def turn(
        self, one: Callable[[], object], other: Callable[[], object], seconds: tuple[float, float]
    ) -> tuple[float, float]:
        """Both calls are made."""
        one(), other()
        self.turns += 1
        return 10.0 * self.turns, 30.0 * self.turns


def _recipe(match: str) -> Recipe:
    return load_recipe(
        "quick", {"baseline": "resnet18", "resolution": 16, "search.match": match, "train.precision": "fp32"}
    )


@pytest.mark.parametrize(("match", "batch"), [("latency", 1), ("train-time", 32)])
def test_a_machine_that_slows_down_changes_no_ratio(match: str, batch: int) -> None:
    recipe = _recipe(match)
    baseline = resolve_baseline(recipe).baseline.scaled(Multipliers(1, 1, 1))
    ticks = iter([0.0, 7.0])
    meter = TurnMeter(baseline, recipe, CPU, 10, Drifting(), clock=lambda: next(ticks))
    assert meter.measure([baseline], 3) == [[3.0, 3.0, 3.0]]
    assert (meter.base, meter.seconds) == (20.0, 7.0)
    assert meter.place["batch"] == batch


def test_a_stopwatch_alternates_and_takes_medians() -> None:
    order: list[str] = []
    times = {"one": iter([1.0, 9.0, 2.0]), "other": iter([4.0, 5.0, 30.0])}

    def seconds(call: Callable[[], object]) -> float:
        name = str(call())
        order.append(name)
        return next(times[name])

    assert Stopwatch(seconds).turn(lambda: "one", lambda: "other", (0.01, 0.02)) == (2000.0, 5000.0)
    assert order == ["one", "other"] * 3


def test_energy_is_millijoules_of_an_image() -> None:
    class Counting:
        name, calls = "a counter", 0

        def joules(self) -> float:
            return 0.25 * self.calls

    counter = Counting()

    def call() -> None:
        counter.calls += 1

    one, other = EnergyGauge(CPU, counter, batch=5).turn(call, call, (0.1, 0.25))
    assert (one, other) == (50.0, 50.0)  # a quarter of a joule for five images
    assert counter.calls == 5 + 2  # half a second each


@pytest.mark.skipif(counter_of(CPU)[0] is not None, reason="this machine counts energy")
def test_energy_without_a_counter_is_refused_in_a_line() -> None:
    recipe = _recipe("energy")
    baseline = resolve_baseline(recipe).baseline.scaled(Multipliers(1, 1, 1))
    with pytest.raises(DeviceError, match="--match energy: neither NVML nor RAPL can be read here: ") as told:
        TurnMeter(baseline, recipe, CPU, 10)
    assert "\n" not in str(told.value)


def test_a_network_takes_more_processor_time_the_deeper_it_is() -> None:
    recipe = _recipe("latency")
    recipe = recipe.model_copy(update={"search": recipe.search.model_copy(update={"match_threads": 1})})
    baseline = resolve_baseline(recipe).baseline
    meter = TurnMeter(baseline.scaled(Multipliers(1, 1, 1)), recipe, CPU, 10)
    ((ratio, *_),) = meter.measure([baseline.scaled(Multipliers(3, 1, 1))], 1)
    assert ratio > 1.5
