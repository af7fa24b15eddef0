"""How long a call takes on a device, and how fast that device multiplies matrices."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial

import torch

from scalesearch.runtime.device import Clock

LARGEST_SIDE = 8192
"""Of the matrices multiplied for the peak: three of them take 0.8 GB in fp32."""


@dataclass(frozen=True)
class Timing:
    """Milliseconds per call: the median of the rounds' medians; 10th and 90th percentile and number of all calls."""

    median_ms: float
    p10_ms: float
    p90_ms: float
    calls: int
    round_medians_ms: tuple[float, ...]


def summary(rounds: Sequence[Sequence[float]]) -> Timing:
    """Seconds per call, round by round, as one `Timing`.

    Rounds of equal length are expected: then the median of medians lies between the percentiles.
    """
    medians = tuple(1e3 * statistics.median(each) for each in rounds)
    calls = [1e3 * seconds for each in rounds for seconds in each]
    tenths = statistics.quantiles(calls, n=10, method="inclusive")
    return Timing(statistics.median(medians), tenths[0], tenths[-1], len(calls), medians)


def seconds_of(call: Callable[[], object], device: torch.device) -> float:
    """Seconds from the start of ``call`` to the end of its work on the device: CUDA's events, or a clock that waits."""
    if device.type != "cuda":
        clock = Clock(device)
        call()
        return clock.seconds()
    start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))  # type: ignore[no-untyped-call]
    start.record()
    call()
    end.record()
    end.synchronize()
    return float(start.elapsed_time(end)) / 1e3


def matrix_peak(device: torch.device, precision: str, *, enough: float = 0.02) -> float:
    """FLOP/s, two per multiply-add, of the fastest square matrix product: sides double until one takes ``enough`` s.

    fp32 on CUDA rounds to TF32 where torch lets convolutions do so, so that networks are held against their like.
    """
    dtype = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}[precision]
    best, side, taken = 0.0, 256, 0.0
    with _as_convolutions_round(device):
        while taken < enough and side < LARGEST_SIDE:
            side *= 2
            a, b = (torch.randn(side, side, device=device).to(dtype) for _ in range(2))  # ones would draw less power
            c = torch.empty_like(a)
            product = partial(torch.mm, a, b, out=c)
            seconds_of(product, device)
            taken = min(seconds_of(product, device) for _ in range(3))
            best = max(best, 2 * side**3 / taken)
    return best


@contextmanager
def _as_convolutions_round(device: torch.device) -> Iterator[None]:
    if device.type != "cuda":
        yield
        return
    before = torch.backends.cuda.matmul.allow_tf32
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32
    try:
        yield
    finally:
        torch.backends.cuda.matmul.allow_tf32 = before
