"""Weights that are worked out from other tensors: what those must start with, so that the weight starts as it should.

A spectral norm keeps two vectors that follow the weight's largest singular value from step to step; a weight norm keeps
the length of each of the weight's rows.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn

STEPS = 15
"""Power iterations before the first use, as torch's own norms make when they are put on."""


def power_vectors(module: nn.Module) -> Iterator[Tensor]:
    """The vectors that ``module`` keeps for a spectral norm, of either of torch's two kinds."""
    if type(module).__name__ == "_SpectralNorm":
        yield from (module._u, module._v)  # type: ignore[misc]
    for norm in _hooks(module, "SpectralNorm"):
        yield from (getattr(module, f"{norm.name}_u"), getattr(module, f"{norm.name}_v"))


def fit_to_weights(model: nn.Module) -> None:
    """Set what every spectral and weight norm keeps by the weights as they were drawn, in place."""
    with torch.no_grad():
        for module in model.modules():
            for held in getattr(module, "parametrizations", {}).values():
                for norm in held:
                    _fit(norm, held)
            for norm in _hooks(module, "SpectralNorm"):
                if not getattr(module, f"{norm.name}_orig").is_meta:
                    for _ in range(STEPS):
                        norm.compute_weight(module, do_power_iteration=True)
            for norm in _hooks(module, "WeightNorm"):
                direction = getattr(module, f"{norm.name}_v")
                if not direction.is_meta:
                    getattr(module, f"{norm.name}_g").copy_(torch.norm_except_dim(direction, 2, norm.dim))


def _fit(norm: nn.Module, held: Any) -> None:
    kind = type(norm).__name__
    if kind == "_SpectralNorm" and not held.original.is_meta:
        norm._power_method(norm._reshape_weight_to_matrix(held.original), STEPS)  # type: ignore[operator]
    elif kind == "_WeightNorm" and not held.original1.is_meta:
        held.original0.copy_(torch.norm_except_dim(held.original1, 2, norm.dim))  # type: ignore[arg-type]


def _hooks(module: nn.Module, kind: str) -> Iterator[Any]:
    """The hooks by which torch's older norms work, of a kind."""
    return (hook for hook in module._forward_pre_hooks.values() if type(hook).__name__ == kind)
