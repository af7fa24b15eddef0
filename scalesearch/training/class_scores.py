"""What an evaluation says of classes that count alike, as a trial's outcome keeps it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from scalesearch.ranking.class_metrics import balanced_accuracy, macro_f1
from scalesearch.trials import packed_classes

if TYPE_CHECKING:
    from scalesearch.data.images import Split
    from scalesearch.training.trainer import Evaluation

ClassScores = tuple[float, float, float]
"""Balanced accuracy and macro F1 in [0, 1], and the loss of classes that count alike, in nats."""


def scores_of(evaluation: Evaluation, split: Split) -> ClassScores:
    """Of an evaluation on ``split``."""
    labels, predicted = split.labels.cpu().numpy(), evaluation.predicted.numpy()
    return balanced_accuracy(labels, predicted), macro_f1(labels, predicted), evaluation.balanced_loss


def by_class(evaluation: Evaluation) -> dict[str, Any]:
    """What `class_metrics.Measure` needs of an evaluation: the guesses, and the loss of classes that count alike."""
    return {"predicted": packed_classes(evaluation.predicted), "balanced_loss": evaluation.balanced_loss}
