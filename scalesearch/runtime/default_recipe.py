"""Which recipe a command takes when none is named."""

from __future__ import annotations


def default_recipe(device: str) -> str:
    """``quick`` on a CPU, ``full`` on an accelerator.

    Args:
        device: as ``--device`` has it: auto, cpu, cuda, cuda:1, mps.

    Raises:
        DeviceError: this machine has no such device.
    """
    from scalesearch.runtime.device import pick_device

    return "quick" if pick_device(device).type == "cpu" else "full"
