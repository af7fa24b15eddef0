"""Larger networks that start with the function of the smaller one (Net2Net, Chen, Goodfellow & Shlens 2016)."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torchvision.models import DenseNet, ShuffleNetV2
from torchvision.models.efficientnet import MBConv, MBConvConfig
from torchvision.models.resnet import BasicBlock

from scalesearch import scale_module
from scalesearch.errors import SurgeryError
from scalesearch.models.surgery.loading import load_module
from tests.support import nasties
from tests.support.grow_coverage import difference, look, shake

SIDE = 32

FAMILIES = (
    "resnet18", "regnetx_002", "mnasnet_050", "rexnet_100", "densenet121", "convnext_femto_ols", "ecaresnet50t",
    "resnetv2_50d_frn", "resnet50_gn",
)  # fmt: skip
"""Of timm: one of a kind each, and small."""


class Plain(nn.Module):
    """Two convolutions and a classifier."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second, self.head = nn.Conv2d(3, 8, 3), nn.Conv2d(8, 16, 3), nn.Linear(16, 5)

    def forward(self, image: Tensor) -> Tensor:
        logits: Tensor = self.head(self.second(self.first(image).relu()).relu().mean((2, 3)))
        return logits


class Residual(nn.Module):
    """A ResNet of two stages, on torchvision's block."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 16, 3, 2, 1, bias=False), nn.BatchNorm2d(16), nn.ReLU())
        self.layer1 = nn.Sequential(BasicBlock(16, 16), BasicBlock(16, 16))
        shortcut = nn.Sequential(nn.Conv2d(16, 32, 1, 2, bias=False), nn.BatchNorm2d(32))
        self.layer2 = nn.Sequential(BasicBlock(16, 32, 2, shortcut), BasicBlock(32, 32))
        self.fc = nn.Linear(32, 7)

    def forward(self, image: Tensor) -> Tensor:
        logits: Tensor = self.fc(self.layer2(self.layer1(self.stem(image))).mean((2, 3)))
        return logits


class Gated(nn.Module):
    """Two MBConvs: depthwise convolutions, and gates of squeeze and excitation."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 16, 3, 2, 1, bias=False), nn.BatchNorm2d(16), nn.SiLU())
        blocks = [MBConv(MBConvConfig(4, 3, 1, 16, 16, 1), 0.0, nn.BatchNorm2d) for _ in range(2)]
        self.blocks, self.head = nn.Sequential(*blocks), nn.Linear(16, 7)

    def forward(self, image: Tensor) -> Tensor:
        logits: Tensor = self.head(self.blocks(self.stem(image)).mean((2, 3)))
        return logits


def dense() -> nn.Module:
    network: nn.Module = DenseNet(8, (2, 2), 16, num_classes=7)
    return network


def shuffled() -> nn.Module:
    network: nn.Module = ShuffleNetV2([1, 1, 1], [8, 16, 32, 64, 64], num_classes=7)
    return network


@pytest.mark.parametrize("width", [1.25, 1.5, 2, 3.1])
def test_a_wider_network_gives_equal_logits(width: float) -> None:
    small = shake(Residual())
    assert difference(small, scale_module(small, width=width, resolution=SIDE, grow=True), SIDE) < 1e-5


def test_deeper_and_wider_at_once() -> None:
    small = shake(Residual())
    large = scale_module(small, depth=1.6, width=1.3, resolution=SIDE, grow=True)
    assert len(large.layer1) == 4 and large.fc.in_features > 32  # type: ignore[arg-type, operator, union-attr]
    assert difference(small, large, SIDE) < 1e-5


@pytest.mark.parametrize(
    ("made", "depth", "width"), [(dense, 1.5, 1.5), (Gated, 1.5, 1.5), (shuffled, 1, 2)]
)  # fmt: skip
def test_concatenations_gates_and_shuffles(made: Callable[[], nn.Module], depth: float, width: float) -> None:
    small = shake(made())
    assert difference(small, scale_module(small, depth=depth, width=width, resolution=64, grow=True), 64) < 1e-5


def _ours() -> list[type[nn.Module]]:
    found = [c for c in vars(nasties).values() if isinstance(c, type) and issubclass(c, nn.Module)]
    return [c for c in found if c.__module__ == nasties.__name__ and c is not nasties.Net]


