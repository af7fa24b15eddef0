"""Every path that only a GPU takes, run once and held against the CPU: what agrees, what differs, what failed."""

from __future__ import annotations

import csv
import json
import math
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from itertools import repeat
from pathlib import Path
from typing import Any

import torch

from scalesearch.data.batches import TrainBatches
from scalesearch.data.images import Images, load_images
from scalesearch.data.sources import embedded
from scalesearch.models.protocols import ScaledModel
from scalesearch.recipe import Recipe, load_recipe
from scalesearch.runtime.device import pick_precision, release_memory
from scalesearch.runtime.seeding import seed_all
from scalesearch.settings import DataSettings
from scalesearch.training.checkpoints import Checkpoints
from scalesearch.training.memory_estimate import estimated_memory
from scalesearch.training.train import NullListener, train
from scalesearch.training.trainer import Trainer
from scalesearch.trials import Outcome
from tests.benchmarks.common import baseline, write_page

CPU = torch.device("cpu")
SIDE, STEPS, SEED = 48, 20, 3
NETWORK = "mobilenet_v2"
LONGEST = 150
"""Seconds that one check may take."""

BREAKS = '''
import os
from pathlib import Path
import torch
from torch import nn
from torchvision.models import resnet18

class Breaks(nn.Module):
    """Breaks its device in the fourth training step of the first trial, and never again."""
    def __init__(self, network):
        super().__init__()
        self.network, self.steps = network, 0
    def forward(self, images):
        marker = Path(__file__).with_name("broken")
        self.steps += self.training and torch.is_grad_enabled() and images.shape[0] > 2
        if self.steps == 4 and not marker.exists():
            marker.touch()
            if images.is_cuda:
                torch.zeros(2, device=images.device)[torch.full((4,), 99, device=images.device)].sum().item()
            os._exit(1)
        return self.network(images)

def network(num_classes=10):
    return Breaks(resnet18(num_classes=num_classes))
'''


class DiffersError(Exception):
    """A check found something else than it should."""


class NotHereError(Exception):
    """The check needs what this machine has not."""


@dataclass(frozen=True)
class Result:
    """What a check found: its name, ✓, ✗ or –, the figure, and the seconds it took."""

    name: str
    mark: str
    figure: str
    seconds: float


class _Losses(NullListener):
    """The training losses that were told; ends the training after so many steps if asked."""

    def __init__(self, end: int | None = None) -> None:
        self.losses: list[float] = []
        self.end = end

    def step(self, step: int, steps: int, loss: float, images_per_second: float) -> None:
        self.losses.append(loss)
        if self.end is not None and step >= self.end:
            raise KeyboardInterrupt


def recipe(**changes: Any) -> Recipe:
    """A short, gentle schedule, on which two devices stay close: changes by section, as ``train={...}``."""
    flat = {
        "train.steps": STEPS, "train.batch_size": 32, "train.optimizer": "sgd", "train.learning_rate": 0.01,
        "train.evaluations": 2, "train.precision": "fp32", "train.ema": 0.0, "train.stochastic_depth": 0.0,
        "train.dropout": 0.0,
    }  # fmt: skip
    flat |= {f"{section}.{key}": value for section, keys in changes.items() for key, value in keys.items()}
    return load_recipe("quick", flat)


def images() -> Images:
    return load_images(embedded(), DataSettings(), SIDE)


def model() -> ScaledModel:
    return baseline(NETWORK, SIDE)


def losses(device: torch.device, chosen: Recipe, *, resident: bool = True) -> tuple[list[float], Outcome]:
    """Training losses, then those of the evaluations; and the outcome."""
    data, ears = images(), _Losses()
    data = data.on(device) if resident else data
    outcome, _ = train(model(), data, chosen, seed=SEED, device=device, listener=ears)
    return [*ears.losses, *(loss for _, _, loss in outcome.curve)], outcome


def first_losses(device: torch.device, chosen: Recipe, *, micro_batch: int | None = None) -> list[float]:
    """Of four batches on the first weights, which hardly move: updates magnify every rounding, on one device too."""
    seed_all(SEED)
    still = chosen.model_copy(update={"train": chosen.train.model_copy(update={"learning_rate": 1e-9})})
    trainer, data, size = Trainer(model(), 12, still, device), images().on(device), chosen.train.batch_size
    batches = TrainBatches(data.train, chosen.augment, SIDE, batch_size=size, seed=SEED, device=device)
    return [trainer.step(views, labels, micro_batch or size).item() for views, labels in batches.take(4)]


