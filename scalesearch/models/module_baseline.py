"""Baselines that are modules: timm's, torchvision's, the user's own, scaled by surgery."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from functools import lru_cache
from typing import Any

from torch import nn

from scalesearch.errors import BaselineError, ScalingError, SurgeryError
from scalesearch.models.probe import Probed, probed_cost
from scalesearch.models.surgery.account import Account
from scalesearch.models.surgery.loading import load_module
from scalesearch.models.surgery.network import Network
from scalesearch.models.surgery.proof import prove, prove_identity
from scalesearch.models.surgery.regularisation import head_dropout, set_drop_path, set_head_dropout
from scalesearch.models.surgery.scaled import Scaled
from scalesearch.models.survey import OneByOne
from scalesearch.scaling.changes import Value, no_table
from scalesearch.scaling.compound import Coefficients, Multipliers, Rounding, grown_dropout, origin_of
from scalesearch.scaling.cost import Cost
from scalesearch.scaling.module_spec import LayerRow, ModuleSpec, StageRow


@dataclass(frozen=True)
class Opened:
    """A module that has been looked through, and whose versions made it."""

    network: Network
    versions: dict[str, str]


@lru_cache(maxsize=4)
def open_module(
    source: str, keep_groups: bool, adaptive_pool: bool, keep_output_channels: bool, side: int | None = None
) -> Opened:
    """Build the module that ``source`` names, look it through, prove the copy's identity, and drop the weights.

    It is looked through at the side that its author states, else at ``side``, pixels.

    Raises:
        BaselineError: there is no such module.
        SurgeryError: it cannot be scaled soundly.
    """
    loaded = load_module(source)
    size = loaded.resolution if loaded.stated or side is None else side
    network = Network(
        loaded.module,
        size,
        keep_groups=keep_groups,
        adaptive_pool=adaptive_pool,
        keep_output_channels=keep_output_channels,
    )
    prove_identity(network, loaded.module)
    return Opened(network, loaded.versions)


def opened(source: str, rounding: Rounding, side: int | None = None) -> Opened:
    """The module at ``source``, looked through; remembered for the process."""
    return open_module(source, rounding.keep_groups, rounding.adaptive_pool, rounding.keep_output_channels, side)


@dataclass(frozen=True)
class ModuleModel:
    """A `ScaledModel` made of a module's spec; the network is made again from its source when it is needed."""

    spec: ModuleSpec

    @property
    def fingerprint(self) -> str:
        """Twelve hex digits, equal for equal networks at an equal resolution."""
        return self.spec.fingerprint

    @property
    def resolution(self) -> int:
        """The side of its square input, pixels."""
        return self.spec.resolution

    @property
    def shape(self) -> str:
        """Blocks, channels of the first and last layer, pixels, for tables."""
        layers = self.spec.layers
        return f"{self.spec.blocks} · {layers[0].outputs}–{layers[-1].inputs} · {self.spec.resolution}"

    @property
    def last_side(self) -> int:
        """Positions a side of its last map: of the last convolution that has more than one, which spares gates."""
        account = self.at(None).account
        maps = [row.positions for row in account.layers if row.kernel and row.positions > 1]
        return round(math.sqrt(maps[-1])) if maps else 1

    def scaled(self, num_classes: int | None = None) -> Scaled:
        """The network that the spec describes.

        Raises:
            BaselineError: the installed versions give another one; the message says which layers differ.
        """
        spec = self.spec
        scaled = self.at(None)
        if differing := _differences(spec, scaled.account):
            made = ", ".join(f"{name} {version}" for name, version in spec.versions.items())
            raise BaselineError(f"{spec.name}: {spec.module} is another network than with {made}: {differing}")
        return scaled if num_classes is None else self.at(num_classes)

    def at(self, num_classes: int | None) -> Scaled:
        """The network at the spec's multipliers, whatever its layers are said to be."""
        spec = self.spec
        return _scaled(spec.module, spec.rounding, spec.depth, spec.width, spec.resolution, num_classes, spec.opened_at)

    def cost(self, num_classes: int) -> Cost:
        """What one image costs, from the layers that surgery made; a backbone with its probe head."""
        return _priced(self.at(num_classes), num_classes)

    def bare(self, num_classes: int) -> nn.Module:
        """The network as it is made: a backbone without a probe head.

        Raises:
            BaselineError, SurgeryError: as `build`.
        """
        scaled = self.scaled(num_classes)
        prove(scaled)
        return self._regularised(scaled.build())

    def _regularised(self, module: nn.Module) -> nn.Module:
        if self.spec.dropout is not None:
            set_head_dropout(module, self.spec.dropout)
        if self.spec.stochastic_depth is not None:
            set_drop_path(module, self.spec.stochastic_depth)
        return module

    def build(self, num_classes: int) -> nn.Module:
        """The network, freshly initialised, once its proof holds; a backbone gets a probe head (`probe.Probed`).

        Raises:
            BaselineError: the installed versions give another network.
            SurgeryError: the proof fails.
        """
        scaled = self.scaled(num_classes)
        if scaled.has_classes:
            return self.bare(num_classes)
        if scaled.deepest is None:
            raise SurgeryError(
                "the classifier", "no output is a row of classes or a map: it can be scaled, not trained"
            )
        return Probed(self.bare(num_classes), *scaled.deepest, num_classes)


