"""`scalesearch check`: what of a network can be scaled, what cannot and why, and whether the copies hold."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from torch import nn

from scalesearch.errors import ScaleSearchError, SurgeryError
from scalesearch.image_size import Resolution, each_side, height_width
from scalesearch.models.catalogue import builtin, builtin_names
from scalesearch.models.surgery.growth_exponents import GrowthLaw, growth_law
from scalesearch.models.surgery.loading import load_module
from scalesearch.models.surgery.network import Network
from scalesearch.models.surgery.proof import prove, prove_identity
from scalesearch.models.surgery.trace import OUTPUT
from scalesearch.scaling.compound import Multipliers, Rounding
from scalesearch.scaling.cost import Cost
from scalesearch.scaling.spec import ModelSpec
from scalesearch.scaling.spec_files import load_spec

CHECKED = (
    Multipliers(1, 1, 1),
    Multipliers(1.2, 1.1, 1.15),
    Multipliers(1, 1.5, 1),
    Multipliers(2, 1, 1),
    Multipliers(0.75, 0.75, 0.9),
)
"""Depth, width and resolution at which a network is tried: as it is, the paper's, wider, deeper, smaller."""


@dataclass(frozen=True)
class Trial:
    """One set of multipliers: the size it came to, its blocks and cost, or why it was refused."""

    multipliers: Multipliers
    resolution: Resolution = 0
    blocks: int = 0
    cost: Cost | None = None
    refused: str | None = None


@dataclass(frozen=True)
class Check:
    """Everything `check` found out about a network."""

    name: str
    versions: dict[str, str]
    network: Network
    trials: tuple[Trial, ...]
    law: GrowthLaw | None

    @property
    def holds(self) -> bool:
        """Whether every scaled copy that was tried passed its proof."""
        return all(trial.refused is None for trial in self.trials)


def check(name: str, rounding: Rounding, *, resolution: Resolution | None = None, law: bool = True) -> Check:
    """Look a baseline through, scale it by `CHECKED`, and prove each copy.

    Raises:
        BaselineError: there is no such baseline.
        SurgeryError: it cannot be scaled at all; the message names the layer.
    """
    module, native, versions = _module(name)
    network = Network(
        module,
        resolution or native,
        keep_groups=rounding.keep_groups,
        adaptive_pool=rounding.adaptive_pool,
        keep_output_channels=rounding.keep_output_channels,
    )
    prove_identity(network, module)
    del module
    live = dict.fromkeys(multipliers.without(network.dead) for multipliers in CHECKED)
    trials = tuple(_try(network, multipliers, rounding) for multipliers in live)
    return Check(name, versions, network, trials, growth_law(network) if law else None)


def _module(name: str) -> tuple[nn.Module, Resolution, dict[str, str]]:
    """The baseline as a module, its native size in pixels, and whose versions made it."""
    if ":" in name:
        loaded = load_module(name)
        return loaded.module, loaded.resolution, loaded.versions
    from scalesearch.models.build import build_model

    spec = builtin(name) if name in builtin_names() or not name.endswith((".yaml", ".yml")) else load_spec(name)
    if not isinstance(spec, ModelSpec):
        raise ScaleSearchError(f"{name} is a scaled module: check {spec.module}, which it was made from")
    return build_model(spec), spec.resolution, {}


def _try(network: Network, multipliers: Multipliers, rounding: Rounding) -> Trial:
    try:
        size = network.nearest(rounding.image(network.resolution, multipliers.resolution))
        scaled = network.scaled(multipliers.depth, multipliers.width, size, rounding=rounding)
        prove(scaled)
    except SurgeryError as failure:
        return Trial(multipliers, refused=str(failure))
    return Trial(multipliers, size, scaled.account.blocks, scaled.cost)


def resolution_words(network: Network) -> str:
    """Which input sides the network takes."""
    native = network.resolution
    if network.multiple is None:
        hint = "; --adaptive-pool lets it see others" if network.pooling_helps else ""
        return f"{native} px only ({network.refusal_at(each_side(native, lambda side: side + 64))}){hint}"
    pools = ", ".join(path or "forward" for path in network.whole_maps)
    follow = f"; the pool over the whole map follows its size ({pools})" if pools else ""
    if network.multiple == 1:
        return f"any (native {native} px){follow}"
    aligned = all(side % network.multiple == 0 for side in height_width(native))
    steps = f"multiples of {network.multiple}" if aligned else f"steps of {network.multiple}"
    return f"{steps} (native {native} px){follow}"


def width_words(network: Network) -> str:
    """What of the widths can be chosen, and which layers stay and why."""
    fixed = network.fixed_widths
    by_reason: dict[str, list[str]] = {}
    for name, reason in fixed:
        by_reason.setdefault(reason, []).append(name)
    stays = "; ".join(f"{_listed(names)} ({reason})" for reason, names in by_reason.items())
    layers = len(network.found.layers)
    free = {0: "no width is free", 1: "1 width is free"}.get(network.free, f"{network.free} widths are free")
    return f"{free} in {layers} layers" + (f"; stay: {stays}" if stays else "")


def _listed(names: Sequence[str]) -> str:
    return ", ".join(names[:2]) + (f" and {len(names) - 2} more" if len(names) > 2 else "")


def output_words(network: Network) -> str | None:
    """Which of several outputs are the logits; None where there is but one output."""
    places, count = network.found.outputs.get(False, ()), network.found.returned
    if not places:
        stay = [name for name, reason in network.fixed_widths if reason == OUTPUT]
        told = f"; {_listed(stay)}: {'their' if len(stay) > 1 else 'its'} channels stay" if stay else ""
        maps = "no row of classes" if count == 1 else f"none of {count} is a row of classes"
        return f"{maps}: a backbone, which a probe head trains (the last map's mean, a linear layer){told}"
    if count < 2:
        return None
    taken = ", ".join(str(place + 1) for place in places)
    left = f"; {count - len(places)} left out of loss and accuracy" if count > len(places) else ""
    return f"number {taken} of {count} is the row of classes{left}"


def depth_words(network: Network) -> str:
    """Which blocks repeat, and which stages cannot grow and why."""
    if not network.stages:
        return "no block is repeated: depth is fixed"
    counts = ", ".join(str(len(stage.blocks)) for stage in network.stages)
    plural = "stages" if len(network.stages) > 1 else "stage"
    return f"{len(network.stages)} {plural} of {counts} blocks"
