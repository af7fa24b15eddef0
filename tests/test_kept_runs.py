"""The tables of docs/experiments.md are those that the kept runs give."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.benchmarks import across_phi, forecast, kept, rates

ROOT = Path(__file__).parents[1]
BANKS = (ROOT / "results/banks/resnet12-phi1", ROOT / "results/banks/resnet12-phi2")
PAPER = ROOT / "docs/experiments.md"


def tables(page: Path) -> list[list[str]]:
    """The page's tables, each as lines."""
    return [found.splitlines() for found in re.findall(r"(?:^\|.*\n)+", page.read_text(), re.M)]


def lines(rows: Sequence[Sequence[str]]) -> list[str]:
    return ["| " + " | ".join(row) + " |" for row in rows]


def named(page: Path) -> list[Path]:
    """The run folders that the page's command names."""
    command = re.search(r"`python -m tests\.benchmarks kept (.*)`", page.read_text())
    assert command
    return [ROOT / run for run in command[1].split()]


@pytest.mark.parametrize("page", [ROOT / "results/benchmarks/kept-runs.md", PAPER], ids=lambda page: page.name)
def test_the_table_of_runs_is_what_their_folders_say(page: Path) -> None:
    made = lines(kept.rows(named(ROOT / "results/benchmarks/kept-runs.md")))
    assert made in [table[2:] for table in tables(page)]


@pytest.mark.parametrize("page", [ROOT / "results/benchmarks/across-phi.md", PAPER], ids=lambda page: page.name)
def test_the_table_of_two_phis_is_what_the_banks_say(page: Path) -> None:
    assert lines(across_phi.rows(*BANKS)) in [table[2:] for table in tables(page)]


@pytest.mark.parametrize(
    "page", [ROOT / "results/benchmarks/forecast-resnet12-lengths.md", PAPER], ids=lambda page: page.name
)
def test_the_table_of_lengths_is_what_the_run_says(page: Path) -> None:
    assert lines(forecast.rows(ROOT / "results/banks/resnet12-lengths")) in [table[2:] for table in tables(page)]


@pytest.mark.parametrize("page", [ROOT / "results/benchmarks/learning-rates.md", PAPER], ids=lambda page: page.name)
def test_the_table_of_learning_rates_is_what_the_runs_say(page: Path) -> None:
    _, made, notes = rates.rows(sorted((ROOT / "results/banks/rates").glob("*/resnet12")), 0.1)
    assert lines(made) in [table[2:] for table in tables(page)]
    assert page == PAPER or notes in page.read_text()


def test_a_run_is_told_by_its_folder_alone() -> None:
    run, network, trained, seen, trials, found, *_ = kept.rows([BANKS[0]])[0]
    assert (run, network, trained, seen) == ("`banks/resnet12-phi1`", "resnet12, 40 px", "8,522", "136,192")
    assert (trials, found) == ("72 of 18", "6.68 (17 and 51)")
