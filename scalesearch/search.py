"""One run from recipe to ranking: plan, claim and train every trial, validate the best, write what was found."""

from __future__ import annotations

import json
import math
import platform
import shlex
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import pandas as pd
import torch
from torch import nn

from scalesearch import __version__
from scalesearch.baselines import SpecBaseline, resolve
from scalesearch.cost import Cost
from scalesearch.data import Images, load_images, open_source
from scalesearch.data.images import Split, split_indices
from scalesearch.data.sources import Source
from scalesearch.errors import RunError, TrialError
from scalesearch.folder import RunFolder, settings_of
from scalesearch.grid import Candidate, Plan, plan
from scalesearch.ranking import holdout_error, rank, records_json, trials_frame
from scalesearch.recipe import Recipe
from scalesearch.report import accuracy_figure, ranking_markdown
from scalesearch.scaling import Coefficients, grown_dropout, scaled_family_member
from scalesearch.spec import ModelSpec, dump_spec
from scalesearch.study import Claim, Ledger, Task
from scalesearch.train import (
    Outcome,
    estimated_memory,
    evaluate,
    pick_device,
    pick_precision,
    probe,
    total_steps,
    train,
)

KEEP_WEIGHTS = 8
"""How many of the best candidates keep their weights while the search goes on; others are trained again if needed."""


class Watcher(Protocol):
    """Told what happens; the terminal's bars and a log's plain lines are two of them."""

    def decoding(self, done: int, total: int) -> None: ...
    def search_started(self, prepared: Prepared, done: Sequence[Task], total: int) -> None: ...
    def trial_started(self, candidate: Candidate, seed: int) -> None: ...
    def trial_step(self, step: int, steps: int, loss: float, images_per_second: float) -> None: ...
    def trial_finished(self, candidate: Candidate, outcome: Outcome, ranking: pd.DataFrame) -> None: ...
    def trial_failed(self, candidate: Candidate, reason: str) -> None: ...
    def validating(self, candidate: Candidate, seed: int) -> None: ...


@dataclass(frozen=True)
class Prepared:
    """A recipe whose every open question is answered: what will be trained, on which images, on which device."""

    recipe: Recipe
    native: ModelSpec
    baseline: SpecBaseline
    source: Source
    plan: Plan
    device: torch.device
    precision: str
    train_images: int
    minival_images: int

    @property
    def tasks(self) -> list[Task]:
        """Seed by seed, so that an interrupted run has seen every candidate as often as it could."""
        return [
            Task(c.coefficients, c.model.fingerprint, seed)
            for seed in range(self.recipe.seeds)
            for c in self.plan.candidates
        ]

    @property
    def settings(self) -> dict[str, Any]:
        network = self.baseline.spec.model_dump(mode="json", exclude={"name", "source", "origin"})
        return settings_of(self.recipe, network, self.source.fingerprint)

    def memory(self, cost: Cost) -> int:
        return estimated_memory(cost, self.recipe.train, self.precision)


def prepare(recipe: Recipe) -> Prepared:
    """Resolve the baseline, list the images, and plan the candidates; nothing is decoded or trained.

    Raises:
        ScaleSearchError: whatever of it the user can mend.
    """
    device = pick_device(recipe.device)
    precision = pick_precision(recipe.train, device)
    native = resolve(recipe.baseline)
    changes: dict[str, object] = {"resolution": recipe.resolution or native.resolution}
    if recipe.train.stochastic_depth is not None:
        changes["stochastic_depth"] = recipe.train.stochastic_depth
    baseline = SpecBaseline(native.model_copy(update=changes), recipe.rounding)
    dropout = recipe.train.dropout if recipe.train.dropout is not None else grown_dropout(native, recipe.phi)
    source = open_source(recipe.data)
    made = plan(
        baseline,
        recipe.phi,
        recipe.search,
        num_classes=len(source.classes),
        dropout=dropout,
        training_memory=lambda cost: estimated_memory(cost, recipe.train, precision),
    )
    if recipe.data.cache_resolution is None:
        size = math.ceil(max(c.model.resolution for c in made.candidates) / recipe.augment.eval_crop)
        recipe = recipe.model_copy(update={"data": recipe.data.model_copy(update={"cache_resolution": size})})
    counts = [len(part) for part in split_indices(source, recipe.data)]
    return Prepared(recipe, native, baseline, source, made, device, precision, *counts)


