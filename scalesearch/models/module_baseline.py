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
from scalesearch.image_size import Resolution, height_width, same_ratio
from scalesearch.models.probe import Probed, probed_cost
from scalesearch.models.surgery.account import Account
from scalesearch.models.surgery.loading import load_module
from scalesearch.models.surgery.network import Network
from scalesearch.models.surgery.proof import prove, prove_identity
from scalesearch.models.surgery.regularisation import head_dropout, set_drop_path, set_head_dropout
from scalesearch.models.surgery.scaled import Scaled
from scalesearch.models.surgery.session import OFFERED
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
    source: str,
    keep_groups: bool,
    adaptive_pool: bool,
    keep_output_channels: bool,
    size: Resolution | None = None,
    channels: int | None = None,
) -> Opened:
    """Build the module that ``source`` names, look it through, prove the copy's identity, and drop the weights.

    It is looked through at the size that its author states, else at ``size``; one of timm's is made for images of so
    many ``channels``.

    Raises:
        BaselineError: there is no such module.
        SurgeryError: it cannot be scaled soundly.
    """
    loaded = load_module(source, channels)
    native = loaded.resolution if loaded.stated or size is None else size
    network = Network(
        loaded.module,
        native,
        keep_groups=keep_groups,
        adaptive_pool=adaptive_pool,
        keep_output_channels=keep_output_channels,
    )
    prove_identity(network, loaded.module)
    return Opened(network, loaded.versions)


def opened(source: str, rounding: Rounding, size: Resolution | None = None, channels: int | None = None) -> Opened:
    """The module at ``source``, looked through; remembered for the process.

    Raises:
        BaselineError: its images have another number of channels, and it is none of those that are made for any.
    """
    asked = channels if any_channels(source) and channels != 3 else None
    found = open_module(
        source, rounding.keep_groups, rounding.adaptive_pool, rounding.keep_output_channels, size, asked
    )
    if channels is not None and found.network.channels != channels:
        own = found.network.channels
        said = f"images of {own} channel{'s' * (own != 1)}, and data.channels is {channels}"
        raise BaselineError(f"{source} takes {said}: --set data.channels={own} gives it what it takes")
    return found


def any_channels(source: str) -> bool:
    """Whether the network that ``source`` names can be made for images of any number of channels."""
    return source.startswith("timm:")


def offer(source: str, network: object) -> None:
    """Let ``source`` be this network of this process from now on; another one of that name is forgotten."""
    if OFFERED.get(source) is not network:
        OFFERED[source] = network
        forget()


def forget() -> None:
    """Open every module anew: a file may have been edited since."""
    open_module.cache_clear()
    _scaled.cache_clear()


