"""Where a ledger is kept: a file, or a database server by its URL."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import TYPE_CHECKING

from optuna.exceptions import StorageInternalError
from optuna.storages import JournalStorage, RDBStorage
from sqlalchemy.exc import ArgumentError, SQLAlchemyError

from scalesearch.errors import RunError, UnreachableError
from scalesearch.study.journal import Journal

if TYPE_CHECKING:
    from optuna.storages import BaseStorage

URL_VARIABLE = "SCALESEARCH_STORAGE"
"""``--storage env`` takes the URL from here, so that a password is on no command line."""

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


def storage_url(option: str) -> str:
    """The URL that ``--storage`` names: itself, or with ``env`` the variable's.

    Raises:
        RunError: the variable is not set, or it is no URL of a server.
    """
    url = os.environ.get(URL_VARIABLE, "") if option == "env" else option
    if not url:
        raise RunError(f"--storage env: {URL_VARIABLE} is not set")
    if url.startswith("sqlite"):
        raise RunError("--storage: SQLite takes one writer at a time; leave --storage out for a file, or use a server")
    if "://" not in url:
        raise RunError(f"--storage: expected postgresql://… or mysql://…, got {masked(url)!r}")
    return url


def masked(text: object) -> str:
    """``text`` with the password of every URL in it replaced by ``***``."""
    hidden = re.sub(r"(\w[\w+.-]*://[^\s:/@]*):[^\s@]*@", r"\1:***@", str(text))
    return re.sub(r"(password=)[^\s&]+", r"\1***", hidden)


def said(failure: BaseException) -> str:
    """What a database's driver has to say, on one line and without a password."""
    return " ".join(masked(failure.__cause__ or failure).split("(Background on")[0].split())


def _database(url: str) -> BaseStorage:
    for short, driver in DRIVERS.items():
        url = re.sub(f"^{short}://", f"{driver}://", url)
    try:
        return RDBStorage(url, engine_kwargs={"pool_pre_ping": True, "pool_size": 4})
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
