"""How many workers share one device."""

from __future__ import annotations

import multiprocessing
import time
from multiprocessing.synchronize import Barrier
from threading import BrokenBarrierError
from typing import TYPE_CHECKING

import torch

from scalesearch.errors import TrialError
from scalesearch.models.protocols import ScaledModel
from scalesearch.recipe import Recipe
from scalesearch.runtime.threads import cores, threads_each
from scalesearch.training.trainer import Trainer

if TYPE_CHECKING:
    from multiprocessing.connection import Connection

    from scalesearch.search.setup import Prepared

from scalesearch.training.step_timing import MORE, noise, timed_steps


def workers_per_device(prepared: Prepared, device: torch.device, *, seconds: float = 3.0) -> int:
    """How many workers together train the median candidate fastest on ``device``: 1, 2, 4 … while that gains 5 %.

    Each number is tried in processes of its own, for ``seconds``. On a CPU they share its threads.
    """
    model = prepared.plan.median.model
    most = torch.get_num_threads() if device.type == "cpu" else min(8, cores())
    count, best = 1, together(1, model, prepared, device, seconds)
    while 2 * count <= most:
        rate = together(2 * count, model, prepared, device, seconds)
        if not best or rate < MORE * best:
            break
        count, best = 2 * count, rate
    return count


def together(count: int, model: ScaledModel, prepared: Prepared, device: torch.device, seconds: float) -> float:
    """Images per second of ``count`` processes that train side by side; 0 if one of them cannot."""
    context = multiprocessing.get_context("forkserver")
    barrier = context.Barrier(count)
    threads = threads_each(count)
    classes, recipe = len(prepared.source.classes), prepared.recipe
    links, processes = [], []
    for _ in range(count):
        mine, theirs = context.Pipe()
        arguments = (theirs, barrier, model, recipe, str(device), classes, threads, seconds)
        processes.append(context.Process(target=_trained, args=arguments))
        processes[-1].start()
        theirs.close()
        links.append(mine)
    rates = []
    for link in links:
        try:
            rates.append(float(link.recv()))
        except EOFError:
            barrier.abort()
            rates.append(0.0)
    for process in processes:
        process.join()
    return sum(rates) if all(rates) else 0.0


def _trained(
    link: Connection,
    barrier: Barrier,
    model: ScaledModel,
    recipe: Recipe,
    device_name: str,
    classes: int,
    threads: int | None,
    seconds: float,
) -> None:
    """A process that trains for a while, and says how many images a second it trained on."""
    device, batch = torch.device(device_name), recipe.train.batch_size
    if threads:
        torch.set_num_threads(threads)
    split = noise(batch, model.resolution, classes, model.channels)
    try:
        trainer = Trainer(model, classes, recipe, device)
        once = timed_steps(trainer, recipe, device, split.on(device), steps=1)
        barrier.wait(timeout=120)
        start = time.perf_counter()
        steps = max(2, round(seconds / once))
        timed_steps(trainer, recipe, device, split.on(device), steps)
        link.send((trainer.warm_up + steps) * batch / (time.perf_counter() - start))
    except (RuntimeError, MemoryError, BrokenBarrierError, TrialError):  # as a rule the device's memory ended
        barrier.abort()
        link.send(0.0)
