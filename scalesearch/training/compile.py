"""`torch.compile`, block by block: the blocks that a stage repeats are compiled once, not once more each."""

from __future__ import annotations

from collections import Counter
from contextlib import AbstractContextManager

import torch
from torch import nn

MOST_SHAPES = 256
"""Blocks of one class differ in width from stage to stage; Dynamo gives up after eight kinds, unless it is told."""


def compile_blocks(model: nn.Module) -> int:
    """Compile ``model``'s repeated blocks where they stand, and how many there are; all of it if nothing is repeated.

    Nothing is built yet: a block is when it is first called. Its weights stay where they are.
    """
    torch._dynamo.config.recompile_limit = MOST_SHAPES
    torch._dynamo.config.accumulated_recompile_limit = 4 * MOST_SHAPES
    blocks = repeated_blocks(model) or [model]
    for block in blocks:
        block.compile(dynamic=False)
    return len(blocks)


def repeated_blocks(model: nn.Module) -> list[nn.Module]:
    """The outermost modules of which their container holds several of the same class, leaves left out, in order."""
    held = [
        child
        for module in model.modules()
        if isinstance(module, nn.Sequential | nn.ModuleList)
        for child in module
        if not isinstance(child, nn.Sequential) and any(True for _ in child.children())
    ]
    kinds = Counter(type(child) for child in held)
    chosen: list[nn.Module] = []

    def look_into(module: nn.Module) -> None:
        for child in module.children():
            if any(child is each for each in held) and kinds[type(child)] > 1:
                chosen.append(child)
            else:
                look_into(child)

    look_into(model)
    return chosen


def as_written() -> AbstractContextManager[object]:
    """In here nothing compiled is used, and nothing is compiled: an evaluation is not worth it."""
    stance: AbstractContextManager[object] = torch.compiler.set_stance("force_eager")
    return stance
