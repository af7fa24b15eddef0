"""The same weights give the same logits as torchvision's and timm's networks."""

from __future__ import annotations

import pytest
import torch
import torchvision
from torch import nn

from scalesearch.models.build import build_model
from scalesearch.models.catalogue import builtin
from scalesearch.scaling.compound import published_member
from scalesearch.scaling.spec import ModelSpec, NormSpec

TOLERANCE = 1e-4


def _norm_of(model: nn.Module) -> NormSpec:
    norm = next(m for m in model.modules() if isinstance(m, nn.BatchNorm2d))
    return NormSpec(eps=norm.eps, momentum=norm.momentum or 0.1)


def _assert_same(spec: ModelSpec, reference: nn.Module, pixels: int = 64) -> None:
    """Weights are handed over in order of definition; every one must find a tensor of its shape."""
    ours = build_model(spec.model_copy(update={"norm": _norm_of(reference)}))
    theirs, names = reference.state_dict(), list(ours.state_dict())
    assert len(names) == len(theirs)
    for norm in reference.modules():  # statistics as after training, so that they matter
        if isinstance(norm, nn.BatchNorm2d):
            nn.init.uniform_(norm.running_mean, -0.1, 0.1)  # type: ignore[arg-type]
            nn.init.uniform_(norm.running_var, 0.8, 1.2)  # type: ignore[arg-type]
    ours.load_state_dict(dict(zip(names, theirs.values(), strict=True)))
    images = torch.randn(2, 3, pixels, pixels)
    with torch.inference_mode():
        wanted = reference.eval()(images)
        torch.testing.assert_close(ours.eval()(images), wanted, rtol=TOLERANCE, atol=TOLERANCE)


@pytest.mark.parametrize("index", range(8))
def test_published_efficientnets_are_torchvisions(index: int) -> None:
    torch.manual_seed(index)
    spec = published_member(builtin("efficientnet_b0"), index)
    _assert_same(spec, torchvision.models.get_model(f"efficientnet_b{index}"))


@pytest.mark.parametrize("name", ["efficientnet_v2_s", "efficientnet_v2_m", "efficientnet_v2_l", "mobilenet_v2"])
def test_other_inverted_bottlenecks_are_torchvisions(name: str) -> None:
    torch.manual_seed(0)
    _assert_same(builtin(name), torchvision.models.get_model(name))


@pytest.mark.parametrize("index", range(4))
def test_published_v2s_are_timms(index: int) -> None:
    """At 65 px, where TensorFlow's padding, which timm repeats, is the same on both sides at every stride."""
    timm = pytest.importorskip("timm")
    torch.manual_seed(index)
    spec = published_member(builtin("efficientnet_v2_b0"), index)
    _assert_same(spec, timm.create_model(f"tf_efficientnetv2_b{index}"), pixels=65)


@pytest.mark.parametrize("name", ["resnet18", "resnet34", "resnet50"])
def test_resnets_are_torchvisions(name: str) -> None:
    """torchvision defines a block's shortcut last, as the builder does, and the same stem."""
    torch.manual_seed(0)
    _assert_same(builtin(name), torchvision.models.get_model(name))


def test_mobilenet_v1_is_timms() -> None:
    timm = pytest.importorskip("timm")
    torch.manual_seed(0)
    _assert_same(builtin("mobilenet_v1"), timm.create_model("mobilenetv1_100"))
