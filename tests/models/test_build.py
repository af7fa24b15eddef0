"""Networks of specs as they are trained: every operator with every activation has gradients."""

from __future__ import annotations

from itertools import product
from typing import get_args

import pytest
import torch

from scalesearch.models.build import build_model
from scalesearch.scaling.spec import CHOSEN, Activation, ModelSpec, Op, StageSpec, StemSpec


@pytest.mark.parametrize(("op", "activation"), list(product(get_args(Op), get_args(Activation))))
def test_blocks_with_a_skip_have_gradients(op: Op, activation: Activation) -> None:
    """A skip that is added in place may overwrite what an activation keeps for the backward pass."""
    for expand in (1, 3) if "expand" in CHOSEN[op] else (1,):
        stage = StageSpec(op=op, channels=8, repeats=2, expand=expand)
        spec = ModelSpec(name="net", resolution=8, activation=activation, stem=StemSpec(channels=8), stages=(stage,))
        model = build_model(spec, 3)
        model(torch.randn(4, 3, 8, 8)).sum().backward()
        assert all(p.grad is not None and p.grad.isfinite().all() for p in model.parameters())
