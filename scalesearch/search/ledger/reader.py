"""A ledger that is only looked at, on this machine or another, while others write it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import optuna

from scalesearch.errors import RunError, ScaleSearchError, UnreachableError
from scalesearch.search.ledger.forms import record_of, task_of
from scalesearch.search.ledger.storages import UNREACHABLE, looked_at, said
from scalesearch.search.ledger.urls import masked
from scalesearch.trials import Record, Task


class LedgerReader:
    """The trials of one run, to be looked at: it takes no lock and writes nothing."""

    def __init__(self, where: Path | str, name: str | None = None) -> None:
        """Open the study in the file at a path or the database at a URL.

        Args:
            name: the study's; a file has but one.

        Raises:
            RunError: it is not there, or cannot be read.
        """
        self._where = where
        self._tasks: dict[int, Task] = {}
        if isinstance(where, Path) and not where.is_file():
            raise RunError(f"no ledger at {where}")
        try:
            storage = looked_at(where)
            names = sorted(study.study_name for study in storage.get_all_studies())
            self._study = optuna.load_study(storage=storage, study_name=self._chosen(names, name))
        except ScaleSearchError:
            raise
        except OSError as failure:
            raise RunError(f"cannot read the study {masked(where)}: {failure.strerror}") from failure
        except UNREACHABLE as failure:
            raise UnreachableError(f"cannot reach {masked(where)}: {said(failure)}") from failure
        except Exception as failure:  # whatever Optuna makes of a file that is no journal
            raise RunError(f"the study {masked(where)} cannot be read: {_first_line(failure)}") from failure

    def _chosen(self, names: Sequence[str], name: str | None) -> str:
        """A database's study by its name, or the only one."""
        chosen = name if isinstance(self._where, str) and name else names[0] if len(names) == 1 else None
        if chosen in names and chosen is not None:
            return chosen
        known = f"it has {', '.join(names)}" if names else "it has none"
        lack = f"no study {name!r} in" if name else "--study has to name one of the studies in"
        raise RunError(f"{lack} {masked(self._where)}: {known}")

    @property
    def name(self) -> str:
        """The study's."""
        return self._study.study_name

    def records(self) -> list[Record]:
        """Every trial, oldest first.

        Raises:
            RunError: the file can no longer be read.
            UnreachableError: the database does not answer.
        """
        try:
            return [self._record(trial) for trial in self._study.get_trials(deepcopy=False)]
        except ScaleSearchError:
            raise
        except UNREACHABLE as failure:
            raise UnreachableError(f"cannot reach {masked(self._where)}: {said(failure)}") from failure
        except Exception as failure:
            raise RunError(f"the study {masked(self._where)} cannot be read: {_first_line(failure)}") from failure

    def noted(self, key: str) -> Any:
        """The value kept with the study under ``key``, or None.

        Raises:
            UnreachableError: the database does not answer.
        """
        try:
            return self._study.user_attrs.get(key)
        except UNREACHABLE as failure:
            raise UnreachableError(f"cannot reach {masked(self._where)}: {said(failure)}") from failure

    def _record(self, trial: optuna.trial.FrozenTrial) -> Record:
        found = self._tasks.get(trial._trial_id)
        if found is None:
            found = self._tasks[trial._trial_id] = task_of(trial)
        return record_of(trial, found)


def _first_line(failure: Exception) -> str:
    return f"{type(failure).__name__}: {str(failure).partition(chr(10))[0][:200]}"
