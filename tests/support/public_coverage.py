"""`python -m tests.support.public_coverage`: scale the public families and hold the copies against what must be.

None of the checks asks surgery: the copies are run and looked at. Written to ``results/coverage/public.md``.
"""

from __future__ import annotations

import re
import sys
import warnings
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import Tensor, nn

from scalesearch.errors import SurgeryError
from scalesearch.image_size import height_width
from scalesearch.models.surgery.network import Network
from scalesearch.models.surgery.proof import prove, prove_identity
from scalesearch.models.surgery.tagger import flatten
from tests.support.public_families import FAMILIES, Family
from tests.support.small import RESULTS

DEPTH, WIDTH, RESOLUTION = 2.0, 1.5, 1.25
CLASSES, IMAGES, SEEDS, CELLS = 10, 8, 5, 8
ROOM = 4
"""The factor by which the spread of the outputs at the start may differ."""

Layers = (nn.Conv2d, nn.ConvTranspose2d, nn.Linear, nn.Conv1d)


@dataclass
class Found:
    """What became of one family: lines of a table, and whatever is wrong."""

    name: str
    verdict: str = "scaled"
    depth: str = ""
    width: str = ""
    sizes: str = ""
    spread: str = ""
    reason: str = ""
    wrong: list[str] = field(default_factory=list)


def examine(name: str, family: Family) -> Found:
    """Scale a family every way and look at the copies."""
    found = Found(name)
    torch.manual_seed(0)
    model = family.make()
    try:
        network = Network(model, family.side, adaptive_pool="adaptive_pool" in family.options)
        prove_identity(network, model)
    except SurgeryError as failure:
        found.verdict, found.reason = "refused", str(failure)
        if not family.refused or family.refused not in str(failure):
            found.wrong.append(f"refused: {failure}")
        return found
    except Exception as failure:
        found.verdict = "wrong"
        found.wrong.append(f"{type(failure).__name__}: {str(failure).partition(chr(10))[0]}")
        return found
    if family.refused:
        found.wrong.append("not refused")
        return found
    try:
        _widths(found, family, model, network)
        _depth(found, family, network)
        _whole(found, family, network)
    except SurgeryError as failure:
        found.wrong.append(f"refused: {failure}")
    except Exception as failure:
        found.wrong.append(f"{type(failure).__name__}: {str(failure).partition(chr(10))[0]}")
    partly = found.depth.endswith("stays") or "stay" in found.width or found.sizes != "any"
    found.verdict = "wrong" if found.wrong else "partly" if partly else "scaled"
    return found


def _build(network: Network, depth: float, width: float, resolution: int) -> nn.Module:
    scaled = network.scaled(depth, width, resolution)
    prove(scaled)
    return scaled.build()


def _shapes(model: nn.Module) -> dict[str, tuple[int, int]]:
    """Channels in and out of every layer, as its weight has them."""
    result = {}
    for name, module in model.named_modules():
        if isinstance(module, Layers):
            weight, transposed = module.weight, isinstance(module, nn.ConvTranspose2d)
            groups = getattr(module, "groups", 1)
            out, into = (1, 0) if transposed else (0, 1)
            result[name] = int(weight.shape[into]) * groups, int(weight.shape[out])
    return result


def _widths(found: Found, family: Family, model: nn.Module, network: Network) -> None:
    before, after = _shapes(model), _shapes(_build(network, 1, WIDTH, family.side))
    grown, stay = 0, []
    for (name, (_, old)), (_, new) in zip(before.items(), after.values(), strict=True):  # by order: names may change
        fixed = old in (1, CLASSES) or any(re.search(each, name) for each in family.stays)
        if fixed and old in (new, CLASSES):
            if old not in (1, CLASSES):
                stay.append(name)
        elif not fixed and 0.8 * WIDTH <= new / old <= 1.2 * WIDTH:
            grown += 1
        else:
            found.wrong.append(f"{name} has {new} outputs, was {old}")
    found.width = f"{grown} of {len(before)} layers" + (f"; stay: {', '.join(stay[:3])}" if stay else "")
    macs = network.scaled(1, WIDTH, family.side).cost.macs / network.scaled().cost.macs
    found.width += f", MACs ×{macs:.2f}"


def _depth(found: Found, family: Family, network: Network) -> None:
    if family.block is None:
        found.depth = "stays"
        if network.stages:
            found.wrong.append(f"{[s.name for s in network.stages]} repeat")
        return
    deeper = _build(network, DEPTH, 1, family.side)
    count = sum(isinstance(module, family.block) for module in deeper.modules())
    found.depth = f"{family.blocks[0]} → {count} {family.block.__name__}"
    if family.blocks[0] == family.blocks[1]:
        found.depth += ", stays"
    if count != family.blocks[1]:
        found.wrong.append(f"{count} blocks, not {family.blocks[1]}")
    without = [name for name, kept in _skips(deeper, family) if not kept]
    if family.skips and without and family.blocks[0] != family.blocks[1]:
        found.wrong.append(f"without a skip: {', '.join(without[:3])}")


