"""A task as a trial of Optuna's, and back: what is written into the study, and what its states mean here."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.trial import FrozenTrial, TrialState, create_trial

from scalesearch.errors import SpecError
from scalesearch.scaling.compound import Coefficients
from scalesearch.scaling.spec import ModelSpec
from scalesearch.trials import Architecture, Choice, Record, Task
from scalesearch.validation import parse

optuna.logging.set_verbosity(logging.ERROR)  # what there is to tell is told by the search

PIECE = 30_000
"""Characters of a value, as JSON, that are written at once: MySQL's TEXT holds 65,535 bytes, escapes included."""

SEEDS = IntDistribution(0, 2**31 - 1)


def waiting(task: Task, attempt: int, axes: Mapping[str, Sequence[Choice]]) -> FrozenTrial:
    """The trial of a task that nobody has taken yet.

    Args:
        axes: of the space that the task's architecture is from, if it has one.
    """
    values: dict[str, Any] = {}
    distributions: dict[str, BaseDistribution] = {}
    attributes: dict[str, Any] = {"network": task.fingerprint, "attempt": attempt}
    if task.architecture is None:
        values |= asdict(task.coefficients)
        distributions |= {name: FloatDistribution(0.01, 100.0) for name in values}
    else:
        values |= task.architecture.choices
        distributions |= categorical({name: axes[name] for name in values})
        attributes["architecture"] = {
            "spec": task.architecture.spec.model_dump(mode="json", exclude_defaults=True),
            "sampler": dict(task.architecture.sampler),
            "passed_over": dict(task.architecture.passed_over),
        }
    return create_trial(
        state=TrialState.WAITING,
        params=values | {"seed": task.seed},
        distributions=distributions | {"seed": SEEDS},
        user_attrs=attributes,
    )


def categorical(axes: Mapping[str, Sequence[Choice]]) -> dict[str, BaseDistribution]:
    """The axes of a space as Optuna has them."""
    return {name: CategoricalDistribution(tuple(options)) for name, options in axes.items()}


def task_of(trial: FrozenTrial) -> Task:
    """What `waiting` wrote.

    Raises:
        SpecError: its architecture breaks a rule.
    """
    p, kept = trial.params, trial.user_attrs.get("architecture")
    if kept is None:
        return Task(Coefficients(p["alpha"], p["beta"], p["gamma"]), trial.user_attrs["network"], p["seed"])
    architecture = Architecture(
        parse(ModelSpec, kept["spec"], SpecError),
        {name: value for name, value in p.items() if name != "seed"},
        kept["sampler"],
        kept["passed_over"],
    )
    return Task(Coefficients(1, 1, 1), trial.user_attrs["network"], p["seed"], architecture)


def record_of(trial: FrozenTrial, task: Task) -> Record:
    """The trial as the rest of the search has it.

    Args:
        task: what `task_of` read from it.
    """
    attributes, state = trial.user_attrs, state_of(trial)
    duration = trial.duration
    return Record(
        number=trial.number,
        task=task,
        state=state,
        outcome=whole(attributes, "outcome") if state in ("complete", "dropped") else None,
        reason=attributes.get("reason", attributes.get("lost")),
        attempt=attributes.get("attempt", 1),
        owner=attributes.get("owner"),
        beat=attributes.get("beat"),
        curve=trial.intermediate_values,
        seconds=duration.total_seconds() if duration else None,
    )


def in_pieces(key: str, value: Any) -> dict[str, Any]:
    """The attributes that hold a value: one, or, where a database may not take that, several, that of its key last."""
    text = json.dumps(value)
    if len(text) <= PIECE:
        return {key: value}
    pieces = [text[start : start + PIECE] for start in range(0, len(text), PIECE)]
    return {f"{key} {i}": piece for i, piece in enumerate(pieces)} | {key: {"pieces": len(pieces)}}


def whole(attributes: Mapping[str, Any], key: str) -> Any:
    """The value that `in_pieces` took apart; None where there is none."""
    found = attributes.get(key)
    if not isinstance(found, Mapping) or list(found) != ["pieces"]:
        return found
    return json.loads("".join(attributes[f"{key} {i}"] for i in range(found["pieces"])))


def state_of(trial: FrozenTrial) -> str:
    """The trial's state, as `trials.Record` has it."""
    if trial.state == TrialState.FAIL:
        return next((how for how in ("lost", "withdrawn") if how in trial.user_attrs), "failed")
    return {
        TrialState.WAITING: "waiting",
        TrialState.RUNNING: "running",
        TrialState.COMPLETE: "complete",
        TrialState.PRUNED: "dropped",
    }[trial.state]
