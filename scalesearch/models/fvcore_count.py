"""Parameters, MACs and activations as fvcore counts them, and the file that remembers those counts."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import nn

import hashlib
import json
from contextlib import suppress
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path

import torch

from scalesearch.errors import RunError
from scalesearch.files import cache_folder, write_text
from scalesearch.image_size import Resolution, image_shape
from scalesearch.models.protocols import ScaledModel
from scalesearch.scaling.cost import Count
from scalesearch.scaling.module_spec import ModuleSpec
from scalesearch.version import __version__


def count(module: nn.Module, resolution: Resolution, channels: int = 3) -> Count:
    """Trace ``module`` (on the CPU, in ``eval`` mode, before compiling) on one image of this size."""
    import logging

    import torch

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from fvcore.nn import FlopCountAnalysis

        logging.getLogger("fvcore").setLevel(logging.ERROR)
        training = module.training
        module.eval()
        try:
            with torch.no_grad():
                analysis = FlopCountAnalysis(module, torch.zeros(1, *image_shape(channels, resolution)))
                analysis.unsupported_ops_warnings(False)
                analysis.uncalled_modules_warnings(False)
                by_operator = analysis.by_operator()
                uncounted = analysis.unsupported_ops()
        finally:
            module.train(training)
    macs = sum(by_operator[name] for name in ("conv", "linear", "addmm", "matmul"))
    return Count(int(macs), int(sum(by_operator.values())), {k: int(v) for k, v in sorted(uncounted.items())})


COUNTERS = ("fvcore", "torch", "torchvision")
"""Whose versions decide what is counted, beside scalesearch's and those that a module was made with."""


def counted(model: ScaledModel, num_classes: int) -> Count:
    """fvcore's count of one image through ``model``: from the cache if it has it, else counted and added to it.

    A cache that is broken or cannot be written costs the time it would have saved, nothing else.
    """
    path = _kept(model, num_classes)
    if path is None:
        return _count(model, num_classes)
    with suppress(OSError, ValueError, TypeError, KeyError, AttributeError):
        known = json.loads(path.read_text(encoding="utf-8"))["count"]
        uncounted = {str(name): int(times) for name, times in known["uncounted"].items()}
        return Count(int(known["macs"]), int(known["total"]), uncounted)
    fresh = _count(model, num_classes)
    about = {"network": model.fingerprint, "resolution": model.resolution, "num_classes": num_classes}
    with suppress(RunError):
        write_text(path, json.dumps(about | {"count": asdict(fresh)}) + "\n")
    return fresh


def _count(model: ScaledModel, num_classes: int) -> Count:
    if isinstance(model.spec, ModuleSpec):
        return count(model.build(num_classes), model.resolution, model.channels)
    with torch.device("meta"):  # initial values, which take longer than counting where there are many, play no part
        network = model.build(num_classes)
    return count(network.to_empty(device="cpu"), model.resolution, model.channels)


def _kept(model: ScaledModel, num_classes: int) -> Path | None:
    """The file of its count; None for a user's own code, which may change and keep its fingerprint."""
    spec = model.spec
    key: list[object] = [model.fingerprint, model.resolution, num_classes, __version__]
    key += [version(name) for name in COUNTERS]
    if isinstance(spec, ModuleSpec):
        if spec.module.partition(":")[0] not in ("timm", "torchvision"):
            return None
        key += [sorted(spec.versions.items()), spec.rounding.model_dump_json()]
    return cache_folder() / "counts" / f"{hashlib.sha256(json.dumps(key).encode()).hexdigest()[:24]}.json"
