"""Weights that somebody trained, put into a network: by name where names agree, else by shape in order.

Names differ between libraries that have the same network; the order in which a network's tensors are defined seldom
does. So what no name fits is matched by shape, along both orders. What is left is said, and starts afresh.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from scalesearch.errors import BaselineError
from scalesearch.models.protocols import ScaledModel

WRAPPERS = ("state_dict", "model_state_dict", "model", "state_dict_ema", "model_ema", "ema")
"""Keys under which training programs keep a state dict."""

PREFIXES = ("module.", "model.", "_orig_mod.")
"""What wrappers put in front of every name."""

TOLD = 6
"""Names of a list that are told in words."""


@dataclass(frozen=True)
class Loaded:
    """How a network's tensors were found: ``by_name`` and ``by_shape`` (theirs, ours), ``new`` those that keep what
    they were initialised with, ``unused`` those of the file that nothing took."""

    source: str
    by_name: tuple[str, ...]
    by_shape: tuple[tuple[str, str], ...]
    new: tuple[str, ...]
    unused: tuple[str, ...]

    @property
    def words(self) -> str:
        """All of it, in a sentence; long lists are cut."""
        parts = [f"{len(self.by_name)} tensors by name"]
        if self.by_shape:
            theirs, ours = self.by_shape[0]
            parts.append(f"{len(self.by_shape)} by shape and order (the first: {theirs} for {ours})")
        parts.append(f"{len(self.new)} start afresh" + (f": {_listed(self.new)}" if self.new else ""))
        if self.unused:
            parts.append(f"{len(self.unused)} of the file's are not used: {_listed(self.unused)}")
        return f"weights of {self.source}: {'; '.join(parts)}"


def _listed(names: Sequence[str]) -> str:
    more = f" and {len(names) - TOLD} more" if len(names) > TOLD else ""
    return ", ".join(names[:TOLD]) + more


def read_weights(path: Path) -> dict[str, Tensor]:
    """The state dict in a file of torch's or of safetensors', without what training programs wrap it in.

    Raises:
        BaselineError: there is no such file, or it holds no state dict.
    """
    if not path.is_file():
        raise BaselineError(f"no weights: there is no file {path}")
    found = _safe(path) if path.suffix == ".safetensors" else _torchs(path)
    for key in WRAPPERS:
        if isinstance(found, Mapping) and isinstance(found.get(key), Mapping):
            found = found[key]
            break
    tensors = (
        {str(name): value for name, value in found.items() if isinstance(value, Tensor)}
        if isinstance(found, Mapping)
        else {}
    )
    if not tensors:
        raise BaselineError(f"{path} holds no state dict: expected tensors by name")
    for prefix in PREFIXES:
        if all(name.startswith(prefix) for name in tensors):
            tensors = {name.removeprefix(prefix): value for name, value in tensors.items()}
    return tensors


def _torchs(path: Path) -> Any:
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except Exception as failure:  # of the unpickler, in many kinds
        reason = str(failure).strip().partition("\n")[0]
        raise BaselineError(f"{path} cannot be read as weights alone: {reason}") from failure


def _safe(path: Path) -> Any:
    try:
        from safetensors.torch import load_file
    except ImportError as failure:
        raise BaselineError("safetensors is not installed: pip install 'scalesearch[timm]' brings it") from failure
    try:
        return load_file(path)
    except Exception as failure:  # safetensors has its own
        raise BaselineError(f"{path} cannot be read: {str(failure).strip().partition(chr(10))[0]}") from failure


def fitted(path: str, model: ScaledModel, classes: int) -> Loaded:
    """How a file's weights fit a network, in a copy that is thrown away.

    Raises:
        BaselineError: as `read_weights` and `load_weights`.
    """
    file = Path(path)
    return load_weights(model.build(classes), read_weights(file), file.name)


def load_weights(model: nn.Module, weights: Mapping[str, Tensor], source: str) -> Loaded:
    """Put what fits of ``weights`` into the network.

    A classifier for other classes fits nothing, and starts afresh.

    Raises:
        BaselineError: nothing fits: these are another network's weights.
    """
    ours = model.state_dict()
    by_name = [name for name, value in ours.items() if name in weights and weights[name].shape == value.shape]
    named = set(by_name)
    left = [name for name in ours if name not in named]
    theirs = [name for name in weights if name not in named]
    if any(name in weights for name in left):  # a name that is there with another shape is not somebody else's tensor
        theirs = [name for name in theirs if name not in ours]
        left = [name for name in left if name not in weights]
    by_shape = _along(left, theirs, ours, weights)
    taken = {name: weights[name] for name in by_name} | {own: weights[their] for their, own in by_shape}
    if not any(value.ndim > 1 for value in taken.values()):
        raise BaselineError(
            f"{source} fits no layer of this network: its first tensors are "
            f"{_shapes(weights)}, the network's {_shapes(ours)}"
        )
    model.load_state_dict(taken, strict=False)
    used = named | {their for their, _ in by_shape}
    return Loaded(
        source,
        tuple(by_name),
        tuple(by_shape),
        tuple(name for name in ours if name not in taken),
        tuple(name for name in weights if name not in used),
    )


def load_whole(model: nn.Module, weights: Mapping[str, Tensor], source: str) -> Loaded:
    """Put the weights of a trained network into it, every one of them.

    Raises:
        BaselineError: as `load_weights`; or a layer would keep what it was initialised with.
    """
    before = {name: tuple(value.shape) for name, value in model.state_dict().items()}
    loaded = load_weights(model, weights, source)
    missing = [name for name in loaded.new if before[name]]  # counters of batches change nothing
    if missing:
        words = [
            f"{name} is {tuple(weights[name].shape)} there and {before[name]} here" if name in weights else f"no {name}"
            for name in missing[:2]
        ]
        more = f", and {len(missing) - 2} more" if len(missing) > 2 else ""
        raise BaselineError(
            f"{source} is not of this very network, {len(missing)} of whose tensors would stay untrained: "
            f"{'; '.join(words)}{more}"
        )
    return loaded


def _along(
    ours: Sequence[str], theirs: Sequence[str], our_tensors: Mapping[str, Tensor], their_tensors: Mapping[str, Tensor]
) -> list[tuple[str, str]]:
    """Pairs (theirs, ours) of equal shapes, in both orders at once; counters of batches, which not all files have, are
    nobody's partner."""
    ours = [name for name in ours if our_tensors[name].ndim]
    theirs = [name for name in theirs if their_tensors[name].ndim]
    shapes = [tuple(our_tensors[name].shape) for name in ours]
    other = [tuple(their_tensors[name].shape) for name in theirs]
    blocks = SequenceMatcher(None, other, shapes, autojunk=False).get_matching_blocks()
    return [(theirs[b.a + i], ours[b.b + i]) for b in blocks for i in range(b.size)]


def _shapes(tensors: Mapping[str, Tensor]) -> str:
    return ", ".join(f"{name} {tuple(value.shape)}" for name, value in list(tensors.items())[:2])


def classifier_of(model: nn.Module, classes: int) -> nn.Module:
    """The last layer that gives out a value for each class.

    Raises:
        BaselineError: there is none.
    """
    for module in reversed(list(model.modules())):
        width = getattr(module, "out_features", getattr(module, "out_channels", None))
        if isinstance(module, nn.Linear | nn.Conv2d) and width == classes:
            return module
    raise BaselineError(f"no layer gives out {classes} classes: there is no classifier to train alone")
