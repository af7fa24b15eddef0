"""A ledger on a server, looked at: nothing can be written by looking."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from optuna.exceptions import StorageInternalError

from scalesearch.errors import RunError, UnreachableError
from scalesearch.recipe import Recipe
from scalesearch.scaling.compound import Coefficients
from scalesearch.search.ledger.ledger import Ledger
from scalesearch.search.ledger.reader import LedgerReader
from scalesearch.search.ledger.storages import said
from scalesearch.search.watching import StudyWatch
from scalesearch.trials import Task
from tests.support import mariadb, postgres


@pytest.fixture(params=["postgresql", "mariadb"])
def server(request: pytest.FixtureRequest) -> Iterator[Any]:
    """A server of its own, in a folder that its own user can read."""
    folder = Path(tempfile.gettempdir()) / f"scalesearch-look-{request.param}-{os.getpid()}"
    if request.param == "postgresql":
        pytest.importorskip("psycopg")
        if postgres.binaries() is None:
            pytest.skip("PostgreSQL is not installed")
        yield postgres.Server(folder)
    else:
        pytest.importorskip("pymysql")
        if mariadb.PROGRAM is None:
            pytest.skip("MariaDB is not installed")
        yield mariadb.Server(folder)
    shutil.rmtree(folder, ignore_errors=True)


@pytest.mark.long
def test_a_study_on_a_server_is_read_and_cannot_be_written(server: Any) -> None:
    running = True
    try:
        with pytest.raises(RunError):
            LedgerReader(server.url, "mine")  # an empty database gets no tables from a look
        ledger = Ledger(server.url, "mine")
        ledger.note("recipe", Recipe().model_dump(mode="json"))
        ledger.want([Task(Coefficients(1, 1.2, 1), "0" * 12, 0)])
        watch = StudyWatch(server.url, "mine")
        assert [record.state for record in watch.look()[0].records] == ["waiting"]
        assert watch.look()[0].state == "running"
        claim = ledger.claim("somebody")
        assert claim is not None
        ledger.complete(claim, 0.5, {"accuracy": 0.5, "seconds": 1.0, "curve": []})
        ledger.note("open", False)
        (ended,) = watch.look()
        assert (ended.state, ended.done, ended.leaders[0][1:3]) == ("finished", 1, ("α 1 β 1.2 γ 1", 0.5))
        assert watch.over([ended])
        reader = LedgerReader(server.url)
        assert reader.name == "mine", "the only study needs no name"
        with pytest.raises(StorageInternalError) as refused:
            reader._study.set_user_attr("open", True)
        assert "read-only" in said(refused.value).lower().replace("read only", "read-only")
        with pytest.raises(RunError, match=r"no study 'other' in .*: it has mine"):
            LedgerReader(server.url, "other")
        running = server.stop() is not None
        assert "cannot reach" in watch.look()[0].remark
        with pytest.raises(UnreachableError, match="cannot reach"):
            LedgerReader(server.url, "mine")
    finally:
        if running:
            server.stop()
