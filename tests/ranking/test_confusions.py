"""What images are taken for, by scikit-learn's confusion matrix."""

from __future__ import annotations

from dataclasses import asdict

import numpy as np
import pytest
from sklearn.metrics import balanced_accuracy_score, confusion_matrix, f1_score

from scalesearch.ranking.confusions import confusion, matrix
from scalesearch.ranking.image_intervals import share

LABELS = np.repeat(np.arange(4), (30, 10, 5, 5))
GUESSES = [np.random.default_rng(seed).permutation(LABELS) for seed in range(2)]


def test_counts_are_scikit_learns_confusion_matrix() -> None:
    found = confusion(LABELS, GUESSES[:1], 4)
    wanted = confusion_matrix(LABELS, GUESSES[0])
    assert {(a, b): n for a, b, n in found.confused} == {
        (a, b): int(wanted[a, b]) for a in range(4) for b in range(4) if a != b and wanted[a, b]
    }
    assert [n for _, _, n in found.confused] == sorted((n for _, _, n in found.confused), reverse=True)
    np.testing.assert_allclose(matrix(asdict(found)), confusion_matrix(LABELS, GUESSES[0], normalize="true"), atol=1e-6)


def test_over_seeds_metrics_are_means() -> None:
    found = confusion(LABELS, GUESSES, 4, top5=[0.5, 0.7])
    assert found.balanced_accuracy == pytest.approx(np.mean([balanced_accuracy_score(LABELS, g) for g in GUESSES]))
    assert found.macro_f1 == pytest.approx(np.mean([f1_score(LABELS, g, average="macro") for g in GUESSES]))
    assert found.top5 == pytest.approx(0.6)
    assert found.seeds == 2
    np.testing.assert_allclose(matrix(asdict(found)).sum(axis=1), 1, atol=1e-6)


def test_a_classs_interval_is_that_of_its_images() -> None:
    own = confusion(LABELS, GUESSES[:1], 4).classes[1]
    wanted = share(GUESSES[0][LABELS == 1] == 1)
    assert own.images == 10
    assert own.accuracy == pytest.approx(wanted.value)
    assert (own.low, own.high) == pytest.approx((wanted.low, wanted.high), abs=1e-6)


def test_a_class_without_images_says_nothing() -> None:
    found = confusion(LABELS, GUESSES[:1], 5)
    assert asdict(found.classes[4]) == {"images": 0, "accuracy": None, "low": None, "high": None}
