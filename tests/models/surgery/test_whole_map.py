"""Pools over the whole map stay so, and nothing of an image is lost at another resolution without a word."""

from __future__ import annotations

import copy
import io
import pickle
from itertools import pairwise

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from scalesearch import scale_module
from scalesearch.errors import SurgeryError
from scalesearch.models.checks import resolution_words
from scalesearch.models.surgery.network import Network
from scalesearch.models.surgery.proof import prove, prove_identity


class Trunk(nn.Module):
    """32 px become a 4 × 4 map of 32 channels; what happens to it is for the subclasses to say."""

    def __init__(self) -> None:
        super().__init__()
        widths = (3, 8, 16, 32)
        self.layers = nn.Sequential(*(nn.Conv2d(i, o, 3, 2, 1) for i, o in pairwise(widths)))
        self.norm = nn.BatchNorm2d(32)
        self.pool: nn.Module = nn.AvgPool2d(4)
        self.fc = nn.Linear(32, 5)

    def forward(self, images: Tensor) -> Tensor:
        return self.fc(self.pooled(self.layers(images)).flatten(1))  # type: ignore[no-any-return]

    def pooled(self, x: Tensor) -> Tensor:
        return self.pool(x)  # type: ignore[no-any-return]


class Functional(Trunk):
    def pooled(self, x: Tensor) -> Tensor:
        return functional.avg_pool2d(x, 4)


class BehindAFunction(Trunk):
    def pooled(self, x: Tensor) -> Tensor:
        return functional.avg_pool2d(functional.relu(self.norm(x)), (4, 4))


class StrideOne(Trunk):
    def __init__(self) -> None:
        super().__init__()
        self.pool = nn.AvgPool2d(4, stride=1)


class Largest(Trunk):
    def pooled(self, x: Tensor) -> Tensor:
        return functional.max_pool2d(x, kernel_size=4)


class LargestModule(Trunk):
    def __init__(self) -> None:
        super().__init__()
        self.pool = nn.MaxPool2d(4)


class Power(Trunk):
    def __init__(self) -> None:
        super().__init__()
        self.pool = nn.LPPool2d(2, 4)


class InTwoSteps(Trunk):
    """An ordinary pool of two, then one over what is left."""

    def pooled(self, x: Tensor) -> Tensor:
        return functional.avg_pool2d(functional.avg_pool2d(x, 2), 2)


class Cropped(Trunk):
    def pooled(self, x: Tensor) -> Tensor:
        return x[:, :, :4, :4].mean((2, 3))


class Narrowed(Trunk):
    def pooled(self, x: Tensor) -> Tensor:
        return x.narrow(2, 0, 4).narrow(3, 0, 4).mean((2, 3))


class Rows(Trunk):
    def pooled(self, x: Tensor) -> Tensor:
        return x[:, :, :4].mean((2, 3))


class Flattened(Trunk):
    """Two convolutions and pools, then a row of features of a fixed length, as in LeNet-5."""

    def __init__(self) -> None:
        super().__init__()
        self.one, self.two = nn.Conv2d(3, 6, 5), nn.Conv2d(6, 16, 5)
        self.fc = nn.Linear(16 * 5 * 5, 5)

    def forward(self, images: Tensor) -> Tensor:
        x = functional.max_pool2d(functional.relu(self.one(images)), 2)
        x = functional.max_pool2d(functional.relu(self.two(x)), 2)
        return self.fc(x.view(-1, 16 * 5 * 5))  # type: ignore[no-any-return]


class FlattenedOnePosition(Trunk):
    """The map is one position at the native size, by strides alone."""

    def __init__(self) -> None:
        super().__init__()
        self.more = nn.Sequential(nn.Conv2d(32, 32, 3, 2, 1), nn.Conv2d(32, 32, 3, 2, 1))

    def forward(self, images: Tensor) -> Tensor:
        return self.fc(torch.flatten(self.more(self.layers(images)), 1))  # type: ignore[no-any-return]


GLOBAL = {
    Trunk: lambda x, net: x.mean((2, 3)),
    Functional: lambda x, net: x.mean((2, 3)),
    BehindAFunction: lambda x, net: net.norm(x).relu().mean((2, 3)),
    StrideOne: lambda x, net: x.mean((2, 3)),
    Largest: lambda x, net: x.amax((2, 3)),
    LargestModule: lambda x, net: x.amax((2, 3)),
    Power: lambda x, net: (x.square().mean((2, 3)) * 16).sqrt(),
}
"""What each head means over a map of any size."""


