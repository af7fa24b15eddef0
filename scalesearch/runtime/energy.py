"""What a machine has used, in joules, where it counts that: NVIDIA's total-energy counter, or a CPU's RAPL."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import torch

RAPL = Path("/sys/class/powercap")
IDLE_SECONDS = 3.0
"""How long nothing is done to see what is used anyhow."""


class Counter(Protocol):
    """Counts energy; ``name`` says whose."""

    name: str

    def joules(self) -> float:
        """Used since some moment in the past."""
        ...


@dataclass(frozen=True)
class Energy:
    """What a window of work used: joules and images over so many seconds, and watts while nothing was done."""

    counter: str
    joules: float
    seconds: float
    images: int
    idle_watts: float

    @property
    def joules_per_image(self) -> float:
        """Idle power included."""
        return self.joules / self.images

    @property
    def images_per_watt_hour(self) -> float:
        """Idle power included."""
        return 3600 * self.images / self.joules

    @property
    def watts(self) -> float:
        """Mean power of the window."""
        return self.joules / self.seconds


class RaplCounter:
    """All packages of a CPU. A package's counter begins again at its own range."""

    def __init__(self, zones: list[Path]) -> None:
        self.name = f"RAPL, {len(zones)} package{'s' * (len(zones) != 1)}"
        self._zones = zones
        self._last = [self._read(zone, "energy_uj") for zone in zones]
        self._ranges = [self._read(zone, "max_energy_range_uj") for zone in zones]
        self._total = 0

    @staticmethod
    def _read(zone: Path, name: str) -> int:
        return int((zone / name).read_text())

    def joules(self) -> float:
        """Since it was opened."""
        for i, zone in enumerate(self._zones):
            now = self._read(zone, "energy_uj")
            step = now - self._last[i]
            self._total += step if step >= 0 else step + self._ranges[i]
            self._last[i] = now
        return self._total / 1e6


class NvmlCounter:
    """One GPU since its driver was loaded."""

    def __init__(self, device: torch.device) -> None:
        import pynvml

        pynvml.nvmlInit()
        uuid = torch.cuda.get_device_properties(device).uuid
        self._nvml, self._handle = pynvml, pynvml.nvmlDeviceGetHandleByUUID(f"GPU-{uuid}")
        self.name = "NVML, this GPU alone"
        self.joules()

    def joules(self) -> float:
        """Of millijoules."""
        return float(self._nvml.nvmlDeviceGetTotalEnergyConsumption(self._handle)) / 1e3


def counter_of(device: torch.device, root: Path = RAPL) -> tuple[Counter | None, str]:
    """What counts a device's energy here; None, and why nothing does."""
    try:
        if device.type == "cuda":
            return NvmlCounter(device), ""
        if device.type == "cpu" and (zones := _packages(root)):
            return RaplCounter(zones), ""
    except ImportError:
        reason = "NVML needs pip install 'scalesearch[energy]'"
    except OSError as failure:
        reason = f"RAPL cannot be read: {failure.strerror} (root can)"
    except Exception as failure:  # of the driver: old GPUs have no such counter
        reason = f"NVML: {failure}"
    else:
        reason = f"nothing counts the energy of {device.type}"
        if device.type == "cpu":
            reason = "this machine shows no RAPL counter (virtual machines seldom do)"
    return None, reason


def _packages(root: Path) -> list[Path]:
    """The counters of whole CPUs: not those of their parts, which are in them."""
    return [zone for zone in sorted(root.glob("*rapl:*")) if zone.name.count(":") == 1 and _is_package(zone)]


def _is_package(zone: Path) -> bool:
    try:
        return (zone / "name").read_text().startswith("package")
    except OSError:
        return False


def idle_watts(counter: Counter, seconds: float = IDLE_SECONDS) -> float:
    """What is used while nothing is done here."""
    start, began = counter.joules(), time.monotonic()
    time.sleep(seconds)
    return (counter.joules() - start) / (time.monotonic() - began)


def used(
    counter: Counter,
    work: Callable[[], object],
    wait: Callable[[], object],
    *,
    images: int,
    seconds: float,
    idle: float,
) -> Energy:
    """What ``work`` uses that is done again and again for so many seconds.

    Args:
        wait: returns once the device has done what was asked of it.
        images: of one call.
        idle: watts while nothing was done.
    """
    wait()
    start, began, calls = counter.joules(), time.monotonic(), 0
    while time.monotonic() - began < seconds:
        work()
        wait()
        calls += 1
    return Energy(counter.name, counter.joules() - start, time.monotonic() - began, calls * images, idle)
