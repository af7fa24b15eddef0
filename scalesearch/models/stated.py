"""What the authors of a network state of its published weights."""

from __future__ import annotations

from scalesearch.errors import BaselineError
from scalesearch.models.surgery.loading import load_module
from scalesearch.scaling.module_spec import ModuleSpec
from scalesearch.scaling.spec_files import Spec

Channels = tuple[float, ...]


def stated_normalisation(spec: Spec) -> tuple[Channels, Channels, str] | None:
    """Mean and standard deviation of R, G, B in [0, 1] that a network's weights expect, and who states them.

    timm states them in its configuration of the weights, torchvision in their transforms; a module of the user's own
    may have attributes ``mean`` and ``std``. None for tables of stages and where nobody says.

    Raises:
        BaselineError: the module's attributes are not a number for each channel.
    """
    if not isinstance(spec, ModuleSpec):
        return None
    kind, _, name = spec.module.partition(":")
    if kind == "timm":
        import timm

        found = timm.get_pretrained_cfg(name)
        if found is None or not found.has_weights:
            return None
        return _three(found.mean), _three(found.std), f"timm states for the weights of {name}"
    if kind == "torchvision":
        from torchvision import models

        trained = next(iter(models.get_model_weights(name)), None)
        if trained is None:
            return None
        transforms = trained.transforms()
        return _three(transforms.mean), _three(transforms.std), f"torchvision states for the weights of {name}"
    return _own(spec.module)


def _own(source: str) -> tuple[Channels, Channels, str] | None:
    module = load_module(source).module
    mean, std = getattr(module, "mean", None), getattr(module, "std", None)
    if mean is None or std is None:
        return None
    try:
        return _numbers(mean), _numbers(std), f"{source} states by its mean and std"
    except (TypeError, ValueError) as failure:
        raise BaselineError(f"{source}: its mean and std are not a number for each channel") from failure


def _numbers(values: object) -> Channels:
    found = tuple(float(value) for value in values)  # type: ignore[attr-defined]
    if not 1 <= len(found) <= 4:
        raise ValueError
    return found


def _three(values: object) -> Channels:
    red, green, blue = (float(value) for value in values)  # type: ignore[attr-defined]
    return red, green, blue
