"""Where a ledger is kept: a file, or a database server by its URL."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

from optuna.exceptions import StorageInternalError
from optuna.storages import JournalStorage, RDBStorage
from optuna.storages.journal import JournalFileBackend
from sqlalchemy.exc import ArgumentError, SQLAlchemyError

from scalesearch.errors import RunError, UnreachableError
from scalesearch.search.ledger.journal import Journal
from scalesearch.search.ledger.urls import masked

if TYPE_CHECKING:
    from optuna.storages import BaseStorage

DRIVERS = {"postgres(ql)?": "postgresql+psycopg", "mysql": "mysql+pymysql"}
"""The drivers that scalesearch's extras install, for URLs that name none."""

UNREACHABLE = (StorageInternalError, SQLAlchemyError)
"""What a database that does not answer raises."""


def open_storage(where: str | Path) -> BaseStorage:
    """The journal at a path, or Optuna's relational storage at a URL.

    Raises:
        RunError: the URL is not understood, its driver is not installed, or the server refuses.
    """
    return _database(where) if isinstance(where, str) else JournalStorage(Journal(where))


def said(failure: BaseException) -> str:
    """What a database's driver has to say, on one line and without a password."""
    return " ".join(masked(failure.__cause__ or failure).split("(Background on")[0].split())


def looked_at(where: str | Path) -> BaseStorage:
    """The same to read only: a file is opened without its lock, a server is told that nothing will be written.

    Raises:
        RunError: as `open_storage`.
    """
    return _database(where, read_only=True) if isinstance(where, str) else JournalStorage(_JournalToRead(str(where)))


class _JournalToRead(JournalFileBackend):
    """A file whose last line may be half written: it is read up to there."""

    def append_logs(self, logs: list[dict[str, Any]]) -> None:
        raise RuntimeError("a ledger that is only looked at is not written to")


READ_ONLY = {
    "postgresql": {"options": "-c default_transaction_read_only=on"},
    "mysql": {"init_command": "SET SESSION TRANSACTION READ ONLY"},
}
"""What makes a server refuse a session's writes, as its driver takes it."""


def _database(url: str, *, read_only: bool = False) -> BaseStorage:
    for short, driver in DRIVERS.items():
        url = re.sub(f"^{short}://", f"{driver}://", url)
    options: dict[str, Any] = {"pool_pre_ping": True, "pool_size": 4}
    if read_only:
        options["connect_args"] = READ_ONLY.get(url.partition("+")[0].partition(":")[0], {})
    try:
        return RDBStorage(url, engine_kwargs=options, skip_table_creation=read_only)
    except ImportError as failure:
        name = masked(url).partition("://")[0]
        raise RunError(
            f"--storage {name}: its driver is not installed ({failure.name}); "
            "pip install 'scalesearch[postgresql]' or 'scalesearch[mysql]'"
        ) from failure
    except ArgumentError as failure:
        raise RunError(f"--storage {masked(url)}: {masked(failure)}") from failure
    except UNREACHABLE as failure:
        raise UnreachableError(f"cannot reach {masked(url)}: {said(failure)}") from failure
