"""Weights of elsewhere: found by name, by shape in order, or said to be missing; never put in the wrong place."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
import torchvision
from torch import Tensor, nn

from scalesearch.errors import BaselineError
from scalesearch.models.build import build_model
from scalesearch.models.catalogue import builtin
from scalesearch.models.weights import load_weights, read_weights
from scalesearch.scaling.compound import published_member


def _network(classes: int = 10) -> nn.Module:
    made: nn.Module = torchvision.models.resnet18(num_classes=classes)
    return made


def _noisy(model: nn.Module, seed: int = 0) -> nn.Module:
    torch.manual_seed(seed)
    for value in model.state_dict().values():
        if value.is_floating_point():
            value.copy_(torch.rand_like(value))
    return model.eval()


def test_a_networks_own_weights_fit_by_name() -> None:
    trained, fresh = _noisy(_network()), _noisy(_network(), 1)
    found = load_weights(fresh, trained.state_dict(), "it")
    images = torch.randn(2, 3, 64, 64)
    assert torch.equal(trained(images), fresh(images))
    assert not found.new and not found.unused and not found.by_shape
    assert found.words == f"weights of it: {len(trained.state_dict())} tensors by name; 0 start afresh"


def test_a_classifier_for_other_classes_starts_afresh() -> None:
    trained, other = _noisy(_network(1000)), _noisy(_network(7), 1)
    before = other.fc.weight.clone()  # type: ignore[union-attr,operator]
    found = load_weights(other, trained.state_dict(), "it")
    assert found.new == ("fc.weight", "fc.bias") and found.unused == ("fc.weight", "fc.bias")
    assert torch.equal(other.fc.weight, before)  # type: ignore[arg-type,union-attr]
    assert "2 start afresh: fc.weight, fc.bias" in found.words


@pytest.mark.parametrize("index", [0, 1])
def test_another_librarys_names_fit_by_shape_and_order(index: int) -> None:
    """Our EfficientNets define their tensors as torchvision's do, under other names."""
    theirs = _noisy(torchvision.models.get_model(f"efficientnet_b{index}"))
    spec = published_member(builtin("efficientnet_b0"), index)
    ours = build_model(
        spec.model_copy(update={"norm": spec.norm.model_copy(update={"eps": 1e-5 if index < 5 else 1e-3})})
    )
    found = load_weights(ours, theirs.state_dict(), "it")
    assert not [name for name in found.new if "num_batches" not in name]
    images = torch.randn(2, 3, 64, 64)
    with torch.inference_mode():
        torch.testing.assert_close(ours.eval()(images), theirs(images), rtol=1e-3, atol=1e-3)


def test_timms_names_fit_too_and_its_own_class_count_does_not() -> None:
    timm = pytest.importorskip("timm")
    theirs = _noisy(timm.create_model("tf_efficientnetv2_b0"))
    ours = build_model(builtin("efficientnet_v2_b0").model_copy(update={"resolution": 65}), num_classes=5)
    found = load_weights(ours, theirs.state_dict(), "it")
    left = [name for name in found.new if "num_batches" not in name]
    assert len(left) == 2 and all(ours.state_dict()[name].shape[0] == 5 for name in left)


def test_a_wider_network_takes_what_fits_and_says_what_does_not() -> None:
    wide = build_model(published_member(builtin("efficientnet_b0"), 2), num_classes=1000)
    found = load_weights(wide, build_model(builtin("efficientnet_b0")).state_dict(), "it")
    assert found.new and found.unused and found.by_name
    ours = wide.state_dict()
    assert all(
        ours[name].shape == build_model(builtin("efficientnet_b0")).state_dict()[name].shape for name in found.by_name
    )


def test_another_networks_weights_are_refused() -> None:
    with pytest.raises(BaselineError, match="fits no layer of this network"):
        load_weights(_network(), {"a": torch.zeros(3, 3), "b": torch.zeros(64)}, "it")


