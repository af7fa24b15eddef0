"""How long the ledger takes per trial when training takes nothing: ``python -m tests.benchmarks.ledger_speed``."""

from __future__ import annotations

import multiprocessing
import tempfile
import time
from pathlib import Path
from typing import Any

import optuna
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend, JournalFileOpenLock

from scalesearch.scaling.compound import Coefficients
from scalesearch.search.ledger.leases import me
from scalesearch.search.ledger.ledger import Ledger
from scalesearch.trials import Task

TRIALS = 1000
OUTCOME: dict[str, Any] = {"accuracy": 0.5, "curve": [[1, 0.25, 2.0], [2, 0.5, 1.0]], "correct": "q" * 160}


def _work(path: Path) -> None:
    ledger, owner = Ledger(path, "speed"), me()
    while claim := ledger.claim(owner):
        ledger.complete(claim, 0.5, OUTCOME)


def ours(folder: Path, workers: int) -> float:
    """Milliseconds per trial: claimed, its curve and outcome told, completed."""
    path = folder / f"{workers}.journal"
    Ledger(path, "speed").want(
        [Task(Coefficients(1 + i / 100, 1.0, 1.0), f"net{i}", s) for s in range(10) for i in range(TRIALS // 10)]
    )
    start = time.perf_counter()
    if workers == 1:
        _work(path)
    else:
        processes = [multiprocessing.get_context("fork").Process(target=_work, args=(path,)) for _ in range(workers)]
        for process in processes:
            process.start()
        for process in processes:
            process.join()
    seconds = time.perf_counter() - start
    states = [record.state for record in Ledger(path, "speed").records()]
    assert states == ["complete"] * TRIALS
    return 1e3 * seconds / TRIALS


def optunas(storage: Any, trials: int) -> float:
    """Milliseconds per trial of Optuna's own loop over enqueued points, two reports a trial."""

    def objective(trial: optuna.Trial) -> float:
        trial.suggest_float("alpha", 1, 2)
        trial.report(0.25, 1)
        trial.report(0.5, 2)
        return 0.5

    study = optuna.create_study(storage=storage, direction="maximize", sampler=optuna.samplers.RandomSampler())
    for i in range(trials):
        study.enqueue_trial({"alpha": 1 + i / trials})
    start = time.perf_counter()
    study.optimize(objective, n_trials=trials)
    return 1e3 * (time.perf_counter() - start) / trials


def optunas_journal(folder: Path) -> float:
    """`optunas` on a file: what this machine makes of a thousand trials without leases or curves of their own."""
    path = str(folder / "optuna.journal")
    return optunas(JournalStorage(JournalFileBackend(path, lock_obj=JournalFileOpenLock(path))), TRIALS)


def main() -> None:
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for workers in (1, 4):
            print(f"scalesearch, file, {workers} worker{'s' * (workers > 1)}: {ours(folder, workers):.2f} ms per trial")
        print(f"optuna.optimize, journal file, 1 worker: {optunas_journal(folder):.2f} ms per trial")
        print(
            f"optuna.optimize, SQLite, 1 worker: {optunas(f'sqlite:///{folder}/x.db', 200):.2f} ms per trial (of 200)"
        )


if __name__ == "__main__":
    main()
