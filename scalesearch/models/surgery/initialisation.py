"""How a network initialises itself, seen from its weights, so that a larger copy can start the same way."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from scalesearch.models.surgery.parametrised import power_vectors

RUNNING = {"running_mean": 0.0, "running_var": 1.0, "num_batches_tracked": 0.0}
"""Where a norm's statistics start, whatever a trained one has."""

SAMPLE = 200_000
"""Elements looked at per tensor."""

Shape = tuple[int, ...]


def _fans(shape: Shape) -> tuple[int, int]:
    area = math.prod(shape[2:])
    return shape[1] * area, shape[0] * area


SCHEMES: dict[str, Callable[[Shape, int], float]] = {
    "kaiming normal, fan out": lambda shape, groups: math.sqrt(2 / _fans(shape)[1]),
    "kaiming normal, fan out per group": lambda shape, groups: math.sqrt(2 * groups / _fans(shape)[1]),
    "kaiming normal, fan in": lambda shape, groups: math.sqrt(2 / _fans(shape)[0]),
    "torch's default": lambda shape, groups: math.sqrt(1 / (3 * _fans(shape)[0])),
    "kaiming uniform, fan in": lambda shape, groups: math.sqrt(2 / _fans(shape)[0]),
    "kaiming uniform, fan out": lambda shape, groups: math.sqrt(2 / _fans(shape)[1]),
    "linear uniform, fan out": lambda shape, groups: math.sqrt(1 / (3 * shape[0])),
    "xavier uniform": lambda shape, groups: math.sqrt(2 / sum(_fans(shape))),
    "xavier normal": lambda shape, groups: math.sqrt(2 / sum(_fans(shape))),
    "lecun normal": lambda shape, groups: math.sqrt(1 / _fans(shape)[0]),
    "orthogonal": lambda shape, groups: math.sqrt(1 / max(shape[0], _fans(shape)[0])),
    "normal 0.02": lambda shape, groups: 0.02,
    "normal 0.01": lambda shape, groups: 0.01,
    "normal 0.1": lambda shape, groups: 0.1,
    "normal 0.001": lambda shape, groups: 0.001,
}
"""Standard deviation of each named scheme, from the shape and the groups of a layer's weight."""

UNIFORM = {
    "torch's default",
    "kaiming uniform, fan in",
    "kaiming uniform, fan out",
    "linear uniform, fan out",
    "xavier uniform",
}
FALLBACK = "kaiming normal, fan out"
UNNAMED = "no scheme known: the spread that was seen, by fan-in"

SHARP, FEW = 50, 500
"""From so many numbers on a uniform draw is told by its bound; below so many the class's scheme is taken for one that
fits none."""


@dataclass(frozen=True)
class Law:
    """How one tensor starts: a constant, a named scheme, given moments, a spread, or values that are kept.

    ``spread`` is a standard deviation that follows no named scheme, and the fan-in it was seen at: it is kept, times
    the root of how much the fan-in shrank. ``follows`` is a bias that is drawn as widely as its layer's fan-in says.
    ``name`` is what the tensor is called in the original network; a new block's tensors have none, and ``of`` is the
    one they are copies of.
    """

    constant: float | None = None
    scheme: str | None = None
    moments: tuple[float, float] | None = None
    spread: tuple[float, int] | None = None
    kept: Tensor | None = None
    follows: bool = False
    name: str | None = None
    of: str | None = None

    def fill(self, tensor: Tensor, groups: int, fan_in: int) -> None:
        """Draw ``tensor`` from torch's global generator."""
        with torch.no_grad():
            if self.constant is not None:
                tensor.fill_(self.constant)
            elif self.kept is not None:
                tensor.copy_(fitted(self.kept, tuple(tensor.shape)))
            elif self.follows:
                bound = 1 / math.sqrt(fan_in)
                tensor.uniform_(-bound, bound)
            elif self.moments is not None:
                tensor.normal_(*self.moments)
            elif self.spread is not None:
                deviation, fan = self.spread
                tensor.normal_(0, deviation * math.sqrt(fan / _fans(tuple(tensor.shape))[0]))
            else:
                scheme = self.scheme or FALLBACK
                if scheme == "orthogonal":
                    nn.init.orthogonal_(tensor)
                    return
                spread = SCHEMES[scheme](tuple(tensor.shape), groups)
                if scheme in UNIFORM:
                    tensor.uniform_(-spread * math.sqrt(3), spread * math.sqrt(3))
                else:
                    tensor.normal_(0, spread)


