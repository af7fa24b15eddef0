"""What every file of source code says of its network, and how a template becomes one."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from scalesearch.image_size import height_width
from scalesearch.models.protocols import ScaledModel
from scalesearch.models.weights_file import Channels
from scalesearch.scaling.module_spec import ModuleSpec
from scalesearch.version import __version__

MOST_NAMES = 50
"""Classes that a file names; of more, the weights' own metadata does."""


@dataclass(frozen=True)
class Written:
    """A network that is to be written: for so many ``classes``, called ``names`` where that is known.

    ``weights`` is the name of the file of its weights, to be named in the code; ``mean`` and ``std`` normalise images.
    """

    model: ScaledModel
    classes: int
    names: tuple[str, ...] | None
    weights: str
    mean: Channels
    std: Channels


@dataclass(frozen=True)
class Numbers:
    """What the templates print: counts in words and exactly, pixels, classes, where the network is from."""

    title: str
    about: str
    weights: str
    classes: int
    names: tuple[str, ...]
    pixels: str
    resolution: str
    sides: str
    shape: str
    channels: int
    mean: Channels
    std: Channels
    params: str
    macs: str
    params_exact: str
    macs_exact: str


def numbers(written: Written) -> Numbers:
    """Of a network, counted in closed form."""
    model, cost = written.model, written.model.cost(written.classes)
    spec = model.spec
    origin = spec.origin
    words = []
    if isinstance(spec, ModuleSpec):
        made = ", ".join(f"{name} {version}" for name, version in spec.versions.items())
        words.append(f"{spec.module} of {made}, {spec.depth:.4g} times as deep and {spec.width:.4g} times as wide.")
    elif spec.source:
        words.append(f"After {spec.source}.")
    if origin is not None:
        words.append(
            f"Scaled from {origin.baseline} by depth {origin.depth:.4g}, width {origin.width:.4g}, resolution "
            f"{origin.resolution:.4g}."
        )
    words.append(f"Written by scalesearch {__version__}, which it does not need.")
    names = written.names or ()
    height, width = height_width(model.resolution)
    square = height == width
    return Numbers(
        title=spec.name,
        about=" ".join(words),
        weights=written.weights,
        classes=written.classes,
        names=names if len(names) <= MOST_NAMES else (),
        pixels=f"{model.resolution} pixels" + (" a side" if square else ""),
        resolution=str(height) if square else f"({height}, {width})",
        sides="RESOLUTION, RESOLUTION" if square else "*RESOLUTION",
        shape=f"{model.channels}, {height}, {width}",
        channels=model.channels,
        mean=written.mean,
        std=written.std,
        params=_short(cost.params),
        macs=_short(cost.macs),
        params_exact=f"{cost.params:_}",
        macs_exact=f"{cost.macs:_}",
    )


def rendered(template: str, **values: Any) -> str:
    """A file of source code."""
    from jinja2 import Environment, PackageLoader, StrictUndefined

    templates = Environment(
        loader=PackageLoader("scalesearch.models.code"),
        autoescape=False,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    templates.filters["quoted"] = lambda text: json.dumps(text, ensure_ascii=False)
    return templates.get_template(template).render(**values).strip() + "\n"


def _short(count: int) -> str:
    for unit, size in (("G", 1e9), ("M", 1e6), ("k", 1e3)):
        if count >= size:
            return f"{count / size:.3g} {unit}"
    return str(count)
