"""How fast trials train beside how fast they were timed: told once, where it is far slower."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field

FAR_SLOWER = 3.0
"""Times slower than timed, from which on it is told."""

PATIENCE = 20.0
"""Seconds that training must have been so slow: the first steps of a trial are slow by themselves."""


@dataclass
class Pace:
    """The images a second that each network was timed at, by fingerprint, and since when training is far slower.

    ``sharing``: trials that share a device, or a CPU's processors beyond those that each was given; they were timed
    alone, and each of them is expected to get its share.
    """

    speeds: Mapping[str, float] = field(default_factory=dict)
    sharing: float = 1.0
    since: float | None = None
    was_told: bool = False

    def told(self, network: str, images_per_second: float, now: float | None = None) -> str | None:
        """What to say of a trial that trains at this speed; None where there is nothing to say, or it was said."""
        timed = self.speeds.get(network)
        now = time.monotonic() if now is None else now
        if timed is None or self.was_told:
            return None
        if images_per_second * FAR_SLOWER * self.sharing >= timed:
            self.since = None
            return None
        self.since = now if self.since is None else self.since
        if now - self.since < PATIENCE:
            return None
        self.was_told = True
        shared = f" by one trial alone, where {self.sharing:g} share the device" if self.sharing > 1 else ""
        return (
            f"note: training runs at {images_per_second:.0f} images a second, {timed:.0f} were timed before{shared}: "
            "something else is using the processors. End it, or stop here (Ctrl-C keeps what is done) and go on with "
            "OMP_NUM_THREADS=1, which loses less beside other work"
        )
