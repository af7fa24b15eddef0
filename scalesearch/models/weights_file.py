"""Files of weights: safetensors, which say of themselves what they are of, and torch's where they are asked for."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import yaml
from torch import Tensor

from scalesearch.errors import BaselineError, ScaleSearchError
from scalesearch.files import write_whole
from scalesearch.image_size import Resolution, as_resolution
from scalesearch.scaling.spec_files import Spec, dump_spec, parse_spec
from scalesearch.version import __version__

SAFE = ".safetensors"
ORDER = "order"

Channels = tuple[float, ...]


@dataclass(frozen=True)
class About:
    """What a file says of its weights: the network, its classes in the order of its outputs, and how images come to it.

    ``resolution``: size of the images, pixels; ``mean`` and ``std`` of their channels in [0, 1]; ``crop``: the central
    share of an image that is seen; ``classes`` are None where nobody has named them.
    """

    spec: Spec
    classes: tuple[str, ...] | None
    resolution: Resolution
    mean: Channels
    std: Channels
    crop: float

    def to_metadata(self) -> dict[str, str]:
        """As texts by name, which is all that safetensors take."""
        texts = {} if self.classes is None else {"classes": json.dumps(self.classes, ensure_ascii=False)}
        return texts | {
            "resolution": str(self.resolution),
            "mean": json.dumps(self.mean),
            "std": json.dumps(self.std),
            "eval_crop": str(self.crop),
            "spec": dump_spec(self.spec),
            "scalesearch": __version__,
            "format": "pt",  # what other programs look for
        }


def write_weights(target: Path, state: Mapping[str, Tensor], about: About | None = None) -> Path:
    """Write a state dict, whole or not at all: safetensors, or torch's own form where the name does not end so.

    A tensor that two names share is written once; the other name's entry in the metadata says under which, as
    `safetensors.torch.save_model` does it. The order of the names, which safetensors do not keep, is in the metadata
    too: another library's network may be filled by it.

    Raises:
        OSError: it cannot be written.
        ValueError: it holds what is no tensor.
    """
    if odd := [name for name, value in state.items() if not isinstance(value, Tensor)]:
        raise ValueError(f"{odd[0]} is no tensor: such a network's state is no file of weights")
    if target.suffix != SAFE:
        plain = {name: value.detach().cpu() for name, value in state.items()}
        return write_whole(target, lambda file: torch.save(plain, file))
    from safetensors.torch import save

    kept: dict[str, Tensor] = {}
    shared: dict[str, str] = {}
    first: dict[tuple[object, ...], str] = {}
    for name, value in state.items():
        place = (value.data_ptr(), value.device, value.dtype, tuple(value.shape), value.stride())
        if value.numel() and first.setdefault(place, name) != name:
            shared[name] = first[place]
        else:
            kept[name] = value.detach().cpu().contiguous().clone()  # views of one storage are tensors of their own
    said = {"format": "pt", ORDER: json.dumps(list(state))} | (about.to_metadata() if about is not None else {})
    content = save(kept, metadata=shared | said)
    return write_whole(target, lambda file: file.write(content))


def read_safetensors(path: Path) -> dict[str, Tensor]:
    """The tensors of a file, those that share others' among them, in the network's order where the file has it.

    Raises:
        BaselineError: it cannot be read.
    """
    found, metadata = _content(path)
    found |= {name: found[other] for name, other in metadata.items() if name not in found and other in found}
    try:
        order = [str(name) for name in json.loads(metadata.get(ORDER, "[]"))]
    except ValueError:
        order = []
    return {name: found[name] for name in order} if set(order) == found.keys() else found


def read_state(path: Path) -> dict[str, Tensor]:
    """The state dict that `write_weights` wrote, or an older version.

    Raises:
        BaselineError: it cannot be read.
    """
    if path.suffix == SAFE:
        return read_safetensors(path)
    try:
        state: dict[str, Tensor] = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as failure:  # of the unpickler, in many kinds
        raise BaselineError(f"{path} cannot be read: {why_unread(failure)}") from failure
    return state


def why_unread(failure: Exception) -> str:
    """Why torch does not read a file as weights alone; its own words advise to run whatever code is in it."""
    text = str(failure).strip()
    if found := re.search(r"Unsupported global: GLOBAL (\S+)", text):
        return f"it holds objects of code ({found[1]}), which is not run; save its state_dict()"
    if isinstance(failure, OSError) or "Weights only" not in text:
        return f"no file of torch's ({text.partition(chr(10))[0] or type(failure).__name__})"
    return "no file of torch's, or a damaged one"


def read_about(path: Path) -> About | None:
    """What a file says of its weights; None where scalesearch did not write it.

    Raises:
        BaselineError: it cannot be read, or what it says is no such thing.
    """
    if path.suffix != SAFE or not path.is_file():
        return None
    metadata = _content(path, tensors=False)[1]
    if "scalesearch" not in metadata or "spec" not in metadata:
        return None
    try:
        classes = metadata.get("classes")
        return About(
            parse_spec(yaml.safe_load(metadata["spec"])),
            None if classes is None else tuple(map(str, json.loads(classes))),
            as_resolution(metadata["resolution"]),
            _numbers(metadata["mean"]),
            _numbers(metadata["std"]),
            float(metadata["eval_crop"]),
        )
    except (KeyError, TypeError, ValueError, yaml.YAMLError, ScaleSearchError) as failure:
        raise BaselineError(f"{path}: what it says of its weights cannot be read: {failure}") from failure


def _content(path: Path, *, tensors: bool = True) -> tuple[dict[str, Tensor], dict[str, str]]:
    from safetensors import safe_open

    try:
        with safe_open(path, framework="pt") as file:
            content: Any = file
            found = {name: content.get_tensor(name) for name in content.keys()} if tensors else {}  # noqa: SIM118
            return found, content.metadata() or {}
    except Exception as failure:  # safetensors has its own
        raise BaselineError(f"{path} cannot be read: {str(failure).strip().partition(chr(10))[0]}") from failure


def _numbers(text: str) -> Channels:
    return tuple(float(value) for value in json.loads(text))
