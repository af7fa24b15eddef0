"""`--log tensorboard`: a search as TensorBoard shows it, written by the search's own process from the ledger.

So it does not matter which worker, or which machine, has trained what; and as it is written anew from the ledger in
every session, nothing is in it twice.
"""

from __future__ import annotations

import importlib
import math
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from scalesearch.errors import RunError
from scalesearch.image_size import Rectangle
from scalesearch.ranking.class_metrics import METRICS
from scalesearch.run_folder import slug

if TYPE_CHECKING:
    import pandas as pd

    from scalesearch.candidates.grid import Candidate
    from scalesearch.trials import Record

FOLDER = "tensorboard"
"""In the run's folder: a folder for each training, and for each candidate one in ``ranking``."""

ACCURACY, LOSS = "minival/accuracy", "minival/loss"

SHOWN = ("accuracy", *METRICS, *(f"val_{name}" for name in ("accuracy", *METRICS)), "p_best", "rank")
"""Columns of the ranking that the table of hyperparameters shows as measured, where they are there."""

ENDED = ("complete", "dropped", "failed", "lost")


def load_tensorboard(load: Callable[[str], Any] = importlib.import_module) -> Any:
    """torch's module for TensorBoard.

    Raises:
        RunError: TensorBoard is not installed.
    """
    try:
        return load("torch.utils.tensorboard")
    except ImportError as failure:
        raise RunError(
            "--log tensorboard: TensorBoard is not installed: pip install 'scalesearch[tensorboard]'"
        ) from failure


class TensorBoardLog:
    """A search's curves and ranking, as event files."""

    def __init__(self, run: Path) -> None:
        """Begin anew: what an earlier session has written is in the ledger too.

        Raises:
            RunError: TensorBoard is not installed, or the folder cannot be written.
        """
        self._writer = load_tensorboard().SummaryWriter
        self.folder = run / FOLDER
        self._open: dict[tuple[str, int], Any] = {}
        self._written: set[tuple[tuple[str, int], str, int]] = set()
        self._ended: set[int] = set()
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            for file in self.folder.rglob("events.out.tfevents.*"):
                file.unlink()
        except OSError as failure:
            raise RunError(f"cannot write {self.folder}: {failure.strerror}") from failure

    def follow(self, records: Iterable[Record], candidates: Mapping[str, Candidate]) -> None:
        """Write what is new: accuracies of trials that go on, losses too of those that have ended.

        Args:
            candidates: by network.
        """
        for record in records:
            if record.number in self._ended or record.task.fingerprint not in candidates:
                continue
            points = [(ACCURACY, step, value) for step, value in (record.curve or {}).items()]
            points += [(LOSS, step, loss) for step, _, loss in (record.outcome or {}).get("curve", ())]
            self._write(record, points, candidates[record.task.fingerprint].name)
            if record.state in ENDED:
                self._ended.add(record.number)
                if writer := self._open.pop(record.task.key, None):
                    writer.close()
        for writer in self._open.values():
            writer.flush()

    def _write(self, record: Record, points: Iterable[tuple[str, int, float]], name: str) -> None:
        key = record.task.key
        new = [(tag, step, value) for tag, step, value in points if (key, tag, step) not in self._written]
        if not new:
            return
        if key not in self._open:
            self._open[key] = self._writer(str(self.folder / slug(f"{name}-seed-{record.task.seed}")))
        for tag, step, value in new:
            self._open[key].add_scalar(tag, value, step)
            self._written.add((key, tag, step))

    def finish(self, records: Iterable[Record], candidates: Mapping[str, Candidate], ranking: pd.DataFrame) -> None:
        """Write the rest, and the ranking as a table of hyperparameters: a candidate's multipliers and costs, and what
        they came to.

        Args:
            candidates: by network.
            ranking: its columns as files call them.
        """
        self.follow(records, candidates)
        for writer in self._open.values():
            writer.close()
        self._open.clear()
        for row in ranking.to_dict("records"):
            candidate = candidates[str(row["network"])]
            asked: dict[str, float | str] = {name: float(row[name]) for name in ("alpha", "beta", "gamma", "ratio")}
            asked |= {name: int(row[name]) for name in ("macs", "params")}
            size = row["resolution"]
            asked["resolution"] = str(size) if isinstance(size, Rectangle) else int(size)
            found = {f"ranking/{name}": float(row[name]) for name in SHOWN if _known(row.get(name))}
            writer = self._writer(str(self.folder / "ranking" / slug(candidate.name)))
            writer.add_hparams({"candidate": candidate.name, **asked}, found, run_name=".")
            writer.close()


def _known(value: object) -> bool:
    return isinstance(value, (int, float)) and math.isfinite(value)
