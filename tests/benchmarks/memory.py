"""Peak memory of a search, as it tries more candidates."""

from __future__ import annotations

import resource
import subprocess
import sys
import tempfile

from tests.benchmarks.common import pick, write_page

GRIDS = ((1, 1), (0.25, 1), (0.12, 1), (0.1, 1), (0.06, 1), (0.06, 3))
"""A grid's step and seeds: ever more trials."""
HEAVIEST = "[[1.06, 1, 1.36]]"
"""The candidate that takes most memory in the finest of the grids: it is tried in all of them."""
INSIDE = """
import resource, sys, torch
from scalesearch.cli.main import app
from scalesearch.training import train
train.reset_peak = lambda device: None  # a trial's own measure begins anew after each evaluation
try:
    app(sys.argv[1:])
except SystemExit as end:
    assert not end.code, end.code
import json
from pathlib import Path
count = len(json.loads(Path(sys.argv[-1], "ranking.json").read_text())["ranking"])
peak = torch.cuda.max_memory_allocated() if torch.cuda.is_available() else 0
print("peaks", count, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, peak)
"""


def memory() -> None:
    """Run the grids, each in a process of its own, and write the page."""
    rows = []
    for step, seeds in GRIDS:
        with tempfile.TemporaryDirectory() as folder:
            command = [
                sys.executable, "-c", INSIDE, "grid", "--baseline", "mobilenet_v2", "--recipe", "quick", "--resolution",
                "48", "--set", f"search.step={step}", "--set", f"search.also={HEAVIEST}", "--steps", "4", "--seeds",
                str(seeds), "--workers", "0", "--top", "0", "--exhaustive", "--out", f"{folder}/run",
            ]  # fmt: skip
            done = subprocess.run(command, capture_output=True, text=True, check=True)
        words = next(line for line in done.stdout.splitlines() if line.startswith("peaks ")).split()
        count = int(words[1])
        rows.append((count, count * seeds, f"{int(words[2]) / 2**20:.2f}", f"{int(words[3]) / 2**30:.2f}"))
        print(rows[-1], flush=True)
    here = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    write_page(
        "memory" if pick().type == "cpu" else "memory-gpu",
        "Memory of a search",
        ("candidates", "trials", "peak of the process, GiB", "peak on the device, GiB"),
        rows,
        "MobileNetV2 at 48 px × γ, batch 32, four steps each, all trials in the search's own process (`--workers 0`), "
        "so that its peak is that of everything; the candidate that takes most (α 1.06, β 1, γ 1.36) is among those of "
        f"every row. Python with torch imported takes {here:.2f} GiB of it.",
        "memory",
    )
