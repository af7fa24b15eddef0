"""Baselines that are modules: timm's, torchvision's, the user's own, scaled by surgery."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from scalesearch.errors import ScalingError
from scalesearch.image_size import Resolution, height_width, same_ratio
from scalesearch.models.module_model import ModuleModel, layer_rows, plain_name, priced, scaled_module
from scalesearch.models.module_opening import Opened, any_channels, opened
from scalesearch.models.surgery.regularisation import head_dropout
from scalesearch.models.survey import OneByOne
from scalesearch.scaling.changes import Value, no_table
from scalesearch.scaling.compound import Coefficients, Multipliers, Rounding, grown_dropout, origin_of
from scalesearch.scaling.cost import Cost
from scalesearch.scaling.module_spec import ModuleSpec, StageRow


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
        if self.start is not None:
            ModuleModel(self.start).scaled()  # as its spec says, or the source is another one by now
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
        return replace(made, start=start.model_copy(update={"channels": channels, "layers": layer_rows(account)}))

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
        account = scaled_module(self.source, self.rounding, depth, width, size, None, self.opened_at, channels).account
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
                layers=layer_rows(account),
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
            scaled = scaled_module(self.source, self.rounding, *sizes, num_classes, self.opened_at, channels)
            return priced(scaled, num_classes)

        return OneByOne(realise, price, num_classes)

    def member(self, coefficients: Coefficients, phi: float) -> ModuleModel:
        """The member of its family at φ, from its native resolution, named and with its origin written down."""
        multipliers = coefficients.at(phi)
        home = replace(self, side=self._home, stochastic_depth=None)
        model = home.scaled(multipliers, dropout=self.dropout_at(phi))
        origin = origin_of(self.name, multipliers.without(self.fixed), phi).model_copy(update=asdict(coefficients))
        return ModuleModel(model.spec.model_copy(update={"name": f"{self.name}-phi{phi:g}", "origin": origin}))
