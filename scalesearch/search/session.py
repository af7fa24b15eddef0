"""One sitting of a search: it hands out trials, hears of their ends, and keeps the ranking."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import pandas as pd

from scalesearch.candidates.grid import Candidate
from scalesearch.data.images import Images
from scalesearch.errors import RunError, TrialError
from scalesearch.ranking.class_metrics import base_rate, measure_of, seen
from scalesearch.ranking.ranking import holdout_error, rank, trials_frame
from scalesearch.recipe import DEFAULT_CONFIDENCE
from scalesearch.run_folder import RunFolder
from scalesearch.runtime.device import is_out_of_memory, release_memory
from scalesearch.runtime.threads import workers_side_by_side
from scalesearch.search.engine import Died, EngineSettings, Workers
from scalesearch.search.estimate import is_worthwhile, quote
from scalesearch.search.ledger.leases import LOOK_EVERY, is_gone
from scalesearch.search.ledger.ledger import Ledger
from scalesearch.search.outputs import Result
from scalesearch.search.pace import Pace
from scalesearch.search.planner import SPENT
from scalesearch.search.processes import InProcessEngine, ProcessPool
from scalesearch.search.setup import Prepared
from scalesearch.search.supervisor import Supervisor
from scalesearch.search.tensorboard_log import TensorBoardLog
from scalesearch.search.watcher import Watcher
from scalesearch.search.work import Event, Terms, note_labels
from scalesearch.training.train import total_steps
from scalesearch.trials import Record, Task

LAST_WORDS = 5.0
"""Seconds in which workers may still say, and keep weights of, what the ledger already has as complete."""


class Session:
    """The trials of one run, seen from the process that asked for them."""

    def __init__(
        self,
        prepared: Prepared,
        folder: RunFolder,
        ledger: Ledger,
        where: Path | str,
        images: Images,
        watcher: Watcher,
    ) -> None:
        self.prepared, self.ledger, self.where, self.images, self.watcher = prepared, ledger, where, images, watcher
        self.folder = folder.path
        self.labels = images.minival.labels.cpu().numpy()
        self.measure = measure_of(prepared.recipe.objective, self.labels)
        if self.measure is not None:
            self.measure.check(ledger.records(), folder.path)
        note_labels(ledger, self.labels)
        self.planner, self.workers = prepared.planner, 1
        self.planner.meet(ledger.records())
        self.by_network = self.planner.by_network
        self.tasks = self._begun_with(prepared.tasks)
        self.why: str | None = None
        self.pace = Pace()
        run = prepared.recipe.run
        self.supervisor = Supervisor(ledger, lease_seconds=run.lease_seconds, retries=run.retries, lost=self._tell_lost)
        self.looked, self.ended = -math.inf, False
        self.log = TensorBoardLog(folder.path) if run.log is not None else None

    @property
    def candidates(self) -> tuple[Candidate, ...]:
        """What can be trained; where networks are proposed as the search goes on, those so far."""
        return tuple(self.by_network.values())

    def _begun_with(self, first: list[Task]) -> list[Task]:
        """The first trials and, where trials are chosen step by step, those that an earlier sitting has chosen."""
        if not self.planner.step_by_step:
            return first
        known = {task.key for task in first}
        every = [
            r.task for r in self.ledger.records() if r.state != "withdrawn" and r.task.fingerprint in self.by_network
        ]
        return first + list({t.key: t for t in every if t.key not in known}.values())

    def records(self) -> list[Record]:
        """The trials that this recipe asks for, read from the ledger."""
        return self._wanted(self.ledger.records())

    def _wanted(self, every: Sequence[Record]) -> list[Record]:
        """Those that this recipe asks for, by its objective's metric: a ledger may hold more seeds, and some that were
        once dropped."""
        wanted = {task.key for task in self.tasks}
        complete = {r.task.key for r in every if r.state == "complete"}
        return [
            r if self.measure is None else self.measure.seen(r)
            for r in every
            if r.task.key in wanted and r.state != "withdrawn" and not (r.state == "dropped" and r.task.key in complete)
        ]

    def _ranking(self, trials: pd.DataFrame, val: dict[str, float] | None = None) -> pd.DataFrame:
        memory = {name: self.prepared.memory(c.cost) for name, c in self.by_network.items()}
        target, exponent = self.prepared.target, self.prepared.exponent
        return rank(self.candidates, trials, memory=memory, val=val, target=target, exponent=exponent)

    def result(self, val: dict[str, float] | None = None) -> Result:
        """What the trials come to.

        Raises:
            RunError: none of them is complete.
        """
        from scalesearch.ranking.certainty import judge, points_of
        from scalesearch.ranking.eval_sizes import by_size
        from scalesearch.ranking.lengths import by_length

        records = self.records()
        trials = trials_frame(records)
        ranking = self._ranking(trials, val)
        if ranking.empty:
            reasons = [record.reason for record in records if record.reason]
            raise RunError("no trial finished" + (f"; the last one failed with: {reasons[-1]}" if reasons else ""))
        names = {name: c.name for name, c in self.by_network.items()}
        judged = partial(
            judge,
            images=len(self.images.minival),
            labels=names,
            confidence=self.prepared.recipe.confidence or DEFAULT_CONFIDENCE,
            why=self.why,
            target=self.prepared.target,
            exponent=self.prepared.exponent,
            candidates=self.candidates,
            within=self.prepared.recipe.within,
        )
        judgement, quoted = judged(records), tuple(self.ledger.noted("quote") or ()) or None
        lengths = by_length(
            records,
            judgement,
            judged,
            label=self._length_label,
            names=names,
            points=points_of(self.candidates),
        )
        sizes = by_size(records, judgement, judged, names=names)
        ranking = judgement.add_to(ranking)
        base = base_rate(self.prepared.metric, self.labels)
        return Result(
            ranking,
            trials,
            judgement,
            quoted,
            lengths,
            sizes,
            records,
            self.prepared.metric,
            base,
            self._error(ranking),
        )

    def _error(self, ranking: pd.DataFrame) -> float:
        """What the minival's size is worth, one standard error of the first's accuracy."""
        images = len(self.labels) if self.measure is None else self.measure.worth
        return holdout_error(float(ranking["accuracy"].iloc[0]), images)

    def _length_label(self, steps: int) -> str:
        """A training's length in the recipe's own unit."""
        settings = self.prepared.recipe.train
        if settings.epochs is None:
            return f"{steps:,} steps"
        whole = total_steps(settings, len(self.images.train) // min(settings.batch_size, len(self.images.train)))
        return f"{settings.epochs * steps / whole:.3g} epochs"

    def left(self) -> int:
        """How many trials are not complete yet."""
        return len({task.key for task in self.tasks} - _complete(self.ledger.records()))

    def train_all(self, place: EngineSettings) -> None:
        """Have everything trained that is wanted. A failed trial is recorded and the next one starts."""
        self.ledger.note("open", True)
        self.ledger.release(r for r in self.ledger.records() if self._abandoned(r))
        self.ledger.want(self.tasks, also_dropped=self.prepared.recipe.exhaustive)
        every = self.ledger.records()
        self._forget_dropped(every)
        self._announce(every)
        if not self._go_on(every):
            return
        if place.engine == "processes":
            self._quote()
        pool = self._pool(place)
        try:
            with pool:
                while self._tend(pool):
                    pool.attend(self._hear, LOOK_EVERY)
                deadline = time.monotonic() + LAST_WORDS
                while pool.busy and time.monotonic() < deadline:
                    pool.attend(self._hear, LOOK_EVERY)
        finally:
            self.ledger.release(self.ledger.held_by(pool.owners))

    def _abandoned(self, record: Record) -> bool:
        """Whether a running trial's worker is known to be gone. Nobody else begins one in a folder that is held."""
        return record.state == "running" and (
            is_gone(record.owner) or (record.owner is None and isinstance(self.where, Path))
        )

    def _announce(self, every: Sequence[Record]) -> None:
        done = _complete(every)
        self.watcher.search_started(self.prepared, self.tasks, [t for t in self.tasks if t.key in done])

    def _quote(self) -> None:
        """Say what the search will take, and keep that until it has taken it."""
        if self.ledger.noted("quote") is not None or not is_worthwhile(self.prepared):
            return
        try:
            price = quote(self.prepared)
        except TrialError:
            return  # those that can be trained will be, and the others say why not
        except (RuntimeError, MemoryError) as failure:
            if not is_out_of_memory(failure):
                raise
            return  # the dearest candidate will split its batches, and take as long as it takes
        finally:
            release_memory(self.prepared.device)
        self.pace.speeds = price.speeds
        self.ledger.note("quote", [price.seconds, self.planner.total(self.tasks)])
        self.watcher.quoted(price)

    def _go_on(self, every: Sequence[Record]) -> bool:
        """Whether a trial waits or runs; where a worker would have none, one more is asked for if it is worth it.

        What was lost is enqueued again after it was seen that nothing runs: so nothing can be lost in between.
        """
        if not self._within_budget(every):
            every = self.ledger.records()
        while True:
            states = [record.state for record in self._wanted(every)]
            busy, waiting = states.count("running"), states.count("waiting")
            if waiting or busy >= self.workers:
                return True
            if not busy and self.ledger.repeat_lost(self.prepared.recipe.run.retries, every):
                every = self.ledger.records()
                continue
            if not self._more(every):
                return busy > 0
            every = self.ledger.records()

    def _more(self, every: Sequence[Record]) -> bool:
        """One more, if it may change the answer and can be afforded; whether there is one."""
        if not self.planner.step_by_step:
            return False
        records = self._wanted(every)
        task, self.why = self.planner.next(records, workers=self.workers)
        if task is None:
            return False
        self._want([*self.tasks, task], records)
        return True

    def _within_budget(self, every: Sequence[Record]) -> bool:
        """Withdraw what waits and can no longer be paid, the last first; whether nothing had to be."""
        if not self.planner.step_by_step:
            return True
        records = self._wanted(every)
        waiting = [r for r in records if r.state == "waiting"]
        out: set[tuple[str, int]] = set()
        while len(out) < len(waiting) and not self.planner.affords(
            [r for r in records if r.task.key not in out], workers=self.workers
        ):
            out.add(waiting[-1 - len(out)].task.key)
        if out:
            self.why = SPENT
            self._want([t for t in self.tasks if t.key not in out], records)
        return not out

    def _want(self, tasks: list[Task], records: Sequence[Record]) -> None:
        """Ask for these trials; those that have failed are not tried again in this sitting."""
        self.tasks = tasks
        failed = {r.task.key for r in records if r.state == "failed"}
        self.ledger.want([t for t in tasks if t.key not in failed])
        self.watcher.wanted(self.planner.total(tasks))

    def _pool(self, place: EngineSettings) -> Workers:
        pace, here = self.prepared.recipe.run, str(self.prepared.device)
        limit = pace.trial_minutes and 60 * pace.trial_minutes
        if place.engine == "ray":
            from scalesearch.search.ray_cluster import RayCluster, load_ray

            terms, most = self._terms(self.prepared.recipe.device), max(1, self.left())
            self.workers = min(pace.workers or most, most)
            return RayCluster(
                load_ray(), terms, address=place.address, workers=pace.workers, most=most, trial_seconds=limit
            )
        if pace.workers == 0:
            return InProcessEngine(self._terms(here))
        places = list(place.devices) or [here]
        count = min(pace.workers or len(places) * self._per_device(), max(1, self.left()))
        self.workers = count
        self.pace.sharing = max(1.0, count / workers_side_by_side(self.prepared.recipe, self.prepared.device))
        return ProcessPool(self._terms(here).dealt(places, count), limit)

    def _per_device(self) -> int:
        wanted = self.prepared.recipe.run.per_device
        if wanted != "auto":
            return wanted
        from scalesearch.search.packing import workers_per_device

        found = workers_per_device(self.prepared, self.prepared.device)
        self.watcher.packed(found)
        return found

    def _terms(self, device: str) -> Terms:
        return Terms(self.where, self.ledger.name, self.folder, device)

    def _hear(self, worker: int, event: Event | Died) -> None:
        """Pass on what a worker says; settle the trial of one that died."""
        self.ended |= isinstance(event, Died) or event.kind not in ("started", "step")
        if isinstance(event, Died):
            self.supervisor.died(event)
            return
        candidate = self.by_network.get(event.key[0])
        if candidate is None:
            return
        if event.kind == "started":
            self.watcher.trial_started(worker, candidate, event.key[1])
        elif event.kind == "step":
            self.watcher.trial_step(worker, *event.values)
            if words := self.pace.told(event.key[0], event.values[3]):
                self.watcher.remarked(words)
        elif event.kind == "failed":
            self.watcher.trial_failed(candidate, *event.values)
        elif event.kind == "lost":
            self.watcher.trial_lost(candidate, *event.values)
        elif event.kind == "dropped":
            every = self.ledger.records()
            dropped = seen([every[event.values[0]]], self.measure)[0]
            step, accuracy = max((dropped.curve or {}).items())
            self.watcher.trial_dropped(candidate, step, accuracy)
            self._forget_dropped(every)
        elif event.kind == "finished":
            every = self.ledger.records()
            ranking = self._ranking(trials_frame(self._wanted(every)))
            finished = seen([every[event.values[0]]], self.measure)[0]
            self.watcher.trial_finished(candidate, finished.outcome or {}, ranking)

    def _forget_dropped(self, every: Sequence[Record]) -> None:
        """Further seeds of a candidate that was dropped are no longer wanted."""
        if self.prepared.recipe.exhaustive:
            return
        records = self._wanted(every)
        out = {r.task.fingerprint for r in records if r.state == "dropped"}
        kept = [t for t in self.tasks if t.fingerprint not in out or t.key in self._begun(records)]
        if len(kept) < len(self.tasks):
            self.tasks = kept
            self.ledger.want(kept)
            self.watcher.wanted(len(kept))

    @staticmethod
    def _begun(records: Sequence[Record]) -> set[tuple[str, int]]:
        return {r.task.key for r in records if r.state in ("running", "complete", "dropped")}

    def _tend(self, pool: Workers) -> bool:
        """Now and then: end the trials whose workers are gone, and have them repeated. False when none is left."""
        if not self.ended and time.monotonic() - self.looked < LOOK_EVERY:
            return True
        self.looked, self.ended = time.monotonic(), False
        every = self.supervisor.look(pool)
        if self.log is not None:
            self.log.follow(every, self.by_network)
        self._forget_dropped(every)
        return self._go_on(every)

    def _tell_lost(self, record: Record, reason: str, repeated: bool) -> None:
        candidate = self.by_network.get(record.task.fingerprint)
        if candidate is not None:
            (self.watcher.trial_lost if repeated else self.watcher.trial_failed)(candidate, reason)


def _complete(records: Sequence[Record]) -> set[tuple[str, int]]:
    return {record.task.key for record in records if record.state == "complete"}