def _skips(model: nn.Module, family: Family) -> Iterator[tuple[str, bool]]:
    """Of every block that keeps the shape: whether anything passes through once its weights are zero."""
    seen: dict[str, tuple[nn.Module, tuple[int, ...]]] = {}

    def note(name: str, module: nn.Module) -> None:
        def hook(_: nn.Module, args: tuple[Tensor, ...], output: Tensor) -> None:
            if len(args) >= 1 and args[0].shape == output.shape:
                seen[name] = (module, tuple(args[0].shape))

        module.register_forward_hook(hook)

    for name, module in model.named_modules():
        if isinstance(module, family.block or ()) and any(True for _ in module.children()):
            note(name, module)
    model.eval()
    with torch.no_grad():
        model(torch.randn(2, family.channels, family.side, family.side))
        for name, (module, shape) in list(seen.items()):
            for parameter in module.parameters():
                parameter.zero_()
            yield name, bool(module(torch.ones(shape)).abs().sum() > 0)


def _whole(found: Found, family: Family, network: Network) -> None:
    side = round(RESOLUTION * family.side)
    found.sizes = "any"
    try:
        (side, _) = height_width(network.nearest(side))
    except SurgeryError as failure:
        side, found.sizes, found.reason = family.side, f"{family.side} px only", str(failure)
        if family.sizes:
            found.wrong.append(str(failure))
    else:
        if not family.sizes:
            found.wrong.append(f"it runs at {side} px")
    copy = _build(network, DEPTH, WIDTH, side)
    _one_step(copy, side, family.channels)
    native, here = (_reached(m, s, family.channels) for m, s in ((network.scaled().build(), family.side), (copy, side)))
    if here < native - 1e-9:
        found.wrong.append(f"{here:.0%} of the image reaches the output, {native:.0%} at the native size")
    scaled = network.scaled(DEPTH, WIDTH, side)
    ratio = _spread(scaled.build, side, family.channels) / _spread(family.make, family.side, family.channels)
    found.spread = f"×{ratio:.2f}"
    if not 1 / ROOM < ratio < ROOM:
        found.wrong.append(f"outputs spread ×{ratio:.2f} at the start")


def _logits(model: nn.Module, images: Tensor) -> Tensor:
    return next(iter(flatten(model(images))))


def _one_step(model: nn.Module, side: int, channels: int) -> None:
    torch.manual_seed(1)
    model.train()
    images, labels = torch.randn(IMAGES, channels, side, side), torch.randint(CLASSES, (IMAGES,))
    logits = _logits(model, images)
    loss = nn.functional.cross_entropy(logits, labels) if logits.ndim == 2 else logits.square().mean()
    torch.autograd.backward(loss)
    torch.optim.SGD(model.parameters(), 0.01).step()
    if not torch.isfinite(loss) or not all(torch.isfinite(p).all() for p in model.parameters()):
        raise RuntimeError("a training step gives numbers that are not finite")


def _reached(model: nn.Module, side: int, channels: int) -> float:
    """The share of an image's cells, eight to a side, from which a gradient comes."""
    torch.manual_seed(2)
    model.eval()
    images = torch.randn(2 * IMAGES, channels, side, side, requires_grad=True)
    logits = _logits(model, images)
    torch.autograd.backward((logits * torch.randn_like(logits)).sum())
    assert images.grad is not None
    strength = images.grad.abs().sum((0, 1))[None, None]
    return float((nn.functional.adaptive_max_pool2d(strength, CELLS) > 0).float().mean())


def _spread(make, side: int, channels: int) -> float:  # type: ignore[no-untyped-def]
    total = 0.0
    for seed in range(SEEDS):
        torch.manual_seed(10 + seed)
        model = make().train()
        with torch.no_grad():
            total += float(_logits(model, torch.randn(IMAGES, channels, side, side)).std())
    return total / SEEDS


def main() -> None:
    """Examine every family, or those whose names begin with an argument; write the table when all were."""
    warnings.simplefilter("ignore")
    wanted = sys.argv[1:]
    chosen = {n: f for n, f in FAMILIES.items() if not wanted or any(re.match(w, n) for w in wanted)}
    rows = []
    for name, family in chosen.items():
        found = examine(name, family)
        rows.append(found)
        print(f"{name:24} {found.verdict:8} {found.depth:22} {found.width:40} {found.sizes} {found.spread}")
        for line in found.wrong[:6]:
            print(f"{'':24} ! {line}")
    if not wanted:
        _write(rows, RESULTS / "coverage" / "public.md")


def _write(rows: list[Found], path: Path) -> None:
    verdicts = [row.verdict for row in rows]
    counts = {verdict: verdicts.count(verdict) for verdict in ("scaled", "partly", "refused", "wrong")}
    lines = [
        "# Networks in the manner of public families",
        "",
        f"{len(rows)} networks: " + ", ".join(f"{count} {verdict}" for verdict, count in counts.items()) + ".",
        "",
        "Printed by `python -m tests.support.public_coverage`. Each network is scaled (depth ×2, width ×1.5,",
        "resolution ×1.25), run, and held against what its family must become: widths that grow, blocks that are added",
        "and keep their skips, one training step, a gradient to every part of the image, and the spread of the outputs",
        "at the start.",
        "",
        "| network | verdict | depth | width | sizes | spread | why |",
        "|--|--|--|--|--|--|--|",
    ]
    for row in rows:
        why = "; ".join(row.wrong) or row.reason
        cells = (row.name, row.verdict, row.depth, row.width, row.sizes, row.spread, why)
        lines.append(f"| {' | '.join(cell.replace('|', '/') for cell in cells)} |")
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
