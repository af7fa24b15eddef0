"""Rounding, φ of any sign, and the two families of B1–B7."""

from __future__ import annotations

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from torchvision.models._utils import _make_divisible

from scalesearch.errors import ScalingError
from scalesearch.models.catalogue import builtin
from scalesearch.scaling.compound import (
    PAPER,
    Coefficients,
    Multipliers,
    Rounding,
    grown_dropout,
    published_member,
    scale_spec,
    scaled_family_member,
    scaled_repeats,
)


@given(st.integers(1, 4096), st.floats(0.05, 8))
def test_widths_round_as_in_torchvision(channels: int, width: float) -> None:
    assume(width != 1)
    assert Rounding().channels(channels, width) == _make_divisible(round(channels * width, 9), 8)


def test_a_multiplier_of_one_leaves_a_dimension_as_it_is() -> None:
    """Also a width that is no multiple of 8 and a resolution that is no multiple of 32."""
    rounding = Rounding(resolution_multiple=32)
    assert (rounding.channels(12, 1.0), rounding.pixels(225, 1.0), rounding.repeats(3, 1.0)) == (12, 225, 3)


def test_depth_does_not_hang_on_float_noise() -> None:
    """1.1 × 10 is 11.000000000000002 in floats, which would round up to 12."""
    assert Rounding().repeats(10, 1.1) == 11
    assert Rounding(depth="round").repeats(3, 1.2) == 4


def test_resolution_goes_to_the_multiple_asked_for() -> None:
    assert Rounding().pixels(224, 1.15) == 258
    assert Rounding(resolution_multiple=32).pixels(224, 1.15) == 256


def test_phi_zero_changes_nothing_and_negative_phi_shrinks() -> None:
    b0 = builtin("efficientnet_b0")
    same = scaled_family_member(b0, PAPER, 0)
    assert same.fingerprint == b0.fingerprint
    small = scaled_family_member(b0, PAPER, -2)
    assert (small.resolution, small.stem.channels, small.blocks) == (169, 24, 15)


def test_published_repeats_and_widths_are_the_official_ones() -> None:
    b0 = builtin("efficientnet_b0")
    b7 = published_member(b0, 7)
    assert [stage.repeats for stage in b7.stages] == [4, 7, 7, 10, 10, 13, 4]
    assert [stage.channels for stage in b7.stages] == [32, 48, 80, 160, 224, 384, 640]
    assert (b7.stem.channels, b7.head.channels, b7.resolution, b7.head.dropout) == (64, 2560, 600, 0.5)
    assert [published_member(b0, i).blocks for i in range(8)] == [16, 23, 23, 26, 32, 39, 45, 55]


def test_dropout_grows_to_the_papers_half_at_phi_seven() -> None:
    b0 = builtin("efficientnet_b0")
    assert grown_dropout(b0.head.dropout, 0) == 0.2
    assert grown_dropout(b0.head.dropout, 7) == 0.5
    assert grown_dropout(builtin("resnet50").head.dropout, 7) == 0.0


def test_fixed_stem_and_head_scale_only_what_lies_between() -> None:
    b0 = builtin("efficientnet_b0")
    lite = scale_spec(b0, Multipliers(1.8, 1.4, 1), Rounding(fix_stem_head=True))
    assert (lite.stem, lite.head) == (b0.stem, b0.head)
    assert (lite.stages[0].repeats, lite.stages[-1].repeats, lite.stages[1].repeats) == (1, 1, 4)


def test_mobilenet_v2_keeps_its_last_layer_when_it_gets_narrower() -> None:
    v2 = builtin("mobilenet_v2")
    assert scale_spec(v2, Multipliers(1, 0.5, 1)).head.channels == 1280
    assert scale_spec(v2, Multipliers(1, 1.4, 1)).head.channels == 1792


def test_a_scaled_spec_says_where_it_came_from() -> None:
    origin = scaled_family_member(builtin("mobilenet_v1"), Coefficients(1, 0.75, 0.857), 1).origin
    assert origin is not None
    assert (origin.baseline, origin.alpha, origin.beta, origin.gamma, origin.phi) == (
        "mobilenet_v1",
        1,
        0.75,
        0.857,
        1,
    )


@pytest.mark.parametrize(
    ("multipliers", "message"),
    [
        (Multipliers(1, 0.01, 1), r"stem\.channels: width ×0\.01 leaves 0\.32 of 32 channels"),
        (Multipliers(1, 1, 0.01), r"resolution: ×0\.01 leaves 2 of 224 px"),
    ],
)
def test_scaling_a_layer_to_nothing_is_an_error_that_says_which(multipliers: Multipliers, message: str) -> None:
    with pytest.raises(ScalingError, match=message):
        scale_spec(builtin("efficientnet_b0"), multipliers)


def test_there_is_no_b8() -> None:
    with pytest.raises(ScalingError, match="B0 to B7"):
        published_member(builtin("efficientnet_b0"), 8)


@given(
    channels=st.integers(1, 2048),
    width=st.floats(0.1, 8),
    most=st.integers(8, 4096),
)
def test_a_bound_on_channels_makes_nothing_smaller_than_it_was(channels: int, width: float, most: int) -> None:
    free, bounded = Rounding().channels(channels, width), Rounding(max_channels=most).channels(channels, width)
    assert bounded <= free
    assert bounded == free or bounded <= max(most, channels)
    assert bounded >= min(free, channels)


@given(resolution=st.integers(8, 1024), scale=st.floats(0.1, 8), most=st.integers(8, 2048))
def test_a_bound_on_pixels_makes_nothing_smaller_than_it_was(resolution: int, scale: float, most: int) -> None:
    free, bounded = Rounding().pixels(resolution, scale), Rounding(max_resolution=most).pixels(resolution, scale)
    assert bounded <= free
    assert bounded == free or bounded <= max(most, resolution)
    assert bounded >= min(free, resolution)


def test_growth_in_depth_is_dealt_out_to_the_stages() -> None:
    spec = builtin("efficientnet_b0")
    blocks = [stage.repeats for stage in spec.stages]
    rounding = Rounding(stage_depths=(0, 0, 0.5, 1, 1, 1.5, 2))
    assert scaled_repeats(spec, 1, rounding) == tuple(blocks)
    assert scaled_repeats(spec, 2, rounding) == (1, 2, 3, 6, 6, 10, 3)
    assert scaled_repeats(spec, 2, Rounding(stage_depths=(1,) * 7)) == scaled_repeats(spec, 2, Rounding())
    with pytest.raises(ScalingError, match="expected 7 numbers, one for each stage, got 2"):
        scaled_repeats(spec, 2, Rounding(stage_depths=(1, 2)))
