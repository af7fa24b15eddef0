"""The GPU's acceptance, rehearsed on the CPU."""

from __future__ import annotations

import pytest

from tests.benchmarks import acceptance


@pytest.mark.parametrize(
    "name", ["fp32 beside the CPU", "augmented views beside the CPU's", "channels_last beside contiguous"]
)
def test_a_check_agrees_with_itself_on_the_cpu(name: str) -> None:
    result = acceptance.one(name, acceptance.CPU)
    assert result.mark == "✓", result.figure


def test_what_needs_cuda_says_so() -> None:
    assert acceptance.one("CUDA graphs beside eager", acceptance.CPU).mark == "–"


def test_what_differs_or_fails_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(acceptance.CHECKS, "differs", lambda device: acceptance.close([1.0, 1.2], [1.0, 1.0], 0.1))
    monkeypatch.setitem(acceptance.CHECKS, "fails", lambda device: str(1 / 0))
    differs, fails = (acceptance.one(name, acceptance.CPU) for name in ("differs", "fails"))
    assert (differs.mark, fails.mark) == ("✗", "✗")
    assert "20.00%" in differs.figure and "division by zero" in fails.figure


@pytest.mark.parametrize("place", [0, 1])
def test_a_loss_that_is_no_number_differs(place: int) -> None:
    losses = [1.0, 1.0]
    losses[place] = float("nan")
    with pytest.raises(acceptance.DiffersError):
        acceptance.close(losses, [1.0, 1.0], 0.5)
