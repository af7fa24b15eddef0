"""Spaces of architectures: what they hold, what choices come to, and what is no space."""

from __future__ import annotations

from itertools import islice
from pathlib import Path

import pytest

from scalesearch.candidates.space import Space, SpaceTable, open_space, space_names
from scalesearch.errors import ScaleSearchError
from scalesearch.models.catalogue import builtin
from scalesearch.models.fvcore_count import count
from scalesearch.models.spec_model import SpecModel

MBCONV = open_space("mbconv")


def _at(space: Space, pixels: int, seed: int, how_many: int) -> list[SpecModel]:
    specs = [space.realise(choices) for choices in islice(space.draws(seed), how_many)]
    return [SpecModel(spec.model_copy(update={"resolution": pixels})) for spec in specs]


def test_the_closed_form_of_twenty_architectures_is_fvcores() -> None:
    for model in _at(MBCONV, 32, 0, 20):
        assert model.cost(10).macs == count(model.build(10), model.resolution).macs, model.spec


def test_the_skeleton_is_a_member() -> None:
    own = MBCONV.own_choices
    assert own is not None
    assert MBCONV.realise(own).fingerprint == builtin("efficientnet_b0").fingerprint


def test_the_size_counts_only_what_an_operator_has() -> None:
    """Of each stage 2·4·2 MBConv, 2·4 fused and one depthwise-separable block: 25. Repeats of 1, 2, 2, 3, 3, 4 and 1
    come to 2, 3, 3, 3, 3, 3 and 2, since 0 is none; channels are rounded to multiples of 8."""
    channels = [
        len({max(8, int(c * by / 8 + 0.5) * 8) for by in (0.75, 1, 1.25)}) for c in (16, 24, 40, 80, 112, 192, 320)
    ]
    size = 1
    for repeats, widths in zip((2, 3, 3, 3, 3, 3, 2), channels, strict=True):
        size *= 25 * repeats * widths
    assert MBCONV.size == size


def test_a_small_space_has_as_many_networks_as_its_size(tmp_path: Path) -> None:
    (tmp_path / "small.yaml").write_text(
        "title: small\nskeleton: mobilenet_v1\nop: [mbconv, depthwise_separable]\nkernel: [3, 5]\nse: [0, 0.25]\n"
    )
    (tmp_path / "one.yaml").write_text(
        "name: one\nresolution: 32\nactivation: relu\nstem: {channels: 8}\n"
        "stages:\n  - {op: depthwise_separable, channels: 16, repeats: 2}\n"
    )
    text = (tmp_path / "small.yaml").read_text().replace("mobilenet_v1", "one.yaml")
    (tmp_path / "small.yaml").write_text(text)
    space = open_space(str(tmp_path / "small.yaml"))
    found = {space.realise(choices).fingerprint for choices in islice(space.draws(1), 300)}
    assert space.size == len(found) == 2 * 2 + 1
    assert space.skeleton.name == "one" and space.own_choices is not None


@pytest.mark.parametrize("skeleton", ["mobilenet_v2", "resnet50", "efficientnet_v2_s", "mobilenet_v1"])
def test_any_table_is_a_skeleton(skeleton: str) -> None:
    table = SpaceTable(
        title="any", skeleton=skeleton, op=("mbconv", "basic", "bottleneck"), kernel=(3, 7), repeats=(-2, 1)
    )
    for model in _at(Space("any", table, builtin(skeleton)), 64, 3, 5):
        assert model.cost(7).macs == count(model.build(7), 64).macs


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("title: a\nskeleton: efficientnet_b0\n", "nothing to choose"),
        ("title: a\nskeleton: efficientnet_b9\nse: [0, 0.5]\n", "efficientnet_b0"),
        ("title: a\nskeleton: timm:resnet18\nse: [0, 0.5]\n", "no table of stages"),
        ("title: a\nskeleton: efficientnet_b0\nkernel: [3, 4]\n", r"kernel\[1\]: expected a positive odd integer"),
        ("title: a\nskeleton: efficientnet_b0\nse: [0, 0]\n", "every value of se once"),
        ("title: a\nskeleton: efficientnet_b0\nops: [mbconv]\n", "did you mean op"),
        ("title: a\nskeleton: nowhere.yaml\nse: [0, 0.5]\n", "cannot read"),
    ],
)
def test_what_is_no_space_is_refused_in_one_line(text: str, complaint: str, tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text(text)
    with pytest.raises(ScaleSearchError, match=complaint) as refusal:
        open_space(str(tmp_path / "a.yaml"))
    assert "\n" not in str(refusal.value)


def test_the_shipped_spaces_open_and_a_wrong_name_names_the_nearest() -> None:
    assert all(open_space(name).axes for name in space_names())
    with pytest.raises(ScaleSearchError, match="did you mean mbconv"):
        open_space("mbcon")