@lru_cache(maxsize=4096)
def _scaled(
    source: str,
    rounding: Rounding,
    depth: float,
    width: float,
    resolution: int,
    num_classes: int | None = None,
    side: int | None = None,
) -> Scaled:
    network = opened(source, rounding, side).network
    return network.scaled(depth, width, resolution, rounding=rounding, num_classes=num_classes)


def _priced(scaled: Scaled, num_classes: int) -> Cost:
    """The cost of the network as it is trained."""
    if scaled.has_classes or scaled.deepest is None:
        return scaled.cost
    return probed_cost(scaled.cost, scaled.deepest[1], num_classes)


def _layers(account: Account) -> tuple[LayerRow, ...]:
    """The layers that run in evaluation, in their order; an auxiliary head that only trains is not among them."""
    return tuple(
        LayerRow(
            name=row.name.removesuffix(".weight"),
            inputs=row.inputs,
            outputs=row.outputs,
            kernel=row.kernel,
            groups=row.groups,
        )
        for row in account.layers
        if row.positions
    )


def _differences(spec: ModuleSpec, account: Account) -> str:
    """How what the spec says differs from what was made, in words; empty where it does not."""
    then = {row.name: row for row in spec.layers}
    now = {row.name: row for row in _layers(account)}
    different = [
        f"{name} was {_words(then.get(name))}, is {_words(now.get(name))}"
        for name in dict.fromkeys([*then, *now])
        if then.get(name) != now.get(name)
    ]
    return "; ".join(different[:3]) + (f"; and {len(different) - 3} more" if len(different) > 3 else "")


def _words(row: LayerRow | None) -> str:
    if row is None:
        return "not there"
    kernel = "×".join(map(str, row.kernel)) or "linear"
    return f"{row.inputs} → {row.outputs} {kernel}" + (f" in {row.groups} groups" if row.groups > 1 else "")


def plain_name(source: str) -> str:
    """``timm:resnet18`` as a file's name: ``timm-resnet18``; a factory's own name for ``models.py:build``."""
    whole = source if source.startswith(("timm:", "torchvision:")) else source.rpartition(":")[2]
    return re.sub(r"[^A-Za-z0-9._-]+", "-", whole).strip("-._") or "module"


