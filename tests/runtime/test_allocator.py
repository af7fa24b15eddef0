"""Memory on a CPU: kept from step to step, and given back between trials."""

from __future__ import annotations

import subprocess
import sys

import pytest

FAULTS = """
import resource, sys, torch
from scalesearch.runtime.allocator import give_back, keep_freed

kept = sys.argv[1] == "kept" and keep_freed()

def step():
    made = [torch.ones(10 * 2**20) for _ in range(4)]  # 40 MB each, which glibc by itself never keeps
    return sum(part[0].item() for part in made)

def faults():
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt

def resident():
    return int(open("/proc/self/statm").read().split()[1]) * resource.getpagesize() / 2**20

def faults_of_a_step():
    before = faults()
    step()
    return faults() - before

step()
counts = sorted(faults_of_a_step() for _ in range(11))
here = resident()
print(counts[5], end=" ")
give_back()
print(here - resident())
"""

glibc = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="glibc's allocator")


def _faults_and_returned(how: str) -> tuple[float, float]:
    """Page faults of the median step, and how many MB of the process's memory went back to the kernel when asked."""
    done = subprocess.run([sys.executable, "-c", FAULTS, how], capture_output=True, text=True, check=True)
    faults, returned = done.stdout.split()
    return float(faults), float(returned)


@glibc
def test_a_step_takes_the_memory_that_the_last_one_freed() -> None:
    """By default every page of a step's 160 MB is new: 40,960 of 4 KB, or fewer where the kernel gives larger ones."""
    faults, _ = _faults_and_returned("kept")
    assert faults < 100
    assert _faults_and_returned("default")[0] > 10 * max(faults, 1)


@glibc
def test_freed_memory_is_given_back_between_trials() -> None:
    assert _faults_and_returned("kept")[1] > 100
