"""What every benchmark shares: taking turns, spreads, and a page that says where it was measured."""

from __future__ import annotations

import json
import multiprocessing
import statistics
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import ParamSpec, TypeVar

import torch

from scalesearch.models.catalogue import open_baseline
from scalesearch.models.protocols import ScaledModel
from scalesearch.ranking.replay.bank import Bank
from scalesearch.ranking.signal import Signal, signal
from scalesearch.scaling.compound import Multipliers
from scalesearch.search.provenance import environment

P = ParamSpec("P")
T = TypeVar("T")

RESULTS = Path(__file__).parents[2] / "results" / "benchmarks"


@dataclass(frozen=True)
class Spread:
    """Median, lowest and highest of the rounds."""

    median: float
    low: float
    high: float

    @classmethod
    def of(cls, values: Sequence[float]) -> Spread:
        return cls(statistics.median(values), min(values), max(values))

    def __str__(self) -> str:
        return f"{self.median:.3g} ({self.low:.3g}–{self.high:.3g})"


def alone(function: Callable[P, T], *arguments: P.args, **options: P.kwargs) -> T:
    """What a function returns in a process of its own, where nothing that another contender set up is in force."""
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
        return pool.submit(function, *arguments, **options).result()


def in_turns(
    contenders: Mapping[str, Callable[[], T]], rounds: int, told: Callable[[T], str] = "{:.3g}".format
) -> dict[str, list[T]]:
    """Every contender once per round, in an order that is turned round each time; ``told`` words a measurement."""
    measured: dict[str, list[T]] = {name: [] for name in contenders}
    for number in range(rounds):
        order = list(contenders.items())
        for name, measure in order if number % 2 == 0 else reversed(order):
            measured[name].append(measure())
            print(f"  round {number + 1} of {rounds}: {name} {told(measured[name][-1])}", flush=True)
    return measured


def ratios(measured: Mapping[str, Sequence[float]], ours: str, other: str) -> Spread:
    """Of what was measured in the same round."""
    return Spread.of([a / b for a, b in zip(measured[ours], measured[other], strict=True)])


def write_page(
    name: str,
    title: str,
    header: Sequence[str],
    rows: Sequence[Sequence[object]],
    notes: str,
    command: str,
    device: torch.device | None = None,
) -> None:
    """``results/benchmarks/NAME.md`` for people and NAME.json for programs; ``command`` is the benchmark's part of the
    command line."""
    about = environment(["python", "-m", "tests.benchmarks", *command.split()], device or pick(), {})
    RESULTS.mkdir(parents=True, exist_ok=True)
    plain = {"environment": about, "header": list(header), "rows": [[str(cell) for cell in row] for row in rows]}
    (RESULTS / f"{name}.json").write_text(json.dumps(plain, indent=1, ensure_ascii=False) + "\n")
    lines = [f"# {title}", "", f"`python -m tests.benchmarks {command}`", "", notes.strip(), ""]
    lines += ["| " + " | ".join(header) + " |", "|" + "--|" * len(header)]
    lines += ["| " + " | ".join(map(str, row)) + " |" for row in rows]
    lines += [
        "",
        f"torch {torch.__version__}, {torch.get_num_threads()} threads; machine and versions: {name}.json",
        "",
    ]
    (RESULTS / f"{name}.md").write_text("\n".join(lines))
    print("\n".join(lines))


def bank_signal(bank: Bank) -> Signal | None:
    """The signal in a bank's final accuracies."""
    return signal({name: {t.seed: t.accuracy for t in trained} for name, trained in bank.trained.items()})


def shares_told(bank: Bank, row: int) -> str:
    """Which parts of the growth depth, width and resolution have in a bank's candidate, in per cent."""
    assert bank.neighbours.points is not None
    return " ".join(f"{100 * share:.0f}" for share in bank.neighbours.points[row]) + " %"


def baseline(name: str, size: int) -> ScaledModel:
    """A built-in network as it is, at another size."""
    return open_baseline(name).at(resolution=size).scaled(Multipliers(1, 1, 1))


def pick() -> torch.device:
    return torch.device("cuda:0" if torch.cuda.is_available() else "cpu")
