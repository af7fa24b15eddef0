"""Optimisers and schedules against their definitions."""

from __future__ import annotations

import math
from collections.abc import Iterator

import pytest
import torch
from torch import nn

from scalesearch.models.build import build_model
from scalesearch.scaling.spec import ModelSpec
from scalesearch.settings import TrainSettings
from scalesearch.training.optim import RMSpropTF, WeightAverage, learning_rate_factor, make_optimizer


def test_rmsprop_is_tensorflows() -> None:
    """ms ← ρ·ms + (1 − ρ)·g² from 1; mom ← µ·mom + lr·g / √(ms + ε); w ← w − mom."""
    weight = nn.Parameter(torch.tensor([1.0, -2.0], dtype=torch.float64))
    optimizer = RMSpropTF([weight], lr=0.1, alpha=0.9, eps=1e-3, momentum=0.9)
    w, square, momentum = weight.detach().clone(), torch.ones(2, dtype=torch.float64), torch.zeros(2)
    for gradient in (torch.tensor([0.5, -0.1]), torch.tensor([-0.3, 0.2]), torch.tensor([0.0, 0.7])):
        weight.grad = gradient.double()
        optimizer.step()
        square = 0.9 * square + 0.1 * gradient**2
        momentum = 0.9 * momentum + 0.1 * gradient / (square + 1e-3).sqrt()
        w = w - momentum
    torch.testing.assert_close(weight.detach(), w)


def test_timms_rmsprop_agrees() -> None:
    timm_optim = pytest.importorskip("timm.optim")
    ours, theirs = (nn.Parameter(torch.ones(5)) for _ in range(2))
    pair = (
        RMSpropTF([ours], lr=0.05, alpha=0.9, eps=1e-3, momentum=0.9, weight_decay=1e-2),
        timm_optim.RMSpropTF([theirs], lr=0.05, alpha=0.9, eps=1e-3, momentum=0.9, weight_decay=1e-2),
    )
    for step in range(5):
        for parameter, optimizer in zip((ours, theirs), pair, strict=True):
            parameter.grad = torch.linspace(-1, 1, 5) * (step + 1)
            optimizer.step()
    torch.testing.assert_close(ours, theirs)


@pytest.mark.parametrize("name", ["sgd", "adamw", "rmsprop_tf"])
def test_norms_and_biases_are_spared_weight_decay(name: str, tiny: ModelSpec) -> None:
    settings = TrainSettings.model_validate({"epochs": 1, "optimizer": name, "weight_decay": 0.1})
    decayed, spared = make_optimizer(build_model(tiny, 4), settings).param_groups
    assert (decayed["weight_decay"], spared["weight_decay"]) == (0.1, 0.0)
    assert all(p.ndim > 1 for p in decayed["params"])
    assert all(p.ndim == 1 for p in spared["params"])


@pytest.fixture
def _memory_holds_nan() -> Iterator[None]:
    """In tensors that nobody has filled, which is what torch's deterministic mode does."""
    torch.use_deterministic_algorithms(True)
    yield
    torch.use_deterministic_algorithms(False)


@pytest.mark.usefixtures("_memory_holds_nan")
@pytest.mark.parametrize("name", ["sgd", "adamw", "rmsprop_tf"])
def test_a_first_step_that_a_scaler_skips_leaves_nothing_behind(name: str) -> None:
    """fp16's gradients overflow at first: the steps after it are those of an optimiser that never saw it."""
    settings = TrainSettings.model_validate({"epochs": 1, "optimizer": name, "learning_rate": 0.1})
    trained = []
    for skipped in (True, False):
        model = nn.Linear(64, 64)
        nn.init.constant_(model.weight, 0.5)
        nn.init.zeros_(model.bias)
        optimizer = make_optimizer(model, settings, scaled=True)
        scaler = torch.amp.GradScaler("cpu", init_scale=4.0)
        for gradient in ([math.inf] if skipped else []) + [1.0, -2.0]:
            for parameter in model.parameters():
                parameter.grad = scaler.scale(torch.full_like(parameter, gradient))
            scaler.step(optimizer)
            scaler.update()
        trained.append(model.weight.detach())
    assert torch.equal(*trained)


