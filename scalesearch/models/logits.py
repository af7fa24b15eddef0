"""What a file for other programs holds of a network: its row of classes alone, or all the maps of a backbone."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.utils import _pytree as pytree

from scalesearch.errors import ScaleSearchError


class _OneOutput(nn.Module):
    def __init__(self, network: nn.Module, place: int) -> None:
        super().__init__()
        self.network, self.place = network, place

    def forward(self, images: Tensor) -> Tensor:
        """The output at ``place`` among all of them."""
        chosen: Tensor = pytree.tree_leaves(self.network(images))[self.place]
        return chosen


def logits_alone(network: nn.Module, image: tuple[int, int, int], classes: int, name: str) -> nn.Module:
    """The network in evaluation mode; where it gives out more than one tensor, nothing but its logits.

    Raises:
        ScaleSearchError: none of what it gives out is a row of the classes.
    """
    network.eval()
    with torch.no_grad():
        outputs = network(torch.zeros(2, *image))
    if isinstance(outputs, Tensor) and outputs.shape[1:] == (classes,):
        return network
    known: dict[bool, tuple[int, ...]] = getattr(network, "_logits_at", {})
    leaves = pytree.tree_leaves(outputs)
    rows = [place for place, leaf in enumerate(leaves) if isinstance(leaf, Tensor) and leaf.shape[1:] == (classes,)]
    for place in (*known.get(False, ()), *rows):
        if place in rows:
            return _OneOutput(network, place).eval()
    kinds = ", ".join(
        str(tuple(leaf.shape)) if isinstance(leaf, Tensor) else type(leaf).__name__ for leaf in leaves[:4]
    )
    raise ScaleSearchError(f"{name} returns no logits of {classes} classes, but {kinds}: it cannot be exported")


class _Maps(nn.Module):
    def __init__(self, backbone: nn.Module) -> None:
        super().__init__()
        self.backbone = backbone

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        """Every map, in the order in which the backbone holds them."""
        return tuple(leaf for leaf in pytree.tree_leaves(self.backbone(images)) if isinstance(leaf, Tensor))


def maps_alone(backbone: nn.Module) -> nn.Module:
    """The backbone in evaluation mode, its maps as one tuple."""
    return _Maps(backbone).eval()