def close(ours: list[float], theirs: list[float], most: float) -> str:
    """The largest relative difference, in words.

    Raises:
        DiffersError: it is above ``most``, or not a number.
    """
    apart = [abs(a - b) / abs(b) for a, b in zip(ours, theirs, strict=True)]
    said = f"losses differ by {max(apart):.2%} at most"
    if not all(each <= most for each in apart):  # which no NaN is, wherever it stands
        raise DiffersError(f"{said}; {most:.0%} was expected")
    return said


def needs_cuda(device: torch.device) -> None:
    if device.type != "cuda":
        raise NotHereError("needs CUDA")


def of_precision(precision: str, most: float, device: torch.device) -> str:
    return close(first_losses(device, recipe(train={"precision": precision})), first_losses(CPU, recipe()), most)


def chosen_precision(device: torch.device) -> str:
    return f"{pick_precision(load_recipe('quick').train, device)} on {device.type}"


def layouts(device: torch.device) -> str:
    there = first_losses(device, recipe(train={"channels_last": False}))
    return close(first_losses(device, recipe()), there, 0.01)


def fetched(device: torch.device) -> str:
    return close(losses(device, recipe(), resident=False)[0], losses(device, recipe())[0], 0.01)


def resident(device: torch.device) -> str:
    moved = images().on(device)
    if moved.train.device != device:
        raise DiffersError(f"the images are on {moved.train.device}")
    return f"{len(moved.train)} images on {device}"


def views(device: torch.device) -> str:
    data, chosen = images(), recipe(augment={"policy": "randaugment"})
    there, here = (
        next(iter(TrainBatches(part.train, chosen.augment, SIDE, batch_size=32, seed=SEED, device=part_on).take(1)))
        for part, part_on in ((data.on(device), device), (data, CPU))
    )
    away = (there[0].cpu().int() - here[0].int()).abs().float()
    said = f"views differ by {away.mean():.3f} of 255 levels on average, {int(away.max())} at most"
    if away.mean() > 0.5 or not torch.equal(there[1].cpu(), here[1]):
        raise DiffersError(said)
    return said


def repeated(device: torch.device) -> str:
    one, other = (losses(device, recipe())[0] for _ in range(2))
    return "two runs are equal to the bit" if one == other else f"two runs: {close(one, other, 0.02)}"


def out_of_memory(graphed: bool, device: torch.device) -> str:
    """Half of the memory that a batch of 256 takes: the trial goes on, in parts that fit."""
    needs_cuda(device)
    chosen = recipe(train={"batch_size": 256, "steps": 4}, run={"cuda_graphs": graphed})
    _, first = losses(device, chosen)
    release_memory(device)
    total = torch.cuda.get_device_properties(device).total_memory
    torch.cuda.set_per_process_memory_fraction(0.5 * first.memory / total)
    told, outcome = losses(device, chosen)
    if outcome.micro_batch >= 256 or not all(map(math.isfinite, told)):
        raise DiffersError(f"micro-batches of {outcome.micro_batch} of 256, losses {told}")
    torch.cuda.set_per_process_memory_fraction(1.0)
    plain = recipe(train={"batch_size": 256})
    parts, whole = first_losses(device, plain, micro_batch=outcome.micro_batch), first_losses(device, plain)
    return f"micro-batches of {outcome.micro_batch} of 256; {close(parts, whole, 0.05)}"


def graphs(device: torch.device) -> str:
    needs_cuda(device)
    figures = []
    for precision in ("fp32", "bf16", "fp16"):
        plain = {"precision": precision}
        graphed, _ = losses(device, recipe(train=plain, run={"cuda_graphs": True}))
        figures.append(f"{precision}: {close(graphed, losses(device, recipe(train=plain))[0], 0.05)}")
    return "; ".join(figures)


def compiled(device: torch.device) -> str:
    return close(first_losses(device, recipe(train={"compile": "on"})), first_losses(device, recipe()), 0.01)


def estimate(device: torch.device) -> str:
    needs_cuda(device)
    figures = []
    for precision in ("fp32", "bf16"):
        for name in ("mobilenet_v2", "efficientnet_b0", "resnet50"):
            chosen = recipe(train={"precision": precision, "batch_size": 64, "steps": 5})
            network = baseline(name, 96)
            data = load_images(embedded(), DataSettings(), 96).on(device)
            outcome, _ = train(network, data, chosen, seed=SEED, device=device)
            guess = estimated_memory(network.cost(data.num_classes), chosen.train, precision)
            figures.append(f"{name} {precision} {guess / outcome.memory:.2f}")
    return "estimate over the measured peak: " + ", ".join(figures)