@pytest.mark.parametrize("kind", GLOBAL, ids=lambda kind: str(kind.__name__))
@pytest.mark.parametrize("pixels", [36, 44, 64, 28])
def test_a_pool_over_the_whole_map_is_one_at_every_size(kind: type[Trunk], pixels: int) -> None:
    torch.manual_seed(0)
    net = scale_module(kind(), width=1.5, resolution=32).eval()
    assert "its pool covers the whole map" in str(net.account)
    images = torch.randn(2, 3, pixels, pixels)
    with torch.no_grad():
        expected = net.fc(GLOBAL[kind](net.layers(images), net))  # type: ignore[operator, no-untyped-call]
        assert torch.allclose(net(images), expected, atol=1e-5)
    images.requires_grad_()
    net(images).sum().backward()
    assert images.grad is not None
    if kind not in (Largest, LargestModule):  # the largest of a channel is one place
        assert (images.grad.abs().sum(1) > 0).float().mean() > 0.95


@pytest.mark.parametrize("kind", GLOBAL, ids=lambda kind: str(kind.__name__))
def test_at_the_native_size_it_is_the_original_bit_for_bit(kind: type[Trunk]) -> None:
    model = kind()
    network = Network(model, 32)
    prove_identity(network, model)
    scaled = network.scaled(1, 1.25, 45)
    prove(scaled)
    assert "the pool over the whole map follows its size" in resolution_words(network)


def test_an_ordinary_pool_before_it_stays_what_it_is() -> None:
    """What is pooled by two at 4 × 4 is pooled by two at 6 × 6, and then over the 3 × 3 that are left."""
    net = scale_module(InTwoSteps(), resolution=32).eval()
    images = torch.randn(1, 3, 48, 48)
    with torch.no_grad():
        expected = net.fc(functional.avg_pool2d(net.layers(images), 2).mean((2, 3)))  # type: ignore[operator]
        assert torch.allclose(net(images), expected, atol=1e-5)


def test_copies_and_pickles_of_such_a_network_work() -> None:
    net = scale_module(Functional(), width=1.5, resolution=32).eval()
    images = torch.randn(1, 3, 48, 48)
    file = io.BytesIO()
    torch.save(net, file)
    file.seek(0)
    for twin in (copy.deepcopy(net), pickle.loads(pickle.dumps(net)), torch.load(file, weights_only=False)):
        assert torch.equal(twin(images), net(images))
    assert type(net).__name__ == "Functional"
    assert isinstance(net, Functional)


def test_such_a_network_can_be_exported() -> None:
    net = scale_module(BehindAFunction(), width=1.5, resolution=48).eval()
    images = torch.randn(2, 3, 48, 48)
    exported = torch.export.export(net, (images,)).module()
    assert torch.allclose(exported(images), net(images), atol=1e-6)


@pytest.mark.parametrize("kind", [Cropped, Narrowed, Rows], ids=lambda kind: str(kind.__name__))
def test_a_part_of_the_map_that_does_not_grow_is_refused(kind: type[Trunk]) -> None:
    network = Network(kind(), 32)
    assert network.nearest(32) == 32
    with pytest.raises(SurgeryError, match=r"rows or columns of .* reach the output"):
        network.nearest(64)


def test_a_fixed_row_of_features_takes_one_size_and_pooling_helps() -> None:
    network = Network(Flattened(), 32)
    assert network.multiple is None, "+1 and +3 px are floored away, 64 px are not"
    assert resolution_words(network).endswith("--adaptive-pool lets it see others")
    pooled = Network(Flattened(), 32, adaptive_pool=True)
    assert pooled.multiple == 1
    for pixels in (29, 37, 45, 64):
        prove(pooled.scaled(1, 1.5, pixels))
    net = pooled.scaled(1, 1, 64).build().eval()
    x = functional.max_pool2d(functional.relu(net.one(torch.ones(1, 3, 64, 64))), 2)  # type: ignore[operator]
    x = functional.max_pool2d(functional.relu(net.two(x)), 2)  # type: ignore[operator]
    expected = net.fc(functional.adaptive_avg_pool2d(x, 5).flatten(1))  # type: ignore[operator]
    assert torch.allclose(net(torch.ones(1, 3, 64, 64)), expected, atol=1e-5)


def test_pooling_applies_where_one_position_is_left() -> None:
    network = Network(FlattenedOnePosition(), 32)
    assert network.multiple is None
    pooled = Network(FlattenedOnePosition(), 32, adaptive_pool=True)
    assert pooled.multiple == 1
    prove(pooled.scaled(1, 1, 64))


def test_pooling_is_not_advised_where_it_does_not_help() -> None:
    class Fixed(Trunk):
        def __init__(self) -> None:
            super().__init__()
            self.grid: Tensor
            self.register_buffer("grid", torch.ones(1, 1, 4, 4))

        def pooled(self, x: Tensor) -> Tensor:
            return (x + self.grid).mean((2, 3))

    network = Network(Fixed(), 32)
    assert network.multiple is None
    assert "--adaptive-pool" not in resolution_words(network)
