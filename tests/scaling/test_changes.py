"""Fields of a table at other values: what that makes of the network, and what is refused."""

from __future__ import annotations

import pytest
from torchvision.models import mobilenet_v2

from scalesearch.errors import ScaleSearchError
from scalesearch.models.build import build_model
from scalesearch.models.catalogue import builtin
from scalesearch.models.fvcore_count import count
from scalesearch.scaling.changes import BY_RECIPE, Value, changed, fields, label_of, left_as_they_are, place_of
from scalesearch.scaling.changes import same_network as network
from scalesearch.scaling.compound import Rounding
from scalesearch.scaling.cost import closed_form
from scalesearch.scaling.spec import ModelSpec

B0 = (
    (1, 32, 16, 1),
    (6, 16, 24, 2),
    (6, 24, 40, 2),
    (6, 40, 80, 3),
    (6, 80, 112, 3),
    (6, 112, 192, 4),
    (6, 192, 320, 1),
)
"""Expansion, input and output channels, and blocks of EfficientNet-B0's stages (Tan & Le 2019, Table 1)."""

WITHOUT_SE = 4_652_008
"""Parameters of EfficientNet-B0 less those of its squeeze-excitations: torchvision's 5,288,548 − 636,540."""


def _of_squeezes(ratio: float) -> int:
    """Parameters of every squeeze-excitation: two layers with biases, between the block's width and a share of its
    input (Hu et al. 2018; the official code takes the share of the input)."""
    total = 0
    for expand, first, out, blocks in B0:
        for block in range(blocks):
            inputs = first if block == 0 else out
            hidden, squeeze = expand * inputs, max(1, int(ratio * inputs))
            total += 2 * hidden * squeeze + hidden + squeeze
    return total


def _b0(**values: Value) -> ModelSpec:
    changes = {f"spec.stages.{name}": value for name, value in values.items()}
    return changed(builtin("efficientnet_b0"), changes, Rounding())


def test_the_squeezes_of_b0_have_the_published_parameters() -> None:
    assert 5_288_548 - _of_squeezes(0.25) == WITHOUT_SE
    assert closed_form(_b0(se=0)).params == WITHOUT_SE


@pytest.mark.parametrize("ratio", [0.125, 0.25, 0.5])
def test_a_squeeze_excitation_costs_what_its_layers_hold(ratio: float) -> None:
    assert closed_form(_b0(se=ratio)).params == WITHOUT_SE + _of_squeezes(ratio)


@pytest.mark.parametrize("ratio", [0, 0.125, 0.25, 0.5])
def test_fvcore_counts_a_changed_network_as_the_closed_form_does(ratio: float) -> None:
    spec = _b0(se=ratio).model_copy(update={"resolution": 64})
    module, cost = build_model(spec), closed_form(spec)
    assert count(module, 64).macs == cost.macs
    assert sum(p.numel() for p in module.parameters()) == cost.params


def test_all_kernels_of_five_cost_the_difference_of_the_depthwise_convolutions() -> None:
    sides, more = (112, 56, 28, 14, 14, 7, 7), 0
    for (expand, first, out, blocks), side, kernel in zip(B0, sides, (3, 3, 5, 3, 5, 5, 3), strict=True):
        for block in range(blocks):
            more += expand * (first if block == 0 else out) * (25 - kernel**2) * side**2
    assert closed_form(_b0(kernel=5)).macs - closed_form(builtin("efficientnet_b0")).macs == more


def test_channels_by_a_factor_are_those_of_torchvisions_width_multiplier() -> None:
    spec = changed(
        builtin("mobilenet_v2"), {"spec.stages.channels": "x0.75", "spec.stem.channels": "×0.75"}, Rounding()
    )
    theirs = sum(p.numel() for p in mobilenet_v2(width_mult=0.75).parameters())
    assert closed_form(spec).params == theirs


def test_one_stage_or_several_are_named_from_one() -> None:
    one = changed(builtin("efficientnet_b0"), {"spec.stages.2.kernel": 7}, Rounding())
    assert [stage.kernel for stage in one.stages] == [3, 7, 5, 3, 5, 5, 3]
    several = changed(builtin("efficientnet_b0"), {"spec.stages.2-7.expand": "x0.5"}, Rounding())
    assert [stage.expand for stage in several.stages] == [1, 3, 3, 3, 3, 3, 3]


def test_a_field_does_not_reach_stages_whose_operator_lacks_it_and_that_is_said() -> None:
    """EfficientNetV2-S: three stages of Fused-MBConv, then MBConv (Tan & Le 2021, Table 4)."""
    spec, changes = builtin("efficientnet_v2_s"), {"spec.stages.se": 0.5}
    assert [stage.se for stage in changed(spec, changes, Rounding()).stages] == [0, 0, 0, 0.5, 0.5, 0.5]
    assert left_as_they_are(spec, changes) == ["spec.stages.se does not reach stages 1, 2, 3: fused_mbconv has no se"]
    assert left_as_they_are(spec, {"spec.stages.4-6.se": 0.5}) == []
    assert left_as_they_are(builtin("efficientnet_b0"), changes) == []


