"""A classifier for networks that have none: what makes a backbone trainable on images with classes."""

from __future__ import annotations

from dataclasses import replace

from torch import Tensor, nn

from scalesearch.models.surgery.tagger import flatten
from scalesearch.scaling.cost import Cost


class Probed(nn.Module):
    """A backbone and a probe head: the mean over positions of its deepest map, and a linear layer."""

    def __init__(self, backbone: nn.Module, place: int, channels: int, num_classes: int) -> None:
        """``place`` is the map's among all that the backbone gives out, ``channels`` its channels."""
        super().__init__()
        self.backbone, self.place = backbone, place
        self.probe = nn.Linear(channels, num_classes)

    def forward(self, images: Tensor) -> Tensor:
        """Logits (B, classes) of images (B, 3, H, W)."""
        deepest = list(flatten(self.backbone(images)))[self.place]
        logits: Tensor = self.probe(deepest.mean((2, 3)))
        return logits


def probed_cost(cost: Cost, channels: int, num_classes: int) -> Cost:
    """What one image costs with the probe head."""
    weights = channels * num_classes
    return replace(
        cost,
        macs=cost.macs + weights,
        params=cost.params + weights + num_classes,
        activations=cost.activations + num_classes,
    )