@dataclass(frozen=True)
class ModuleBaseline:
    """A `Baseline` made of a module's source and the rounding rules it is scaled by.

    ``depth`` and ``width`` are those it starts from, where the baseline is itself a scaled module; ``opened_at`` is the
    side in pixels at which it is looked through, None for its own.
    """

    source: str
    rounding: Rounding = field(default_factory=Rounding)
    start: ModuleSpec | None = None
    side: int | None = None
    stochastic_depth: float | None = None
    opened_at: int | None = None

    @property
    def name(self) -> str:
        """Its own name, or that of the spec it starts from."""
        return self.start.name if self.start is not None else plain_name(self.source)

    @property
    def _native_side(self) -> int:
        return (
            self.start.resolution
            if self.start is not None
            else opened(self.source, self.rounding, self.opened_at).network.resolution
        )

    @property
    def resolution(self) -> int:
        """The side of its square input, pixels: the native one, unless `at` changed it."""
        return self.side or self._native_side

    @property
    def native(self) -> ModuleSpec:
        """The network itself as data, at its native resolution."""
        return self.start if self.start is not None else replace(self, side=None).scaled(Multipliers(1, 1, 1)).spec

    @property
    def fixed(self) -> dict[str, str]:
        """Which of alpha, beta and gamma do nothing to it, and why."""
        return opened(self.source, self.rounding, self.opened_at).network.dead

    @property
    def identity(self) -> dict[str, Any]:
        """Whatever of it changes a trial's result, plain values only."""
        spec = self.scaled(Multipliers(1, 1, 1)).spec
        return {"module": self.source, "layers": spec.fingerprint}

    def at(self, *, resolution: int | None = None, stochastic_depth: float | None = None) -> ModuleBaseline:
        """The same network for images of the nearest size at which it runs, or with other drop-path rates."""
        rate = self.stochastic_depth if stochastic_depth is None else stochastic_depth
        side = self.side
        if resolution is not None:
            side = opened(self.source, self.rounding, self.opened_at).network.nearest(resolution)
        return replace(self, side=side, stochastic_depth=rate)

    def meant_for(self, resolution: int) -> ModuleBaseline:
        """The same network with another native resolution."""
        spec = self.at(resolution=resolution).scaled(Multipliers(1, 1, 1)).spec
        return replace(self, start=spec, side=None)

    def changed(self, changes: Mapping[str, Value]) -> ModuleBaseline:
        """Itself, where nothing changes.

        Raises:
            BaselineError: something would, and a module has no table of stages.
        """
        if changes:
            raise no_table(self.source, next(iter(changes)))
        return self

    def dropout_at(self, phi: float) -> float | None:
        """The head's dropout at φ; None where the network has none."""
        base = head_dropout(opened(self.source, self.rounding, self.opened_at).network.skeleton)
        return grown_dropout(base, phi) if base else None

    def scaled(self, multipliers: Multipliers, *, dropout: float | None = None) -> ModuleModel:
        """The network at these multipliers, known by its layers; nothing is initialised."""
        found = opened(self.source, self.rounding, self.opened_at)
        depth, width, size = self._sizes(multipliers)
        account = _scaled(self.source, self.rounding, depth, width, size, None, self.opened_at).account
        return ModuleModel(
            ModuleSpec(
                name=self.name,
                module=self.source,
                versions=found.versions,
                resolution=size,
                depth=depth,
                width=width,
                rounding=self.rounding,
                stages=tuple(StageRow(name=name, blocks=after) for name, _, after in account.stages),
                layers=_layers(account),
                dropout=dropout,
                stochastic_depth=self.stochastic_depth,
                opened_at=self.opened_at,
            )
        )

    def _sizes(self, multipliers: Multipliers) -> tuple[float, float, int]:
        """Depth and width over the original module's, and pixels."""
        start = self.start
        multipliers = multipliers.without(self.fixed)
        depth = multipliers.depth * (start.depth if start else 1)
        width = multipliers.width * (start.width if start else 1)
        wanted = self.rounding.pixels(self.resolution, multipliers.resolution)
        if wanted < 1:
            raise ScalingError(f"resolution: ×{multipliers.resolution:.3g} leaves nothing of {self.resolution} px")
        if wanted == self.resolution and self.side is None:
            return depth, width, wanted
        return depth, width, opened(self.source, self.rounding, self.opened_at).network.nearest(wanted)

    def survey(self, phi: float, *, num_classes: int, dropout: float | None = None) -> OneByOne:
        """Its networks at φ, asked for one by one."""

        def realise(point: Coefficients) -> ModuleModel:
            return self.scaled(point.at(phi), dropout=dropout)

        def price(point: Coefficients) -> int:
            sizes = self._sizes(point.at(phi))
            scaled = _scaled(self.source, self.rounding, *sizes, num_classes, self.opened_at)
            return _priced(scaled, num_classes).macs

        return OneByOne(realise, price, num_classes)

    def member(self, coefficients: Coefficients, phi: float) -> ModuleModel:
        """The member of its family at φ, from its native resolution, named and with its origin written down."""
        multipliers = coefficients.at(phi)
        model = replace(self, side=None, stochastic_depth=None).scaled(multipliers, dropout=self.dropout_at(phi))
        origin = origin_of(self.name, multipliers.without(self.fixed), phi).model_copy(update=asdict(coefficients))
        return ModuleModel(model.spec.model_copy(update={"name": f"{self.name}-phi{phi:g}", "origin": origin}))
