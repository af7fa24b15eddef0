"""What is checked after growing, by running: both networks on random images."""

from __future__ import annotations

import copy
import math
from typing import Any

import torch
from torch import Tensor, nn

from scalesearch.errors import SurgeryError
from scalesearch.models.surgery.tagger import flatten

TOLERANCE = 1e-5
"""Most that outputs may differ, absolutely and as a share of the largest of them."""

IMAGES = 3

Image = tuple[int, int, int]
"""Channels, height and width."""


def prove_equal(first: nn.Module, second: nn.Module, image: Image) -> None:
    """Both networks give out the same for random images, in eval mode, to `TOLERANCE`; in double precision where they
    run in it, so that rounding hides nothing.

    Raises:
        SurgeryError: they do not; the message names the first layer where they part.
    """
    pair = [copy.deepcopy(module).eval() for module in (first, second)]
    images = images_of(image)
    try:
        double = [module.double() for module in pair]
        outputs = [_run(module, images.double()) for module in double]
    except Exception:  # of a network of anybody's
        pair = [module.float() for module in pair]
        outputs = [_run(module, images) for module in pair]
    worst = _worst(*outputs)
    if worst <= TOLERANCE:
        return
    raise SurgeryError(
        _parting(pair, images), f"grown, the network computes something else: outputs differ by {worst:.2g}"
    )


def images_of(image: Image, count: int = IMAGES) -> Tensor:
    """Random images, the same at every call; torch's generator is left as it was."""
    generator = torch.Generator().manual_seed(0)
    return torch.randn(count, *image, generator=generator)


def _run(module: nn.Module, images: Tensor) -> list[Tensor]:
    with torch.no_grad():
        return list(flatten(module(images.to(next(module.parameters()).dtype))))


def _worst(first: list[Tensor], second: list[Tensor]) -> float:
    """The largest difference, over 1 or over the largest output where that is more."""
    if len(first) != len(second) or any(a.shape != b.shape for a, b in zip(first, second, strict=True)):
        return float("inf")
    worst = 0.0
    for a, b in zip(first, second, strict=True):
        difference = float((a - b).abs().max()) / max(1.0, float(a.abs().max()))
        worst = max(worst, float("inf") if math.isnan(difference) else difference)
    return worst


def _parting(pair: list[nn.Module], images: Tensor) -> str:
    """The first layer at which the channels of the larger network are no longer copies of the smaller's.

    By what each layer's channels hold, whatever their order: as sorted sums over positions, without repeats.
    """
    seen: list[dict[str, Tensor]] = []
    for module in pair:
        kept: dict[str, Tensor] = {}

        def hook(path: str, kept: dict[str, Tensor] = kept) -> Any:
            def watch(_: nn.Module, __: Any, output: Any) -> None:
                if isinstance(output, Tensor) and output.ndim > 1:
                    kept.setdefault(path, output)

            return watch

        leaves = [(p, m) for p, m in module.named_modules() if next(m.children(), None) is None]
        handles = [leaf.register_forward_hook(hook(path)) for path, leaf in leaves]
        _run(module, images)
        for handle in handles:
            handle.remove()
        seen.append(kept)
    for path, one in seen[0].items():
        other = seen[1].get(path)
        if other is None or not _same_range(one, other):
            return path
    return "forward"


def _same_range(one: Tensor, other: Tensor) -> bool:
    ends = [torch.stack([t.amin(), t.amax()]) for t in (one, other)]
    scale = max(1.0, float(ends[0].abs().max()))
    return bool(((ends[0] - ends[1]).abs() <= TOLERANCE * scale).all())
