"""Networks that are scaled modules: what they cost, and the networks themselves when asked for."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from functools import lru_cache

from torch import nn

from scalesearch.errors import BaselineError, SurgeryError
from scalesearch.image_size import Resolution, height_width
from scalesearch.models.module_opening import open_module, opened
from scalesearch.models.probe import Probed, probed_cost
from scalesearch.models.surgery.account import Account
from scalesearch.models.surgery.proof import prove
from scalesearch.models.surgery.regularisation import set_drop_path, set_head_dropout
from scalesearch.models.surgery.scaled import Scaled
from scalesearch.models.surgery.session import OFFERED
from scalesearch.scaling.compound import Rounding
from scalesearch.scaling.cost import Cost
from scalesearch.scaling.module_spec import LayerRow, ModuleSpec


def offer(source: str, network: object) -> None:
    """Let ``source`` be this network of this process from now on; another one of that name is forgotten."""
    if OFFERED.get(source) is not network:
        OFFERED[source] = network
        forget()


def forget() -> None:
    """Open every module anew: a file may have been edited since."""
    open_module.cache_clear()
    scaled_module.cache_clear()


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
        return scaled_module(spec.module, spec.rounding, *sizes, num_classes, spec.opened_at, spec.channels)

    def cost(self, num_classes: int) -> Cost:
        """What one image costs, from the layers that surgery made; a backbone with its probe head."""
        return priced(self.at(num_classes), num_classes)

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
def scaled_module(
    source: str,
    rounding: Rounding,
    depth: float,
    width: float,
    resolution: Resolution,
    num_classes: int | None = None,
    size: Resolution | None = None,
    channels: int | None = None,
) -> Scaled:
    """The module at ``source`` at these multipliers and ``resolution``; remembered for the process.

    Args:
        size: at which the module is opened.
        channels: of its images.

    Raises:
        BaselineError, SurgeryError: as `opened` and `Network.scaled`.
    """
    network = opened(source, rounding, size, channels).network
    return network.scaled(depth, width, resolution, rounding=rounding, num_classes=num_classes)


def priced(scaled: Scaled, num_classes: int) -> Cost:
    """The cost of the network as it is trained."""
    if scaled.has_classes or scaled.deepest is None:
        return scaled.cost
    return probed_cost(scaled.cost, scaled.deepest[1], num_classes)


def layer_rows(account: Account) -> tuple[LayerRow, ...]:
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
    now = {row.name: row for row in layer_rows(account)}
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
