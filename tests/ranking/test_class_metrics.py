"""Metrics in which classes count alike: their values by scikit-learn, their errors by resampling within classes."""

from __future__ import annotations

from typing import Any

import numpy as np
import optuna
import pytest
import torch
from sklearn.metrics import balanced_accuracy_score, f1_score

from scalesearch.errors import RunError
from scalesearch.ranking.certainty import judge
from scalesearch.ranking.class_metrics import (
    Measure,
    balanced_accuracy,
    base_rate,
    macro_f1,
    measure_of,
    per_image,
    seen,
    value_of,
    worth,
)
from scalesearch.ranking.pruning import IntervalPruner
from scalesearch.ranking.seed_scores import SeedScores, images_covariance
from scalesearch.scaling.compound import Coefficients
from scalesearch.trials import Record, Task, packed, packed_classes

COUNTS = (60, 25, 10, 5)
LABELS = np.repeat(np.arange(len(COUNTS)), COUNTS)


def _guesses(labels: np.ndarray, right: float, seed: int) -> np.ndarray:
    """A classifier that is right with this probability, and else says anything."""
    dice = np.random.default_rng(seed)
    anything = dice.integers(0, labels.max() + 1, len(labels))
    return np.where(dice.random(len(labels)) < right, labels, anything)


def _twice(name: str, values: np.ndarray, labels: np.ndarray) -> SeedScores:
    """The same training twice, so that there is no luck."""
    return SeedScores(name, (float(values.mean()),) * 2, np.stack([values] * 2), classes=labels)


@pytest.mark.parametrize("seed", range(3))
def test_the_metrics_are_scikit_learns(seed: int) -> None:
    predicted = _guesses(LABELS, 0.6, seed)
    assert balanced_accuracy(LABELS, predicted) == pytest.approx(balanced_accuracy_score(LABELS, predicted))
    assert macro_f1(LABELS, predicted) == pytest.approx(f1_score(LABELS, predicted, average="macro"))


def test_a_class_that_no_image_has_or_that_none_is_taken_for_counts_as_with_scikit_learn() -> None:
    labels, predicted = np.array([0, 0, 2, 2, 5]), np.array([0, 2, 2, 4, 0])
    assert macro_f1(labels, predicted) == pytest.approx(f1_score(labels, predicted, average="macro", zero_division=0))
    with pytest.warns(UserWarning, match="y_pred contains classes not in y_true"):
        wanted = balanced_accuracy_score(labels, predicted)
    assert balanced_accuracy(labels, predicted) == pytest.approx(wanted)


@pytest.mark.parametrize("metric", ["balanced_accuracy", "macro_f1"])
def test_what_the_images_add_has_the_metric_for_its_mean(metric: str) -> None:
    predicted = _guesses(LABELS, 0.6, 1)
    assert per_image(metric, LABELS, predicted).mean() == pytest.approx(value_of(metric, LABELS, predicted))


def test_images_of_equally_frequent_classes_are_worth_what_they_are() -> None:
    assert worth(np.repeat(np.arange(5), 20)) == 100
    assert worth(LABELS) == pytest.approx(16 / (1 / 60 + 1 / 25 + 1 / 10 + 1 / 5))


@pytest.mark.parametrize("metric", ["balanced_accuracy", "macro_f1"])
def test_errors_are_those_of_resampling_within_classes(metric: str) -> None:
    """Two networks that share what is hard: covariance of the metric over images drawn anew, class by class."""
    labels = np.repeat(np.arange(3), (600, 200, 60))
    one = _guesses(labels, 0.7, 0)
    other = np.where(np.random.default_rng(9).random(len(labels)) < 0.6, one, _guesses(labels, 0.5, 2))
    scores = [_twice(name, per_image(metric, labels, p), labels) for name, p in (("one", one), ("other", other))]
    found = images_covariance(scores, len(labels))
    dice, by_class = np.random.default_rng(1), [np.flatnonzero(labels == c) for c in range(3)]
    drawn = []
    for _ in range(1500):
        chosen = np.concatenate([dice.choice(own, len(own)) for own in by_class])
        drawn.append([value_of(metric, labels[chosen], p[chosen]) for p in (one, other)])
    np.testing.assert_allclose(found, np.cov(np.array(drawn).T), rtol=0.12)


