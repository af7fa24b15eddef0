"""A file of source code, run and held against the network that it was written from."""

from __future__ import annotations

import sys
import types
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from scalesearch.errors import ScaleSearchError
from scalesearch.models.export import TOLERANCE, Agreement
from scalesearch.models.logits import logits_alone


@contextmanager
def running(code: str, name: str, file: Path) -> Iterator[Any]:
    """The module that source code makes, as if it were imported from ``file`` under ``name``.

    Raises:
        ScaleSearchError: it does not run.
    """
    module = types.ModuleType(name)
    module.__file__ = str(file.absolute())
    before = sys.modules.get(name)
    sys.modules[name] = module  # what it defines asks for its module by name
    try:
        try:
            exec(compile(code, str(file), "exec"), module.__dict__)
        except Exception as failure:
            raise ScaleSearchError(f"the code does not run: {_said(failure)}") from failure
        yield module
    finally:
        if before is None:
            sys.modules.pop(name, None)
        else:
            sys.modules[name] = before


def prove_same(
    network: nn.Module,
    written: nn.Module,
    image: tuple[int, int, int],
    classes: int,
    name: str,
    state: Mapping[str, Tensor] | None = None,
) -> Agreement:
    """How far the logits of what was written are from the network's, on two images, once it has the same weights.

    Args:
        image: channels, height and width.
        state: the network's tensors under the names of what was written; the network's own if None.

    Raises:
        ScaleSearchError: its tensors have other names or shapes, or it computes something else.
    """
    try:
        with torch.random.fork_rng(devices=[]):
            written.load_state_dict(network.state_dict() if state is None else dict(state))
    except Exception as failure:
        raise ScaleSearchError(f"{name}: the code makes another network: {_said(failure)}") from failure
    counts = [sum(p.numel() for p in each.parameters() if p.requires_grad) for each in (network, written)]
    if counts[0] != counts[1]:
        raise ScaleSearchError(f"{name}: the code makes {counts[1]:,} parameters, where there are {counts[0]:,}")
    images = torch.randn(2, *image, generator=torch.Generator().manual_seed(0))
    ours, theirs = (logits_alone(each, image, classes, name) for each in (network, written))
    with torch.no_grad():
        wanted, got = ours(images), theirs(images)
    agreement = Agreement(float((got - wanted).abs().max()), float(wanted.abs().max()))
    if agreement.difference > TOLERANCE * agreement.largest:  # however small fresh logits are
        raise ScaleSearchError(
            f"{name}: the code computes something else: logits differ by {agreement.difference:.2g}, where the largest "
            f"is {agreement.largest:.2g}"
        )
    return agreement


def _said(failure: Exception) -> str:
    lines = [line.strip() for line in str(failure).strip().splitlines() if line.strip()]
    return " ".join(lines[:2]) or type(failure).__name__
