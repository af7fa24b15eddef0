"""Which networks can be grown: started larger with the function of the smaller, trained one."""

from __future__ import annotations

import json
import time
import warnings
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from torch import nn

from scalesearch.errors import ScaleSearchError
from scalesearch.image_size import Resolution, height_width, image_shape
from scalesearch.models.surgery.loading import load_module
from scalesearch.models.surgery.scale import scale_module

GROWN = ((1.0, 1.5), (1.0, 2.0), (1.5, 1.0), (1.5, 2.0))
"""Depth and width at which every network is tried: unevenly and evenly wider, deeper, both."""


@dataclass(frozen=True)
class Grown:
    """What became of one network at `GROWN`: the largest difference of outputs, or why it was refused."""

    name: str
    outcomes: tuple[float | str, ...]
    seconds: float


def shake(module: nn.Module, seed: int = 1) -> nn.Module:
    """Move what starts at zero or one away from there, as training does, in place: zeros would hide mistakes."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, tensor in [*module.named_parameters(), *module.named_buffers()]:
            if not tensor.is_floating_point():
                continue
            noise = torch.randn(tensor.shape, generator=generator)
            if "running_var" in name:
                tensor.add_(0.3 * noise.abs())
            elif tensor.ndim <= 1 or tensor.numel() == max(tensor.shape):
                tensor.add_(0.2 * noise)
    return module


def difference(small: nn.Module, large: nn.Module, size: Resolution) -> float:
    """The largest difference between the outputs for random images, as a share of the largest output if that is > 1."""
    images = torch.randn(2, *image_shape(3, size), generator=torch.Generator().manual_seed(3))
    with torch.no_grad():
        pair = [_leaves(module.eval()(images)) for module in (small, large)]
    worst = 0.0
    for a, b in zip(*pair, strict=True):
        worst = max(worst, float((a - b).abs().max()) / max(1.0, float(a.abs().max())))
    return worst


def _leaves(value: object) -> list[torch.Tensor]:
    leaves: list[torch.Tensor] = [leaf for leaf in torch.utils._pytree.tree_leaves(value) if torch.is_tensor(leaf)]
    return leaves


def tried(module: nn.Module, resolution: Resolution, depth: float, width: float) -> float | str:
    """Grow a network whose weights were shaken: how far outputs differ, or why it cannot be grown."""
    small = shake(module)
    try:
        large = scale_module(small, depth=depth, width=width, resolution=height_width(resolution), grow=True)
    except ScaleSearchError as failure:
        return str(failure)
    return difference(small, large, resolution)


def look(name: str) -> Grown:
    """Grow one network at `GROWN`; never raises."""
    start, outcomes = time.perf_counter(), []
    for depth, width in GROWN:
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                loaded = load_module(name)
                outcomes.append(tried(loaded.module, loaded.resolution, depth, width))
        except ScaleSearchError as failure:
            outcomes.append(str(failure))
        except Exception as failure:
            outcomes.append(f"BROKEN {type(failure).__name__}: {failure}")
    return Grown(name, tuple(outcomes), time.perf_counter() - start)


def read(file: Path) -> dict[str, Grown]:
    """The outcomes that `append` kept, by network."""
    if not file.exists():
        return {}
    found = (json.loads(line) for line in file.read_text(encoding="utf-8").splitlines())
    return {row["name"]: Grown(row["name"], tuple(row["outcomes"]), row["seconds"]) for row in found}


def append(file: Path, row: Grown) -> None:
    """One more line."""
    with file.open("a", encoding="utf-8") as lines:
        lines.write(json.dumps(asdict(row), ensure_ascii=False) + "\n")


def table(rows: Iterable[Grown], title: str, versions: str) -> str:
    """What could be grown, as Markdown."""
    rows = list(rows)
    shares = [sum(isinstance(row.outcomes[i], float) for row in rows) for i in range(len(GROWN))]
    said = ", ".join(f"{n} at ({d:g}, {w:g})" for n, (d, w) in zip(shares, GROWN, strict=True))
    heads = " | ".join(f"({d:g}, {w:g})" for d, w in GROWN)
    lines = [
        f"# {title}",
        "",
        f"{versions}. Of {len(rows)} networks, grown by `scale_module(..., grow=True)` at (depth, width): {said}. "
        "Norms, biases and statistics were moved at random first. Numbers: the largest difference between the outputs "
        "of both networks in single precision, as a share of the largest output where that is more than 1.",
        "",
        f"| network | {heads} | why not |",
        "|--|" + "--|" * (len(GROWN) + 1),
    ]
    for row in rows:
        cells = [f"{o:.0e}" if isinstance(o, float) else "✗" for o in row.outcomes]
        why = "; ".join(dict.fromkeys(o.replace("|", "/") for o in row.outcomes if isinstance(o, str)))
        lines.append(f"| {row.name} | {' | '.join(cells)} | {why} |")
    return "\n".join(lines) + "\n"
