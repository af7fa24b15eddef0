"""Weights that somebody trained, put into a network: by name where names agree, else by shape in order.

Names differ between libraries that have the same network; the order in which a network's tensors are defined seldom
does. So what no name fits is matched along both orders, if all of it fits but for the classifier: a part that happens
to have the same shapes proves nothing. What is left is said, and starts afresh.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from scalesearch.errors import BaselineError
from scalesearch.models.protocols import ScaledModel
from scalesearch.models.weights_file import SAFE, read_safetensors, why_unread

WRAPPERS = ("state_dict", "model_state_dict", "model", "state_dict_ema", "model_ema", "ema")
"""Keys under which training programs keep a state dict."""

PREFIXES = ("module.", "model.", "_orig_mod.")
"""What wrappers put in front of every name."""

COUNTER = "num_batches_tracked"
"""Of a batch norm: not all files have it, and nothing depends on it while the norm has a momentum."""

KINDS = ("weight", "bias", "running_mean", "running_var")
"""How torch's layers call their tensors: where both names end so, they have to agree."""

CLASSIFIER = 2
"""Tensors of a classifier, its weight and its bias."""

TOLD = 6
"""Names of a list that are told in words."""


@dataclass(frozen=True)
class Loaded:
    """How a network's tensors were found: ``by_name`` and ``by_shape`` (theirs, ours), ``new`` those that keep what
    they were initialised with, ``unused`` those of the file that nothing took; batch counters are in neither. ``stem``
    says what became of a first kernel for other images."""

    source: str
    by_name: tuple[str, ...]
    by_shape: tuple[tuple[str, str], ...]
    new: tuple[str, ...]
    unused: tuple[str, ...]
    stem: str | None = None

    @property
    def words(self) -> str:
        """All of it, in a sentence; long lists are cut."""
        parts = [f"{len(self.by_name)} tensors by name"]
        if self.by_shape:
            theirs, ours = self.by_shape[0]
            parts.append(
                f"{len(self.by_shape)} by shape and order, their names differ (the first: {theirs} for {ours})"
            )
        parts.append(f"{len(self.new)} start afresh" + (f": {_listed(self.new)}" if self.new else ""))
        if self.stem:
            parts.append(self.stem)
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
    found = read_safetensors(path) if path.suffix == SAFE else _torchs(path)
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
        raise BaselineError(f"{path} cannot be read as weights alone: {why_unread(failure)}") from failure


def fitted(path: str, model: ScaledModel, classes: int) -> Loaded:
    """How a file's weights fit a network, in a copy that is thrown away.

    Raises:
        BaselineError: as `read_weights` and `load_weights`.
    """
    file = Path(path)
    return load_weights(model.build(classes), read_weights(file), file.name)


class OtherWidthsError(BaselineError):
    """Weights have the network's names, and no layer of its widths."""


def load_weights(
    model: nn.Module,
    weights: Mapping[str, Tensor],
    source: str,
    *,
    other_channels: bool = True,
    other_widths: bool = False,
) -> Loaded:
    """Put what fits of ``weights`` into the network.

    A classifier for other classes fits nothing, and starts afresh. Where the network is for images of another number of
    channels than three, the first kernel is made to fit, unless ``other_channels`` forbids it. With ``other_widths``
    the network may also be one of the same layers of which none has the file's widths: all of it starts afresh.

    Raises:
        OtherWidthsError: it is that, and may not be.
        BaselineError: nothing fits: these are another network's weights.
    """
    ours = model.state_dict()
    weights, stem = _for_channels(weights, ours) if other_channels else (weights, None)
    by_name = [name for name, value in ours.items() if name in weights and weights[name].shape == value.shape]
    named = set(by_name)
    left = [name for name in ours if name not in named and not _counts(name)]
    theirs = [name for name in weights if name not in named and not _counts(name)]
    if any(name in weights for name in left):  # a name that is there with another shape is not somebody else's tensor
        theirs = [name for name in theirs if name not in ours]
        left = [name for name in left if name not in weights]
    by_shape = _along(theirs, left, weights, ours)
    taken = {name: weights[name] for name in by_name} | {own: weights[their] for their, own in by_shape}
    if not any(value.ndim > 1 for value in taken.values()):
        why = f"{source} fits no layer of this network: {_departure(theirs, left, weights, ours)}"
        if not any(name in weights and weights[name].ndim == value.ndim > 1 for name, value in ours.items()):
            raise BaselineError(why)
        if not other_widths:
            raise OtherWidthsError(why)
    model.load_state_dict(taken, strict=False)
    used = named | {their for their, _ in by_shape}
    return Loaded(
        source,
        tuple(by_name),
        tuple(by_shape),
        tuple(name for name in ours if name not in taken and not _counts(name)),
        tuple(name for name in weights if name not in used and not _counts(name)),
        stem,
    )


