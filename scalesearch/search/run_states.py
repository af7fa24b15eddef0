"""What the folders of runs say of themselves: what was searched, how far it is, what is best so far.

Nothing is written and no lock is taken, so that a run may be looked at while it goes on.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from statistics import fmean
from typing import Any

from scalesearch.errors import RunError, ScaleSearchError
from scalesearch.recipe import Budget
from scalesearch.run_files import read_recipe_settings, read_result, read_sessions, read_table
from scalesearch.scaling.compound import Coefficients
from scalesearch.search.ledger.journal import JOURNAL
from scalesearch.search.ledger.leases import is_gone
from scalesearch.search.ledger.reader import LedgerReader
from scalesearch.trials import Record, Task, accuracies_by_network

MARKS = frozenset({"settings.json", "ranking.json", JOURNAL})
"""A folder with one of these is a run's."""

RESULTS = {"ranking.json": "", "outcome.json": "train", "linear.json": "linear", "robustness.json": "robustness"}
"""What a finished run holds, and which command, other than a search, has written it."""

NO_RUNS = frozenset({"figures", "specs", "weights", "checkpoints", "tensorboard", "__pycache__"})
"""Folders in which no run is looked for, besides hidden ones."""


@dataclass(frozen=True)
class RunState:
    """A run as its folder has it.

    ``state`` is running, finished, stopped or broken, and ``problem`` then says why. Trials are those that are wanted
    so far; None where their ledger is on a server. ``best`` is a candidate, its minival ``accuracy`` in [0, 1], its
    MACs and their ``ratio`` to the baseline's; ``age`` is how many seconds ago its last session began.
    """

    path: Path
    what: str = ""
    state: str = "broken"
    done: int | None = None
    total: int | None = None
    best: str | None = None
    accuracy: float | None = None
    macs: int | None = None
    ratio: float | None = None
    age: float | None = None
    problem: str | None = None


def runs_in(folder: Path) -> Iterator[Path]:
    """The run folders in a folder, itself included, at any depth.

    Raises:
        RunError: there is no such folder.
    """
    if not folder.is_dir():
        raise RunError(f"no folder at {folder}")
    for place, folders, files in os.walk(folder):
        folders[:] = sorted(name for name in folders if name not in NO_RUNS and not name.startswith("."))
        if MARKS & set(files):
            yield Path(place)


def state_of_run(path: Path) -> RunState:
    """How a run is; one whose files are broken says so."""
    try:
        return _state(path)
    except ScaleSearchError as failure:
        return RunState(path, problem=str(failure))
    except (OSError, ValueError, KeyError, TypeError) as failure:
        return RunState(path, problem=f"{type(failure).__name__}: {str(failure).partition(chr(10))[0][:200]}")


def _state(path: Path) -> RunState:
    recipe = read_recipe_settings(path)
    journal = path / JOURNAL
    ledger = LedgerReader(journal) if journal.is_file() else None
    records = ledger.records() if ledger else []
    searched = ledger is not None or (path / "candidates.csv").is_file()
    told, state = _result_of(path), state_of(path, ledger, records, recipe)
    done, total = _trials(path, records, recipe) if searched else (int(state == "finished"), 1)
    if searched:
        best = _ranked(path) if state == "finished" else _leading(path, records)
        return RunState(path, about(recipe), state, done, total, age=_age(path), **best)
    command = RESULTS[told] if told else "train" if (path / "checkpoints").is_dir() else ""
    found = read_result(path, told) if told else {}
    best = {key: found[key] for key in ("accuracy", "macs") if isinstance(found.get(key), (int, float))}
    return RunState(path, f"{command} {_baseline(recipe)}".strip(), state, done, total, age=_age(path), **best)


def _baseline(recipe: Mapping[str, Any]) -> str:
    """Its name, without where it is from; of a ``spec.yaml``, that of its folder."""
    name = str(recipe["baseline"])
    file = Path(name)
    if file.suffix in (".yaml", ".yml"):
        return file.parent.name if file.stem == "spec" and file.parent.name else file.stem
    return name.rpartition(":")[2]


def about(recipe: Mapping[str, Any]) -> str:
    """What a search does, in a few words, from its recipe as plain values."""
    name = _baseline(recipe)
    if recipe["nas"]["target_macs"] is not None:
        return f"nas {Path(str(recipe['nas']['space'])).name.removesuffix('.yaml')}"
    rows = recipe["search"]["rows"]
    return f"compare {name}" if rows else f"grid {name} φ {recipe['phi']:g}"


def state_of(path: Path, ledger: LedgerReader | None, records: Iterable[Record], recipe: Mapping[str, Any]) -> str:
    """Whether a run is running, finished or stopped.

    Args:
        ledger: of its trials; None where it has none.
        recipe: as plain values.
    """
    if is_at_work(path, records, recipe):
        return "running"
    return "finished" if _result_of(path) and not (ledger and ledger.noted("open")) else "stopped"


def _result_of(path: Path) -> str | None:
    return next((file for file in RESULTS if (path / file).is_file()), None)


