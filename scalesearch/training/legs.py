"""One training, several lengths: with a constant learning rate and a cooldown, shorter schedules branch off a long one.

(Zhai et al. 2022, "Scaling Vision Transformers", §3.5; Hägele et al. 2024, "Scaling Laws and Compute-Optimal Training
Beyond Fixed Training Durations", NeurIPS.) A schedule of L steps warms up, keeps its rate until (1 − cooldown)·L, and
then cools down. Of two lengths, the shorter one's steps up to its cooldown are the longer one's too: they are trained
once, and its cooldown is a branch.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from scalesearch.settings import TrainSettings


@dataclass(frozen=True)
class Leg:
    """Steps ``start`` to ``stop`` of the schedule that has ``length`` steps. ``branch``: after them, training goes on
    from where it was at ``start``."""

    start: int
    stop: int
    length: int
    branch: bool

    @property
    def steps(self) -> int:
        """How many it takes."""
        return self.stop - self.start


def legs(settings: TrainSettings, steps: int) -> list[Leg]:
    """In the order in which they are trained; without ``lengths`` the schedule is one.

    >>> legs(TrainSettings(steps=100, schedule="wsd", lengths=(0.5,)), 100)
    [Leg(start=0, stop=40, length=100, branch=False), Leg(start=40, stop=50, length=50, branch=True), \
Leg(start=40, stop=100, length=100, branch=False)]
    """
    found, at = list[Leg](), 0
    for length in shorter_lengths(settings, steps):
        start = cooldown_start(settings, length)
        found += [Leg(at, start, steps, branch=False)] if start > at else []
        found.append(Leg(start, length, length, branch=True))
        at = start
    return [*found, Leg(at, steps, steps, branch=False)]


def shorter_lengths(settings: TrainSettings, steps: int) -> list[int]:
    """The schedules that branch off, in steps, shortest first; those that would be none, or the whole, are none."""
    lengths = {round(share * steps) for share in settings.lengths}
    return sorted(length for length in lengths if 0 < length < steps)


def cooldown_start(settings: TrainSettings, length: int) -> int:
    """The first step of a schedule's cooldown."""
    return length - max(1, math.ceil(settings.cooldown * length))


def steps_in_all(settings: TrainSettings, steps: int) -> int:
    """How many steps a training takes, branches included."""
    return sum(leg.steps for leg in legs(settings, steps))
