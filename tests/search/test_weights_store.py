"""The weights of those in front are kept, and nobody else's."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import nn

from scalesearch.search.weights_store import Weights

CPU = torch.device("cpu")


def test_leaders_are_kept_and_those_that_fall_behind_are_dropped(tmp_path: Path) -> None:
    weights, module = Weights(tmp_path), nn.Linear(2, 2)
    weights.keep("a", 0, module, ["a", "b"])
    weights.keep("c", 0, module, ["a", "b"])
    kept = weights.load("a", 0, CPU)
    assert kept is not None and torch.equal(kept["weight"], module.weight)
    assert weights.load("c", 0, CPU) is None
    weights.keep("b", 1, module, ["b"])
    assert [file.name for file in tmp_path.iterdir()] == ["b-seed1.pt"]


def test_weights_that_cannot_be_kept_or_read_are_no_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    Weights(tmp_path / "file").keep("a", 0, nn.Linear(2, 2), ["a"])
    (tmp_path / "a-seed0.pt").write_bytes(b"torn")
    assert Weights(tmp_path).load("a", 0, CPU) is None
