"""README and docs: every command in them parses, every link leads somewhere, every page is reachable."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import pytest
import typer

from scalesearch.cli.main import app

ROOT = Path(__file__).parent.parent
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]
ASSIGNMENT = re.compile(r"[A-Z_]+=\S*$")


def _fenced(text: str) -> Iterator[str]:
    """The lines of code blocks, those that a backslash continues joined."""
    for block in re.findall(r"^```[a-z]*\n(.*?)^```", text, re.M | re.S):
        yield from re.sub(r"\\\n\s*", " ", block).splitlines()


def _inline(text: str) -> Iterator[str]:
    """Code in the running text; a line break inside it is a space."""
    prose = re.sub(r"^```.*?^```", "", text, flags=re.M | re.S)
    yield from (" ".join(code.split()) for code in re.findall(r"`([^`]+)`", prose))


def _commands(text: str, program: str) -> Iterator[list[str]]:
    """What follows ``program`` in every line of ``text`` that runs it."""
    for line in (*_fenced(text), *_inline(text)):
        for part in re.split(r"&&|;|\|", line.removeprefix("$ ")):
            if program not in part:
                continue
            words = shlex.split(part, comments=True)
            while words and ASSIGNMENT.match(words[0]):
                words.pop(0)
            if words[: len(program.split())] == program.split():
                end = next((i for i, word in enumerate(words) if word in (">", "2>")), len(words))
                yield words[len(program.split()) : end]


def _complaint(arguments: list[str]) -> str | None:
    """What is wrong with a command line, parsed as the program parses it; nothing is run."""
    if not arguments:
        return None
    group = typer.main.get_command(app)
    try:
        with group.make_context("scalesearch", list(arguments)) as outer:
            name, command, rest = group.resolve_command(outer, list(arguments))  # type: ignore[attr-defined]
            command.make_context(name, rest, parent=outer).close()
    except Exception as failure:
        said = getattr(failure, "format_message", None)  # how an option that is not there, or a wrong value, is worded
        if said is None and not isinstance(failure, RuntimeError):  # --help and --version end it so
            raise
        return said and str(said())
    return None


def _anchors(page: Path) -> set[str]:
    headings = re.findall(r"^#+ (.*)$", re.sub(r"^```.*?^```", "", page.read_text(), flags=re.M | re.S), re.M)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def _links(page: Path) -> Iterator[str]:
    text = re.sub(r"^```.*?^```", "", page.read_text(), flags=re.M | re.S)
    yield from re.findall(r"\]\(([^)\s]+)\)", text)
    yield from re.findall(r'(?:src|srcset)="([^"]+)"', text)


def _broken(page: Path) -> list[str]:
    broken = []
    for link in _links(page):
        if link.startswith(("http://", "https://")):
            continue
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        if not target.exists() or (anchor and anchor not in _anchors(target)):
            broken.append(link)
    return broken


def _names(page: Path) -> list[str]:
    """Every whole command line of a page that starts with ``scalesearch``; a bare mention of a command is one too."""
    return [shlex.join(words) for words in _commands(page.read_text(), "scalesearch")]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.name))
def test_every_command_line_parses(page: Path) -> None:
    for command in _names(page):
        words = [word for word in shlex.split(command) if word not in ("...", "…")]
        complaint = _complaint(words)
        a_name = len(words) == 1 and complaint is not None and "Missing argument" in complaint  # in the running text
        assert complaint is None or a_name, command


def test_a_command_line_that_does_not_parse_is_found() -> None:
    assert "no-such-option" in (_complaint(["grid", "--no-such-option", "1"]) or "")
    assert "nothing" in (_complaint(["nothing"]) or "")
    assert "phi" in (_complaint(["candidates", "--phi", "x"]) or "")
    assert _complaint(["scale", "--phi", "4"]) is None
    assert len(_names(ROOT / "README.md")) > 8


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.name))
def test_every_module_that_is_run_exists(page: Path) -> None:
    missing = [words[0] for words in _commands(page.read_text(), "python -m") if words and not find_spec(words[0])]
    assert missing == []


@pytest.mark.parametrize("page", [*PAGES, ROOT / "CHANGELOG.md"], ids=lambda page: str(page.name))
def test_every_link_leads_somewhere(page: Path) -> None:
    assert _broken(page) == []


def test_a_broken_link_is_found(tmp_path: Path) -> None:
    (tmp_path / "page.md").write_text("# A head\n[a](nowhere.md) [b](#a-head) [c](#none) ![d](page.md)")
    assert _broken(tmp_path / "page.md") == ["nowhere.md", "#none"]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.name))
def test_every_path_that_is_named_exists(page: Path) -> None:
    """Of the repository's own folders; a name with a placeholder, or of a run that a reader makes, is none."""
    named = [
        code
        for code in _inline(page.read_text())
        if re.fullmatch(r"(scalesearch|tests|recipes|results|docs)/[\w/.-]+", code)
    ]
    assert [path for path in named if not (ROOT / path).exists()] == []


def test_every_page_is_reached_from_the_readme() -> None:
    reached = {link.partition("#")[0] for link in _links(ROOT / "README.md")}
    assert {f"docs/{page.name}" for page in (ROOT / "docs").glob("*.md")} <= reached


def test_the_readme_is_short() -> None:
    assert len((ROOT / "README.md").read_bytes()) <= 9216
