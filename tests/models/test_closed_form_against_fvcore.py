"""The closed form and fvcore count the same, for every baseline and any multipliers."""

from __future__ import annotations

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import nn

from scalesearch.models.build import build_model
from scalesearch.models.catalogue import builtin, builtin_names
from scalesearch.models.fvcore_count import count
from scalesearch.scaling.compound import Multipliers, Rounding, scale_spec
from scalesearch.scaling.cost import closed_form
from scalesearch.scaling.spec import ModelSpec
from tests.support.hypothesis_strategies import roundings_to

multipliers = st.builds(Multipliers, st.floats(0.3, 2.2), st.floats(0.2, 1.6), st.floats(0.5, 2.0))
roundings = roundings_to(pixels=8)


def _check(name: str, chosen: Multipliers, rounding: Rounding, classes: int) -> None:
    small = builtin(name).model_copy(update={"resolution": 48})
    spec = scale_spec(small, chosen, rounding)
    module = build_model(spec, classes)
    cost = closed_form(spec, classes)
    assert count(module, spec.resolution).macs == cost.macs
    assert sum(p.numel() for p in module.parameters()) == cost.params


@pytest.mark.parametrize("name", builtin_names())
@settings(max_examples=6, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow])
@given(chosen=multipliers, rounding=roundings, classes=st.integers(2, 200))
def test_closed_form_is_fvcores_count(name: str, chosen: Multipliers, rounding: Rounding, classes: int) -> None:
    _check(name, chosen, rounding, classes)


@pytest.mark.long
@pytest.mark.timeout(2400)
@pytest.mark.parametrize("name", ["efficientnet_b0", "mobilenet_v1", "mobilenet_v2", "resnet50"])
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(chosen=multipliers, rounding=roundings, classes=st.integers(2, 200))
def test_closed_form_is_fvcores_count_for_60_multipliers(
    name: str, chosen: Multipliers, rounding: Rounding, classes: int
) -> None:
    _check(name, chosen, rounding, classes)


@pytest.mark.parametrize("name", builtin_names())
def test_closed_form_holds_for_widths_that_are_no_multiple_of_8(name: str) -> None:
    _check(name, Multipliers(1.2, 1.03, 1.1), Rounding(width_divisor=1), 10)


def test_fvcore_reports_its_own_total_and_what_it_left_out() -> None:
    counted = count(build_model(builtin("efficientnet_b0")), 224)
    assert (counted.macs, counted.total) == (385_814_752, 401_659_392)
    assert set(counted.uncounted) == {"aten::add_", "aten::mul", "aten::sigmoid", "aten::silu_"}


def test_counting_leaves_the_module_in_training_and_its_statistics_untouched(tiny: ModelSpec) -> None:
    module = build_model(tiny, 10).train()
    norm = next(m for m in module.modules() if isinstance(m, nn.BatchNorm2d))
    before = norm.running_mean.clone() if norm.running_mean is not None else None
    count(module, 16)
    assert module.training
    assert before is not None and norm.running_mean is not None
    assert torch.equal(before, norm.running_mean)


def test_activations_are_the_outputs_of_convolutions_and_linears(tiny: ModelSpec) -> None:
    outputs = 0

    def add(_: nn.Module, __: object, output: torch.Tensor) -> None:
        nonlocal outputs
        outputs += output.numel()

    module = build_model(tiny, 10).eval()
    for layer in module.modules():
        if isinstance(layer, nn.Conv2d | nn.Linear):
            layer.register_forward_hook(add)
    module(torch.zeros(1, 3, 16, 16))
    assert outputs == closed_form(tiny, 10).activations
