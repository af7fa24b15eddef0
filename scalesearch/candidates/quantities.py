"""What a network may cost: the quantities by which candidates can be made equal."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from scalesearch.scaling.compound import AXES

if TYPE_CHECKING:
    from scalesearch.settings import SearchSettings


@dataclass(frozen=True)
class Quantity:
    """A cost: what it is called, its unit, and whether it is measured on a device.

    ``exponents`` are those of α, β and γ in what it nominally grows by; 0: the coefficient does not change it.
    """

    name: str
    words: str
    unit: str
    exponents: tuple[int, int, int]
    measured: bool = False

    def exponent(self, coefficient: str) -> int:
        """Of alpha, beta or gamma."""
        return self.exponents[AXES.index(coefficient)]


QUANTITIES: Mapping[str, Quantity] = {
    each.name: each
    for each in (
        Quantity("macs", "MACs", "", (1, 2, 2)),
        Quantity("params", "parameters", "", (1, 2, 0)),
        Quantity("activations", "activations", "", (1, 1, 2)),
        Quantity("memory", "training memory", "B", (1, 1, 2)),
        Quantity("latency", "latency", "ms", (1, 2, 2), measured=True),
        Quantity("train-time", "time of a training step", "ms", (1, 2, 2), measured=True),
        Quantity("energy", "energy", "mJ", (1, 2, 2), measured=True),
    )
}


@dataclass(frozen=True)
class Spent:
    """What a network costs by the matched quantity, in its unit, and over the baseline's."""

    quantity: Quantity
    value: float
    ratio: float


def is_measured(search: SearchSettings) -> bool:
    """Whether candidates are matched by what is measured on a device."""
    return search.match in QUANTITIES and QUANTITIES[search.match].measured


def idle_words(search: SearchSettings) -> str | None:
    """What is said of settings that change nothing with this ``match``; None where there are none."""
    keys, why = ["tolerance"], f"they are matched by {search.match} (--match)"
    if search.match == "nominal":
        keys, why = ["solve", "match_tolerance"], "candidates are matched by nothing (--match)"
    if not is_measured(search):
        keys += ["match_batch", "match_threads"]
    fields = type(search).model_fields
    idle = [f"search.{key}" for key in keys if getattr(search, key) != fields[key].default]
    if not idle:
        return None
    return f"{' and '.join(idle)} change{'s' * (len(idle) == 1)} nothing: {why}"
