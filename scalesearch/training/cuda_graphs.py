"""CUDA graphs: a forward and backward pass that is recorded once, and replayed without Python and single launches."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor

from scalesearch.errors import GraphError
from scalesearch.runtime.device import is_out_of_memory

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
        """Do the work on a stream of its own, as recording demands of what comes before it."""
        usual = torch.cuda.current_stream(self._device)
        self._stream.wait_stream(usual)
        with torch.cuda.stream(self._stream):
            result = work()
        usual.wait_stream(self._stream)
        return result

    def record(self, work: Callable[[], Tensor]) -> tuple[Callable[[], None], Tensor]:
        """Record the work; how to replay it, and the tensor that every replay fills."""
        graph = torch.cuda.CUDAGraph()
        own = torch.cuda.graph(graph, stream=self._stream, capture_error_mode="thread_local")  # another fetches images
        usual = torch.cuda.current_stream(self._device)
        try:
            with torch.cuda.device(self._device), own:
                result = work()
        finally:
            torch.cuda.set_stream(usual)  # which some versions of torch do not after a recording that failed
        return graph.replay, result


class GraphedPass:
    """A pass over batches of one shape: three run as written, the fourth is recorded, and from it on all are replayed.

    Its gradients are in the same memory each time and are overwritten, so that nothing has to clear them, or may drop
    them. The weights, wherever they are updated, must stay where they are.
    """

    def __init__(self, recorder: Recorder) -> None:
        self._recorder, self._passes = recorder, 0
        self._replay: Callable[[], None] | None = None

    def __call__(self, images: Tensor, labels: Tensor, work: Pass, clear: Callable[[], None]) -> Tensor:
        """The loss of these images, in a tensor that the next call overwrites.

        Args:
            work: the pass, the same in every call.
            clear: drops the gradients; called before each pass that is not yet recorded.

        Raises:
            GraphError: the pass draws random numbers on the host, which a recording would repeat; or it cannot be
                recorded.
            OutOfMemoryError: torch's: the recording did not fit.
        """
        if self._replay is None:
            clear()
            if self._passes < WARM_UP:
                self._passes += 1
                return self._watched(lambda: work(images, labels))
            self._images, self._labels = torch.empty_like(images), torch.empty_like(labels)
            self._replay, self._loss = self._recorded(lambda: work(self._images, self._labels))
        if images.shape != self._images.shape:
            raise ValueError(f"a pass was recorded for images {tuple(self._images.shape)}, not {tuple(images.shape)}")
        self._images.copy_(images, non_blocking=True)
        self._labels.copy_(labels, non_blocking=True)
        self._replay()
        return self._loss

    def _watched(self, work: Callable[[], Tensor]) -> Tensor:
        before = _host_generators()
        loss = self._recorder.run(work)
        if _host_generators() != before:
            raise GraphError(
                "this network draws random numbers on the host, which a CUDA graph would not draw again: leave "
                "--cuda-graphs out"
            )
        return loss

    def _recorded(self, work: Callable[[], Tensor]) -> tuple[Callable[[], None], Tensor]:
        try:
            return self._recorder.record(work)
        except RuntimeError as failure:
            causes = list(_causes(failure))
            reason = next((line for line in str(causes[-1]).splitlines() if line.strip()), type(causes[-1]).__name__)
            if any(is_out_of_memory(cause) for cause in causes):
                raise torch.OutOfMemoryError(f"out of memory while a CUDA graph was recorded: {reason}") from failure
            raise GraphError(
                f"this network cannot be recorded as a CUDA graph ({reason}): leave --cuda-graphs out"
            ) from failure


def _causes(failure: BaseException) -> Iterator[BaseException]:
    """A failure, and those during whose handling it came, the first last: the end of a recording complains too."""
    found: BaseException | None = failure
    while found is not None:
        yield found
        found = found.__context__


def _host_generators() -> tuple[Any, ...]:
    """The states of Python's, NumPy's and torch's generators on the host, to be compared."""
    name, keys, *rest = np.random.get_state(legacy=True)
    return random.getstate(), (name, np.asarray(keys).tobytes(), *rest), torch.get_rng_state().numpy().tobytes()
