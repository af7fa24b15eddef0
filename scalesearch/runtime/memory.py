"""Memory: an estimate of training's from the spec, what one real step keeps, what is alive at once."""

from __future__ import annotations

import weakref
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves


class SavedTensors(torch.autograd.graph.saved_tensors_hooks):
    """While entered, counts the bytes autograd keeps for backward: each storage once, the model's own left out."""

    def __init__(self, model: nn.Module) -> None:
        seen = {p.untyped_storage().data_ptr() for p in (*model.parameters(), *model.buffers())}
        self.bytes = 0

        def keep(tensor: Tensor) -> Tensor:
            storage = tensor.untyped_storage()
            if storage.data_ptr() not in seen:
                seen.add(storage.data_ptr())
                self.bytes += storage.nbytes()
            return tensor

        super().__init__(keep, lambda tensor: tensor)


class LiveTensors(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """While entered, follows the tensors that operations return until their storages die: ``now`` and ``peak`` bytes.

    A storage counts once, however many views it has; those in ``known`` do not count. What an operation uses only
    inside itself (scratch space, copies in another layout) is not seen.
    """

    def __init__(self, known: Sequence[Tensor]) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.now = self.peak = 0
        self._seen = {tensor.untyped_storage().data_ptr() for tensor in known}

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        result = func(*args, **(kwargs or {}))
        for tensor in tree_leaves(result):
            if isinstance(tensor, Tensor):
                self._follow(tensor.untyped_storage())
        return result

    def _follow(self, storage: torch.UntypedStorage) -> None:
        place, size = storage.data_ptr(), storage.nbytes()
        if place in self._seen or not size:
            return
        self._seen.add(place)
        weakref.finalize(storage, self._forget, place, size)
        self.now += size
        self.peak = max(self.peak, self.now)

    def _forget(self, place: int, size: int) -> None:
        self._seen.discard(place)
        self.now -= size
