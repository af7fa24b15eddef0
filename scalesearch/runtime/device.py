"""Where training happens: the device, its precision, and a clock that waits for it."""

from __future__ import annotations

import gc
import platform
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import torch

from scalesearch.errors import DeviceError
from scalesearch.recipe import Recipe
from scalesearch.runtime.allocator import give_back
from scalesearch.settings import TrainSettings

MEMORY_ENDED = (
    "can't allocate memory", "not enough memory", "out of memory", "ALLOC_FAILED", "ALLOCATION_FAILED",
    "CUBLAS_STATUS_NOT_INITIALIZED", "unable to find an engine",
)  # fmt: skip
"""What torch, cuBLAS and cuDNN say where memory ended; the last two do where a workspace or a handle found no room."""


def pick_device(name: str) -> torch.device:
    """``auto`` is the first accelerator there is, else the CPU.

    Raises:
        DeviceError: the name is not understood, or the device is not there.
    """
    if name == "auto":
        if torch.cuda.is_available():
            return torch.device("cuda:0")
        return torch.device("mps" if torch.backends.mps.is_available() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError as failure:
        raise DeviceError(f"device {name!r} is not understood: use auto, cpu, mps, cuda or cuda:N") from failure
    if device.type not in ("cpu", "cuda", "mps"):
        raise DeviceError(f"device {name!r} is not supported: use auto, cpu, mps, cuda or cuda:N")
    if device.type == "mps" and not torch.backends.mps.is_available():
        raise DeviceError("device 'mps' is not there: use --device cpu")
    if device.type == "cuda":
        present = torch.cuda.device_count() if torch.cuda.is_available() else 0
        index = device.index or 0
        if index >= present:
            found = f"cuda:0 to cuda:{present - 1}" if present else "no CUDA device; use --device cpu"
            raise DeviceError(f"device {name!r} is not there: torch finds {found}")
        return torch.device("cuda", index)
    return device


def device_name(device: torch.device) -> str:
    """What the device is, in its maker's words."""
    return torch.cuda.get_device_name(device) if device.type == "cuda" else f"{device.type}: {_processor()}"


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.machine()
    return next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), platform.machine())


def every_device(name: str) -> tuple[str, ...]:
    """The devices that ``name`` allows: with ``auto`` or ``cuda`` every GPU there is, else the one it names.

    Raises:
        DeviceError: the name is not understood, or the device is not there.
    """
    device = pick_device(name)
    if device.type == "cuda" and name in ("auto", "cuda"):
        return tuple(f"cuda:{index}" for index in range(torch.cuda.device_count()))
    return (str(device),)


def pick_precision(settings: TrainSettings, device: torch.device) -> str:
    """bf16 where a GPU computes it, fp16 on older ones, fp32 elsewhere: CPUs are slower at bf16 depthwise layers."""
    if settings.precision != "auto":
        return settings.precision
    if device.type != "cuda":
        return "fp32"
    with torch.cuda.device(device):
        return "bf16" if torch.cuda.is_bf16_supported(including_emulation=False) else "fp16"


def check_graphs(recipe: Recipe, device: torch.device) -> None:
    """See that CUDA graphs are not asked of another device.

    Raises:
        DeviceError: they are.
    """
    if recipe.run.cuda_graphs and device.type != "cuda":
        raise DeviceError(f"--cuda-graphs needs CUDA, and this trains on {device.type}")


def is_out_of_memory(failure: BaseException) -> bool:
    """Whether a device said that its memory ended; all but CUDA's allocator say so in a plain RuntimeError."""
    if isinstance(failure, torch.OutOfMemoryError | MemoryError):
        return True
    said = str(failure)
    return any(words in said for words in MEMORY_ENDED)


def is_lost(device: torch.device) -> bool:
    """Whether a CUDA device answers nothing but errors in this process, whatever is asked of it."""
    if device.type != "cuda":
        return False
    try:
        torch.cuda.synchronize(device)
    except RuntimeError:
        return True
    return False


def release_memory(device: torch.device) -> None:
    """Give back what nothing holds any more but itself, as networks do."""
    gc.collect()
    if device.type == "cuda":
        with suppress(RuntimeError):  # of a device that is lost, which whoever comes next will say
            torch.cuda.empty_cache()
    elif device.type == "mps":
        torch.mps.empty_cache()
    else:
        give_back()


def held_memory(device: torch.device) -> int:
    """Bytes that tensors take now, as CUDA's allocator counts them; 0 elsewhere."""
    return int(torch.cuda.memory_allocated(device)) if device.type == "cuda" else 0


def peak_memory(device: torch.device) -> int:
    """Bytes that tensors took at most since `reset_peak`, as CUDA's allocator counts them; 0 elsewhere."""
    return int(torch.cuda.max_memory_allocated(device)) if device.type == "cuda" else 0


@dataclass(frozen=True)
class MemoryMeter:
    """How memory of a device is read: bytes that are held, and the peak since `reset_peak`."""

    held: Callable[[torch.device], int] = held_memory
    peak: Callable[[torch.device], int] = peak_memory


DEVICE_MEMORY = MemoryMeter()
"""What the device itself tells."""


def reset_peak(device: torch.device) -> None:
    """Let the device's peak of memory begin anew."""
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)


class Clock:
    """Seconds since the start, device work that is still queued included."""

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self.restart()

    def restart(self) -> None:
        """Begin anew, once the device has done what it was given."""
        self._wait()
        self._start = time.perf_counter()

    def seconds(self) -> float:
        """Since the start, once the device has done what it was given."""
        self._wait()
        return time.perf_counter() - self._start

    def _wait(self) -> None:
        if self._device.type == "cuda":
            torch.cuda.synchronize(self._device)
        elif self._device.type == "mps":
            torch.mps.synchronize()