def _for_channels(weights: Mapping[str, Tensor], ours: Mapping[str, Tensor]) -> tuple[Mapping[str, Tensor], str | None]:
    """The weights with a first kernel for three channels made one for as many as the network's, and what was done.

    As timm's ``adapt_input_conv``: summed for one channel; else its channels again and again, in equal strength.
    """
    own = next((value for value in ours.values() if value.ndim == 4), None)
    name, kernel = next(((name, value) for name, value in weights.items() if value.ndim == 4), ("", None))
    if own is None or kernel is None or kernel.shape[1] != 3 or own.shape[1] == 3:
        return weights, None
    if (own.shape[0], *own.shape[2:]) != (kernel.shape[0], *kernel.shape[2:]):
        return weights, None
    channels = own.shape[1]
    if channels == 1:
        made, how = kernel.sum(1, keepdim=True), "summed over its 3 channels for the network's 1"
    else:
        made = kernel.repeat(1, -(-channels // 3), 1, 1)[:, :channels] * (3 / channels)
        how = f"repeated from its 3 channels for the network's {channels}"
    return {**weights, name: made}, f"the kernel {name} is {how}"


def load_whole(model: nn.Module, weights: Mapping[str, Tensor], source: str) -> Loaded:
    """Put the weights of a trained network into it, every one of them.

    Raises:
        BaselineError: as `load_weights`; or a layer would keep what it was initialised with.
    """
    before = {name: tuple(value.shape) for name, value in model.state_dict().items()}
    loaded = load_weights(model, weights, source, other_channels=False)
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


def untrained(model: nn.Module, loaded: Loaded, classes: int) -> tuple[list[str], list[str]]:
    """The tensors that keep what they were initialised with, and those of them that are not the classifier's. Counters
    of batches, which change no output, are none of them.

    Raises:
        BaselineError: there are some, and the network has no classifier.
    """
    own = model.state_dict()
    fresh = [name for name in loaded.new if own[name].ndim]
    if not fresh:
        return [], []
    heads = {id(parameter) for parameter in classifier_of(model, classes).parameters()}
    head = {name for name, value in model.named_parameters() if id(value) in heads}
    return fresh, [name for name in fresh if name not in head]


def _counts(name: str) -> bool:
    return name.rpartition(".")[2] == COUNTER


def _along(
    theirs: Sequence[str], ours: Sequence[str], their_tensors: Mapping[str, Tensor], our_tensors: Mapping[str, Tensor]
) -> list[tuple[str, str]]:
    """Pairs (theirs, ours) in both orders, if they fit one another from the first to the last, or to the classifier."""
    same = _fitting(theirs, ours, their_tensors, our_tensors)
    if max(len(theirs), len(ours)) - same > CLASSIFIER:
        return []
    return list(zip(theirs[:same], ours[:same], strict=True))


def _fitting(
    theirs: Sequence[str], ours: Sequence[str], their_tensors: Mapping[str, Tensor], our_tensors: Mapping[str, Tensor]
) -> int:
    """How many tensors from the first on agree in shape, and in kind where both names tell one."""
    for place, (their, our) in enumerate(zip(theirs, ours, strict=False)):
        kinds = {name.rpartition(".")[2] for name in (their, our)}
        if their_tensors[their].shape != our_tensors[our].shape or (len(kinds) > 1 and kinds <= set(KINDS)):
            return place
    return min(len(theirs), len(ours))


def _departure(
    theirs: Sequence[str], ours: Sequence[str], their_tensors: Mapping[str, Tensor], our_tensors: Mapping[str, Tensor]
) -> str:
    """Where two orders of tensors cease to fit, in words."""
    if not theirs or not ours:
        return "tensors of one name have other shapes"
    place = _fitting(theirs, ours, their_tensors, our_tensors)
    here, there = _tensor(place, ours, our_tensors), _tensor(place, theirs, their_tensors)
    return f"names differ, and in order tensor {place + 1} is {there} in the file, {here} in the network"


def _tensor(place: int, names: Sequence[str], tensors: Mapping[str, Tensor]) -> str:
    return f"{names[place]} {tuple(tensors[names[place]].shape)}" if place < len(names) else "not there"


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
