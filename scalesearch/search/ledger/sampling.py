"""What to try next, by Optuna's samplers: a function of what was tried, kept nowhere but in the ledger's trials."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import optuna
from optuna.exceptions import ExperimentalWarning
from optuna.samplers import BaseSampler, NSGAIISampler, RandomSampler, TPESampler
from optuna.trial import FrozenTrial, TrialState, create_trial

from scalesearch.search.ledger.forms import categorical
from scalesearch.trials import Choice

STARTUP = 10
"""Architectures at random before the estimator of TPE has something to learn from (Optuna's own default)."""


@dataclass(frozen=True)
class Tried:
    """Choices that were made, and what they came to: values to be maximised, or None while they are not known.

    ``sampler`` is what the proposal had beside its choices.
    """

    choices: Mapping[str, Choice]
    values: tuple[float, ...] | None
    sampler: Mapping[str, Any] = field(default_factory=dict)


def proposals(
    axes: Mapping[str, Sequence[Choice]],
    tried: Iterable[Tried],
    *,
    objectives: int,
    sampler: str,
    seed: int,
    population: int,
) -> Iterator[Tried]:
    """One proposal after the other, each in the place of those before it; the same for the same arguments.

    Args:
        axes: the options of each.
        tried: in the order in which it was proposed.
        objectives: how many values each has.
        sampler: random, tpe or nsga2.
        population: of a generation of nsga2.
    """
    tried = list(tried)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ExperimentalWarning)
        asked = _sampler(sampler, int(np.random.SeedSequence([seed, len(tried)]).generate_state(1)[0]), population)
    study = optuna.create_study(sampler=asked, directions=["maximize"] * objectives)
    space = categorical(axes)
    study.add_trials([_trial(each, axes) for each in tried])
    while True:
        trial = study.ask(space)
        kept = study.get_trials(deepcopy=False)[-1].system_attrs
        yield Tried(dict(trial.params), None, dict(kept))
        study.tell(trial, state=TrialState.FAIL)  # it was not taken; the sampler goes on without it


def _sampler(name: str, seed: int, population: int) -> BaseSampler:
    if name == "tpe":
        return TPESampler(seed=seed, n_startup_trials=STARTUP, multivariate=True, constant_liar=True)
    if name == "nsga2":
        return NSGAIISampler(seed=seed, population_size=population)
    return RandomSampler(seed=seed)


def _trial(each: Tried, axes: Mapping[str, Sequence[Choice]]) -> FrozenTrial:
    return create_trial(
        state=TrialState.RUNNING if each.values is None else TrialState.COMPLETE,
        values=each.values,
        params=dict(each.choices),
        distributions=categorical({name: axes[name] for name in each.choices}),
        system_attrs=dict(each.sampler),
    )