def resumed(device: torch.device) -> str:
    chosen = recipe(run={"checkpoint_steps": 5})
    whole, _ = losses(device, chosen)
    with tempfile.TemporaryDirectory() as folder:
        go_on = partial(
            train, model(), images().on(device), chosen, seed=SEED, device=device, checkpoints=Checkpoints(Path(folder))
        )
        with suppress(KeyboardInterrupt):
            go_on(listener=_Losses(end=10))
        outcome, _ = go_on()
    if outcome.resumed != 1:
        raise DiffersError(f"it went on from {outcome.resumed} checkpoints")
    return close([loss for _, _, loss in outcome.curve], whole[-2:], 0.02)


def _command(*arguments: str, folder: Path, within: tuple[str, ...] = ()) -> str:
    """What a command of scalesearch prints, run in ``folder``, by the module and options ``within`` if there are any.

    Raises:
        DiffersError: it fails.
    """
    done = subprocess.run(
        [sys.executable, *within, "-m", "scalesearch", *arguments],
        check=False, capture_output=True, text=True, cwd=folder, timeout=LONGEST,
    )  # fmt: skip
    if done.returncode:
        raise DiffersError(f"{' '.join(arguments[:2])}: exit {done.returncode}: {(done.stderr or done.stdout)[-300:]}")
    return done.stdout


def _ranked(run: Path) -> dict[str, float]:
    """Accuracies by network.

    Raises:
        DiffersError: a candidate is not ranked.
    """
    rows = json.loads((run / "ranking.json").read_text())["ranking"]
    with (run / "candidates.csv").open() as file:
        planned = {row["network"] for row in csv.DictReader(file)} - {""}
    if {row["network"] for row in rows} != planned:
        raise DiffersError(f"{len(rows)} of {len(planned)} candidates are ranked")
    return {row["network"]: row["accuracy"] for row in rows}


def _grid(out: Path, device: torch.device, *options: str) -> dict[str, float]:
    """Accuracies by candidate of a small grid."""
    _command(
        "grid", "--recipe", "quick", "--baseline", NETWORK, "--resolution", "32", "--step", "0.25", "--steps", "12",
        "--precision", "fp32", "--learning-rate", "0.005", "--device", str(device), "--out", str(out), "--keep-weights",
        "1", *options, folder=out.parent,
    )  # fmt: skip
    return _ranked(out)


def side_by_side(device: torch.device) -> str:
    with tempfile.TemporaryDirectory() as folder:
        one = _grid(Path(folder) / "one", device, "--workers", "0")
        two = _grid(Path(folder) / "two", device, "--per-device", "2")
    if one.keys() != two.keys():
        raise DiffersError("other candidates were ranked")
    away = max(abs(one[name] - two[name]) for name in one)
    if away > 0.05:
        raise DiffersError(f"accuracies differ by {away:.3f}")
    return f"{len(one)} candidates, accuracies differ by {away:.3f} at most"


def probed(device: torch.device) -> str:
    with tempfile.TemporaryDirectory() as folder:
        found = _grid(Path(folder) / "run", device, "--per-device", "auto", "--batch-size", "auto")
    return f"{len(found)} candidates"


def broken(device: torch.device) -> str:
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        (place / "breaks.py").write_text(BREAKS)
        _command(
            "grid", "--recipe", "quick", "--baseline", "breaks.py:network", "--resolution", "32", "--step", "0.25",
            "--steps", "6", "--device", str(device), "--workers", "1", "--out", "run", folder=place,
        )  # fmt: skip
        if not (place / "broken").exists():
            raise DiffersError("nothing broke")
        found = _ranked(place / "run")
    return f"the worker was replaced; {len(found)} candidates ranked"


def pictures(device: torch.device) -> str:
    with tempfile.TemporaryDirectory() as folder:
        run = Path(folder) / "run"
        _grid(run, device, "--workers", "0")
        _command("cam", str(run), "--device", str(device), "--images", "2", folder=run.parent)
        _command("report", str(run), folder=run.parent)
        made = [path.name for path in run.rglob("*cam*")]
    if not made:
        raise DiffersError("no maps were drawn")
    return ", ".join(made[:3])


def benched(device: torch.device) -> str:
    with tempfile.TemporaryDirectory() as folder:
        said = _command(
            "bench", NETWORK, "torchvision:resnet18", "--device", str(device), "--resolution", "64", "--seconds",
            "0.5", "--rounds", "2", "--batch-size", "32", folder=Path(folder),
        )  # fmt: skip
    return said.strip().splitlines()[-1][:100]


