"""When a candidate has fallen behind for good: an Optuna pruner that drops nothing it cannot tell from the leader."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence

from optuna import Study
from optuna.pruners import BasePruner
from optuna.trial import FrozenTrial, TrialState

from scalesearch.ranking.class_metrics import METRICS
from scalesearch.ranking.ranking import holdout_error

FIRST_LOOK = 0.5
"""Share of the schedule before which nobody is dropped: deep networks start slowly. On EfficientNet-B0 and the embedded
images, (1.2, 1.1, 1.15) is 28 points behind at a quarter of the schedule, and ends within noise of the best."""

INTERVAL = 1.96
"""Standard errors on either side of a 95 % interval."""

UNKNOWN_SD = 0.05
"""Standard deviation between seeds that is assumed until a candidate has two: five points, which is what two seeds of
one network may differ by in mid-schedule, while the learning rate is high."""


def behind(
    candidate: str, at_step: Mapping[str, Sequence[float]], *, images: float, z: float, unknown_sd: float = UNKNOWN_SD
) -> bool:
    """Whether ``candidate``'s interval lies wholly below the leader's: mean ± z·√(images' error² + sd²/seeds).

    The sd between seeds is pooled over the candidates that have two; it is at least what `UNKNOWN_SD` says as long as
    fewer than four degrees of freedom speak for it.

    Args:
        at_step: accuracies in [0, 1] after the same number of steps, one per seed, by candidate.
        images: held out; of a metric in which classes count alike, `class_metrics.worth`.
    """
    means = {name: math.fsum(values) / len(values) for name, values in at_step.items()}
    freedom = sum(len(values) - 1 for values in at_step.values())
    squares = math.fsum((v - means[name]) ** 2 for name, values in at_step.items() for v in values)
    sd = math.sqrt(squares / freedom) if freedom else unknown_sd
    if freedom < 4:
        sd = max(sd, unknown_sd)

    def half(name: str) -> float:
        return z * math.sqrt(holdout_error(means[name], images) ** 2 + sd**2 / len(at_step[name]))

    leader = max(means, key=lambda name: means[name])
    return means[candidate] + half(candidate) < means[leader] - half(leader)


class IntervalPruner(BasePruner):
    """Drops a trial when its candidate's interval no longer reaches the leader's, after the same number of steps.

    By accuracy, which trials report, or by one of `class_metrics.METRICS`, from their attribute ``by_class`` or that of
    their outcome: scores (step, balanced accuracy, macro F1, loss).

    Asynchronous: it compares with whatever has been reported so far and waits for nobody. Successive halving asks how
    many may go on; this asks who may still win, so that nothing is dropped for being unlucky. A candidate is known by
    the user attribute ``network`` (or, without it, the trial's number), its seeds count together.
    """

    def __init__(self, *, images: float, z: float = INTERVAL, first_step: int = 1, metric: str = "accuracy") -> None:
        """``first_step``: nothing is dropped before it, since curves cross early."""
        self._images, self._z, self._first, self._metric = images, z, first_step, metric

    @classmethod
    def of_schedule(cls, steps: int, *, images: float, metric: str = "accuracy") -> IntervalPruner:
        """The search's own: it drops nothing in the first half of a schedule of so many steps."""
        return cls(images=images, first_step=math.ceil(FIRST_LOOK * steps), metric=metric)

    def prune(self, study: Study, trial: FrozenTrial) -> bool:
        """Whether the trial's candidate lies wholly below the leader's interval at this step (Optuna's interface)."""
        step = trial.last_step
        if step is None or step < self._first:
            return False
        at_step: dict[str, list[float]] = defaultdict(list)
        for other in study.get_trials(deepcopy=False):
            value = self._value(other, step)
            if other.number != trial.number and other.state != TrialState.FAIL and value is not None:
                at_step[_candidate(other)].append(value)
        own = self._value(trial, step)
        if own is None:
            return False
        at_step[_candidate(trial)].append(own)
        return len(at_step) > 1 and behind(_candidate(trial), at_step, images=self._images, z=self._z)

    def _value(self, trial: FrozenTrial, step: int) -> float | None:
        if self._metric == "accuracy":
            return trial.intermediate_values.get(step)
        attributes = trial.user_attrs
        told = attributes.get("by_class") or attributes.get("outcome", {}).get("by_class", ())
        place = 1 + list(METRICS).index(self._metric)
        return next((float(scores[place]) for scores in told if scores[0] == step), None)


def _candidate(trial: FrozenTrial) -> str:
    return str(trial.user_attrs.get("network", trial.number))
