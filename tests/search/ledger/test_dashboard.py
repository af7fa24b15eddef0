"""optuna-dashboard on a run's own ledger."""

from __future__ import annotations

import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import pytest

from scalesearch.search.ledger.journal import JOURNAL
from tests.support.browser import opened, with_chromium
from tests.support.small import FROZEN

pytestmark = [pytest.mark.long, pytest.mark.timeout(300)]
OLD_RUN = FROZEN / "format-2"
DASHBOARD = Path(sys.executable).with_name("optuna-dashboard")


@with_chromium
def test_the_dashboard_shows_the_study_with_its_trials_and_what_they_are_of(tmp_path: Path) -> None:
    shutil.copy(OLD_RUN / JOURNAL, tmp_path)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    server = subprocess.Popen([DASHBOARD, "--port", str(port), str(tmp_path / JOURNAL)], stderr=subprocess.DEVNULL)
    try:
        study = f"http://127.0.0.1:{port}/dashboard/studies/0"
        _wait(f"http://127.0.0.1:{port}/api/studies")
        page, trials = (opened(url, tmp_path) for url in (study, f"{study}/trials"))
    finally:
        server.terminate()
        server.wait()
    assert "minival accuracy" in page.words and "alpha" in page.words and "gamma" in page.words
    assert "frozen" in page.words, "the study's name is the run's"
    for words in ("Best Trial", "Intermediate Values", "User Attributes", "network", "attempt", "owner"):
        assert words in trials.words, words
    assert not [line for page in (page, trials) for line in page.console if "Uncaught" in line]


def _wait(url: str) -> None:
    deadline = time.monotonic() + 60
    while True:
        try:
            with urllib.request.urlopen(url):
                return
        except OSError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.2)