@pytest.mark.parametrize("made", _ours(), ids=lambda made: str(made.__name__))
def test_a_nasty_network_is_grown_or_refused_with_a_reason(made: type[nn.Module]) -> None:
    try:
        small = shake(made())
        small.eval()(torch.zeros(2, 3, 32, 32))
    except (TypeError, NotImplementedError, RuntimeError):
        pytest.skip("no network by itself")
    try:
        large = scale_module(small, width=2, resolution=32, grow=True)
    except SurgeryError as failure:
        assert len(failure.reason) > 10
        return
    assert difference(small, large, 32) < 1e-5


def test_shares_of_copies_differ_and_add_up_to_what_was_there() -> None:
    small = shake(Plain())
    large = scale_module(small, width=2, resolution=16, grow=True)
    before, after = small.second.weight, large.second.weight  # type: ignore[union-attr]
    pairs = after.reshape(32, 8, 2, 3, 3)[::2]  # type: ignore[operator]
    torch.testing.assert_close(pairs.sum(2), before)
    assert not torch.allclose(pairs[:, :, 0], pairs[:, :, 1])


@pytest.mark.parametrize(("noise", "equal"), [(0.0, True), (0.1, False)])
def test_copies_learn_the_same_only_without_noise(noise: float, equal: bool) -> None:
    large = scale_module(shake(Plain()), width=2, resolution=16, grow=True, noise=noise)
    large(torch.randn(4, 3, 16, 16)).logsumexp(1).sum().backward()
    gradient = large.first.weight.grad  # type: ignore[union-attr]
    assert torch.allclose(gradient[::2], gradient[1::2], rtol=1e-4) is equal  # type: ignore[index]


def test_new_blocks_can_learn() -> None:
    large = scale_module(shake(Residual()), depth=1.5, resolution=SIDE, grow=True).train()
    large(torch.randn(4, 3, SIDE, SIDE)).logsumexp(1).sum().backward()
    norm = large.layer1[2].bn2  # type: ignore[index, union-attr]
    assert float(norm.weight.detach().abs().max()) == 0
    assert float(norm.weight.grad.abs().max()) > 0


def test_the_model_itself_stays_as_it_is() -> None:
    small = shake(Residual()).train()
    before = {name: value.clone() for name, value in small.state_dict().items()}
    scale_module(small, depth=1.5, width=1.5, resolution=SIDE, grow=True)
    assert small.training and all(torch.equal(before[name], value) for name, value in small.state_dict().items())


@pytest.mark.long
@pytest.mark.parametrize("name", ["nf_resnet26", "ecaresnet26t"])
def test_standardised_weights_and_attention_over_channels_are_refused(name: str) -> None:
    assert all(isinstance(outcome, str) for outcome in look(f"timm:{name}").outcomes[:2])


@pytest.mark.parametrize(
    ("name", "depth", "width", "words"),
    [
        ("timm:convnext_atto", 1, 1.5, "only whole multiples of the width"),
        ("timm:repvgg_a0", 1.5, 1, "no residual connection"),
        ("timm:test_resnet", 0.5, 1, "makes it smaller"),
    ],
)
def test_what_cannot_be_grown_is_refused(name: str, depth: float, width: float, words: str) -> None:
    loaded = load_module(name)
    with pytest.raises(SurgeryError, match=words):
        scale_module(shake(loaded.module), depth=depth, width=width, resolution=loaded.resolution, grow=True)


def test_other_classes_are_another_function() -> None:
    with pytest.raises(SurgeryError, match="another function"):
        scale_module(Plain(), width=2, resolution=16, num_classes=3, grow=True)


@pytest.mark.long
@pytest.mark.parametrize("name", FAMILIES)
def test_a_family_of_timm_is_grown_or_refused(name: str) -> None:
    """Never wrong, never broken. All families: `python -m tests.support.surgery_coverage timm --grow`."""
    for outcome in look(f"timm:{name}").outcomes:
        assert outcome < 1e-5 if isinstance(outcome, float) else not outcome.startswith("BROKEN"), outcome


class Choosy(Plain):
    """Runs at some sizes, and says so by an error of any kind at the others."""

    def __init__(self, error: type[Exception]) -> None:
        super().__init__()
        self.error = error

    def forward(self, image: Tensor) -> Tensor:
        if image.shape[-1] < 48:
            raise self.error
        return super().forward(image)


@pytest.mark.parametrize("error", [AssertionError, IndexError, KeyError, ZeroDivisionError, NotImplementedError])
def test_a_network_that_runs_at_some_sizes_alone_is_grown_at_one_of_them(error: type[Exception]) -> None:
    small = shake(Choosy(error))
    large = scale_module(small, width=2.0, resolution=64, grow=True)
    assert difference(small, large, 64) < 1e-5
