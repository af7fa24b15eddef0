"""A larger network that computes what a smaller, trained one computes."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import nn

from scalesearch.errors import SurgeryError
from scalesearch.image_size import image_shape
from scalesearch.models.surgery.grow.deepen import new_blocks, pass_on, take_over
from scalesearch.models.surgery.grow.follow import follow
from scalesearch.models.surgery.grow.matching import matched
from scalesearch.models.surgery.grow.proof import Image, images_of, prove_equal
from scalesearch.models.surgery.grow.widen import widen
from scalesearch.models.surgery.scaled import Scaled
from scalesearch.models.surgery.tagger import named_tensors

NOISE = 0.1
"""How much the shares of copies differ, as a share of one: without any, copies would learn the same for ever."""

SIDES = (32, 64, 96, 128)
"""Pixels at which a network is followed, until one is large enough: weights do not depend on it."""


def grow(
    small: nn.Module,
    deep: nn.Module,
    large: nn.Module,
    origins: Mapping[str, str | None],
    image: Image,
    noise: float,
) -> tuple[str, ...]:
    """Give ``large`` the weights with which it computes what ``small`` computes, in place.

    Args:
        deep: as deep as ``large`` and as wide as ``small``; it is changed too.
        origins: for each tensor of ``deep`` its name in ``small``, None where it is of a new block.
        image: channels, height and width of the images at which all of them run.
        noise: how much the shares of copies differ (`widen`).

    Returns:
        Tensors of ``large`` that evaluation does not use and that keep what they were initialised with.

    Raises:
        SurgeryError: it cannot be done; the message names the layer.
    """
    image = running_at(small, image)
    take_over(deep, dict(named_tensors(small)), origins)
    pass_on(deep, new_blocks(deep, origins), [images_of(image, 2)])
    if any(origin is None for origin in origins.values()):
        prove_equal(small, deep, image)
    same = images_of(image, 1).expand(2, -1, -1, -1)
    left = widen(deep, large, matched(follow(deep, same), follow(large, same)), noise=noise)
    prove_equal(small, large, image)
    return left


def running_at(module: nn.Module, image: Image) -> Image:
    """The smallest square of `SIDES` at which the network runs, else its own channels, height and width."""
    channels, *sides = image
    for side in (each for each in SIDES if each < min(sides)):
        smaller = (channels, side, side)
        try:
            with torch.no_grad():
                module.eval()(images_of(smaller, 2))
        except Exception:  # of a network of anybody's
            continue
        return smaller
    return image


def grow_scaled(small: Scaled, deep: Scaled, large: Scaled, trained: nn.Module, noise: float) -> nn.Module:
    """The network of ``large``, drawn from torch's global generator where it is new, that computes what ``trained``
    does.

    Args:
        small: what ``trained`` is a network of; its tensors have the names that they have there or in the original.
        deep: as deep as ``large``, as wide as ``small``.

    Raises:
        SurgeryError: it cannot be done; the message names the layer.
    """
    before, after = small.laws(), deep.laws()
    own = {law.name: name for name, law in before.items() if law.name}
    added: dict[str | None, list[str]] = {}
    for name, law in before.items():
        if not law.name:
            added.setdefault(law.of, []).append(name)
    origins: dict[str, str | None] = {}
    for name, law in after.items():
        rest = added.get(law.of, [])
        origins[name] = own.get(law.name) if law.name else rest.pop(0) if rest else None
    lost = set(before) - set(origins.values())
    if lost:
        raise SurgeryError(sorted(lost)[0], "the larger network has no such layer: it would be lost")
    twin, grown = small.build(), large.build()
    theirs = dict(named_tensors(trained))
    for name, tensor in named_tensors(twin):
        with torch.no_grad():
            tensor.copy_(theirs[name] if name in theirs else theirs[before[name].name or ""])
    grow(twin, deep.build(), grown, origins, image_shape(large.channels, large.account.resolution), noise)
    return grown
