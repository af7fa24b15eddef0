"""What an evaluation can tell beside accuracy and loss: Brier scores, the weights' mean, fresh norm statistics."""

from __future__ import annotations

from typing import Any

from torch import nn

from scalesearch.data.batches import TrainBatches
from scalesearch.data.images import Split
from scalesearch.runtime.seeding import generator_states, restore_generators
from scalesearch.training.norm_statistics import with_fresh_statistics
from scalesearch.training.optim import WeightAverage
from scalesearch.training.trainer import Trainer

DECAY = 0.998
"""Of the weights' running mean where the recipe has no ``ema`` of its own: over about 500 steps."""

BATCHES = 16
"""How many training batches norm statistics are estimated from."""

Reading = dict[str, float]


class Readings:
    """Measures a trainer's network four ways at each evaluation, none of which touches the training.

    ``weights`` as they stand and their running mean (``average``), each with the norm statistics that training kept
    and with statistics estimated afresh from the same 16 batches (``…_fresh``; Wu & Johnson 2021, §3).
    """

    def __init__(self, trainer: Trainer, batches: TrainBatches) -> None:
        self.trainer, self.batches = trainer, batches
        self._average = trainer.average or WeightAverage(trainer.model, DECAY)
        self._own = self._average if trainer.average is None else None
        self.taken: list[dict[str, Reading | int]] = []

    def update(self) -> None:
        """After every step of training."""
        if self._own is not None:
            self._own.update()

    def take(self, step: int, split: Split) -> None:
        """Measure the network after ``step``: accuracy in [0, 1], loss in nats, Brier score in [0, 2]."""
        states = generator_states(self.trainer.device)
        reading: dict[str, Reading | int] = {"step": step}
        for name, model in (("weights", self.trainer.model), ("average", self._average.module)):
            reading[name] = self._measured(model, split)
            seen = (images for images, _ in self.batches.take(BATCHES))
            fresh = with_fresh_statistics(self.trainer, model, seen, BATCHES)
            reading[f"{name}_fresh"] = self._measured(fresh, split)
        self.taken.append(reading)
        restore_generators(states, self.trainer.device)

    def state(self) -> dict[str, Any]:
        """What has to survive an interruption."""
        return {"taken": self.taken, "average": self._own and self._own.state_dict()}

    def restore(self, state: dict[str, Any]) -> None:
        """Go on from `state`."""
        self.taken = list(state["taken"])
        if self._own is not None:
            self._own.load_state_dict(state["average"])

    def _measured(self, model: nn.Module, split: Split) -> Reading:
        found = self.trainer.evaluate(split, model)
        return {"accuracy": found.accuracy, "loss": found.loss, "brier": found.brier}
