"""Parameters and convolution + linear MACs against the published figures, to the last digit."""

from __future__ import annotations

import pytest

from scalesearch.errors import ScalingError
from scalesearch.models.catalogue import builtin
from scalesearch.scaling.compound import (
    PAPER,
    Multipliers,
    Rounding,
    published_member,
    scale_spec,
    scaled_family_member,
)
from scalesearch.scaling.cost import closed_form

PUBLISHED = {  # torchvision's num_params; MACs and activations as pycls and fvcore count them at the native size
    0: (5_288_548, 385_814_752, 6_748_036),
    1: (7_794_184, 686_802_832, 10_884_328),
    2: (9_109_994, 993_561_872, 13_832_834),
    3: (12_233_232, 1_827_141_392, 23_831_296),
    4: (19_341_616, 4_393_771_024, 49_489_032),
    5: (30_389_784, 10_266_384_752, 98_857_400),
    6: (43_040_704, 19_067_593_536, 167_393_400),
    7: (66_347_960, 37_745_884_192, 289_939_464),
}


@pytest.mark.parametrize(("index", "golden"), PUBLISHED.items())
def test_the_published_family_costs_what_was_published(index: int, golden: tuple[int, int, int]) -> None:
    cost = closed_form(published_member(builtin("efficientnet_b0"), index))
    assert (cost.params, cost.macs, cost.activations) == golden


PUBLISHED_V2 = {  # timm's tf_efficientnetv2_b0 to b3
    0: (7_139_704, 718_086_176),
    1: (8_141_052, 1_196_819_360),
    2: (10_096_086, 1_697_542_832),
    3: (14_358_406, 3_011_458_816),
}


@pytest.mark.parametrize(("index", "golden"), PUBLISHED_V2.items())
def test_the_published_v2_family_costs_what_was_published(index: int, golden: tuple[int, int]) -> None:
    member = published_member(builtin("efficientnet_v2_b0"), index)
    cost = closed_form(member)
    assert (cost.params, cost.macs) == golden
    assert member.name == f"efficientnet_v2_b{index}"


def test_the_published_v2_family_has_four_members() -> None:
    with pytest.raises(ScalingError, match="B0 to B3"):
        published_member(builtin("efficientnet_v2_b0"), 4)


def test_v2s_code_rounds_to_the_nearest_and_no_further() -> None:
    assert [Rounding(lowest_share=share).channels(16, 1.2) for share in (0, 0.9)] == [16, 24]


@pytest.mark.parametrize(
    ("name", "params", "macs"),
    [
        ("efficientnet_v2_s", 21_458_488, 8_365_617_152),
        ("efficientnet_v2_m", 54_139_356, 24_582_460_384),
        ("efficientnet_v2_l", 118_515_272, 56_079_699_008),
        ("mobilenet_v1", 4_231_976, 568_740_352),
        ("mobilenet_v2", 3_504_872, 300_774_272),
        ("resnet18", 11_689_512, 1_814_073_344),
        ("resnet34", 21_797_672, 3_663_761_408),
        ("resnet50", 25_557_032, 4_089_184_256),
    ],
)
def test_every_baseline_costs_what_its_paper_says(name: str, params: int, macs: int) -> None:
    cost = closed_form(builtin(name))
    assert (cost.params, cost.macs) == (params, macs)


@pytest.mark.parametrize(
    ("name", "width", "pixels", "macs", "params"),
    [
        ("mobilenet_v1", 0.75, 224, 325_400_448, 2_585_560),
        ("mobilenet_v1", 0.5, 224, 149_497_088, 1_331_592),
        ("mobilenet_v1", 0.25, 224, 41_030_272, 470_072),
        ("mobilenet_v1", 1.25, 224, 879_516_800, 6_270_840),
        ("mobilenet_v1", 1.0, 192, 418_121_728, 4_231_976),
        ("mobilenet_v1", 1.0, 128, 186_400_768, 4_231_976),
        ("mobilenet_v2", 1.4, 224, 582_195_824, 6_108_776),
        ("mobilenet_v2", 1.0, 192, 221_316_608, 3_504_872),
    ],
)
def test_mobilenets_own_multipliers(name: str, width: float, pixels: int, macs: int, params: int) -> None:
    cost = closed_form(scale_spec(builtin(name), Multipliers(1, width, pixels / 224)))
    assert (cost.macs, cost.params) == (macs, params)


def test_timms_110d_keeps_stem_and_head() -> None:
    scaled = scale_spec(builtin("mobilenet_v2"), Multipliers(1.2, 1.1, 1), Rounding(fix_stem_head=True))
    cost = closed_form(scaled)
    assert (cost.macs, cost.params) == (430_516_080, 4_516_520)


@pytest.mark.parametrize(("pixels", "macs"), [(256, 503_337_472), (288, 636_529_888), (448, 1_537_537_408)])
def test_b0_at_other_sizes(pixels: int, macs: int) -> None:
    assert closed_form(scale_spec(builtin("efficientnet_b0"), Multipliers(1, 1, pixels / 224))).macs == macs


def test_the_papers_coefficients_cost_two_and_a_half_times_b0() -> None:
    """Nominal growth is 1.92; depth rounds up in every stage, which costs the rest."""
    b0 = builtin("efficientnet_b0")
    scaled = scaled_family_member(b0, PAPER, 1)
    cost = closed_form(scaled)
    assert (scaled.resolution, cost.macs, cost.params) == (258, 992_629_472, 9_109_994)
    assert cost.macs / closed_form(b0).macs == pytest.approx(2.573, abs=5e-4)


@pytest.mark.parametrize(
    ("name", "multipliers", "giga"),
    [  # Table 3's coefficients, as they really count
        ("mobilenet_v1", (1, 2, 1), 2.216),
        ("mobilenet_v1", (1, 1, 2), 2.272),
        ("mobilenet_v1", (1.4, 1.2, 300 / 224), 2.52),
        ("mobilenet_v2", (4, 1, 1), 1.220),
        ("mobilenet_v2", (1, 2, 1), 1.137),
        ("mobilenet_v2", (1, 1, 2), 1.199),
        ("mobilenet_v2", (1.4, 1.2, 300 / 224), 1.470),
        ("resnet50", (4, 1, 1), 14.57),
        ("resnet50", (1, 2, 1), 16.12),
        ("resnet50", (1, 1, 2), 16.35),
        ("resnet50", (1.4, 1.2, 300 / 224), 16.34),
    ],
)
def test_table_3_as_it_really_counts(name: str, multipliers: tuple[float, float, float], giga: float) -> None:
    macs = closed_form(scale_spec(builtin(name), Multipliers(*multipliers))).macs
    assert macs / 1e9 == pytest.approx(giga, abs=0.0051)
