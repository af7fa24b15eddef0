"""The classifier is found by what it computes, whatever it is called; what is no linear layer at the end is refused."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import timm
import torch
import torchvision
from torch import Tensor, nn

from scalesearch.errors import BaselineError
from scalesearch.models.catalogue import build_model, builtin
from scalesearch.models.linear_head import linear_head

CLASSES = 7


def _body() -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(3, 12, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten())


class _Net(nn.Module):
    """A body, and whatever follows."""

    def __init__(self, *end: nn.Module) -> None:
        super().__init__()
        self.end, self.body = nn.Sequential(*end), _body()

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.end(self.body(x))
        return logits


@pytest.mark.parametrize(
    ("make", "width"),
    [
        (lambda: build_model(builtin("mobilenet_v2"), CLASSES), 1280),
        (lambda: torchvision.models.resnet18(num_classes=CLASSES), 512),
        (lambda: torchvision.models.googlenet(num_classes=CLASSES, init_weights=False), 1024),
        (lambda: timm.create_model("tf_efficientnet_lite0", num_classes=CLASSES), 1280),
        (lambda: timm.create_model("dpn48b", num_classes=CLASSES), 832),
        (lambda: timm.create_model("dla46x_c", num_classes=CLASSES), 256),
    ],
)
def test_the_classifier_of_libraries_networks_is_found(make: Callable[[], nn.Module], width: int) -> None:
    """Widths as published. The last two have a convolution for a classifier; googlenet has more heads in training."""
    head = linear_head(make(), torch.randn(2, 3, 96, 96), CLASSES)
    assert head.width == width and head.has_bias


def test_other_weights_are_what_the_network_gives_out() -> None:
    network, images = _Net(nn.Dropout(0.5), nn.Linear(12, CLASSES)), torch.randn(5, 3, 16, 16)
    head = linear_head(network, images, CLASSES)
    weight, bias = torch.randn(CLASSES, 12), torch.randn(CLASSES)
    head.put(weight, bias)
    with torch.inference_mode():
        wanted = network.body(images) @ weight.T + bias
        torch.testing.assert_close(network(images), wanted)
        torch.testing.assert_close(head.features(network, images), network.body(images))


def test_a_classifier_without_a_bias_is_found_and_has_none() -> None:
    head = linear_head(_Net(nn.Linear(12, CLASSES, bias=False)), torch.randn(2, 3, 16, 16), CLASSES)
    assert not head.has_bias


class _Twice(_Net):
    def forward(self, x: Tensor) -> Tensor:
        features = self.body(x)
        self.end(features.flip(1))
        logits: Tensor = self.end(features)
        return logits


@pytest.mark.parametrize(
    ("network", "told"),
    [
        (_Net(nn.Linear(12, CLASSES), nn.Softmax(1)), "not the outputs of one linear layer"),
        (_Net(nn.Linear(12, CLASSES), nn.BatchNorm1d(CLASSES)), "not the outputs of one linear layer"),
        (_Net(nn.utils.parametrizations.weight_norm(nn.Linear(12, CLASSES))), "computes its weights"),
        (_Twice(nn.Linear(12, CLASSES)), "called several times"),
        (_Net(nn.Linear(12, 5)), "is a row of the 7 classes"),
    ],
)
def test_what_is_no_linear_layer_at_the_end_is_refused(network: nn.Module, told: str) -> None:
    with pytest.raises(BaselineError, match=told):
        linear_head(network, torch.randn(2, 3, 16, 16), CLASSES)


def test_a_classifier_of_maps_is_refused() -> None:
    """SqueezeNet averages after its classifier."""
    with pytest.raises(BaselineError, match="train --from-weights FILE --freeze"):
        linear_head(torchvision.models.squeezenet1_1(num_classes=CLASSES), torch.randn(2, 3, 96, 96), CLASSES)
