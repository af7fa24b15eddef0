"""What the pages say that a command prints is what it prints: commands that read kept runs, or only count."""

from __future__ import annotations

import re
import shlex
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.small import Cli

ROOT = Path(__file__).parent.parent
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")), *sorted((ROOT / "results").glob("*/README.md"))]
SAME_EVERYWHERE = {"candidates", "merit", "scale", "show"}
"""Commands that print the same on every machine; others train, or tell times."""
ANSI = re.compile(r"\x1b\[[0-9;]*m")
LEFT_OUT = "…"
"""A line of a page that stands for any number of printed ones."""


def transcripts() -> Iterator[tuple[str, str, list[str]]]:
    """Page, command line and the lines that it prints, of all code blocks that start with a prompt."""
    for page in PAGES:
        for block in re.findall(r"^```[a-z]*\n(\$ scalesearch .*?)^```", page.read_text(), re.M | re.S):
            command, _, printed = re.sub(r"\\\n\s*", " ", block).partition("\n")
            words = shlex.split(command.removeprefix("$ scalesearch "))
            fixed = words[0] in SAME_EVERYWHERE or (words[0] == "compare" and "--dry-run" in words)
            if fixed and ">" not in command:
                yield str(page.relative_to(ROOT)), shlex.join(words), printed.splitlines()


def as_printed(text: str) -> list[str]:
    """Without colours, and without spaces and empty lines at the ends."""
    return "\n".join(line.rstrip() for line in ANSI.sub("", text).splitlines()).strip("\n").splitlines()


def differs(printed: list[str], told: list[str]) -> str | None:
    """The first passage of ``told`` that is not printed where it should be."""
    parts = re.split(rf"^{LEFT_OUT}$", "\n".join(told), flags=re.M)
    rest = "\n".join(printed) + "\n"
    for number, part in enumerate(parts):
        passage = part.strip("\n")
        at = rest.find(passage + "\n") if passage else 0
        if at < 0 or (number == 0 and at > 0):
            return passage
        rest = rest[at + len(passage) :]
    return None if parts[-1].strip("\n") == "" or not rest.strip("\n") else rest


@pytest.mark.parametrize(("page", "command", "told"), [pytest.param(*t, id=f"{t[0]}: {t[1]}") for t in transcripts()])
def test_a_page_tells_what_is_printed(
    page: str, command: str, told: list[str], cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in re.findall(r"results/\S+", command):
        shutil.copytree(ROOT / name, tmp_path / name)
    monkeypatch.setenv("FORCE_COLOR", "1")  # as on a terminal
    monkeypatch.setenv("COLUMNS", "80")
    result = cli(*shlex.split(command))
    assert result.returncode == 0, result.stderr
    assert differs(as_printed(result.stdout + result.stderr), as_printed("\n".join(told))) is None


def test_a_page_that_tells_something_else_is_found() -> None:
    printed = ["a  1", "b  2", "c  3"]
    assert differs(printed, printed) is None
    assert differs(printed, ["a  1", LEFT_OUT, "c  3"]) is None
    assert differs(printed, ["a  1", LEFT_OUT]) is None
    assert differs(printed, ["a  1", LEFT_OUT, "c  4"]) == "c  4"
    assert differs(printed, ["b  2", "c  3"]) == "b  2\nc  3"
    assert differs(printed, ["a  1", "b  2"]) is not None


def test_there_are_such_pages() -> None:
    assert {command.split()[0] for _, command, _ in transcripts()} >= {"candidates", "compare", "merit", "scale"}