@dataclass(frozen=True)
class ModuleModel:
    """A `ScaledModel` made of a module's spec; the network is made again from its source when it is needed."""

    spec: ModuleSpec

    @property
    def fingerprint(self) -> str:
        """Twelve hex digits, equal for equal networks at an equal resolution."""
        return self.spec.fingerprint

    @property
    def resolution(self) -> Resolution:
        """The size of its images, pixels."""
        return self.spec.resolution

    @property
    def channels(self) -> int:
        """Of its images."""
        return self.spec.channels

    @property
    def shape(self) -> str:
        """Blocks, channels of the first and last layer, pixels, for tables."""
        layers = self.spec.layers
        return f"{self.spec.blocks} · {layers[0].outputs}–{layers[-1].inputs} · {self.spec.resolution}"

    @property
    def last_side(self) -> int:
        """Positions along the shorter side of its last map: of the last convolution with more than one."""
        account = self.at(None).account
        maps = [row.positions for row in account.layers if row.kernel and row.positions > 1]
        sides = sorted(height_width(self.spec.resolution))
        return max(1, round(math.sqrt(maps[-1] * sides[0] / sides[1]))) if maps else 1

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
        sizes = (spec.depth, spec.width, spec.resolution)
        return _scaled(spec.module, spec.rounding, *sizes, num_classes, spec.opened_at, spec.channels)

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
    resolution: Resolution,
    num_classes: int | None = None,
    size: Resolution | None = None,
    channels: int | None = None,
) -> Scaled:
    network = opened(source, rounding, size, channels).network
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
    size at which it is looked through, None for its own; ``made_for`` are the channels of its images, None for its own.
    """

    source: str
    rounding: Rounding = field(default_factory=Rounding)
    start: ModuleSpec | None = None
    side: Resolution | None = None
    stochastic_depth: float | None = None
    opened_at: Resolution | None = None
    made_for: int | None = None

    @property
    def _found(self) -> Opened:
        return opened(self.source, self.rounding, self.opened_at, self.made_for)

    @property
    def name(self) -> str:
        """Its own name, or that of the spec it starts from."""
        return self.start.name if self.start is not None else plain_name(self.source)

    @property
    def _native_side(self) -> Resolution:
        return self.start.resolution if self.start is not None else self._found.network.resolution

    @property
    def resolution(self) -> Resolution:
        """The size of its images, pixels: the native one, unless `at` changed it."""
        return self.side or self._native_side

    @property
    def channels(self) -> int | None:
        """Of its images; None where it can be made for any number."""
        return None if any_channels(self.source) and self.made_for in (None, 3) else self._found.network.channels

    @property
    def _home(self) -> Resolution | None:
        """The size that its family starts from, where that is not the native one: one of another ratio."""
        return self.side if self.side and not same_ratio(self.side, self._native_side) else None

    @property
    def native(self) -> ModuleSpec:
        """The network itself as data, at its native resolution."""
        if self.start is not None and not self._home:
            return self.start
        return replace(self, side=self._home).scaled(Multipliers(1, 1, 1)).spec

    @property
    def fixed(self) -> dict[str, str]:
        """Which of alpha, beta and gamma do nothing to it, and why."""
        return self._found.network.dead

    @property
    def identity(self) -> dict[str, Any]:
        """Whatever of it changes a trial's result, plain values only."""
        spec = self.scaled(Multipliers(1, 1, 1)).spec
        return {"module": self.source, "layers": spec.fingerprint}

    def at(
        self,
        *,
        resolution: Resolution | None = None,
        stochastic_depth: float | None = None,
        channels: int | None = None,
    ) -> ModuleBaseline:
        """The same network for images of the nearest size at which it runs, of so many channels, or with other
        drop-path rates.

        Raises:
            BaselineError: its first layer takes another number of channels.
        """
        rate = self.stochastic_depth if stochastic_depth is None else stochastic_depth
        made = self if channels is None else self._of_channels(channels)
        side = self.side if resolution is None else made._found.network.nearest(resolution)
        return replace(made, side=side, stochastic_depth=rate)

    def _of_channels(self, channels: int) -> ModuleBaseline:
        made = replace(self, made_for=channels, start=None)
        network = made._found.network  # it can be had
        if self.start is None or self.start.channels == channels:
            return replace(made, start=self.start)
        start = self.start
        account = network.scaled(start.depth, start.width, start.resolution, rounding=self.rounding).account
        return replace(made, start=start.model_copy(update={"channels": channels, "layers": _layers(account)}))

    def meant_for(self, resolution: Resolution | None = None, channels: int | None = None) -> ModuleBaseline:
        """The same network with another native resolution, or for images of so many channels."""
        if resolution is None and channels is None:
            return self
        made = self.at(resolution=resolution, channels=channels)
        return replace(made, start=made.scaled(Multipliers(1, 1, 1)).spec, side=None)

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
        base = head_dropout(self._found.network.skeleton)
        return grown_dropout(base, phi) if base else None

    def scaled(self, multipliers: Multipliers, *, dropout: float | None = None) -> ModuleModel:
        """The network at these multipliers, known by its layers; nothing is initialised."""
        found = self._found
        depth, width, size = self._sizes(multipliers)
        channels = found.network.channels
        account = _scaled(self.source, self.rounding, depth, width, size, None, self.opened_at, channels).account
        return ModuleModel(
            ModuleSpec(
                name=self.name,
                module=self.source,
                versions=found.versions,
                resolution=size,
                channels=account.channels,
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

    def _sizes(self, multipliers: Multipliers) -> tuple[float, float, Resolution]:
        """Depth and width over the original module's, and pixels."""
        start = self.start
        multipliers = multipliers.without(self.fixed)
        depth = multipliers.depth * (start.depth if start else 1)
        width = multipliers.width * (start.width if start else 1)
        wanted = self.rounding.image(self.resolution, multipliers.resolution)
        if min(height_width(wanted)) < 1:
            raise ScalingError(f"resolution: ×{multipliers.resolution:.3g} leaves nothing of {self.resolution} px")
        if wanted == self.resolution and self.side is None:
            return depth, width, wanted
        return depth, width, self._found.network.nearest(wanted)

    def survey(self, phi: float, *, num_classes: int, dropout: float | None = None) -> OneByOne:
        """Its networks at φ, asked for one by one."""

        def realise(point: Coefficients) -> ModuleModel:
            return self.scaled(point.at(phi), dropout=dropout)

        def price(point: Coefficients) -> Cost:
            sizes = self._sizes(point.at(phi))
            channels = self._found.network.channels
            scaled = _scaled(self.source, self.rounding, *sizes, num_classes, self.opened_at, channels)
            return _priced(scaled, num_classes)

        return OneByOne(realise, price, num_classes)

    def member(self, coefficients: Coefficients, phi: float) -> ModuleModel:
        """The member of its family at φ, from its native resolution, named and with its origin written down."""
        multipliers = coefficients.at(phi)
        home = replace(self, side=self._home, stochastic_depth=None)
        model = home.scaled(multipliers, dropout=self.dropout_at(phi))
        origin = origin_of(self.name, multipliers.without(self.fixed), phi).model_copy(update=asdict(coefficients))
        return ModuleModel(model.spec.model_copy(update={"name": f"{self.name}-phi{phi:g}", "origin": origin}))
