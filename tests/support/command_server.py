"""The command line without its start: a process that has imported everything, and forks for every command.

Each command runs in a process of its own, as a user's would, with its own folder, environment and output. What it
does not show is what a command itself imports, and when; tests of that start Python anew (the fixture ``fresh_cli``).
"""

from __future__ import annotations

import atexit
import contextlib
import gc
import importlib
import json
import os
import signal
import subprocess
import sys
import threading
import time
import traceback
from collections.abc import Sequence
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType
from typing import IO, Any

PRELOADED = (
    "torch", "torchvision", "torchvision.transforms.v2", "torch._dynamo", "pandas", "optuna", "sklearn.linear_model",
    "scipy.stats", "fvcore.nn", "matplotlib.figure", "matplotlib.backends.backend_svg", "jinja2", "rich.console",
    "rich.table", "rich.progress",
)  # fmt: skip
COMMANDS = Path(__file__).parents[2] / "scalesearch" / "cli" / "commands"


class CommandServer:
    """Runs commands one after the other in forks of one process. Linux only: elsewhere threads do not survive it."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[str] | None = None

    def run(self, arguments: Sequence[str], *, cwd: Path, timeout: float) -> subprocess.CompletedProcess[str]:
        """What ``scalesearch ARGUMENTS`` gives, as `subprocess.run` does.

        Raises:
            subprocess.TimeoutExpired: it took longer than ``timeout`` seconds, and was killed with all it had started.
        """
        out, err = cwd / ".stdout", cwd / ".stderr"
        wanted = {
            "arguments": list(arguments), "cwd": str(cwd), "environment": dict(os.environ), "out": str(out),
            "err": str(err), "timeout": timeout,
        }  # fmt: skip
        server = self._started()
        assert server.stdin and server.stdout
        server.stdin.write(json.dumps(wanted) + "\n")
        server.stdin.flush()
        answer = server.stdout.readline()
        printed, complained = (path.read_bytes().decode() for path in (out, err))
        out.unlink()
        err.unlink()
        if not answer:
            raise RuntimeError(f"the server of commands has ended: {complained}")
        code = json.loads(answer)
        if code is None:
            raise subprocess.TimeoutExpired(list(arguments), timeout, printed, complained)
        return subprocess.CompletedProcess(list(arguments), code, printed, complained)

    def close(self) -> None:
        """End the process."""
        if self._process is not None:
            assert self._process.stdin
            self._process.stdin.close()
            self._process.wait(10)

    def _started(self) -> subprocess.Popen[str]:
        if self._process is None:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "tests.support.command_server"],
                cwd=Path(__file__).parents[2],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
            )
        return self._process


def _serve(requests: IO[str], answers: IO[str]) -> None:
    for name in PRELOADED:
        importlib.import_module(name)
    for path in sorted(COMMANDS.glob("[!_]*.py")):
        importlib.import_module(f"scalesearch.cli.commands.{path.stem}")
    gc.collect()
    gc.freeze()  # what is here stays: no command need look through it
    for line in requests:
        wanted = json.loads(line)
        child = os.fork()
        if not child:
            _become(wanted)
        answers.write(json.dumps(_wait(child, wanted["timeout"])) + "\n")
        answers.flush()


def _wait(child: int, timeout: float) -> int | None:
    """The exit status as `subprocess` gives it; None after so many seconds, when the process group is killed."""
    end = time.monotonic() + timeout
    pause = 0.005
    while time.monotonic() < end:
        done, status = os.waitpid(child, os.WNOHANG)
        if done:
            return os.waitstatus_to_exitcode(status)
        time.sleep(pause)
        pause = min(0.1, pause * 1.2)
    with contextlib.suppress(ProcessLookupError):
        os.killpg(child, signal.SIGKILL)
    os.waitpid(child, 0)
    return None


def _become(wanted: dict[str, Any]) -> None:
    """Be ``python -m scalesearch`` from here on; never returns."""
    code = 70
    try:
        os.setsid()
        os.chdir(wanted["cwd"])
        os.environ.clear()
        os.environ.update(wanted["environment"])
        nowhere = os.open(os.devnull, os.O_RDONLY)
        os.dup2(nowhere, 0)
        for number, path in ((1, wanted["out"]), (2, wanted["err"])):
            os.dup2(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), number)
        sys.stdin = os.fdopen(0, closefd=False)
        sys.stdout, sys.stderr = (os.fdopen(number, "w", closefd=False) for number in (1, 2))
        sys.argv = ["scalesearch", *wanted["arguments"]]
        sys.path[0] = ""
        program = ModuleType("__main__")
        program.__spec__ = ModuleSpec("scalesearch.__main__", None)
        sys.modules["__main__"] = program  # what workers that are started from here would import again
        from scalesearch.cli.main import main

        main()
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else int(end.code is not None)
    except BaseException:
        traceback.print_exc()
        code = 1
    finally:
        with contextlib.suppress(BaseException):
            threading._shutdown()  # type: ignore[attr-defined]
            atexit._run_exitfuncs()
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(code)


if __name__ == "__main__":
    own_output = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    _serve(sys.stdin, own_output)
