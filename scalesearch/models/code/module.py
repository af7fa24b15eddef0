"""A scaled module as a file of PyTorch: the original's constructor, and the edits that make the scaled one of it."""

from __future__ import annotations

import textwrap
from copy import deepcopy
from pathlib import Path
from typing import Any

from torch import nn

from scalesearch.errors import ScaleSearchError
from scalesearch.models.code.constructors import Imports
from scalesearch.models.code.edits import edits_of, rates, repeated
from scalesearch.models.code.rendering import Written, numbers, rendered
from scalesearch.models.module_opening import opened
from scalesearch.models.surgery.loading import load_module
from scalesearch.models.surgery.suited import suited
from scalesearch.scaling.module_spec import ModuleSpec


def module_code(written: Written, network: nn.Module) -> str:
    """The file.

    Args:
        network: the scaled network itself.

    Raises:
        ScaleSearchError: something of it cannot be written; the message names it.
    """
    spec = written.model.spec
    assert isinstance(spec, ModuleSpec)
    original = load_module(spec.module).module
    if suited(original) is not original:
        raise ScaleSearchError(f"{spec.module}: it is wrapped or compiled, and what it wraps has no name to be written")
    looked_through = opened(spec.module, spec.rounding, spec.opened_at).network
    counts = looked_through.repeats(spec.depth, spec.rounding)
    work, imports = deepcopy(original), Imports()
    try:
        deeper = repeated(work, network, looked_through, counts)
        edits = edits_of(work, network, imports)
    except ScaleSearchError as failure:
        raise ScaleSearchError(f"{spec.name} cannot be written as Python: {failure}") from failure
    changes = list(edits.lines(network, "model"))
    dropped = rates(network) if rates(network) != rates(work) else []
    text = "\n".join([*deeper, *changes])
    return rendered(
        "module.py.jinja",
        n=numbers(written),
        source=_source(spec.module),
        imports=imports.lines,
        stages=[(s.name, len(s.blocks), count) for s, count in zip(looked_through.stages, counts, strict=True)],
        deeper=deeper,
        changes=changes,
        rates=textwrap.wrap(", ".join(f"{rate:.6g}" for rate in dropped), 108),
        uses={name: f"{name}(" in text for name in ("repeat", "deepcopy", "Chain", "Pass", "set_channels")},
    )


def _source(module: str) -> dict[str, Any]:
    """The statement that imports the original, and the call that makes it."""
    where, _, name = module.rpartition(":")
    if where == "timm":
        return {"line": "import timm", "call": f'timm.create_model("{name}")', "beside": ""}
    if where == "torchvision":
        options = ", init_weights=True" if name in ("googlenet", "inception_v3") else ""
        return {"line": "from torchvision import models", "call": f'models.get_model("{name}"{options})', "beside": ""}
    file = Path(where)
    package = file.stem if where.endswith(".py") else where
    if not all(part.isidentifier() for part in package.split(".")):
        raise ScaleSearchError(f"{where} cannot be imported by its name: rename it to a word without other signs")
    return {"line": f"from {package} import {name}", "call": f"{name}()", "beside": file.name if file.suffix else ""}
