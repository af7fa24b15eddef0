"""`grid` and `compare` with --grow-from: a trained network's weights are where the larger ones start."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.small import Cli

DEEPENED = """\
name: deepened
resolution: 16
activation: silu
stem: {channels: 8}
stages:
  - {op: mbconv, channels: 16, repeats: 2, stride: 2, expand: 4}
"""
SHORT = ("--recipe", "quick", "--resolution", "16", "--steps", "4", "--limit", "96", "--device", "cpu")
GRID = (*SHORT, "--step", "0.4", "--set", "search.tolerance=0.4", "--grow-from", "small", "--dry-run")
ROWS = """\
title: Two rows
baselines:
  deepened.yaml:
    - {label: wider, width: 1.5}
    - {label: deeper, depth: 1.5}
"""


@pytest.fixture(autouse=True)
def _trained(cli: Cli, tmp_path: Path) -> None:
    """A folder ``small`` of `train`."""
    (tmp_path / "deepened.yaml").write_text(DEEPENED)
    (tmp_path / "rows.yaml").write_text(ROWS)
    done = cli("train", "deepened.yaml", *SHORT, "--out", "small")
    assert done.returncode == 0, done.stderr


def test_a_plan_says_whether_its_networks_can_be_grown(cli: Cli) -> None:
    done = cli("grid", "--baseline", "deepened.yaml", *GRID)
    assert done.returncode == 0, done.stderr
    assert "networks were grown to see; the others are before the first is trained" in done.stdout + done.stderr
    refused = cli("grid", "--baseline", "deepened.yaml", *GRID, "--also", "9,0.5,1")
    assert refused.returncode == 2 and "fewer channels than deepened's" in refused.stderr


def test_rows_of_a_comparison_are_grown_too(cli: Cli, tmp_path: Path) -> None:
    done = cli("compare", "rows.yaml", *SHORT, "--grow-from", "small", "--top", "0", "--out", "run")
    assert done.returncode == 0, done.stderr
    assert "all 2 networks start with the function of small" in done.stdout + done.stderr
    (tmp_path / "rows.yaml").write_text(ROWS.replace("width: 1.5", "depth: 2"))
    begun = cli("compare", "rows.yaml", *SHORT, "--from-weights", "small", "--top", "0", "--out", "other")
    assert begun.returncode == 0, begun.stderr
    assert "weights.safetensors: " in begun.stdout + begun.stderr, begun.stdout