def shared_out(device: torch.device) -> str:
    options = (
        "train", NETWORK, "--recipe", "quick", "--resolution", "32", "--steps", "10", "--precision", "fp32",
        "--device", device.type,
    )  # fmt: skip
    with tempfile.TemporaryDirectory() as folder:
        _command(*options, "--out", "alone", folder=Path(folder))
        port = str(29500 + os.getpid() % 1000)
        torchrun = ("-m", "torch.distributed.run", "--nproc-per-node", "1", "--master-port", port)
        _command(*options, "--out", "team", folder=Path(folder), within=torchrun)
        alone, team = (sorted(p.name for p in (Path(folder) / each).iterdir()) for each in ("alone", "team"))
    return f"one process of {'NCCL' if device.type == 'cuda' else 'gloo'} wrote {', '.join(team)}" + (
        "" if alone == team else f" (alone: {', '.join(alone)})"
    )


Check = Callable[[torch.device], str]
CHECKS: dict[str, Check] = {
    "the precision that is chosen": chosen_precision,
    "fp32 beside the CPU": partial(of_precision, "fp32", 0.01),
    "bf16 autocast beside the CPU's fp32": partial(of_precision, "bf16", 0.05),
    "fp16 autocast, scaled, beside the CPU's fp32": partial(of_precision, "fp16", 0.02),
    "augmented views beside the CPU's": views,
    "images that stay on the device": resident,
    "images fetched ahead from pinned memory": fetched,
    "channels_last beside contiguous": layouts,
    "the same seed twice": repeated,
    "going on from a checkpoint": resumed,
    "memory ends: smaller micro-batches": partial(out_of_memory, False),
    "CUDA graphs beside eager": graphs,
    "memory ends while graphs are used": partial(out_of_memory, True),
    "estimated training memory": estimate,
    "compiled beside eager": compiled,
    "two workers on one device": side_by_side,
    "workers and batch size found by probes": probed,
    "a worker whose device breaks": broken,
    "class-activation maps and the report": pictures,
    "bench": benched,
    "torchrun with one process": shared_out,
}


def one(name: str, device: torch.device) -> Result:
    """Run a check here."""
    start = time.perf_counter()
    try:
        mark, figure = "✓", CHECKS[name](device)
    except NotHereError as absent:
        mark, figure = "–", str(absent)
    except DiffersError as found:
        mark, figure = "✗", str(found)
    except Exception as failure:
        mark, figure = "✗", f"{type(failure).__name__}: {str(failure)[:300]}"
    return Result(name, mark, " ".join(figure.split()), time.perf_counter() - start)


def _apart(name: str, device: torch.device, answer: Path) -> Result:
    """Run a check in a process of its own, so that what breaks there breaks nothing else."""
    start = time.perf_counter()
    command = [sys.executable, "-m", "tests.benchmarks", "acceptance", "--only", name, "--device", str(device)]
    try:
        done = subprocess.run(
            [*command, "--answer", str(answer)], check=False, capture_output=True, text=True, timeout=LONGEST
        )
        result = Result(**json.loads(answer.read_text()))
    except subprocess.TimeoutExpired:
        result = Result(name, "✗", f"not over after {LONGEST} s", time.perf_counter() - start)
    except OSError:
        result = Result(name, "✗", f"the process died: {done.stderr[-200:]}", time.perf_counter() - start)
    print(f"{result.mark} {result.name}: {result.figure} ({result.seconds:.0f} s)", flush=True)
    return result


def acceptance(device: torch.device, together: int, only: str | None, answer: Path | None) -> bool:
    """Run all checks, so many side by side, and write the page; or one, and its answer. Whether nothing differed."""
    if only is not None:
        result = one(only, device)
        if answer is not None:
            answer.write_text(json.dumps(result.__dict__))
        else:
            print(result)
        return result.mark != "✗"
    with tempfile.TemporaryDirectory() as folder, ThreadPoolExecutor(together) as pool:
        answers = [Path(folder) / f"{number}.json" for number in range(len(CHECKS))]
        results = list(pool.map(_apart, CHECKS, repeat(device), answers))
    rows = [(r.mark, r.name, r.figure, f"{r.seconds:.0f}") for r in results]
    if device.type == "cuda":
        write_page(
            "acceptance-gpu",
            "What a GPU does, beside a CPU",
            ("", "check", "found", "s"),
            rows,
            f"{NETWORK} on the embedded images at {SIDE} px. Losses of four batches, or of {STEPS} steps, each "
            "held against the same elsewhere. ✓: within what was expected; ✗: not; –: not here. Each check "
            "runs in a process of its own, several side by side: the seconds are no benchmark.",
            "acceptance",
            device,
        )
    return all(result.mark != "✗" for result in results)