def test_cosine_warms_up_and_ends_at_zero() -> None:
    settings = TrainSettings(epochs=10, warmup_epochs=1)
    factors = [learning_rate_factor(step, 100, 10, settings) for step in range(101)]
    assert factors[0] == pytest.approx(1 / 11)
    assert factors[10] == 1.0
    assert factors[55] == pytest.approx(0.5)
    assert factors[100] == pytest.approx(0)
    assert factors[:11] == sorted(factors[:11])


def test_the_papers_decay_is_a_staircase_of_0_97_every_2_4_epochs() -> None:
    settings = TrainSettings(epochs=10, schedule="exponential")
    assert learning_rate_factor(23, 100, 10, settings) == 1.0
    assert learning_rate_factor(24, 100, 10, settings) == pytest.approx(0.97)
    assert learning_rate_factor(48, 100, 10, settings) == pytest.approx(0.97**2)


def test_the_weight_average_forgets_its_random_start() -> None:
    """TensorFlow's warmed-up decay: after n updates at most (1 + n) / (10 + n)."""
    model = nn.Linear(1, 1, bias=False)
    average = WeightAverage(model, 0.9999)
    nn.init.constant_(model.weight, 0.0)
    average.update()  # the first update copies
    nn.init.constant_(model.weight, 1.0)
    average.update()
    averaged = next(average.module.parameters())
    assert averaged.item() == pytest.approx(1 - 2 / 11)
    for _ in range(200):
        average.update()
    assert averaged.item() > 0.99


@pytest.mark.parametrize("optimizer", ["sgd", "adamw", "rmsprop_tf"])
def test_layers_may_have_their_first_gradient_later_than_others(optimizer: str) -> None:
    """Frozen ones, and blocks that a step leaves out: then they begin, and the others go on as if they were alone."""
    settings = TrainSettings.model_validate({"epochs": 1, "optimizer": optimizer, "momentum": 0.9})
    torch.manual_seed(0)
    together = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 4))
    alone = nn.Sequential(nn.Linear(4, 4))
    alone.load_state_dict({name: value for name, value in together.state_dict().items() if name.startswith("0.")})
    pair = [(together, make_optimizer(together, settings)), (alone, make_optimizer(alone, settings))]
    (first, _, second, _), (only, _) = together.parameters(), alone.parameters()
    late = second.detach().clone()
    for step in range(4):
        for model, made in pair:
            made.zero_grad()
            used = list(model)[: 1 if step < 2 else None]
            loss: torch.Tensor = torch.stack([layer(torch.ones(2, 4)).square().sum() for layer in used]).sum()
            loss.backward()  # type: ignore[no-untyped-call]
            made.step()
        assert torch.equal(second, late) == (step < 2)
    torch.testing.assert_close(first, only, rtol=1e-6, atol=1e-7)


def test_momentum_that_is_there_from_the_start_changes_no_step() -> None:
    settings = TrainSettings.model_validate({"epochs": 1, "optimizer": "sgd", "momentum": 0.9, "weight_decay": 0.01})
    torch.manual_seed(0)
    ours, theirs = nn.Linear(6, 3), nn.Linear(6, 3)
    theirs.load_state_dict(ours.state_dict())
    decayed = [{"params": [theirs.weight], "weight_decay": 0.01}, {"params": [theirs.bias], "weight_decay": 0.0}]
    rate = settings.learning_rate
    pair = [
        (ours, make_optimizer(ours, settings)),
        (theirs, torch.optim.SGD(decayed, lr=rate, momentum=0.9, nesterov=True, fused=True)),
    ]
    for step in range(5):
        for model, made in pair:
            made.zero_grad()
            model(torch.full((2, 6), float(step + 1))).square().sum().backward()
            made.step()
        assert torch.equal(ours.weight, theirs.weight) and torch.equal(ours.bias, theirs.bias)
