"""Energy: a counter's arithmetic on made-up files, what is said where nothing counts, and the table of `bench`."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
import torch

from scalesearch.runtime.energy import Energy, RaplCounter, counter_of, idle_watts, used
from scalesearch.training import benchmark
from tests.support.small import Cli

CPU = torch.device("cpu")


def _zone(root: Path, name: str, what: str, microjoules: int) -> Path:
    zone = root / name
    zone.mkdir()
    (zone / "name").write_text(f"{what}\n")
    (zone / "energy_uj").write_text(f"{microjoules}\n")
    (zone / "max_energy_range_uj").write_text("1000000000\n")
    return zone


def test_packages_add_up_and_their_parts_do_not_count_twice(tmp_path: Path) -> None:
    first, second = (_zone(tmp_path, f"intel-rapl:{i}", f"package-{i}", 5_000_000) for i in range(2))
    _zone(tmp_path, "intel-rapl:0:0", "core", 1)
    _zone(tmp_path, "intel-rapl-mmio:0", "psys", 1)
    counter, reason = counter_of(CPU, tmp_path)
    assert counter is not None and not reason and counter.name == "RAPL, 2 packages"
    assert counter.joules() == 0
    (first / "energy_uj").write_text("7000000")
    (second / "energy_uj").write_text("6000000")
    assert counter.joules() == 3
    (first / "energy_uj").write_text("1000000")  # it has begun again
    assert counter.joules() == pytest.approx(3 + 1000 - 6)


def test_where_nothing_counts_that_is_said(tmp_path: Path) -> None:
    assert counter_of(CPU, tmp_path) == (None, "this machine shows no RAPL counter (virtual machines seldom do)")
    assert counter_of(torch.device("mps"), tmp_path) == (None, "nothing counts the energy of mps")
    zone = _zone(tmp_path, "intel-rapl:0", "package-0", 1)
    (zone / "energy_uj").chmod(0)
    if os.geteuid():
        counter, reason = counter_of(CPU, tmp_path)
        assert counter is None and "cannot be read" in reason


class _Watts:
    """A machine that uses so many joules a call of `work`, and nothing else."""

    name = "made up"

    def __init__(self) -> None:
        self.total = 0.0

    def joules(self) -> float:
        return self.total

    def work(self) -> None:
        self.total += 2.0


def test_a_window_is_divided_by_its_images() -> None:
    machine = _Watts()
    found = used(machine, machine.work, lambda: None, images=4, seconds=0.05, idle=1.5)
    assert found.joules_per_image == pytest.approx(0.5)
    assert found.images_per_watt_hour == pytest.approx(7200)
    assert found.watts == pytest.approx(found.joules / found.seconds) and found.idle_watts == 1.5
    assert idle_watts(machine, 0.01) == 0


def test_bench_says_so_where_energy_is_not_measured(cli: Cli) -> None:
    if counter_of(CPU)[0] is not None:
        pytest.skip("this machine counts its energy")
    done = cli(
        "bench", "mobilenet_v1", "--resolution", "32", "--seconds", "0.05", "--rounds", "1", "--energy", "--json"
    )
    assert done.returncode == 0, done.stderr
    (network,) = json.loads(done.stdout)["networks"]
    assert network["energy"] is None and "RAPL" in network["failures"]["energy"]
    assert "mobilenet_v1: energy is not measured: " in done.stderr.replace("\n", " ")


def test_bench_measures_where_something_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    from scalesearch.models.catalogue import open_baseline
    from scalesearch.scaling.compound import Multipliers
    from scalesearch.training.benchmark_settings import BenchSettings

    class Clock(_Watts):
        def joules(self) -> float:
            self.total += 10.0
            return self.total

    monkeypatch.setattr(benchmark, "counter_of", lambda _: (Clock(), ""))
    monkeypatch.setattr(benchmark, "idle_watts", lambda _: 3.0)
    settings = BenchSettings(seconds=0.05, rounds=1, energy=True, energy_seconds=0.05, device="cpu", batch_size=2)
    model = open_baseline("mobilenet_v1").at(resolution=32).scaled(Multipliers(1, 1, 1))
    (row,) = benchmark.bench({"it": model}, settings)
    assert isinstance(row.energy, Energy)
    assert row.energy.joules == 10 and row.energy.images % 2 == 0 and row.energy.idle_watts == 3


def test_a_counter_is_read_where_it_is(tmp_path: Path) -> None:
    zone = _zone(tmp_path, "intel-rapl:0", "package-0", 10)
    assert RaplCounter([zone]).name == "RAPL, 1 package"
