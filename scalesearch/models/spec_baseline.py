"""Baselines that are tables of stages."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from scalesearch.image_size import Resolution, same_ratio
from scalesearch.models.spec_model import SpecModel
from scalesearch.scaling.changes import Value, changed
from scalesearch.scaling.compound import (
    Coefficients,
    Multipliers,
    Rounding,
    grown_dropout,
    scale_spec,
    scaled_family_member,
)
from scalesearch.scaling.spec import ModelSpec

if TYPE_CHECKING:
    from scalesearch.models.survey import TableSurvey


@dataclass(frozen=True)
class SpecBaseline:
    """A `Baseline` made of a spec and the rounding rules it is scaled by."""

    native: ModelSpec
    rounding: Rounding = field(default_factory=Rounding)
    changes: dict[str, Any] = field(default_factory=dict)

    @property
    def spec(self) -> ModelSpec:
        """The table of stages as it is scaled, with what `at` changed."""
        return self.native.model_copy(update=self.changes)

    @property
    def name(self) -> str:
        """The spec's name."""
        return self.native.name

    @property
    def resolution(self) -> Resolution:
        """The size of its images, pixels: the native one, unless `at` changed it."""
        return self.spec.resolution

    @property
    def channels(self) -> int | None:
        """Of its images; None where its table says nothing: it can be had for any number."""
        return None if self.native.stem.inputs == 3 else self.native.stem.inputs

    @property
    def fixed(self) -> dict[str, str]:
        """Nothing: every coefficient changes a table of stages."""
        return {}

    @property
    def identity(self) -> dict[str, Any]:
        """Whatever of it changes a trial's result, plain values only."""
        return self.spec.model_dump(
            mode="json", exclude=self.spec.unsaid({"name": True, "source": True, "origin": True})
        )

    def at(
        self,
        *,
        resolution: Resolution | None = None,
        stochastic_depth: float | None = None,
        channels: int | None = None,
    ) -> SpecBaseline:
        """The same network for other images: smaller, larger, of so many channels; or with other drop-path rates.

        A size of another ratio becomes the native one: its family has that ratio.
        """
        given = {"resolution": resolution, "stochastic_depth": stochastic_depth}
        changes = self.changes | {key: value for key, value in given.items() if value is not None}
        meant: dict[str, Any] = {}
        if channels is not None:
            meant["stem"] = self.native.stem.model_copy(update={"inputs": channels})
        if resolution is not None and not same_ratio(resolution, self.native.resolution):
            meant["resolution"] = resolution
        return replace(self, native=self.native.model_copy(update=meant), changes=changes)

    def meant_for(self, resolution: Resolution | None = None, channels: int | None = None) -> SpecBaseline:
        """The same network with another native resolution, or for images of so many channels."""
        made = self if channels is None else self.at(channels=channels)
        size = made.native.resolution if resolution is None else resolution
        return replace(made, native=made.native.model_copy(update={"resolution": size}))

    def changed(self, changes: Mapping[str, Value]) -> SpecBaseline:
        """The same table with other values in some fields (`scaling.changes`).

        Raises:
            ScaleSearchError: there is no such field, or a value breaks its rule.
        """
        return replace(self, native=changed(self.native, changes, self.rounding)) if changes else self

    def dropout_at(self, phi: float) -> float:
        """The head's dropout at φ, as the paper lets it grow."""
        return grown_dropout(self.native.head.dropout, phi)

    def scaled(self, multipliers: Multipliers, *, dropout: float | None = None) -> SpecModel:
        """The network at these multipliers, rounded by its rules.

        Raises:
            ScalingError: they leave nothing of it.
        """
        return SpecModel(scale_spec(self.spec, multipliers, self.rounding, dropout=dropout))

    def survey(self, phi: float, *, num_classes: int, dropout: float | None = None) -> TableSurvey:
        """Its networks at φ, counted in columns."""
        from scalesearch.models.survey import TableSurvey

        return TableSurvey(self.spec, self.rounding, phi, num_classes=num_classes, dropout=dropout)

    def member(self, coefficients: Coefficients, phi: float) -> SpecModel:
        """The member of its family at φ, from its native resolution, named and with its origin written down."""
        return SpecModel(scaled_family_member(self.native, coefficients, phi, self.rounding))
