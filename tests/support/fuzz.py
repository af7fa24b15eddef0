"""Thousands of odd inputs: `python -m tests.support.fuzz --count 3000` counts what ends in anything but words.

Each input runs in a process of its own, forked from one that has everything loaded, for at most 20 s. What is counted
is a traceback (or the handler of last resort), a hang, a peak beyond 2 GiB, and an exit code that is neither 0 nor 2.
"""

from __future__ import annotations

import argparse
import os
import random
import shutil
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from scalesearch.cli.main import main as main_command

LIMIT_SECONDS, LIMIT_BYTES = 20.0, 2 * 2**30
ROOT = Path(__file__).parents[2]
RUN = ROOT / "tests" / "frozen" / "format-2"

TINY = """name: tiny
resolution: 32
activation: relu
stem: {channels: 8}
stages:
  - {op: basic, channels: 8, repeats: 1}
  - {op: basic, channels: 16, repeats: 1, stride: 2}
"""
ODD: tuple[Any, ...] = (
    None, "", " ", -1, 0, 1, 10**30, -(10**30), 2**31, 2**63, 10**9, 1e308, -1e308, 1e-9, float("nan"), float("inf"),
    True, [], {}, [1, 2], {"a": 1}, "x" * 3000, "nan", ".inf", "1e309", "α", "\x1b[31m", "\ud800", "2020-01-01",
    "../..", "/", "/dev/null", "timm:", ":x", "a.py:", "no.yaml", "*", "100%", "64x192", "0x10", "1:30", "null", "~",
    [[[[1]]]],
)  # fmt: skip
TEXTS = (
    "9" * 5000, "2020-99-99", "!!int x", "!!python/object:os.system x", "&a [*a]", "*a", "[" * 3000, "{" * 500, "\0",
    "\t", "!!binary x", "!!set {a}", "? [a]\n: b", "<<: 1", "a: 1\na: 2", "|", ">", "---\n---", "%YAML 9", "@", "`",
    "\ufeff",
)  # fmt: skip
RECIPE_OPTIONS = ("--phi", "--step", "--tolerance", "--target-macs", "--target-params", "--match", "--resolution")
SCALE_OPTIONS = ("--phi", "--alpha", "--beta", "--gamma", "--resolution", "--num-classes", "--preset", "--from")
GRID_OPTIONS = ("--seeds", "--epochs", "--steps", "--batch-size", "--learning-rate", "--images", "--data", "--device",
                "--workers", "--seed", "--top", "--objective", "--confidence", "--storage", "--study")  # fmt: skip


@dataclass(frozen=True)
class Case:
    """A command line and the files that it finds."""

    kind: str
    arguments: tuple[str, ...]
    files: dict[str, str]
    run: bool = False


def _mutated(text: str, dice: random.Random) -> str:
    """A YAML text with something wrong in it: a value, a key, its shape, its end."""
    way = dice.randrange(6)
    if way == 0:
        return text[: dice.randrange(len(text) + 1)]
    if way == 1:
        at = dice.randrange(len(text) + 1)
        return text[:at] + dice.choice(TEXTS) + text[at:]
    if way == 2:
        return dice.choice(TEXTS)
    data = yaml.safe_load(text)
    places = list(_places(data))
    holder, key = dice.choice(places)
    if way == 3 and isinstance(holder, dict):
        holder[f"{key}{dice.choice(('', 'x', ' '))}x"] = holder.pop(key)
    else:
        holder[key] = dice.choice(ODD)
    try:
        return yaml.safe_dump(data, allow_unicode=True)
    except (yaml.YAMLError, ValueError):
        return str(data)


def _places(data: Any) -> Any:
    items = data.items() if isinstance(data, dict) else enumerate(data) if isinstance(data, list) else ()
    for key, value in list(items):
        yield data, key
        yield from _places(value)


def _word(dice: random.Random) -> str:
    value = dice.choice((*ODD, *TEXTS))
    text = value if isinstance(value, str) else str(value)
    return text.replace("\0", "\1") or "''"


def _recipe(dice: random.Random) -> Case:
    text = dice.choice(sorted((ROOT / "recipes").glob("*.yaml"))).read_text()
    arguments = ("candidates", "--baseline", "tiny.yaml", "--step", "0.25", "--recipe", "odd.yaml")
    return Case("recipe", arguments, {"odd.yaml": _mutated(text, dice)})


def _spec(dice: random.Random) -> Case:
    command = dice.choice((("baselines", "odd.yaml"), ("scale", "--baseline", "odd.yaml", "--out", "made.yaml"),
                           ("candidates", "--baseline", "odd.yaml", "--step", "0.25")))  # fmt: skip
    return Case("spec", command, {"odd.yaml": _mutated(TINY, dice)})


def _comparison(dice: random.Random) -> Case:
    text = (ROOT / "recipes" / "compare" / "table3.yaml").read_text()
    command = ("compare", "odd.yaml", "--baseline", "tiny.yaml", "--dry-run", "--json")
    return Case("comparison", command, {"odd.yaml": _mutated(text, dice)})


def _option(dice: random.Random) -> Case:
    command, options, more = dice.choice((
        ("candidates", RECIPE_OPTIONS, ("--baseline", "tiny.yaml", "--step", "0.25")),
        ("scale", SCALE_OPTIONS, ("--baseline", "tiny.yaml", "--out", "made.yaml")),
        ("grid", GRID_OPTIONS, ("--baseline", "tiny.yaml", "--step", "0.5", "--dry-run", "--resolution", "32")),
    ))  # fmt: skip
    chosen = [f"{dice.choice(options)}={_word(dice)}" for _ in range(dice.choice((1, 1, 2)))]
    return Case("option", (command, *more, *chosen), {})


