"""Class-activation maps: what they add up to, and the figure that shows them side by side."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from scalesearch.models.catalogue import build_model, builtin
from scalesearch.models.class_activation import class_maps
from scalesearch.scaling.spec import ModelSpec


def _images(count: int, side: int) -> Tensor:
    return torch.randn(count, 3, side, side, generator=torch.Generator().manual_seed(0))


def _trained_a_little(network: nn.Module) -> nn.Module:
    """With norms and a classifier that are not as they start: maps of several signs."""
    torch.manual_seed(1)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.normal_(module.running_mean, 0, 0.5)  # type: ignore[arg-type]
            nn.init.uniform_(module.weight, 0.5, 1.5)
        elif isinstance(module, nn.Linear):
            nn.init.normal_(module.bias, 0, 1)
            nn.init.normal_(module.weight)
    return network.eval()


class Averaged(nn.Module):
    """Its feature maps have both signs: no ReLU before the spatial mean."""

    def __init__(self) -> None:
        super().__init__()
        self.body, self.head = nn.Conv2d(3, 8, 3), nn.Linear(8, 5)

    def forward(self, images: Tensor) -> Tensor:
        logits: Tensor = self.head(self.body(images).mean((2, 3)))
        return logits


class Colours(nn.Module):
    """Red, green or blue, by the mean of the channels: the map of a class is the image's channel."""

    def __init__(self) -> None:
        super().__init__()
        self.body, self.head = nn.Conv2d(3, 3, 1, bias=False), nn.Linear(3, 3, bias=False)
        for weight in (self.body.weight, self.head.weight):
            nn.init.eye_(weight.detach().view(3, 3))

    def forward(self, images: Tensor) -> Tensor:
        logits: Tensor = self.head(self.body(images).mean((2, 3)))
        return logits


class MaxPooled(nn.Module):
    """No spatial mean before the classifier, and a feature map on the way that nothing depends on."""

    def __init__(self) -> None:
        super().__init__()
        self.body, self.idle, self.head = nn.Conv2d(3, 8, 3), nn.Conv2d(8, 8, 1), nn.Linear(8, 5)

    def forward(self, images: Tensor) -> Tensor:
        seen = self.body(images).relu()
        self.idle(seen)
        logits: Tensor = self.head(seen.amax((2, 3)))
        return logits


@pytest.mark.parametrize("name", ["tiny", "mobilenet_v2", "resnet18"])
def test_the_mean_of_a_cam_and_the_bias_are_the_logit(name: str, tiny: ModelSpec) -> None:
    """The definition (Zhou et al. 2016, Eqs. 1 and 2)."""
    network, images = _trained_a_little(build_model(tiny if name == "tiny" else builtin(name), 7)), _images(3, 64)
    maps = class_maps(network, images)
    with torch.no_grad():
        logits = network(images)
    bias = next(m.bias for m in network.modules() if isinstance(m, nn.Linear) and m.out_features == 7)
    assert maps.method == "CAM" and maps.values.ndim == 3
    torch.testing.assert_close(maps.values.mean((1, 2)) + bias.detach()[maps.predicted], logits.amax(1))
    assert torch.equal(maps.predicted, logits.argmax(1))
    torch.testing.assert_close(maps.probability, logits.softmax(1).amax(1))


def test_the_map_of_a_colour_is_that_channel_of_the_image() -> None:
    image = torch.zeros(1, 3, 6, 6)
    image[0, 0, :2, 3:] = 1.0  # red, above and right
    image[0, 2, 5, 0] = 0.5  # a spot of blue, below and left
    red, blue = class_maps(Colours(), image), class_maps(Colours(), image, classes=torch.tensor([2]))
    assert red.method == "CAM" and red.predicted.tolist() == blue.predicted.tolist() == [0]
    assert torch.equal(red.values, image[:, 0].detach()) and torch.equal(blue.values, image[:, 2].detach())


def test_grad_cam_is_the_positive_part_of_cam_where_there_is_one() -> None:
    """Selvaraju et al. 2017, §3.1, show it up to scale; with summed gradients the scale is one."""
    torch.manual_seed(0)
    network, images = Averaged(), _images(4, 16)
    cam, grad = class_maps(network, images), class_maps(network, images, method="Grad-CAM")
    assert (cam.values < 0).any() and (cam.values > 0).any()
    assert (cam.method, grad.method) == ("CAM", "Grad-CAM")
    torch.testing.assert_close(grad.values, cam.values.relu())


def test_a_network_without_a_mean_before_its_classifier_gets_grad_cam() -> None:
    torch.manual_seed(0)
    network, images = MaxPooled(), _images(2, 8)
    maps = class_maps(network, images)
    assert maps.method == "Grad-CAM" and maps.values.shape == (2, 6, 6)
    assert (maps.values > 0).any()


def test_a_network_without_feature_maps_is_refused() -> None:
    with pytest.raises(ValueError, match="no feature map"):
        class_maps(nn.Sequential(nn.Flatten(), nn.Linear(3 * 16, 5)), _images(2, 4))
