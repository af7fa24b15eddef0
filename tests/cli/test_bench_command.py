"""Measuring networks: who is timed when, what the numbers are made of, and what a failure leaves standing."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from itertools import groupby
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from scalesearch.cli.commands.bench import bench_command, open_models
from scalesearch.errors import ScaleSearchError
from scalesearch.models.spec_model import SpecModel
from scalesearch.runtime.threads import threads
from scalesearch.runtime.timing import Timing, matrix_peak, summary
from scalesearch.scaling.cost import Cost
from scalesearch.scaling.spec import ModelSpec
from scalesearch.training.benchmark import bench
from scalesearch.training.benchmark_settings import BenchSettings, Measurement
from tests.support.small import TINY, run_here

CPU = torch.device("cpu")
SHORT = BenchSettings(batch_size=4, seconds=0.05, rounds=2, num_classes=5, device="cpu", threads=1)
ADDRESSES = 2**47
"""Bytes that a process can address at most: more are refused at once, by any allocator."""


class Pooled(nn.Module):
    """A pointwise convolution and a classifier of five; writes down its name whenever it runs."""

    def __init__(self, name: str, log: list[str]) -> None:
        super().__init__()
        self.name, self.log = name, log
        self.conv, self.head = nn.Conv2d(3, 8, 1), nn.Linear(8, 5)

    def forward(self, images: Tensor) -> Tensor:
        self.log.append(self.name)
        logits: Tensor = self.head(self.conv(images).relu().mean((2, 3)))
        return logits


@dataclass(frozen=True)
class Logged(SpecModel):
    name: str = "logged"
    log: list[str] = field(default_factory=list)

    def build(self, num_classes: int) -> nn.Module:
        return Pooled(self.name, self.log)


class TooLarge(SpecModel):
    def build(self, num_classes: int) -> nn.Module:
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")


Command = Callable[..., tuple[object, str, str]]


@pytest.fixture
def command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Command:
    """``scalesearch …`` in this process, beside tiny.yaml: its exit code, and what it wrote."""
    (tmp_path / "tiny.yaml").write_text(TINY)
    monkeypatch.chdir(tmp_path)

    return partial(run_here, monkeypatch, capsys)


def at(spec: ModelSpec, resolution: int) -> SpecModel:
    return SpecModel(spec.model_copy(update={"resolution": resolution}))


def test_a_hundred_times_the_macs_take_longer_and_both_are_told_in_order(tiny: ModelSpec) -> None:
    small, large = bench({"small": at(tiny, 16), "large": at(tiny, 192)}, SHORT)
    assert (small.name, large.name) == ("small", "large")
    assert 100 * small.cost.macs < large.cost.macs
    assert small.batch is not None
    assert large.batch is not None
    assert small.batch.median_ms < large.batch.median_ms
    assert small.batch.calls >= 10


def test_networks_take_turns(tiny: ModelSpec) -> None:
    log: list[str] = []
    bench({name: Logged(tiny, name, log) for name in "abc"}, SHORT.model_copy(update={"training": True}))
    turns = "".join(name for name, _ in groupby(log))
    assert turns == "abc" * (1 + SHORT.rounds), "once to warm up, then round after round"


def test_one_that_runs_out_of_memory_says_so_and_the_others_go_on(tiny: ModelSpec) -> None:
    broken, whole = bench({"broken": TooLarge(tiny), "whole": SpecModel(tiny)}, SHORT)
    assert broken.failures == {"build": "out of memory"}
    assert not broken.ran
    assert broken.cost == whole.cost
    assert whole.single is not None
    assert whole.failures == {}


def test_a_batch_that_is_too_large_leaves_batch_one_standing(tiny: ModelSpec) -> None:
    (row,) = bench({"tiny": SpecModel(tiny)}, SHORT.model_copy(update={"batch_size": ADDRESSES}))
    assert row.failures == {"batch": "out of memory"}
    assert row.single is not None
    assert row.images_per_second is row.memory is None


def test_what_torch_compile_cannot_do_is_told(tiny: ModelSpec) -> None:
    class Refused(nn.Module):
        def forward(self, images: Tensor) -> Tensor:
            raise RuntimeError("\nno C++ compiler found\nset CXX")

    (row,) = bench({"tiny": SpecModel(tiny)}, SHORT.model_copy(update={"compile": True}), compiler=lambda _: Refused())
    assert set(row.failures.values()) == {"torch.compile: RuntimeError: no C++ compiler found"}


@pytest.mark.parametrize("channels_last", [True, False])
def test_memory_is_what_is_alive_at_once(tiny: ModelSpec, channels_last: bool) -> None:
    """Weights and images stay; relu's input and output are the most that lives beside them."""
    (row,) = bench({"one": Logged(tiny)}, SHORT.model_copy(update={"channels_last": channels_last}))
    weights, pixels, maps = 8 * 3 + 8 + 8 * 5 + 5, 4 * 3 * 16 * 16, 4 * 8 * 16 * 16
    assert row.memory == 4 * (weights + pixels + 2 * maps)


def test_bf16_keeps_its_own_copy_of_the_weights(tiny: ModelSpec) -> None:
    (row,) = bench({"one": Logged(tiny)}, SHORT.model_copy(update={"precision": "bf16"}))
    weights, pixels, maps = 8 * 3 + 8 + 8 * 5 + 5, 4 * 3 * 16 * 16, 4 * 8 * 16 * 16
    until_relu = 8 * 3 + 8
    assert row.memory == 4 * (weights + pixels) + 2 * (until_relu + 2 * maps)