class _Layers(nn.Module):
    """Convolutions of these widths by names of its own."""

    def __init__(self, names: str, widths: tuple[int, ...], classes: int = 5) -> None:
        super().__init__()
        for name, before, after in zip(names, (3, *widths), widths, strict=False):
            self.add_module(name, nn.Sequential(nn.Conv2d(before, after, 3), nn.BatchNorm2d(after)))
        self.add_module(f"{names[0]}_last", nn.Linear(widths[-1], classes))


def test_an_order_that_fits_but_for_the_classifier_is_taken_and_its_names_are_said_to_differ() -> None:
    ours, theirs = _Layers("abc", (8, 16, 16)), _noisy(_Layers("xyz", (8, 16, 16), 7))
    found = load_weights(ours, theirs.state_dict(), "it")
    assert len(found.by_shape) == 3 * 6 and not found.by_name
    assert found.new == ("a_last.weight", "a_last.bias") and found.unused == ("x_last.weight", "x_last.bias")
    assert "18 by shape and order, their names differ (the first: x.0.weight for a.0.weight)" in found.words
    assert torch.equal(ours.c[1].running_var, theirs.z[1].running_var)  # type: ignore[index,union-attr]


@pytest.mark.parametrize("widths", [(8, 16, 24), (8, 16), (8, 16, 16, 16)])
def test_an_order_that_fits_in_part_is_refused_and_the_place_is_named(widths: tuple[int, ...]) -> None:
    """Two of three layers have the same shapes: that may be chance."""
    ours, theirs = _Layers("abc", (8, 16, 16)), _Layers("wxyz", widths)
    with pytest.raises(
        BaselineError, match=r"fits no layer .* in order tensor 1[239] is .* in the file, .* in the net"
    ):
        load_weights(ours, theirs.state_dict(), "it")


def test_tensors_of_equal_shape_and_another_kind_are_not_put_in_each_others_place() -> None:
    """A norm whose mean and variance come before its weight and its bias."""
    ours = _Layers("abc", (8, 16, 16))
    state = {f"other.{name}": value for name, value in _Layers("abc", (8, 16, 16)).state_dict().items()}
    norms = [name for name in state if "running" in name]
    swapped = dict(sorted(state.items(), key=lambda item: item[0] not in norms))
    with pytest.raises(BaselineError, match="fits no layer"):
        load_weights(ours, swapped, "it")


@pytest.mark.parametrize(
    "wrapped",
    [
        lambda state: state,
        lambda state: {"state_dict": state, "epoch": 3},
        lambda state: {"model": {f"module.{name}": value for name, value in state.items()}},
        lambda state: {"state_dict": {f"_orig_mod.{name}": value for name, value in state.items()}},
    ],
)
def test_files_as_training_programs_write_them(wrapped: Any, tmp_path: Path) -> None:
    state: dict[str, Tensor] = _network().state_dict()
    torch.save(wrapped(state), tmp_path / "weights.pt")
    read = read_weights(tmp_path / "weights.pt")
    assert list(read) == list(state)


def test_safetensors_are_read(tmp_path: Path) -> None:
    saved = pytest.importorskip("safetensors.torch")
    state = {name: value.contiguous() for name, value in _network().state_dict().items()}
    saved.save_file(state, tmp_path / "weights.safetensors")
    assert set(read_weights(tmp_path / "weights.safetensors")) == set(state)
    (tmp_path / "broken.safetensors").write_bytes(b"no")
    with pytest.raises(BaselineError, match="cannot be read"):
        read_weights(tmp_path / "broken.safetensors")


@pytest.mark.parametrize(
    ("content", "told"), [(None, "there is no file"), ([1, 2], "no state dict"), ({"a": 1}, "no state dict")]
)
def test_what_is_no_weights_is_said(content: object, told: str, tmp_path: Path) -> None:
    if content is not None:
        torch.save(content, tmp_path / "it.pt")
    with pytest.raises(BaselineError, match=told):
        read_weights(tmp_path / "it.pt")
    (tmp_path / "other.pt").write_bytes(b"garbage")
    with pytest.raises(BaselineError, match="cannot be read as weights alone"):
        read_weights(tmp_path / "other.pt")
