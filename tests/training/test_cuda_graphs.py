"""A training step that is recorded and replayed trains as the one that is written."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from scalesearch.data.images import Split
from scalesearch.errors import DeviceError, GraphError
from scalesearch.models.protocols import ScaledModel
from scalesearch.models.spec_model import SpecModel
from scalesearch.recipe import Recipe, load_recipe
from scalesearch.scaling.spec import ModelSpec
from scalesearch.search.setup import prepare
from scalesearch.training.class_weights import balanced
from scalesearch.training.cuda_graphs import WARM_UP, CudaRecorder, GraphedPass, Recorder
from scalesearch.training.step_timing import noise
from scalesearch.training.trainer import Trainer

CPU = torch.device("cpu")
STEPS, BATCH, CLASSES = 8, 4, 12


class Again(Recorder):
    """Records as CUDA does, as far as a CPU can: nothing is done while recording, and a replay does all of it anew,
    writes loss and gradients where the first one left them, and touches no weight's ``grad`` after that."""

    def __init__(self, weights: Callable[[], list[nn.Parameter]]) -> None:
        self.weights, self.recordings, self.replays = weights, 0, 0

    def run(self, work: Callable[[], Tensor]) -> Tensor:
        return work()

    def record(self, work: Callable[[], Tensor]) -> tuple[Callable[[], None], Tensor]:
        self.recordings += 1
        result = torch.zeros(())
        kept: list[Tensor | None] = []

        def replay() -> None:
            self.replays += 1
            weights = self.weights()
            attached = [weight.grad for weight in weights]
            for weight in weights:
                weight.grad = None
            result.copy_(work())
            made = [weight.grad for weight in weights]
            if not kept:
                kept.extend(made)
                return
            for weight, place, new, before in zip(weights, kept, made, attached, strict=True):
                if place is not None and new is not None:
                    place.copy_(new)
                weight.grad = before

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
    if recipe.train.class_weights == "balanced":
        trainer.weigh_classes(balanced(split.labels.cpu(), CLASSES))
    losses = []
    for step in range(STEPS):
        images, labels = split.take(torch.arange(step * BATCH, (step + 1) * BATCH))
        losses.append(trainer.step(images, labels, micro_batch).item())
        if step == STEPS // 2:
            trainer.evaluate(Split(split.images[:BATCH], split.labels[:BATCH]))
    return losses, [*trainer.result.parameters(), *trainer.result.buffers()], trainer


@pytest.mark.parametrize(
    "changes", [{}, {"train.clip_norm": 0.5, "train.optimizer": "adamw"}, {"train.class_weights": "balanced"}]
)
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


def _nothing() -> None:
    pass


@pytest.mark.parametrize("draw", DRAWS.values(), ids=DRAWS.keys())
def test_a_network_that_draws_on_the_host_is_refused(draw: Callable[[], Any]) -> None:
    """A recording would have drawn once and for all."""

    def chancy(images: Tensor, labels: Tensor) -> Tensor:
        draw()
        return _pass(images, labels)

    graphed = GraphedPass(Again(list))
    with pytest.raises(GraphError, match="draws random numbers on the host"):
        graphed(torch.zeros(2, 3), torch.zeros(2), chancy, _nothing)


def test_another_batch_than_the_recorded_one_is_refused() -> None:
    """One image would be copied into every place of the batch."""
    graphed = GraphedPass(Again(list))
    for _ in range(WARM_UP + 1):
        graphed(torch.zeros(2, 3), torch.zeros(2), _pass, _nothing)
    with pytest.raises(ValueError, match=r"recorded for images \(2, 3\), not \(1, 3\)"):
        graphed(torch.zeros(1, 3), torch.zeros(1), _pass, _nothing)


class Failing(Again):
    """As CUDA complains: the end of a recording that has failed says only that it has failed."""

    def __init__(self, *failures: Exception) -> None:
        super().__init__(list)
        self.failures = failures

    def record(self, work: Callable[[], Tensor]) -> tuple[Callable[[], None], Tensor]:
        try:
            raise self.failures[0]
        finally:
            for failure in self.failures[1:]:
                raise failure


ENDED = RuntimeError("operation failed due to a previous error during capture")


@pytest.mark.parametrize(
    ("failures", "kind", "said"),
    [
        ([RuntimeError("CUDA error: not permitted\nCompile with TORCH_USE_CUDA_DSA")], GraphError, r"not permitted\)"),
        ([RuntimeError("CUDA error: not permitted"), ENDED], GraphError, r"\(CUDA error: not permitted\)"),
        ([torch.OutOfMemoryError("CUDA out of memory"), ENDED], torch.OutOfMemoryError, "CUDA out of memory"),
        ([RuntimeError("CUBLAS_STATUS_ALLOC_FAILED"), ENDED], torch.OutOfMemoryError, "ALLOC_FAILED"),
    ],
)
def test_what_cannot_be_recorded_says_why_and_memory_that_ends_stays_what_it_is(
    failures: list[Exception], kind: type[Exception], said: str
) -> None:
    graphed = GraphedPass(Failing(*failures))
    for _ in range(WARM_UP):
        graphed(torch.zeros(2, 3), torch.zeros(2), _pass, _nothing)
    with pytest.raises(kind, match=said):
        graphed(torch.zeros(2, 3), torch.zeros(2), _pass, _nothing)


def test_graphs_are_for_cuda_alone() -> None:
    with pytest.raises(DeviceError, match="--cuda-graphs needs CUDA, and this trains on cpu"):
        prepare(load_recipe("quick", {"device": "cpu", "run.cuda_graphs": True}))


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs CUDA")
@pytest.mark.parametrize("precision", ["fp32", "bf16", "fp16"])
def test_cudas_own_recorder_trains_like_steps_that_are_run(
    tiny: ModelSpec, precision: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.backends.cudnn, "deterministic", True)
    device = torch.device("cuda:0")
    changes = {"train.precision": precision, "train.optimizer": "sgd", "train.learning_rate": 0.01}
    losses, weights, _ = _trained(SpecModel(tiny), _recipe(**changes), device)
    changes["run.cuda_graphs"] = True
    replayed, same, _ = _trained(SpecModel(tiny), _recipe(**changes), device, CudaRecorder(device))
    assert replayed == pytest.approx(losses, rel=1e-3)
    for one, other in zip(weights, same, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-2, atol=1e-3)
