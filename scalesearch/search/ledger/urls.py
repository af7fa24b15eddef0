"""The address of a ledger on a server, and how it is shown."""

from __future__ import annotations

import os
import re

from scalesearch.errors import RunError

URL_VARIABLE = "SCALESEARCH_STORAGE"
"""``--storage env`` takes the URL from here, so that a password is on no command line."""


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
