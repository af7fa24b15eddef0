"""The command line: parse, call, print. Everything heavy is imported by the command that needs it.

Annotations are not postponed here: typer would evaluate every option's anew, three times over, at every start.
"""

import os
import sys
from io import TextIOWrapper
from typing import TYPE_CHECKING, Annotated

import typer

from scalesearch.cli.comparisons import compare
from scalesearch.cli.exports import export, quantize
from scalesearch.cli.nas import nas
from scalesearch.cli.networks import baselines, bench, check, linear, scale, train
from scalesearch.cli.runs import cam, merit, replay, report, runs, show
from scalesearch.cli.search import candidates, grid, worker
from scalesearch.cli.trained import robustness
from scalesearch.version import __version__

if TYPE_CHECKING:
    from rich.console import Console

PANELS = {
    "Search": (grid, candidates, compare, nas, worker),
    "One network": (scale, check, baselines, train, linear, bench, robustness, quantize, export),
    "Runs": (runs, show, report, merit, replay, cam),
}
"""The commands, in the order of ``--help``."""

app = typer.Typer(
    name="scalesearch",
    help="How should this ConvNet grow? Compound-scaling search over depth, width and resolution.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
)
for _panel, _commands in PANELS.items():
    for _command in _commands:
        app.command(rich_help_panel=_panel)(_command)


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"scalesearch {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[bool, typer.Option("--version", callback=_version, is_eager=True, help="Show it.")] = False,
    debug: Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")] = False,
) -> None:
    """Options of every command."""


def _wait_passively() -> None:
    """Have torch's threads sleep while they wait for each other, in this process and in those that it starts.

    By default they spin, which beside any other work on the machine takes from each other what they wait for. It has to
    be said before torch is loaded; what the user has chosen stays.
    """
    if not {"OMP_WAIT_POLICY", "GOMP_SPINCOUNT", "KMP_BLOCKTIME"} & set(os.environ):
        os.environ["OMP_WAIT_POLICY"] = "PASSIVE"


def main() -> None:
    """Run the command line; a user's mistake is one red line and exit code 2, Ctrl-C is exit code 130."""
    _wait_passively()
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="replace")  # a terminal that has no × or α shows a question mark
    arguments = sys.argv[1:]
    debug = "--debug" in arguments
    command = typer.main.get_command(app)
    try:
        code = command.main([a for a in arguments if a != "--debug"], prog_name="scalesearch", standalone_mode=False)
    except Exception as failure:
        code = _explain(failure, debug=debug)
    except KeyboardInterrupt:
        code = 130
    sys.exit(code if isinstance(code, int) else 0)


def _explain(failure: Exception, *, debug: bool) -> int:
    from scalesearch.errors import ScaleSearchError

    if debug and not isinstance(failure, typer.Abort):
        raise failure
    if isinstance(failure, ScaleSearchError):
        _complain(str(failure))
        return 2
    if isinstance(failure, typer.Abort):
        return 130
    message = getattr(failure, "format_message", None)  # how click words a wrong option or value
    if message is not None:
        if not message().strip():  # no command: the help was shown
            return int(getattr(failure, "exit_code", 2))
        _complain(f"{message()} (--help lists the options)")
        return int(getattr(failure, "exit_code", 2))
    if isinstance(failure, BrokenPipeError):  # whoever read the output has seen enough
        return 1
    said = str(failure).strip().partition("\n")[0][:300]
    name = type(failure).__name__
    _complain(f"this is a bug in scalesearch ({name}{f': {said}' if said else ''}); --debug shows where it is")
    return 2


def _complain(text: str) -> None:
    _console(stderr=True).print(f"error: {text}", style="bold red", markup=False, highlight=False, soft_wrap=True)


def _console(*, stderr: bool = False) -> "Console":
    from rich.console import Console

    return Console(stderr=stderr)


if __name__ == "__main__":
    main()
