"""Files of weights: whole or not at all, tensors that share, and what they say of themselves."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, load_model, save_model
from torch import Tensor, nn

from scalesearch.errors import BaselineError
from scalesearch.models.weights import load_weights, read_weights
from scalesearch.models.weights_file import About, read_about, read_state, write_weights
from scalesearch.scaling.spec import ModelSpec
from scalesearch.scaling.spec_files import load_spec


class Tied(nn.Module):
    """Two layers of one weight, and a buffer that looks at a part of it."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Linear(4, 4, bias=False)
        self.last = nn.Linear(4, 4)
        self.last.weight = self.first.weight
        self.register_buffer("corner", self.first.weight.detach()[:2, :2])
        self.register_buffer("nothing", torch.zeros(0))
        self.register_buffer("none_either", torch.zeros(0))

    def forward(self, values: Tensor) -> Tensor:
        """Both, one after the other."""
        return self.last(self.first(values))  # type: ignore[no-any-return]


@pytest.fixture
def about(tiny: ModelSpec) -> About:
    return About(tiny, ("katze", "hund", "Äffchen"), 16, (0.1, 0.2, 0.3), (0.4, 0.5, 0.6), 0.9)


@pytest.mark.parametrize("suffix", ["safetensors", "pt"])
def test_tensors_that_share_are_written_once_and_all_come_back(suffix: str, tmp_path: Path, about: About) -> None:
    network, file = Tied(), tmp_path / f"tied.{suffix}"
    write_weights(file, network.state_dict(), about)
    for read in (read_state(file), read_weights(file)):
        assert list(read) == list(network.state_dict())
        for name, value in network.state_dict().items():
            assert torch.equal(read[name], value), name
    if suffix == "safetensors":
        assert "last.weight" not in load_file(file), "once"
    other = Tied()
    loaded = load_weights(other, read_weights(file), "it")
    assert loaded.new == () and loaded.unused == () and other.last.weight is other.first.weight
    assert torch.equal(other.first.weight, network.first.weight)


def test_safetensors_own_reader_and_writer_understand_it(tmp_path: Path, about: About) -> None:
    class Pair(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a = nn.Linear(3, 3)
            self.b = nn.Linear(3, 3)
            self.b.weight = self.a.weight

    ours, theirs = Pair(), Pair()
    write_weights(tmp_path / "ours.safetensors", ours.state_dict(), about)
    missing, unexpected = load_model(theirs, tmp_path / "ours.safetensors")
    assert not missing and not unexpected
    assert torch.equal(theirs.b.weight, ours.a.weight)
    save_model(ours, str(tmp_path / "theirs.safetensors"))
    read = read_weights(tmp_path / "theirs.safetensors")
    assert read.keys() == ours.state_dict().keys() and torch.equal(read["a.weight"], read["b.weight"])


def test_a_file_says_what_its_weights_are_of(tmp_path: Path, about: About, tiny: ModelSpec) -> None:
    file = write_weights(tmp_path / "it.safetensors", nn.Linear(2, 2).state_dict(), about)
    assert read_about(file) == about
    with safe_open(file, framework="pt") as content:
        said = content.metadata()
    assert json.loads(said["classes"]) == ["katze", "hund", "Äffchen"] and said["resolution"] == "16"
    assert json.loads(said["mean"]) == [0.1, 0.2, 0.3] and json.loads(said["std"]) == [0.4, 0.5, 0.6]
    (tmp_path / "spec.yaml").write_text(said["spec"])
    assert load_spec(tmp_path / "spec.yaml") == tiny and "scalesearch" in said
    write_weights(tmp_path / "bare.safetensors", nn.Linear(2, 2).state_dict())
    assert read_about(tmp_path / "bare.safetensors") is None and read_about(tmp_path / "none.safetensors") is None


def test_what_fails_in_the_middle_leaves_the_old_file(tmp_path: Path, about: About) -> None:
    file = write_weights(tmp_path / "it.safetensors", nn.Linear(2, 2).state_dict(), about)
    before = file.read_bytes()
    for suffix in ("safetensors", "pt"):
        with pytest.raises(ValueError, match="extra is no tensor"):
            write_weights(file.with_suffix(f".{suffix}"), {"extra": "text"})  # type: ignore[dict-item]
    assert [each.name for each in tmp_path.iterdir()] == ["it.safetensors"] and file.read_bytes() == before


def test_a_torn_file_is_said_in_a_line(tmp_path: Path) -> None:
    for name in ("torn.safetensors", "torn.pt"):
        (tmp_path / name).write_bytes(b"torn")
        with pytest.raises(BaselineError, match="cannot be read"):
            read_state(tmp_path / name)
