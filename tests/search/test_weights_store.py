"""The weights of those in front are kept, and nobody else's."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn

from scalesearch.models.weights_file import About
from scalesearch.scaling.spec import ModelSpec
from scalesearch.search.weights_store import Weights


@pytest.fixture
def about(tiny: ModelSpec) -> About:
    return About(tiny, ("a", "b"), 16, (0.5, 0.5, 0.5), (0.25, 0.25, 0.25), 0.875)


def test_leaders_are_kept_and_those_that_fall_behind_are_dropped(tmp_path: Path, about: About) -> None:
    weights, module = Weights(tmp_path), nn.Linear(2, 2)
    weights.keep("a", 0, module, ["a", "b"], about)
    weights.keep("c", 0, module, ["a", "b"], about)
    kept = weights.load("a", 0)
    assert kept is not None and torch.equal(kept["weight"], module.weight)
    assert weights.load("c", 0) is None
    weights.keep("b", 1, module, ["b"], about)
    assert [file.name for file in tmp_path.iterdir()] == ["b-seed1.safetensors"]


def test_weights_that_cannot_be_kept_or_read_are_no_error(tmp_path: Path, about: About) -> None:
    (tmp_path / "file").write_text("in the way")
    Weights(tmp_path / "file").keep("a", 0, nn.Linear(2, 2), ["a"], about)
    (tmp_path / "a-seed0.safetensors").write_bytes(b"torn")
    assert Weights(tmp_path).load("a", 0) is None


def test_an_older_runs_files_are_read_and_replaced(tmp_path: Path, about: About) -> None:
    weights, module = Weights(tmp_path), nn.Linear(2, 2)
    torch.save(module.state_dict(), tmp_path / "a-seed0.pt")
    kept = weights.load("a", 0)
    assert weights.file("a", 0) == "a-seed0.pt" and kept is not None and torch.equal(kept["weight"], module.weight)
    weights.save("a", 0, module, about)
    assert [file.name for file in tmp_path.iterdir()] == [weights.file("a", 0)] == ["a-seed0.safetensors"]
    torch.save(module.state_dict(), tmp_path / "b-seed0.pt")
    weights.keep("a", 0, module, ["a"], about)
    assert [file.name for file in tmp_path.iterdir()] == ["a-seed0.safetensors"]
