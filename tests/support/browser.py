"""Pages as Chromium shows them, without a display."""

from __future__ import annotations

import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
with_chromium = pytest.mark.skipif(CHROMIUM is None, reason="Chromium is not installed")


@dataclass(frozen=True)
class Page:
    """The page's document after its scripts have run, the words in it, and what its console said."""

    dom: str
    console: list[str]

    @property
    def words(self) -> str:
        bare = re.sub(r"<(script|style).*?</\1>", "", self.dom, flags=re.DOTALL)
        return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", bare))


def opened(url: str, folder: Path, *options: str, patience: float = 15) -> Page:
    """Open ``url``, and give its scripts ``patience`` seconds of their own time; ``options`` are Chromium's."""
    done = subprocess.run(
        [
            str(CHROMIUM), "--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={folder / 'browser'}",
            f"--virtual-time-budget={patience * 1000:.0f}", "--enable-logging=stderr", "--dump-dom", *options, url,
        ],
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )  # fmt: skip
    return Page(done.stdout, [line for line in done.stderr.splitlines() if "CONSOLE" in line])
