"""A scaled `nn.Module` as data: where the original comes from, how it was scaled, and every layer that it came to."""

from __future__ import annotations

import hashlib
from typing import Annotated, Any

from pydantic import Field, PositiveFloat, PositiveInt

from scalesearch.image_size import InputSize
from scalesearch.scaling.compound import Rounding
from scalesearch.scaling.spec import Fraction01, Origin, flow
from scalesearch.validation import MOST_CHANNELS, Strict


class LayerRow(Strict):
    """A convolution or linear layer (no ``kernel``) with the channels it has after scaling."""

    name: str
    inputs: PositiveInt
    outputs: PositiveInt
    kernel: tuple[PositiveInt, ...] = ()
    groups: PositiveInt = 1


class StageRow(Strict):
    """Blocks that repeat, by the names they have in the original, and how many there are now."""

    name: str
    blocks: PositiveInt


class ModuleSpec(Strict):
    """A network made from the module that ``module`` names, for images of ``resolution`` (a side in pixels, or
    [height, width]) and so many ``channels``.

    ``module`` is ``timm:NAME``, ``torchvision:NAME``, ``FILE.py:FACTORY`` or ``package.module:NAME``; ``versions``
    are those it was made with. ``stages`` and ``layers`` say what came out: building it again compares them, so that
    another version that gives another network is noticed. ``dropout`` and ``stochastic_depth`` replace the module's.
    ``opened_at`` is the native size of a network that does not say its own.

    >>> from scalesearch import ModuleSpec
    >>> spec = ModuleSpec.model_validate({
    ...     "name": "small", "module": "torchvision:resnet18", "resolution": 64, "width": 0.5,
    ...     "layers": [{"name": "conv1", "inputs": 3, "outputs": 32, "kernel": [7, 7]}],
    ... })
    >>> spec.width, spec.layers[0].outputs
    (0.5, 32)
    """

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")]
    module: str
    versions: dict[str, str] = Field(default_factory=dict)
    resolution: InputSize
    channels: Annotated[PositiveInt, Field(le=MOST_CHANNELS)] = 3
    depth: PositiveFloat = 1
    width: PositiveFloat = 1
    rounding: Rounding = Rounding()
    opened_at: InputSize | None = None
    stages: tuple[StageRow, ...] = ()
    layers: Annotated[tuple[LayerRow, ...], Field(min_length=1)]
    dropout: Fraction01 | None = None
    stochastic_depth: Fraction01 | None = None
    origin: Origin | None = None

    def __hash__(self) -> int:
        return hash((self.name, self.fingerprint))  # `versions` is a dictionary, which cannot be hashed

    @property
    def blocks(self) -> int:
        """How many blocks it has, of all stages together."""
        return sum(stage.blocks for stage in self.stages)

    @property
    def fingerprint(self) -> str:
        """Twelve hex digits; equal for equal networks at an equal resolution."""
        network = self.model_dump_json(
            include={"module", "resolution", "stages", "layers", "dropout", "stochastic_depth"}
        )
        return hashlib.sha256(network.encode()).hexdigest()[:12]


def dump_module_spec(spec: ModuleSpec) -> str:
    """As YAML, a row per stage and per layer, defaults left out."""
    data: dict[str, Any] = spec.model_dump(mode="json", exclude_defaults=True)
    lines: list[str] = []
    for key, value in data.items():
        if key in ("stages", "layers"):
            lines += [f"{key}:", *(f"  - {flow(row)}" for row in value)]
        else:
            lines.append(f"{key}: {flow(value)}")
    return "\n".join(lines) + "\n"
