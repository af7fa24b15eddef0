"""Networks without a classifier: what they give out grows with them, or stays for those who use it."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from scalesearch import scale_module
from scalesearch.errors import BaselineError
from scalesearch.models.catalogue import build_model, open_baseline
from scalesearch.models.checks import output_words
from scalesearch.models.probe import Probed
from scalesearch.models.surgery.network import Network
from scalesearch.scaling.compound import Multipliers, Rounding

RESNET18 = "timm:resnet18:features"
CHANNELS = [64, 64, 128, 256, 512]
"""Of a ResNet-18's stem and stages (He et al. 2016, Table 1)."""


class Unet(nn.Module):
    """One level, and a map of five classes."""

    def __init__(self) -> None:
        super().__init__()
        self.down = nn.Sequential(nn.Conv2d(3, 16, 3, padding=1), nn.BatchNorm2d(16), nn.ReLU())
        self.deep = nn.Sequential(nn.Conv2d(16, 32, 3, padding=1), nn.BatchNorm2d(32), nn.ReLU())
        self.up, self.classes = nn.ConvTranspose2d(32, 16, 2, 2), nn.Conv2d(32, 5, 1)

    def forward(self, image: Tensor) -> Tensor:
        high = self.down(image)
        low = self.deep(nn.functional.max_pool2d(high, 2))
        return self.classes(torch.cat([high, self.up(low)], 1))  # type: ignore[no-any-return]


class Both(nn.Module):
    """Features beside the logits, as those have it who train by distillation."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Conv2d(3, 16, 3), nn.ReLU(), nn.Conv2d(16, 24, 3), nn.ReLU())
        self.head = nn.Linear(24, 10)

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor]:
        features = self.body(image).mean((2, 3))
        return features, self.head(features)


def _channels(module: nn.Module) -> list[int]:
    return [int(tensor.shape[1]) for tensor in module.eval()(torch.zeros(1, 3, 64, 64))]


def test_the_maps_of_a_backbone_grow() -> None:
    spec = open_baseline(RESNET18).scaled(Multipliers(1, 1.5, 1)).spec
    built = build_model(spec)
    assert _channels(built) == [96, 96, 192, 384, 768]
    assert built.feature_info.channels() == [96, 96, 192, 384, 768]  # type: ignore[operator, union-attr]


def test_the_maps_keep_their_channels_where_that_is_asked_for() -> None:
    baseline = open_baseline(RESNET18, Rounding(keep_output_channels=True))
    plain, wider = (baseline.scaled(Multipliers(1, width, 1)) for width in (1, 1.5))
    assert _channels(build_model(wider.spec)) == CHANNELS
    assert wider.cost(10).params > plain.cost(10).params


def test_a_probe_head_makes_a_backbone_trainable() -> None:
    model = open_baseline(RESNET18).scaled(Multipliers(1, 1, 1))
    built = model.build(10)
    assert isinstance(built, Probed)
    assert built(torch.zeros(2, 3, 64, 64)).shape == (2, 10)
    assert model.cost(10).params == sum(p.numel() for p in built.parameters()) == 11_176_512 + 512 * 10 + 10


def test_the_classes_of_a_segmentation_stay_and_all_else_grows() -> None:
    wider = scale_module(Unet(), width=2, resolution=32)
    assert wider.eval()(torch.zeros(1, 3, 32, 32)).shape[1] == 5
    assert wider.deep[0].out_channels == 64  # type: ignore[index, union-attr]
    assert "classes: its channels stay" in str(output_words(Network(Unet(), 32)))


@pytest.mark.parametrize(("keep", "width"), [(False, 48), (True, 24)])
def test_features_beside_logits_grow_unless_they_are_kept(keep: bool, width: int) -> None:
    features, logits = scale_module(Both(), width=2, resolution=32, keep_output_channels=keep)(
        torch.zeros(1, 3, 32, 32)
    )
    assert (features.shape[1], logits.shape[1]) == (width, 10)


def test_a_part_that_a_network_has_not_is_told() -> None:
    with pytest.raises(BaselineError, match="timm:resnet18:features"):
        open_baseline("timm:resnet18:maps")