def test_a_training_step_takes_longer_than_inference(tiny: ModelSpec) -> None:
    (row,) = bench({"tiny": at(tiny, 64)}, SHORT.model_copy(update={"training": True}))
    assert row.batch is not None
    assert row.training is not None
    assert row.training.median_ms > row.batch.median_ms


def test_the_peak_is_measured_not_looked_up() -> None:
    """It lies within a factor of ten of what NumPy's own matrix product does here with as many threads or more."""
    a = np.ones((512, 512), np.float32)
    rates = []
    for _ in range(5):
        start = time.perf_counter()
        a @ a
        rates.append(2 * 512**3 / (time.perf_counter() - start))
    assert 0.1 * max(rates) < matrix_peak(CPU, "fp32", enough=0.002) < 20 * max(rates)


def test_rates_follow_from_the_median() -> None:
    timing = Timing(median_ms=20.0, p10_ms=10, p90_ms=30, calls=10, round_medians_ms=(20.0,))
    row = Measurement("one", 16, Cost(1_000_000, 1, 1, 1), batch_size=8, batch=timing, matrix_peak=8e9)
    assert row.images_per_second == 400
    assert row.macs_per_second == 4e8
    assert row.share_of_peak == 0.1, "two FLOPs per multiply-add"


Seconds = st.floats(1e-6, 10)


@given(st.integers(2, 6).flatmap(lambda n: st.lists(st.lists(Seconds, min_size=n, max_size=n), min_size=1, max_size=5)))
def test_the_median_lies_between_the_percentiles(rounds: list[list[float]]) -> None:
    timing = summary(rounds)
    slack = 1e-9 * timing.median_ms
    assert timing.p10_ms - slack <= timing.median_ms <= timing.p90_ms + slack
    assert timing.calls == sum(map(len, rounds))
    assert len(timing.round_medians_ms) == len(rounds)


def test_threads_are_put_back() -> None:
    before = torch.get_num_threads()
    with threads(before + 1):
        assert torch.get_num_threads() == before + 1
    assert torch.get_num_threads() == before


def test_two_networks_of_one_name_go_by_their_files(tmp_path: Path) -> None:
    for folder in ("one", "two"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "tiny.yaml").write_text(TINY)
    one, two = str(tmp_path / "one" / "tiny.yaml"), str(tmp_path / "two" / "tiny.yaml")
    assert list(open_models([one], None)) == ["tiny"]
    assert list(open_models([one, two, "mobilenet_v1"], 32)) == [one, two, "mobilenet_v1"]
    assert open_models([one], 32)["tiny"].resolution == 32


def test_piped_tables_fit_80_columns_and_the_file_says_it_all(command: Command, tmp_path: Path) -> None:
    name = "a_network_whose_name_is_too_long_for_any_table_that_has_to_fit_in_80_columns"
    (tmp_path / "long.yaml").write_text(TINY.replace("name: tiny", f"name: {name}"))
    limits = ("--seconds", "0.05", "--rounds", "2", "--device", "cpu", "--batch-size", "4")
    code, shown, _ = command("bench", "tiny.yaml", "long.yaml", "--training", *limits, "--out", "bench.json")
    assert code == 0
    assert max(map(len, shown.splitlines())) <= 80
    for word in ("batch 4, ms", "of peak", "training", "fp32", "channels last", "10th–90th", "MACs are multiply-adds"):
        assert word in shown
    data = json.loads((tmp_path / "bench.json").read_text())
    assert data["settings"]["precision"] == "fp32"
    assert data["environment"]["threads"] >= 1
    assert [row["name"] for row in data["networks"]] == ["tiny", name]
    for row in data["networks"]:
        assert row["batch"]["p10_ms"] <= row["batch"]["median_ms"] <= row["batch"]["p90_ms"]
        assert row["training"]["calls"] >= 10
        for key in ("macs", "params", "activations", "memory", "images_per_second", "macs_per_second", "matrix_peak"):
            assert row[key] > 0
        assert row["share_of_peak"] == pytest.approx(2 * row["macs_per_second"] / row["matrix_peak"])


def test_if_none_runs_the_exit_code_is_one(command: Command, tmp_path: Path) -> None:
    """One of its maps alone would take 1.7 terabytes."""
    (tmp_path / "wide.yaml").write_text(TINY.replace("channels: 16", "channels: 100_000", 1))
    code, shown, _ = command("bench", "wide.yaml", "--resolution", "8192", "--device", "cpu", "--json")
    assert code == 1
    (row,) = json.loads(shown)["networks"]
    assert row["failures"] == {"single": "out of memory", "batch": "out of memory"}


@pytest.mark.parametrize(
    ("names", "options", "message"),
    [
        (["nowhere.yaml"], {}, "no spec file at nowhere.yaml"),
        (["mobilenet_v9"], {}, "Did you mean mobilenet_v"),
        (["resnet18"], {"batch_size": 0}, "batch_size: expected greater than 0, got 0"),
        (["resnet18"], {"seconds": -1.0}, "seconds: expected greater than 0"),
        (["resnet18"], {"precision": "int8"}, "precision: expected"),
        (["resnet18"], {"threads": 10**6}, "threads: expected at most"),
        (["resnet18"], {"device": "abacus"}, "'abacus' is not understood"),
    ],
)
def test_a_mistake_is_told_before_anything_runs(names: list[str], options: dict[str, object], message: str) -> None:
    with pytest.raises(ScaleSearchError, match=message):
        bench_command(names, options, resolution=None, out=None, form="table")


def test_on_the_command_line_a_mistake_is_one_red_line(command: Command) -> None:
    code, _, told = command("bench", "tiny.yaml", "--batch-size", "0")
    assert code == 2
    assert told == "error: batch_size: expected greater than 0, got 0\n"