def fitted(kept: Tensor, shape: Shape) -> Tensor:
    """``kept`` at another size, where all its rows along a changed dimension are the same.

    Raises:
        ValueError: they are not, so nobody knows what a new row should hold.
    """
    for axis, (old, new) in enumerate(zip(kept.shape, shape, strict=True)):
        if old != new:
            first = kept.narrow(axis, 0, 1)
            if not torch.equal(kept, first.expand_as(kept)):
                raise ValueError(f"a buffer of shape {tuple(kept.shape)} cannot be continued to {shape}")
            kept = first.expand(*kept.shape[:axis], new, *kept.shape[axis + 1 :])
    return kept


def groups_of(module: nn.Module) -> int:
    """Groups of a convolution; 1 for every other module."""
    groups = getattr(module, "groups", 1)
    return groups if isinstance(groups, int) and groups > 0 else 1


def observe(model: nn.Module) -> dict[int, Law]:
    """The law of every parameter and buffer, by the tensor's id.

    A small layer's weights may look like several schemes or like none: layers of its class decide. A weight that shows
    no scheme keeps its spread; where the network's norms have been trained, it starts by kaiming's.
    """
    laws: dict[int, Law] = {}
    weights: list[tuple[str, Tensor, dict[str, float]]] = []
    trains = any(parameter.requires_grad for parameter in model.parameters())
    for module in model.modules():
        for name, tensor in module.named_parameters(recurse=False):
            if id(tensor) in laws:
                continue
            constant = _constant(tensor)
            if trains and not tensor.requires_grad and not tensor.is_meta:
                laws[id(tensor)] = Law(kept=tensor.detach().clone())  # frozen among trained ones: not a random start
            elif constant is not None:
                laws[id(tensor)] = Law(constant=constant)
            elif tensor.ndim >= 2 and tensor.shape[0] * tensor.shape[1] > 1:
                laws[id(tensor)] = Law(scheme=FALLBACK)
                weights.append((type(module).__name__, tensor, _fitting(tensor, groups_of(module))))
            else:
                laws[id(tensor)] = _vector(module, name, tensor)
        for vector in power_vectors(module):
            laws[id(vector)] = Law(moments=(0.0, 1.0))
        for name, buffer in module._buffers.items():
            if buffer is None or id(buffer) in laws:
                continue
            constant = RUNNING[name] if name in RUNNING else 0.0 if buffer.is_meta else _constant(buffer)
            laws[id(buffer)] = Law(kept=buffer.detach().clone()) if constant is None else Law(constant=constant)
    votes = Counter((kind, scheme) for kind, _, fitting in weights for scheme in fitting)
    learnt = has_learnt(model)
    for kind, weight, fitting in weights:
        if not weight.is_meta and (fitting or not learnt):
            laws[id(weight)] = _elected(kind, weight, fitting, votes)
    named = [*model.named_parameters(), *model.named_buffers()]
    return {id(tensor): replace(laws[id(tensor)], name=as_written(name)) for name, tensor in named}


def _constant(tensor: Tensor) -> float | None:
    if tensor.numel() == 0:
        return 0.0
    if tensor.is_meta:
        return None
    first = tensor.detach().flatten()[0]
    return float(first) if bool((tensor == first).all()) else None


def as_written(name: str) -> str:
    """A tensor's name without what compilation put into it."""
    return name.replace("_orig_mod.", "")


