"""How much of every map reaches the output of a network: what is cut away trains nothing and is missed by nobody."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.overrides import TorchFunctionMode

from scalesearch.errors import SurgeryError
from scalesearch.image_size import Resolution, image_shape
from scalesearch.models.surgery.tagger import flatten

Shares = dict[str, tuple[float, float]]
"""By layer and call: the shares of its output's rows and columns from which anything reaches the outputs."""


RECTIFIERS = frozenset(("relu", "relu_", "relu6", "hardtanh", "hardtanh_", "hardswish", "hardswish_", "threshold"))
"""Functions whose gradient is zero over a part of their inputs; their result has its inputs' shape."""

LOST = 0.1
"""Share of a map's rows or columns that may be lost beside the native size, by strides and pools that round down."""


def seen(module: nn.Module, resolution: Resolution, channels: int = 3) -> Shares:
    """What of each layer's map, and of the image, reaches the outputs; nothing where the outputs depend on neither.

    By the gradient of a random sum of the outputs, in eval mode, for one random image of ``resolution`` pixels. The
    weights are drawn anew, since initial ones may be zero; torch's generator is left as it was.
    """
    shares: Shares = {}
    state = torch.random.get_rng_state()
    torch.manual_seed(0)
    try:
        _draw(module)
        module.eval()
        for name, layer in module.named_modules():
            if next(layer.children(), None) is None:
                layer.register_forward_hook(_watch(name, shares))
        image = torch.randn(1, *image_shape(channels, resolution), requires_grad=True)
        with _Open():
            made = module(image)
        outputs = [out for out in flatten(made) if out.is_floating_point() and out.requires_grad]
        if not outputs:
            return {}
        torch.stack([(out * torch.randn_like(out)).sum() for out in outputs]).sum().backward()  # type: ignore[no-untyped-call]
    finally:
        torch.random.set_rng_state(state)
    if image.grad is not None:
        shares["the image"] = _shares(image.grad)
    return shares


class _Open(TorchFunctionMode):
    """While entered, what passes on a choice of its inputs passes on all: maxima are means, rectifiers do nothing."""

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs, name = kwargs or {}, getattr(func, "__name__", "")
        if name in RECTIFIERS:
            return args[0]
        if name in ("max_pool2d", "_max_pool2d", "boolean_dispatch") and not kwargs.get("return_indices"):
            given = dict(zip(("kernel_size", "stride", "padding", "dilation", "ceil_mode"), args[1:], strict=False))
            given |= {key: value for key, value in kwargs.items() if key not in ("input", "return_indices")}
            if "kernel_size" in given and given.pop("dilation", 1) in (1, (1, 1), [1, 1]):
                return functional.avg_pool2d(args[0] if args else kwargs["input"], **given)
        if name == "amax":
            return args[0].mean(*args[1:], **kwargs)
        if name == "adaptive_max_pool2d" and len(args) > 1:
            return functional.adaptive_avg_pool2d(args[0], args[1])
        return func(*args, **kwargs)


def _draw(module: nn.Module) -> None:
    for name, parameter in module.named_parameters():
        parameter.requires_grad_(False)
        if parameter.ndim > 1:
            nn.init.kaiming_normal_(parameter.view(len(parameter), -1), nonlinearity="linear")
        else:
            nn.init.constant_(parameter, 0.1 if name.endswith("bias") else 1)


def _watch(name: str, shares: Shares) -> Any:
    calls = [0]

    def hook(_: nn.Module, __: Any, output: Any) -> None:
        calls[0] += 1
        if isinstance(output, Tensor) and output.ndim == 4 and output.requires_grad and min(output.shape[2:]) > 1:
            key = f"{name}#{calls[0]}"
            output.register_hook(lambda gradient: shares.__setitem__(key, _shares(gradient)))  # type: ignore[no-untyped-call]

    return hook


def _shares(gradient: Tensor) -> tuple[float, float]:
    reached = gradient[0].abs().amax(0) > 0
    return float(reached.any(1).float().mean()), float(reached.any(0).float().mean())


def least_kept(native: Shares, here: Shares) -> tuple[str, float, float]:
    """The layer that loses most of its map beside the native size: its name, its share there and here."""
    worst = ("", 1.0, 1.0)
    for key, before in native.items():
        for share, now in zip(before, here.get(key, before), strict=True):
            if share - now > worst[1] - worst[2]:
                worst = (key.partition("#")[0], share, now)
    return worst


class Reach:
    """What a network loses of its maps at other resolutions than its own; each is tried once."""

    def __init__(self, build: Callable[[Resolution], nn.Module], native: Resolution, channels: int = 3) -> None:
        """``build`` makes the network for images of a size; ``native`` is its own size, and it has so many channels."""
        self._build, self._native, self._channels = build, native, channels
        self._shares: dict[Resolution, Shares] = {}

    def lost_at(self, resolution: Resolution) -> str | None:
        """What never reaches the output at ``resolution`` and does at the native size; None where nothing is lost."""
        if resolution == self._native:
            return None
        try:
            layer, before, now = least_kept(self._seen(self._native), self._seen(resolution))
        except (SurgeryError, RuntimeError, TypeError, ValueError):
            return None  # whatever does not run is told by the proofs, which run it at its full width
        if before - now <= LOST:
            return None
        return (
            f"at {resolution} px only {now:.0%} of the rows or columns of {layer} reach the output (at {self._native} "
            f"px {before:.0%}): what follows takes a part of the map that does not grow with it"
        )

    def _seen(self, resolution: Resolution) -> Shares:
        if resolution not in self._shares:
            self._shares[resolution] = seen(self._build(resolution), resolution, self._channels)
        return self._shares[resolution]
