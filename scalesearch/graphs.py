"""CUDA graphs: a forward and backward pass that is recorded once, and replayed without Python and single launches."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor

from scalesearch.errors import GraphError

WARM_UP = 3
"""Passes that run as written before one is recorded: libraries set themselves up in the first."""

Pass = Callable[[Tensor, Tensor], Tensor]
"""Images and labels to their loss; the gradients are left where the weights are."""


class Recorder(Protocol):
    """What records work on a device; CUDA does, and tests have another."""

    def run(self, work: Callable[[], Tensor]) -> Tensor:
        """Do ``work`` as written, where it would be recorded."""
        ...

    def record(self, work: Callable[[], Tensor]) -> tuple[Callable[[], None], Tensor]:
        """Note what ``work`` does without doing it: how to do it again, and the tensor that then holds its result."""
        ...


class CudaRecorder:
    """Records on a stream of its own, as CUDA wants it (PyTorch's notes on CUDA, "Whole-network capture")."""

    def __init__(self, device: torch.device) -> None:
        self._device, self._stream = device, torch.cuda.Stream(device)  # type: ignore[no-untyped-call]

    def run(self, work: Callable[[], Tensor]) -> Tensor:
        usual = torch.cuda.current_stream(self._device)
        self._stream.wait_stream(usual)
        with torch.cuda.stream(self._stream):
            result = work()
        usual.wait_stream(self._stream)
        return result

    def record(self, work: Callable[[], Tensor]) -> tuple[Callable[[], None], Tensor]:
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.device(self._device), torch.cuda.graph(graph, stream=self._stream):
            result = work()
        return graph.replay, result


class GraphedPass:
    """A pass over batches of one shape: three run as written, the fourth is recorded, and from it on all are replayed.

    Its gradients are in the same memory each time and are overwritten, so that nothing has to clear them, or may drop
    them. The weights, wherever they are updated, must stay where they are.

    Raises:
        GraphError: the pass draws random numbers on the host, which a recording would repeat; or it cannot be recorded.
    """

    def __init__(self, work: Pass, recorder: Recorder, clear: Callable[[], None]) -> None:
        """``clear`` drops the gradients, before each pass that is not yet recorded."""
        self._work, self._recorder, self._clear = work, recorder, clear
        self._passes = 0
        self._replay: Callable[[], None] | None = None

    def __call__(self, images: Tensor, labels: Tensor) -> Tensor:
        """The loss of these images; a tensor that the next call overwrites."""
        if self._replay is None:
            self._clear()
            if self._passes < WARM_UP:
                self._passes += 1
                return self._watched(images, labels)
            self._images, self._labels = torch.empty_like(images), torch.empty_like(labels)
            self._replay, self._loss = self._recorded()
        self._images.copy_(images, non_blocking=True)
        self._labels.copy_(labels, non_blocking=True)
        self._replay()
        return self._loss

    def _watched(self, images: Tensor, labels: Tensor) -> Tensor:
        before = _host_generators()
        loss = self._recorder.run(lambda: self._work(images, labels))
        if _host_generators() != before:
            raise GraphError("this network draws random numbers on the host, which a CUDA graph would not draw again")
        return loss

    def _recorded(self) -> tuple[Callable[[], None], Tensor]:
        try:
            return self._recorder.record(lambda: self._work(self._images, self._labels))
        except torch.OutOfMemoryError:
            raise
        except RuntimeError as failure:
            reason = next((line for line in str(failure).splitlines() if line.strip()), type(failure).__name__)
            raise GraphError(f"this network cannot be recorded as a CUDA graph ({reason})") from failure


def _host_generators() -> tuple[Any, ...]:
    """The states of Python's, NumPy's and torch's generators on the host, to be compared."""
    name, keys, *rest = np.random.get_state(legacy=True)
    return random.getstate(), (name, np.asarray(keys).tobytes(), *rest), torch.get_rng_state().numpy().tobytes()
