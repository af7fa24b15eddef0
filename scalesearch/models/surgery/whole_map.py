"""Pools of a fixed size that cover their whole map: at another resolution they cover it still.

A network that ends in ``F.avg_pool2d(x, 4)`` on a 4 × 4 map means a global mean. On the 6 × 6 map of a larger image
that pool would see 4 × 4 of it, and what lies outside would never reach the classifier.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from types import FrameType
from typing import Any

from torch import Tensor, nn
from torch.nn import functional
from torch.overrides import TorchFunctionMode

POOLS = frozenset(
    {"avg_pool2d", "max_pool2d", "_max_pool2d", "boolean_dispatch", "lp_pool2d", "max_pool2d_with_indices"}
)
"""Names of torch's functions that pool over windows of a given size."""

FLATTENS = frozenset(("view", "reshape", "flatten"))
"""Names of those that may make a row of features of a map."""

Maps = dict[bool, dict[int, tuple[int, int]]]
"""Of one module's forward, in train mode and in eval: the calls that go by a map's native size, and that size."""


def argument(args: tuple[Any, ...], kwargs: Mapping[str, Any], index: int, name: str) -> Any:
    """An argument by its position or name; None where it was not given."""
    return args[index] if len(args) > index else kwargs.get(name)


def covers(name: str, args: tuple[Any, ...], kwargs: Mapping[str, Any], result: Any) -> bool:
    """Whether a pool of a fixed size saw all of its map and left one position."""
    image = argument(args, kwargs, 0, "input")
    if not isinstance(image, Tensor) or not isinstance(result, Tensor) or image.ndim < 3:
        return False
    size = argument(args, kwargs, *((2, "kernel_size") if name == "lp_pool2d" else (1, "kernel_size")))
    if size is None:
        return False
    kernel = tuple(size) * (2 if len(tuple(size)) == 1 else 1) if isinstance(size, (tuple, list)) else (size, size)
    height, width = (int(side) for side in image.shape[-2:])
    one = tuple(int(side) for side in result.shape[-2:]) == (1, 1)
    return one and height * width > 1 and int(kernel[0]) >= height and int(kernel[1]) >= width


def flattens(args: tuple[Any, ...], result: Any) -> bool:
    """Whether a map became a row of features."""
    image = args[0] if args else None
    return isinstance(image, Tensor) and isinstance(result, Tensor) and image.ndim == 4 and result.ndim == 2


def over_all(name: str, args: tuple[Any, ...], kwargs: Mapping[str, Any], native: tuple[int, int]) -> Tensor:
    """The same pool over the whole of its map, whatever its size; sums are scaled to the native number of positions."""
    image: Tensor = argument(args, kwargs, 0, "input")
    area = native[0] * native[1]
    if name == "avg_pool2d":
        divisor = argument(args, kwargs, 6, "divisor_override")
        mean = image.mean((-2, -1), keepdim=True)
        return mean * (area / divisor) if divisor else mean
    if name == "lp_pool2d":
        power = float(argument(args, kwargs, 1, "norm_type"))
        return (image.pow(power).mean((-2, -1), keepdim=True) * area).relu().pow(1 / power)
    return image.amax((-2, -1), keepdim=True)


def running() -> nn.Module | None:
    """The innermost module that is being called; None outside of all calls."""
    frame: FrameType | None = sys._getframe(1)
    while frame is not None and frame.f_code is not nn.Module._call_impl.__code__:
        frame = frame.f_back
    return None if frame is None else frame.f_locals["self"]


class WholeMapPools(TorchFunctionMode):
    """While entered, the pools that covered their map at its native size cover it at every other.

    A map that is made a row of features is pooled to its native size first, where that was asked for. Calls are
    counted in the module's own forward: those of the modules that it calls are not among them.
    """

    def __init__(self, module: nn.Module, maps: Mapping[int, tuple[int, int]]) -> None:
        super().__init__()
        self._module, self._maps, self._seen = module, maps, 0

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs, name = kwargs or {}, getattr(func, "__name__", "")
        if (name in POOLS or name in FLATTENS) and running() in (self._module, None):
            native = self._maps.get(self._seen)
            self._seen += 1
            if native is not None:
                image = argument(args, kwargs, 0, "input")
                if tuple(int(side) for side in image.shape[-2:]) != native:
                    if name in POOLS:
                        return over_all(name, args, kwargs, native)
                    args = (functional.adaptive_avg_pool2d(image, native), *args[1:])
        return func(*args, **kwargs)


_COVERING: dict[type[nn.Module], type[nn.Module]] = {}
"""The classes that `_covering` has made, so that modules of one class stay of one class."""


def _covering(base: type[nn.Module]) -> type[nn.Module]:
    """A module class like ``base`` whose whole-map pools follow the size of the map."""
    if base in _COVERING:
        return _COVERING[base]

    def forward(self: Any, *args: Any, **kwargs: Any) -> Any:
        with WholeMapPools(self, self._whole_maps.get(self.training, {})):
            return base.forward(self, *args, **kwargs)

    def reduce(self: Any, protocol: Any) -> Any:
        return _restored, (base,), self.__dict__

    names = {"__module__": base.__module__, "__qualname__": base.__qualname__, "__doc__": base.__doc__}
    _COVERING[base] = type(base.__name__, (base,), names | {"forward": forward, "__reduce_ex__": reduce})
    return _COVERING[base]


def _restored(base: type[nn.Module]) -> nn.Module:
    """An empty module of the class that covers whole maps, for copies and pickles."""
    covering = _covering(base)
    return covering.__new__(covering)


def cover_whole_maps(model: nn.Module, maps: Mapping[str, Maps]) -> None:
    """Have the modules at these paths keep their pools over the whole map, in place.

    Args:
        maps: by the path of the module in whose forward the pools are called.
    """
    for path, own in maps.items():
        module = model.get_submodule(path)
        module._whole_maps = own  # type: ignore[assignment]
        module.__class__ = _covering(type(module))


def whole_maps_of(calls: Mapping[tuple[str, bool], list[dict[int, tuple[int, int]]]]) -> dict[str, Maps]:
    """What `cover_whole_maps` takes, from every call of every module; calls that differ are left out.

    Args:
        calls: by path and mode, for each call the functions that go by the native size, by their number in that call.
    """
    maps: dict[str, Maps] = {}
    for (path, training), each in calls.items():
        if each[0] and all(one == each[0] for one in each):
            maps.setdefault(path, {})[training] = each[0]
    return maps


def joined(first: Mapping[str, Maps], second: Mapping[str, Maps]) -> dict[str, Maps]:
    """Both, by path and mode."""
    return {
        path: {
            training: first.get(path, {}).get(training, {}) | second.get(path, {}).get(training, {})
            for training in (False, True)
        }
        for path in {**first, **second}
    }