def is_at_work(path: Path, records: Iterable[Record], recipe: Mapping[str, Any]) -> bool:
    """Whether somebody goes on with a run: a process of this machine that holds its folder, or a worker of any machine
    that has written to the ledger lately.

    Args:
        recipe: as plain values.
    """
    if is_held(path):
        return True
    try:
        silent = time.time() - (path / JOURNAL).stat().st_mtime
    except OSError:
        return False
    return silent < 2 * float(recipe["run"]["lease_seconds"]) and _attended(records)


def is_held(path: Path) -> bool:
    """Whether a process of this machine holds a run's folder.

    By the kernel's list of locks: to try the lock would be to take it. Where there is no such list, by whether the
    process that last held it still exists.
    """
    lock = path / ".lock"
    try:
        inode, holder = lock.stat().st_ino, lock.read_text()
    except OSError:
        return False
    try:
        held = Path("/proc/locks").read_text()
    except OSError:
        return holder.isdigit() and _exists(int(holder))
    return any("FLOCK" in line and f":{inode} " in line for line in held.splitlines())


def _exists(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True
    return True


def _attended(records: Iterable[Record]) -> bool:
    """Whether a trial has a worker that is not known to be gone: here, or on another machine."""
    return any(record.state == "running" and not is_gone(record.owner) for record in records)


def progress(records: Sequence[Record], recipe: Mapping[str, Any]) -> tuple[int, int]:
    """How many trials are done (complete, or dropped), and how many are wanted so far.

    Args:
        recipe: as plain values.
    """
    wanted = {record.task.key for record in records if record.state != "withdrawn"}
    done = {record.task.key for record in records if record.state in ("complete", "dropped")}
    total = len(wanted | done)
    if recipe["budget"] and (budget := Budget.parse(recipe["budget"])).unit == "trials":
        total = max(total, int(budget.amount))
    return len(done), total


def _trials(path: Path, records: Sequence[Record], recipe: Mapping[str, Any]) -> tuple[int | None, int | None]:
    if records:
        return progress(records, recipe)
    if not (path / "trials.csv").is_file():
        return None, None
    frame = read_table(path, "trials.csv")
    keys = frame[["network", "seed"]]
    return len(keys[frame["state"].isin(["complete", "dropped"])].drop_duplicates()), len(keys.drop_duplicates())


def _ranked(path: Path) -> dict[str, Any]:
    """The first of a finished ranking."""
    first = read_result(path, "ranking.json")["ranking"][0]
    name = first.get("label") or str(Coefficients(first["alpha"], first["beta"], first["gamma"]))
    return {"best": name, "accuracy": first["accuracy"], "macs": first["macs"], "ratio": first["ratio"]}


def _leading(path: Path, records: Sequence[Record]) -> dict[str, Any]:
    """The candidate with the best mean accuracy so far; nothing while there is none."""
    best = leaders(records, labels(path))
    if not best:
        return {}
    network, name, accuracy, _ = best[0]
    return {"best": name, "accuracy": accuracy, **_costs(path).get(network, {})}


def leaders(records: Sequence[Record], named: Mapping[str, str]) -> list[tuple[str, str, float, int]]:
    """Network, name, mean minival accuracy and number of seeds of the candidates with complete trials, best first.

    Args:
        named: names by network, where they are not the coefficients.
    """
    tasks = {record.task.fingerprint: record.task for record in records}
    means = {name: (fmean(seeds.values()), len(seeds)) for name, seeds in accuracies_by_network(records).items()}
    ordered = sorted(means.items(), key=lambda item: -item[1][0])
    return [(network, name_of(tasks[network], named), mean, seeds) for network, (mean, seeds) in ordered]


def name_of(task: Task, named: Mapping[str, str]) -> str:
    """What to call a trial's candidate."""
    if task.fingerprint in named:
        return named[task.fingerprint]
    return task.architecture.spec.name if task.architecture is not None else str(task.coefficients)


def labels(path: Path) -> dict[str, str]:
    """The names of a comparison's rows, by network."""
    if not (path / "candidates.csv").is_file():
        return {}
    frame = read_table(path, "candidates.csv")
    if "label" not in frame:
        return {}
    named = frame.dropna(subset=["label", "network"])
    return {str(network): str(label) for network, label in zip(named["network"], named["label"], strict=True)}


def _costs(path: Path) -> dict[str, dict[str, Any]]:
    """MACs and their ratio to the baseline's, by network."""
    if not (path / "candidates.csv").is_file():
        return {}
    frame = read_table(path, "candidates.csv").dropna(subset=["network", "macs", "ratio"])
    rows = zip(frame["network"], frame["macs"], frame["ratio"], strict=True)
    return {str(network): {"macs": int(macs), "ratio": float(ratio)} for network, macs, ratio in rows}


def _age(path: Path) -> float | None:
    """Seconds since the last session began, or since the settings were written."""
    if (path / "environment.json").is_file():
        return max(0.0, time.time() - datetime.fromisoformat(read_sessions(path)[-1]["started"]).timestamp())
    settings = path / "settings.json"
    return max(0.0, time.time() - settings.stat().st_mtime) if settings.is_file() else None