def test_a_difference_is_covered_as_often_as_it_says() -> None:
    """Samples of 100 images of four classes, two networks right with known probabilities: 95 % intervals of the normal
    approximation hold the true difference in balanced accuracy."""
    dice, inside = np.random.default_rng(5), []
    chances = np.array([[0.9, 0.7, 0.6, 0.5], [0.7, 0.7, 0.5, 0.6]])
    true = float(np.diff(chances.mean(axis=1))[0])
    for _ in range(400):
        shared = dice.random(len(LABELS))  # how hard an image is, to both
        right = [(0.5 * shared + 0.5 * dice.random(len(LABELS)) < _half(p[LABELS])) for p in chances]
        guesses = [np.where(r, LABELS, 3 - LABELS) for r in right]
        scores = [_twice(str(i), per_image("balanced_accuracy", LABELS, g), LABELS) for i, g in enumerate(guesses)]
        covariance = images_covariance(scores, len(LABELS))
        error = np.sqrt(covariance[0, 0] + covariance[1, 1] - 2 * covariance[0, 1])
        inside.append(abs(scores[1].mean - scores[0].mean - true) < 1.96 * error)
    assert 0.92 <= np.mean(inside) <= 0.98


def _half(chance: np.ndarray) -> np.ndarray:
    """Below which the mean of two uniform numbers is with this probability, a triangular distribution's quantile."""
    return np.where(chance < 0.5, np.sqrt(chance / 2), 1 - np.sqrt((1 - chance) / 2))


def _record(number: int, name: str, seed: int, labels: np.ndarray, predicted: np.ndarray, **more: Any) -> Record:
    outcome: dict[str, Any] = {
        "accuracy": float((labels == predicted).mean()),
        "loss": 1.0,
        "correct": packed(torch.from_numpy(labels == predicted)),
        "predicted": packed_classes(predicted),
        "curve": [(10, 0.9, 1.5), (20, float((labels == predicted).mean()), 1.0)],
        "by_class": [(10, 0.3, 0.2, 2.5), (20, balanced_accuracy(labels, predicted), macro_f1(labels, predicted), 2.0)],
    }
    return Record(number, Task(Coefficients(1, 1, 1), name, seed), "complete", outcome | more)


def test_who_is_right_about_every_class_is_first_and_who_says_the_most_frequent_one_is_not() -> None:
    labels = np.repeat(np.arange(3), (400, 40, 40))
    records = [
        _record(2 * seed + place, name, seed, labels, predicted)
        for seed in range(2)
        for place, (name, predicted) in enumerate(
            {"frequent": np.zeros_like(labels), "fair": _guesses(labels, 0.7, seed)}.items()
        )
    ]
    names = {"frequent": "frequent", "fair": "fair"}
    assert judge(records, images=len(labels), labels=names).contenders == ("frequent",)
    for metric in ("balanced_accuracy", "macro_f1"):
        viewed = seen(records, Measure(metric, labels))
        verdict = judge(viewed, images=len(labels), labels=names)
        assert verdict.contenders == ("fair",)
        one = next(r for r in viewed if r.task.fingerprint == "frequent")
        assert one.outcome is not None
        assert one.outcome["accuracy"] == pytest.approx({"balanced_accuracy": 1 / 3, "macro_f1": 10 / 33}[metric])
        assert one.outcome["top1"] == pytest.approx(400 / 480)
        assert one.outcome["curve"][0] == (10, {"balanced_accuracy": 0.3, "macro_f1": 0.2}[metric], 2.5)