def test_an_operator_can_be_swept_with_what_it_lacks_taken_away() -> None:
    fused = _b0(op="fused_mbconv", se=0)
    assert {(stage.op, stage.se) for stage in fused.stages} == {("fused_mbconv", 0)}
    with pytest.raises(ScaleSearchError, match=r"spec\.stages\.1: expected no se: fused_mbconv has none"):
        _b0(op="fused_mbconv")


@pytest.mark.parametrize(
    ("baseline", "changes", "words"),
    [
        ("efficientnet_b0", {"spec.stages.se": -0.1}, "spec.stages.se: expected greater than or equal to 0, got -0.1"),
        ("efficientnet_b0", {"spec.stages.se": 1}, "spec.stages.se: expected less than 1, got 1"),
        ("efficientnet_b0", {"spec.stages.se": "x5"}, "spec.stages.se: expected less than 1, got 1.25"),
        ("efficientnet_b0", {"spec.stages.kernel": 4}, "spec.stages.kernel: expected a positive odd integer, got 4"),
        ("efficientnet_b0", {"spec.stages.5.kernel": 0}, "spec.stages.5.kernel: expected greater than 0, got 0"),
        ("efficientnet_b0", {"spec.stages.kernel": "big"}, "spec.stages.kernel: expected a valid integer"),
        ("efficientnet_b0", {"spec.stages.kernel": True}, "spec.stages.kernel: expected a number or a word, got True"),
        ("efficientnet_b0", {"spec.stages.kernel": "x2"}, "only channels, repeats, expand and se take a factor"),
        ("efficientnet_b0", {"spec.stages.repeats": "x0"}, "expected a factor above 0"),
        ("efficientnet_b0", {"spec.stages.op": "mbcon"}, "spec.stages.op: expected 'mbconv', 'fused_mbconv'"),
        ("efficientnet_b0", {"spec.stages.8.se": 0}, "spec.stages.8.se: the table has stages 1 to 7"),
        ("efficientnet_b0", {"spec.stages.3-2.se": 0}, "the table has stages 1 to 7, in this order"),
        ("efficientnet_b0", {"spec.stages.0.se": 0}, "the table has stages 1 to 7"),
        ("efficientnet_b0", {"spec.stages.se": 0, "spec.stages.2.se": 0.5}, "both set se of stage 2"),
        ("efficientnet_b0", {"spec.activation": "gelu"}, "spec.activation: expected 'relu', 'relu6' or 'silu'"),
        (
            "resnet18",
            {"spec.stages.kernel": 5},
            "spec.stages.kernel: expected 3, the only kernel that basic has, got 5",
        ),
        ("resnet50", {"spec.stages.2.kernel": 5}, "the only kernel that bottleneck has, got 5"),
        ("mobilenet_v2", {"spec.stages.se": 0.25}, "spec.stages.se: expected 0, as inverted_residual has no se"),
        ("efficientnet_v2_s", {"spec.stages.1-4.se": 0.5}, "spec.stages.1-4.se: expected 0, as fused_mbconv has no se"),
        ("resnet18", {"spec.head.channels": "x2"}, "there are none to multiply"),
    ],
)
def test_what_breaks_a_rule_is_refused_by_the_name_it_was_given(
    baseline: str, changes: dict[str, Value], words: str
) -> None:
    with pytest.raises(ScaleSearchError) as refused:
        changed(builtin(baseline), changes, Rounding())
    assert words in str(refused.value)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    "path", ["se", "stages.se", "spec.stages.width", "spec.stages[3].se", "spec.stem.se", "spec", ""]
)
def test_no_field_is_refused_with_those_there_are(path: str) -> None:
    with pytest.raises(ScaleSearchError) as refused:
        place_of(path)
    assert all(each in str(refused.value) for each in fields())


def test_what_a_recipe_decides_is_refused_with_its_key() -> None:
    for path, key in BY_RECIPE.items():
        with pytest.raises(ScaleSearchError, match=f"the recipe's key {key} decides it"):
            place_of(path)


@pytest.mark.parametrize("path", fields())
def test_every_field_named_is_a_field_of_a_table(path: str) -> None:
    place, spec = place_of(path), builtin("efficientnet_b0")
    part = spec.stages[0] if place.part == "stages" else getattr(spec, place.part) if place.part else spec
    own = getattr(part, place.name)
    first = path.replace("spec.stages.", "spec.stages.1.")
    assert network(changed(spec, {first: own}, Rounding())) == network(spec)


def test_networks_are_the_same_where_a_share_comes_to_the_same_channels() -> None:
    assert network(_b0(se=0.2501)) == network(_b0(se=0.25)) == network(builtin("efficientnet_b0"))
    assert network(_b0(se=0.26)) != network(_b0(se=0.25))
    assert network(changed(builtin("efficientnet_b0"), {"spec.activation": "relu"}, Rounding())) != network(
        _b0(se=0.25)
    )


def test_labels_are_what_a_table_can_show() -> None:
    for path, value, label in (
        ("spec.stages.se", 0.125, "se 0.125"),
        ("spec.stages.3.kernel", 5, "stage 3 kernel 5"),
        ("spec.stages.2-7.expand", "x0.5", "stages 2-7 expand ×0.5"),
        ("spec.head.channels", None, "head channels none"),
        ("spec.stem.pool", True, "stem pool yes"),
        ("spec.activation", "relu", "activation relu"),
    ):
        assert label_of(place_of(path), value) == label
