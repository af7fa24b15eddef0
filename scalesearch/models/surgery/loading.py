"""Modules by name: timm's, torchvision's, a file's, an installed package's, or this session's."""

from __future__ import annotations

import importlib
import importlib.util
import sys
import warnings
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from pydantic_core import PydanticKnownError
from torch import nn

from scalesearch.errors import BaselineError
from scalesearch.image_size import Resolution, as_resolution, of_sides
from scalesearch.models.surgery.session import SESSION, taken
from scalesearch.validation import is_file, nearest

DEFAULT_RESOLUTION = 224
"""Pixels, of a network that does not say what it is meant for: by an attribute ``resolution``, or by --resolution."""


FEATURES = "features"
"""After a network of timm, its maps without the classifier: ``timm:resnet18:features``."""


@dataclass(frozen=True)
class Loaded:
    """A module as its author builds it, the size of its input in pixels, and whose versions made it.

    ``stated`` says that the size is the author's word, and no default.
    """

    module: nn.Module
    resolution: Resolution
    versions: dict[str, str]
    stated: bool = True


def load_module(source: str, channels: int | None = None) -> Loaded:
    """Build the module that ``source`` names, with fresh weights, the same in every process: how it starts is read off
    them, and a small layer's may look like one scheme or another.

    Args:
        channels: of its images, where it is one of timm's, which are made for any number; others have their own.

    Raises:
        BaselineError: there is none, or it cannot be built; the message names the nearest one.
    """
    kind, _, name = source.partition(":")
    with warnings.catch_warnings(), torch.random.fork_rng(devices=[]):
        warnings.simplefilter("ignore")
        torch.default_generator.manual_seed(0)
        if kind == "timm":
            return _from_timm(name, channels)
        if kind == "torchvision":
            return _from_torchvision(name)
        return _own(_built(name, taken(source)) if kind == SESSION else _from_code(source))


def _from_timm(name: str, channels: int | None) -> Loaded:
    try:
        import timm
    except ImportError as failure:
        raise BaselineError("timm is not installed: pip install 'scalesearch[timm]'") from failure
    name, _, part = name.partition(":")
    if not timm.is_model(name):
        raise BaselineError(f"timm has no model {name!r}{_nearest(name, timm.list_models())}")
    if part not in ("", FEATURES):
        raise BaselineError(f"timm:{name}:{part}: expected timm:{name}, or timm:{name}:{FEATURES} for its maps alone")
    only: dict[str, Any] = {"features_only": True} if part else {}
    try:
        options = only if channels is None else only | {"in_chans": channels}
        module = timm.create_model(name, pretrained=False, **options)
    except Exception as failure:
        what = f"the maps of {name}" if part else name
        raise BaselineError(f"timm cannot build {what}: {failure}") from failure
    about: dict[str, Any] = getattr(module, "default_cfg", None) or _stated_by_timm(timm.get_pretrained_cfg(name))
    size = about.get("input_size", (3, DEFAULT_RESOLUTION, DEFAULT_RESOLUTION))
    return Loaded(
        module, of_sides(int(size[-2]), int(size[-1])), {"timm": timm.__version__, "torch": torch.__version__}
    )


def _stated_by_timm(about: Any) -> dict[str, Any]:
    return {} if about is None else dict(about.to_dict())


def _from_torchvision(name: str) -> Loaded:
    import torchvision
    from torchvision import models

    known = models.list_models(module=models)
    if name not in known:
        raise BaselineError(f"torchvision has no classification model {name!r}{_nearest(name, known)}")
    options: dict[str, Any] = {"init_weights": True} if name in ("googlenet", "inception_v3") else {}
    module = models.get_model(name, weights=None, **options)
    trained = next(iter(models.get_model_weights(name)), None)
    size = DEFAULT_RESOLUTION if trained is None else int(trained.transforms().crop_size[0])
    return Loaded(module, size, {"torchvision": torchvision.__version__, "torch": torch.__version__})


def _from_code(source: str) -> nn.Module:
    where, _, name = source.rpartition(":")
    if not where or not name:
        raise BaselineError(f"{source!r}: expected FILE.py:FACTORY or package.module:NAME")
    _look_here(Path.cwd())
    holder = _file(Path(where).expanduser()) if where.endswith(".py") else _package(where)
    if not hasattr(holder, name):
        raise BaselineError(
            f"{where} has no {name!r}{_nearest(name, [n for n in vars(holder) if not n.startswith('_')])}"
        )
    return _built(source, getattr(holder, name))


def _own(module: nn.Module) -> Loaded:
    """A network of the user's own, which may state its size."""
    size = _stated(getattr(module, "resolution", None))
    return Loaded(module, size or DEFAULT_RESOLUTION, {"torch": torch.__version__}, size is not None)


def _stated(size: object) -> Resolution | None:
    """What an attribute ``resolution`` says: a side, or height and width; None where it is something else."""
    if not isinstance(size, int | list | tuple):
        return None
    with suppress(ValueError, PydanticKnownError):
        return as_resolution(size)
    return None


def _built(source: str, factory: Callable[[], Any] | nn.Module) -> nn.Module:
    if not isinstance(factory, nn.Module) and not callable(factory):
        raise BaselineError(f"{source} is no function or class that makes a network: {factory!r}")
    try:
        module = factory if isinstance(factory, nn.Module) else factory()
    except (Exception, SystemExit) as failure:
        raise BaselineError(f"{source}() fails: {type(failure).__name__}: {failure}") from failure
    if not isinstance(module, nn.Module):
        raise BaselineError(f"{source} gives {type(module).__name__}, not an nn.Module")
    return module


def _file(path: Path) -> Any:
    if not is_file(path):
        raise BaselineError(f"no file at {path}")
    _look_here(path.resolve().parent)
    spec = importlib.util.spec_from_file_location(path.stem, path)
    if spec is None or spec.loader is None:
        raise BaselineError(f"{path} is no Python file")
    module = importlib.util.module_from_spec(spec)
    sys.modules.setdefault(path.stem, module)  # so that what it defines can be copied and pickled
    try:
        spec.loader.exec_module(module)
    except (Exception, SystemExit) as failure:
        raise BaselineError(f"{path} cannot be imported: {type(failure).__name__}: {failure}") from failure
    return module


def _look_here(folder: Path) -> None:
    """Let code in ``folder`` be imported, as Python does for a script that lies there."""
    if str(folder) not in sys.path:
        sys.path.append(str(folder))


def _package(name: str) -> Any:
    try:
        return importlib.import_module(name)
    except Exception as failure:
        raise BaselineError(f"{name} cannot be imported: {failure}") from failure


def _nearest(name: str, known: Iterable[str]) -> str:
    near = nearest(name, known, cutoff=0.5)
    return f". Did you mean {near}?" if near else ""