def test_of_equally_frequent_classes_balanced_accuracy_is_accuracy() -> None:
    labels = np.repeat(np.arange(4), 50)
    records = [
        _record(i, name, seed, labels, _guesses(labels, right, 10 * seed + i))
        for i, (name, right) in enumerate({"a": 0.5, "b": 0.55, "c": 0.6}.items())
        for seed in range(2)
    ]
    names = {name: name for name in "abc"}
    plain = judge(records, images=200, labels=names)
    alike = judge(
        [_with_loss(r) for r in seen(records, Measure("balanced_accuracy", labels))], images=200, labels=names
    )
    for name in names:
        assert alike.standings[name].mean == pytest.approx(plain.standings[name].mean)
        assert alike.standings[name].pooled == pytest.approx(plain.standings[name].pooled, abs=0.01)
        assert alike.standings[name].low == pytest.approx(plain.standings[name].low, abs=0.02)


def _with_loss(record: Record) -> Record:
    return Record(record.number, record.task, record.state, {**(record.outcome or {}), "loss": 1.0})


def test_shorter_schedules_and_other_sizes_are_seen_alike() -> None:
    predicted = _guesses(LABELS, 0.6, 3)
    part = {"accuracy": 0.9, "loss": 1.0, "predicted": packed_classes(predicted), "balanced_loss": 2.0}
    record = _record(
        0, "a", 0, LABELS, LABELS, shorter=[{"steps": 5, **part}],
        sizes=[{"factor": 1.0, "kept": 0.9, "kept_by_class": (0.4, 0.3), **part}],
    )  # fmt: skip
    outcome = Measure("macro_f1", LABELS).seen(record).outcome
    assert outcome is not None
    wanted = f1_score(LABELS, predicted, average="macro")
    assert outcome["shorter"][0]["accuracy"] == outcome["sizes"][0]["accuracy"] == pytest.approx(wanted)
    assert (outcome["shorter"][0]["loss"], outcome["sizes"][0]["kept"]) == (2.0, 0.3)


def test_trials_of_an_older_version_are_refused_by_name() -> None:
    old = Record(0, Task(Coefficients(1, 1, 1), "a", 0), "complete", {"accuracy": 0.5, "curve": []})
    measure = measure_of("macro_f1", LABELS)
    assert measure is not None
    with pytest.raises(RunError, match=r"^results/old: it was trained by a version that did not keep what .* macro_f1"):
        measure.check([old], "results/old")
    measure.check([Record(0, old.task, "waiting"), _record(1, "b", 0, LABELS, LABELS)], "results/old")
    assert measure_of("acc_macs", LABELS) is None


@pytest.mark.parametrize("metric", ["accuracy", "balanced_accuracy", "macro_f1"])
def test_the_base_rate_is_what_the_most_frequent_class_for_all_images_comes_to(metric: str) -> None:
    found, same = base_rate(metric, LABELS), np.zeros_like(LABELS)
    wanted = {
        "accuracy": 0.6,
        "balanced_accuracy": balanced_accuracy_score(LABELS, same),
        "macro_f1": f1_score(LABELS, same, average="macro", zero_division=0),
    }[metric]
    assert found.value == pytest.approx(wanted)
    words = found.words(metric, ("dog", "cat", "fox", "owl"))
    assert words.startswith("base rate: 60 % of the minival is 'dog'")
    assert ("one answer for all images" in words) == (metric != "accuracy")


def test_of_equal_classes_no_one_is_named() -> None:
    words = base_rate("accuracy", np.array([0, 0, 1, 1])).words("accuracy", ("dog", "cat"))
    assert words == "base rate: each of 2 classes is 50 % of the minival"


def test_who_is_behind_by_the_metric_is_dropped_also_where_accuracy_says_nothing() -> None:
    study = optuna.create_study(direction="maximize")
    pruner = IntervalPruner(images=1000, first_step=1, metric="balanced_accuracy")
    verdicts = []
    for name, balanced in (("a", 0.8), ("b", 0.3)):
        trial = study.ask()
        trial.set_user_attr("network", name)
        trial.report(0.9, 10)
        trial.set_user_attr("by_class", [(10, balanced, 0.5, 1.0)])
        verdicts.append(pruner.prune(study, study.get_trials()[-1]))
        verdicts.append(IntervalPruner(images=1000).prune(study, study.get_trials()[-1]))
    assert verdicts == [False, False, True, False]