def quote(prepared: Prepared, steps: int = 4) -> tuple[float, int]:
    """Expected seconds of the whole search, and the expected peak bytes of its largest trial.

    Times a few training and evaluation steps on random images for the cheapest, the median and the dearest
    candidate, and reads the others off between them by their MACs.
    """
    recipe, batch = prepared.recipe, min(prepared.recipe.train.batch_size, prepared.train_images)
    by_cost = sorted(prepared.plan.candidates, key=lambda c: c.cost.macs)
    probed = list(dict.fromkeys([by_cost[0], by_cost[len(by_cost) // 2], by_cost[-1]]))
    length = total_steps(recipe.train, prepared.train_images // batch)
    held_out = prepared.minival_images * min(recipe.train.evaluations, length)
    seconds: list[float] = []
    for candidate in probed:
        per_step, per_image = probe(candidate.model, len(prepared.source.classes), recipe, prepared.device, batch, steps)
        seconds.append(length * per_step + held_out * per_image)
    macs = [c.cost.macs for c in probed]
    each = np.interp([c.cost.macs for c in by_cost], macs, seconds)
    return float(each.sum()) * recipe.seeds, max(prepared.memory(c.cost) for c in by_cost)


def run(prepared: Prepared, folder: RunFolder, watcher: Watcher, command: Sequence[str]) -> pd.DataFrame:
    """Do what is left of the search in ``folder`` (already held by this process) and return the ranking.

    Raises:
        RunError: the folder has other settings or cannot be written, or no trial could be completed.
    """
    recipe = prepared.recipe
    folder.adopt(recipe, prepared.settings)
    folder.write("environment.json", json.dumps(_environment(prepared, command), indent=1, ensure_ascii=False) + "\n")
    folder.write("candidates.csv", candidates_frame(prepared.plan).to_csv(index=False, lineterminator="\n"))
    ledger = Ledger(folder.path / "study.journal", folder.path.name)
    images = load_images(
        prepared.source,
        recipe.data,
        recipe.data.cache_resolution or prepared.baseline.resolution,
        lambda done: watcher.decoding(done, prepared.train_images),
    )
    session = _Session(prepared, folder, ledger, images, watcher)
    session.train_all()
    ranking = session.validate_best()
    if ranking.empty:
        reasons = [record.reason for record in ledger.records() if record.state == "failed"]
        raise RunError(f"no trial finished; the first one failed with: {reasons[0]}")
    _publish(prepared, folder, ledger, ranking)
    return ranking


def _publish(prepared: Prepared, folder: RunFolder, ledger: Ledger, ranking: pd.DataFrame) -> None:
    """Write everything that a reader of the run wants. Files that depend on times are apart from the ranking."""
    title = f"{prepared.baseline.name}, φ = {prepared.recipe.phi:g}, {prepared.source.title} ({prepared.recipe.name})"
    notes = caveats(prepared, ranking)
    folder.write("trials.csv", trials_frame(ledger.records()).to_csv(index=False, lineterminator="\n"))
    folder.write("ranking.csv", ranking.to_csv(index=False, lineterminator="\n"))
    data = {"title": title, "notes": notes, "ranking": records_json(ranking)}
    folder.write("ranking.json", json.dumps(data, indent=1, ensure_ascii=False) + "\n")
    folder.write("ranking.md", ranking_markdown(ranking, title, notes))
    best = ranking.iloc[0]
    winner = Coefficients(float(best["alpha"]), float(best["beta"]), float(best["gamma"]))
    for phi in range(8):
        member = scaled_family_member(prepared.native, winner, phi, prepared.recipe.rounding)
        folder.write(f"specs/{member.name}.yaml", dump_spec(member))
    try:
        accuracy_figure(ranking, prepared.minival_images, title, folder.path / "figures")
    except OSError as failure:
        raise RunError(f"cannot write {folder.path / 'figures'}: {failure.strerror}") from failure


def caveats(prepared: Prepared, ranking: pd.DataFrame) -> list[str]:
    """What a reader must know before believing the ranking, one sentence a line."""
    recipe, best = prepared.recipe, float(ranking["accuracy"].iloc[0])
    error = 100 * holdout_error(best, prepared.minival_images)
    notes = [
        f"accuracy on a minival of {prepared.minival_images:,} images: its sampling alone is worth ±{error:.1f} points "
        "(one standard error)",
        "one seed: the spread between trainings is not measured; --seeds 3 measures it"
        if recipe.seeds == 1
        else f"± is the standard deviation over {recipe.seeds} seeds",
        "MACs are multiply-adds of convolutions and linear layers, as in the paper",
    ]
    if recipe.search.match == "nominal" and len(ranking) > 1:
        low, high = ranking["ratio"].min(), ranking["ratio"].max()
        notes.append(f"candidates cost {low:.2f}× to {high:.2f}× the baseline: a dearer one may win by cost alone")
    if prepared.source.note:
        notes.append(prepared.source.note)
    return notes


class _Session:
    """The trials of one run that this process does."""

    def __init__(
        self, prepared: Prepared, folder: RunFolder, ledger: Ledger, images: Images, watcher: Watcher
    ) -> None:
        self.prepared, self.folder, self.ledger, self.images, self.watcher = prepared, folder, ledger, images, watcher
        self.by_network = {c.model.fingerprint: c for c in prepared.plan.candidates}
        self.weights = folder.path / "weights"

    def ranking(self, val: dict[str, float] | None = None) -> pd.DataFrame:
        wanted = {task.key for task in self.prepared.tasks}
        trials = trials_frame(r for r in self.ledger.records() if r.task.key in wanted)
        memory = {name: self.prepared.memory(c.cost) for name, c in self.by_network.items()}
        return rank(self.prepared.plan.candidates, trials, memory=memory, val=val)

    def train_all(self) -> None:
        """Claim and train until nothing waits. A failed trial is recorded and the next one starts."""
        tasks = self.prepared.tasks
        self.ledger.release_abandoned()
        self.ledger.enqueue(tasks)
        wanted = {task.key for task in tasks}
        done = {r.task.key for r in self.ledger.records() if r.state == "complete"}
        self.watcher.search_started(self.prepared, [t for t in tasks if t.key in done], len(tasks))
        try:
            while claim := self.ledger.claim(wanted):
                self._do(claim)
        except BaseException:
            self.ledger.release_abandoned()
            raise

    def _do(self, claim: Claim) -> None:
        candidate, seed = self.by_network[claim.task.fingerprint], claim.task.seed
        self.watcher.trial_started(candidate, seed)
        try:
            outcome, model = self._train(candidate, seed)
        except (TrialError, RuntimeError, ValueError, MemoryError) as failure:
            reason = str(failure) if isinstance(failure, TrialError) else f"{type(failure).__name__}: {failure}"
            self.ledger.fail(claim, reason)
            self.watcher.trial_failed(candidate, reason)
            return
        self.ledger.complete(claim, outcome.accuracy, outcome.to_json())
        ranking = self.ranking()
        self._keep(model, claim.task, ranking)
        self.watcher.trial_finished(candidate, outcome, ranking)

    def _train(self, candidate: Candidate, seed: int) -> tuple[Outcome, nn.Module]:
        prepared = self.prepared
        return train(
            candidate.model, self.images, prepared.recipe, seed, prepared.device, self.watcher.trial_step
        )

    def _weights_file(self, network: str, seed: int) -> Path:
        return self.weights / f"{network}-seed{seed}.pt"

    def _keep(self, model: nn.Module, task: Task, ranking: pd.DataFrame) -> None:
        """Keep a leader's weights for the validation, and drop those of candidates that fell behind."""
        leaders = set(ranking["network"].head(max(KEEP_WEIGHTS, 2 * self.prepared.recipe.top)))
        if self.images.source.val is None or not self.prepared.recipe.top:
            return
        try:
            self.weights.mkdir(exist_ok=True)
            for file in self.weights.iterdir():
                if file.name.split("-")[0] not in leaders:
                    file.unlink()
            if task.fingerprint in leaders:
                unfinished = self.weights / "unfinished"
                torch.save(model.state_dict(), unfinished)
                unfinished.replace(self._weights_file(*task.key))
        except (OSError, RuntimeError):
            self._weights_file(*task.key).unlink(missing_ok=True)  # no room: it can be trained again

    def validate_best(self) -> pd.DataFrame:
        """Measure the best candidates on the validation split, the only time it is opened, and write the ranking."""
        ranking = self.ranking()
        measured_on_val: dict[str, float] = {}
        if (val := self.images.val if self.prepared.recipe.top else None) is not None:
            for network in ranking["network"].head(self.prepared.recipe.top):
                seeds = [t.seed for t in self.prepared.tasks if t.fingerprint == network]
                complete = {r.task.key for r in self.ledger.records() if r.state == "complete"}
                measured = [self._validate(network, seed, val) for seed in seeds if (network, seed) in complete]
                measured_on_val[network] = math.fsum(measured) / len(measured)
        return self.ranking(measured_on_val)

    def _validate(self, network: str, seed: int, val: Split) -> float:
        key = f"val {network} {seed}"
        known = self.ledger.noted(key)
        if known is not None:
            return float(known)
        candidate, file = self.by_network[network], self._weights_file(network, seed)
        self.watcher.validating(candidate, seed)
        try:
            model = candidate.model.build(self.images.num_classes).to(self.prepared.device)
            model.load_state_dict(torch.load(file, map_location=self.prepared.device, weights_only=True))
        except (OSError, RuntimeError, EOFError):
            model = self._train(candidate, seed)[1]  # its weights were not kept: the same seed gives them again
        accuracy = evaluate(model, val, candidate.model.resolution, self.prepared.recipe, self.prepared.device)
        self.ledger.note(key, accuracy)
        return accuracy


def candidates_frame(made: Plan) -> pd.DataFrame:
    """Every grid point: nominal growth, realised network, measured cost, admitted or why not."""
    rows = [(c.coefficients, c, "admitted") for c in made.candidates]
    rows += [(r.coefficients, r.candidate, r.reason) for r in made.rejected]
    return pd.DataFrame(
        {
            "alpha": c.alpha,
            "beta": c.beta,
            "gamma": c.gamma,
            "growth": round(c.growth(), 6),
            "verdict": verdict,
            "shape": candidate and candidate.model.shape,
            "macs": candidate and candidate.cost.macs,
            "ratio": candidate and round(candidate.ratio, 6),
            "params": candidate and candidate.cost.params,
            "network": candidate and candidate.model.fingerprint,
        }
        for c, candidate, verdict in sorted(rows, key=lambda row: row[0])
    ).astype({"macs": "Int64", "params": "Int64"})


def _environment(prepared: Prepared, command: Sequence[str]) -> dict[str, Any]:
    device = prepared.device
    packages = ("torch", "torchvision", "fvcore", "optuna", "pandas", "numpy")
    return {
        "command": shlex.join(command),
        "started": datetime.now(UTC).isoformat(timespec="seconds"),
        "scalesearch": __version__,
        "commit": _commit(),
        "python": platform.python_version(),
        **{name: version(name) for name in packages},
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else f"{device.type}: {_processor()}",
        "threads": torch.get_num_threads(),
        "precision": prepared.precision,
        "data": {
            "title": prepared.source.title,
            "fingerprint": prepared.source.fingerprint,
            "train": prepared.train_images,
            "minival": prepared.minival_images,
        },
    }


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.machine()
    return next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), platform.machine())


def _commit() -> str | None:
    """The checkout that scalesearch runs from, if it runs from one."""
    here = Path(__file__).parent.parent
    if not (here / ".git").exists():
        return None
    asked = subprocess.run(
        ["git", "-C", str(here), "describe", "--always", "--dirty"], capture_output=True, text=True, check=False
    )
    return asked.stdout.strip() or None
