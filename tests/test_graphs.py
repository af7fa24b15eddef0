"""A training step that is recorded and replayed trains as the one that is written."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from scalesearch.baselines import ScaledModel, SpecModel
from scalesearch.data.images import Split
from scalesearch.errors import DeviceError, GraphError
from scalesearch.graphs import WARM_UP, CudaRecorder, GraphedPass, Recorder
from scalesearch.pace import noise
from scalesearch.prepare import prepare
from scalesearch.recipe import Recipe, load_recipe
from scalesearch.spec import ModelSpec
from scalesearch.trainer import Trainer

CPU = torch.device("cpu")
STEPS, BATCH, CLASSES = 8, 4, 12


class Again(Recorder):
    """Records as CUDA does, as far as a CPU can: nothing is done while recording, each replay does it all in the same
    places, and gradients are overwritten."""

    def __init__(self, weights: Callable[[], list[nn.Parameter]]) -> None:
        self.weights, self.recordings, self.replays = weights, 0, 0

    def run(self, work: Callable[[], Tensor]) -> Tensor:
        return work()

    def record(self, work: Callable[[], Tensor]) -> tuple[Callable[[], None], Tensor]:
        self.recordings += 1
        result = torch.zeros(())
        kept: list[Tensor] = []

        def replay() -> None:
            self.replays += 1
            for weight in self.weights():
                weight.grad = None
            result.copy_(work())
            found = [weight.grad for weight in self.weights() if weight.grad is not None]
            if kept:
                torch._foreach_copy_(kept, found)
            else:
                kept.extend(found)
            for weight, grad in zip(self.weights(), kept, strict=True):
                weight.grad = grad

        return replay, result


def _recipe(**changes: object) -> Recipe:
    return load_recipe("quick", {"train.batch_size": BATCH, "train.ema": 0.9, **changes})


def _trained(
    model: ScaledModel, recipe: Recipe, device: torch.device, recorder: Recorder | None = None, micro_batch: int = BATCH
) -> tuple[list[float], list[Tensor], Trainer]:
    """Losses of eight steps, with an evaluation in between, and the weights and statistics that they leave."""
    torch.manual_seed(0)
    trainer = Trainer(model, CLASSES, recipe, device, recorder=recorder)
    if isinstance(recorder, Again):
        recorder.weights = lambda: list(trainer.model.parameters())
    split = noise(STEPS * BATCH, model.resolution, CLASSES).on(device)
    losses = []
    for step in range(STEPS):
        images, labels = split.take(torch.arange(step * BATCH, (step + 1) * BATCH))
        losses.append(trainer.step(images, labels, micro_batch).item())
        if step == STEPS // 2:
            trainer.evaluate(Split(split.images[:BATCH], split.labels[:BATCH]))
    return losses, [*trainer.result.parameters(), *trainer.result.buffers()], trainer


@pytest.mark.parametrize("changes", [{}, {"train.clip_norm": 0.5, "train.optimizer": "adamw"}])
def test_steps_that_are_replayed_train_like_steps_that_are_run(tiny: ModelSpec, changes: dict[str, object]) -> None:
    recorder = Again(list)
    losses, weights, _ = _trained(SpecModel(tiny), _recipe(**changes), CPU)
    graphed = _recipe(**{"run.cuda_graphs": True, **changes})
    replayed, same, trainer = _trained(SpecModel(tiny), graphed, CPU, recorder)
    assert (recorder.recordings, recorder.replays) == (1, STEPS - WARM_UP)
    assert trainer.warm_up == WARM_UP + 2
    assert replayed == losses
    assert len(weights) == len(same)
    for one, other in zip(weights, same, strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=0)


def test_a_batch_that_memory_splits_is_not_recorded(tiny: ModelSpec) -> None:
    recorder = Again(list)
    losses, _, _ = _trained(SpecModel(tiny), _recipe(), CPU, micro_batch=BATCH // 2)
    split, _, trainer = _trained(
        SpecModel(tiny), _recipe(**{"run.cuda_graphs": True}), CPU, recorder, micro_batch=BATCH // 2
    )
    assert split == losses
    assert not recorder.recordings
    assert trainer.evaluated_together == BATCH // 2


def _pass(images: Tensor, labels: Tensor) -> Tensor:
    return images.sum() + labels.sum()


DRAWS: dict[str, Callable[[], Any]] = {
    "python": random.random,
    "numpy": np.random.rand,
    "torch": lambda: torch.rand(()),
}


@pytest.mark.parametrize("draw", DRAWS.values(), ids=DRAWS.keys())
def test_a_network_that_draws_on_the_host_is_refused(draw: Callable[[], Any]) -> None:
    """A recording would have drawn once and for all."""

    def chancy(images: Tensor, labels: Tensor) -> Tensor:
        draw()
        return _pass(images, labels)

    graphed = GraphedPass(chancy, Again(list), lambda: None)
    with pytest.raises(GraphError, match="draws random numbers on the host"):
        graphed(torch.zeros(2, 3), torch.zeros(2))


class Failing(Again):
    def __init__(self, failure: Exception) -> None:
        super().__init__(list)
        self.failure = failure

    def record(self, work: Callable[[], Tensor]) -> tuple[Callable[[], None], Tensor]:
        raise self.failure


@pytest.mark.parametrize(
    ("failure", "kind", "said"),
    [
        (RuntimeError("operation not permitted\nCompile with TORCH_USE_CUDA_DSA"), GraphError, r"\(operation not perm"),
        (torch.OutOfMemoryError("CUDA out of memory"), torch.OutOfMemoryError, "out of memory"),
    ],
)
def test_what_cannot_be_recorded_says_why_and_memory_that_ends_stays_what_it_is(
    failure: Exception, kind: type[Exception], said: str
) -> None:
    graphed = GraphedPass(_pass, Failing(failure), lambda: None)
    for _ in range(WARM_UP):
        graphed(torch.zeros(2, 3), torch.zeros(2))
    with pytest.raises(kind, match=said):
        graphed(torch.zeros(2, 3), torch.zeros(2))


def test_graphs_are_for_cuda_alone() -> None:
    with pytest.raises(DeviceError, match="--cuda-graphs needs CUDA, and this trains on cpu"):
        prepare(load_recipe("quick", {"device": "cpu", "run.cuda_graphs": True}))


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs CUDA")
@pytest.mark.parametrize("precision", ["fp32", "bf16", "fp16"])
def test_cudas_own_recorder_trains_like_steps_that_are_run(tiny: ModelSpec, precision: str) -> None:
    device = torch.device("cuda:0")
    losses, weights, _ = _trained(SpecModel(tiny), _recipe(**{"train.precision": precision}), device)
    changes = {"train.precision": precision, "run.cuda_graphs": True}
    replayed, same, _ = _trained(SpecModel(tiny), _recipe(**changes), device, CudaRecorder(device))
    assert replayed == pytest.approx(losses, rel=1e-3)
    for one, other in zip(weights, same, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-2, atol=1e-3)