def has_learnt(model: nn.Module) -> bool:
    """Whether a norm's weights or statistics are no longer where they start."""
    norms = [m for m in model.modules() if isinstance(m, nn.modules.batchnorm._NormBase)]
    kept = [t for m in norms for t in (m.weight, m.running_mean) if t is not None and not t.is_meta]
    return any(_constant(tensor) is None for tensor in kept)


def weight_of(module: nn.Module) -> Tensor | None:
    """A module's weight as it is kept: itself, or what a parametrisation makes it from."""
    weight = module._parameters.get("weight")
    made = getattr(module, "parametrizations", {})
    if weight is None and "weight" in made:
        return getattr(made["weight"], "original", None)
    return weight


def _elected(kind: str, weight: Tensor, fitting: dict[str, float], votes: Counter[tuple[str, str]]) -> Law:
    """The scheme that the weight fits and most of its class do; for a few numbers, the class's; else its own spread."""
    if fitting:
        return Law(scheme=max(fitting, key=lambda scheme: (votes[kind, scheme], -fitting[scheme])))
    shape, deviation = tuple(weight.shape), float(weight.detach().float().std())
    usual = [scheme for (of, scheme), _ in votes.most_common() if of == kind]
    if usual and weight.numel() < FEW and 0.5 < deviation / SCHEMES[usual[0]](shape, 1) < 2:
        return Law(scheme=usual[0])
    return Law(spread=(deviation, _fans(shape)[0]))


def _fitting(weight: Tensor, groups: int) -> dict[str, float]:
    """The schemes whose spread this weight has, within four standard errors, and whose tails: how far off it is."""
    if weight.is_meta:
        return {}
    flat = weight.detach().flatten()
    sample = flat[:: max(1, flat.numel() // SAMPLE)].float()
    spread, count = float(sample.std()), sample.numel()
    if count < 8 or not spread:
        return {}
    tolerance, largest, shape = max(0.02, 4 / math.sqrt(2 * count)), float(sample.abs().max()), tuple(weight.shape)
    laws = {name: law(shape, groups) for name, law in SCHEMES.items()}
    near = {name: off for name, law in laws.items() if (off := abs(spread / law - 1)) < tolerance}
    uniform = {n: off for n, off in near.items() if n in UNIFORM and _fills(largest, laws[n] * math.sqrt(3), count)}
    if uniform and count >= SHARP:
        return uniform
    bounded = count >= SHARP and largest < 1.8 * spread
    return uniform | {name: off for name, off in near.items() if name not in UNIFORM and not bounded}


def _fills(largest: float, bound: float, count: int) -> bool:
    """Whether so many uniform numbers with this bound have such a largest one; one draw in a thousand has not."""
    return bound * (1 - 7 / count) <= largest <= bound * 1.0001


def _vector(module: nn.Module, name: str, tensor: Tensor) -> Law:
    """A vector that is not constant: a bias drawn like torch's default, or whatever its moments say."""
    weight = getattr(module, "weight", None)
    norm = isinstance(weight, Tensor) and weight.ndim == 1 and hasattr(module, "eps")
    if norm or tensor.is_meta:
        return Law(constant=1.0 if name == "weight" else 0.0)  # a trained norm, or nothing to see
    values = tensor.detach().float()
    if name == "bias" and isinstance(weight, Tensor) and weight.ndim >= 2:
        bound = 1 / math.sqrt(_fans(tuple(weight.shape))[0])
        if float(values.abs().max()) <= bound * 1.0001:
            return Law(follows=True)
        return Law(constant=0.0)
    return Law(moments=(float(values.mean()), float(values.std())))


def summary(laws: Iterable[Law]) -> str:
    """For an account: which schemes the weights were drawn by."""
    counts = Counter(law.scheme or UNNAMED for law in laws if law.scheme or law.spread)
    return ", ".join(f"{scheme} ({count})" for scheme, count in counts.most_common())