def _assignment(dice: random.Random) -> Case:
    from scalesearch.recipe import Recipe

    keys = [
        f"{key}.{inner}" if inner else key
        for key, field in Recipe.model_fields.items()
        for inner in (getattr(field.annotation, "model_fields", None) or [""])
    ]
    assigned = f"{dice.choice(keys)}={_word(dice)}"
    return Case("setting", ("candidates", "--baseline", "tiny.yaml", "--step", "0.25", "--set", assigned), {})


def _folder(dice: random.Random) -> Case:
    name = dice.choice([path.name for path in RUN.iterdir() if path.is_file()])
    text = (RUN / name).read_text(errors="replace")
    way = dice.randrange(4)
    if way == 0 or len(text) < 2:
        text = dice.choice(("", "{", "[]", "1", "null", '{"ranking": [{}]}', "\0", "[[]]", "a,b\n1\n"))
    elif way == 1:
        text = text[: dice.randrange(len(text))]
    elif way == 2:
        at, end = sorted((dice.randrange(len(text)), dice.randrange(len(text))))
        text = text[:at] + text[end:]
    else:
        at = dice.randrange(len(text))
        text = text[:at] + _word(dice)[:50] + text[at + 1 :]
    command = dice.choice((("show", "run"), ("report", "run"), ("merit", "run", "run"),
                           ("replay", "run", "--replays", "2"),
                           ("scale", "--from", "run", "--out", "made.yaml")))  # fmt: skip
    return Case("run folder", command, {f"run/{name}": text}, run=True)


KINDS: tuple[Callable[[random.Random], Case], ...] = (_recipe, _spec, _comparison, _option, _assignment, _folder)


@dataclass(frozen=True)
class Ended:
    """How a case ended: its exit code (None: it was ended), what it said, how long and how much it took."""

    code: int | None
    said: str
    seconds: float
    peak: int

    @property
    def faults(self) -> list[str]:
        """What is wrong with that."""
        found = []
        if self.code is None:
            found.append("hang")
        elif self.code not in (0, 2):
            found.append(f"exit code {self.code}")
        if "Traceback" in self.said or "this is a bug" in self.said:
            found.append("traceback")
        if self.peak > LIMIT_BYTES:
            found.append("beyond 2 GiB")
        return found


def run(case: Case) -> Ended:
    """The case in a process of its own."""
    folder = Path(tempfile.mkdtemp(prefix="fuzz"))
    try:
        (folder / "tiny.yaml").write_text(TINY)
        if case.run:
            shutil.copytree(RUN, folder / "run")
        for name, text in case.files.items():
            (folder / name).write_text(text, errors="surrogatepass")
        start, child = time.monotonic(), os.fork()
        if child == 0:
            _act(case, folder)
        while True:
            done, status, usage = os.wait4(child, os.WNOHANG)
            if done:
                break
            if time.monotonic() - start > LIMIT_SECONDS:
                os.kill(child, signal.SIGKILL)
                _, _, usage = os.wait4(child, 0)
                return Ended(None, "", LIMIT_SECONDS, usage.ru_maxrss * 1024)
            time.sleep(0.005)
        said = (folder / "said").read_text(errors="replace") if (folder / "said").exists() else ""
        code = os.waitstatus_to_exitcode(status)
        return Ended(code, said, time.monotonic() - start, usage.ru_maxrss * 1024)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _act(case: Case, folder: Path) -> None:
    """In the child: run the command line, and end."""
    code = 70
    try:
        os.chdir(folder)
        os.environ["SCALESEARCH_CACHE"] = str(folder / "cache")
        said = os.open("said", os.O_CREAT | os.O_WRONLY)
        os.dup2(said, 1)
        os.dup2(said, 2)
        sys.stdout, sys.stderr = open(1, "w", errors="replace"), open(2, "w", errors="replace")  # noqa: SIM115
        sys.argv = ["scalesearch", *case.arguments]
        main_command()
        code = 0
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else 0 if end.code is None else 1
    except BaseException:
        import traceback

        traceback.print_exc()
        code = 1
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def fuzz(count: int, seed: int = 0) -> tuple[Counter[str], list[tuple[Case, Ended]]]:
    """Run ``count`` cases; the faults by name, and the cases that had any."""
    import torch

    import scalesearch.ranking.replay.regret
    import scalesearch.report.html.write
    import scalesearch.search.setup  # noqa: F401

    torch.set_num_threads(1)
    dice, faults, bad = random.Random(seed), Counter[str](), []
    for number in range(count):
        case = KINDS[number % len(KINDS)](dice)
        ended = run(case)
        faults.update(ended.faults)
        if ended.faults:
            bad.append((case, ended))
    return faults, bad


def main() -> None:
    """Count, and print what was found."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=3000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--show", type=int, default=5, help="so many of those that went wrong, in full")
    options = parser.parse_args()
    faults, bad = fuzz(options.count, options.seed)
    for case, ended in bad[: options.show]:
        print(case.kind, [argument[:120] for argument in case.arguments], {k: v[:300] for k, v in case.files.items()})
        print(f"  {ended.faults}, {ended.seconds:.1f} s: {ended.said[-600:]}\n")
    print(f"{options.count} inputs: {dict(faults) or 'nothing but words'}")
    sys.exit(1 if faults else 0)


if __name__ == "__main__":
    main()
