"""Specs in and out of YAML, and what is said of a wrong one."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
import yaml

import scalesearch
from scalesearch.errors import BaselineError, ScaleSearchError, SpecError
from scalesearch.image_size import image_shape
from scalesearch.models.catalogue import builtin, builtin_names, open_baseline
from scalesearch.scaling.compound import PAPER, scaled_family_member
from scalesearch.scaling.spec import ModelSpec
from scalesearch.scaling.spec_files import dump_spec, load_spec
from tests.support.small import TINY


@pytest.mark.parametrize("name", builtin_names())
def test_a_spec_survives_the_file(name: str, tmp_path: Path) -> None:
    spec = scaled_family_member(builtin(name), PAPER, 1.5)
    path = tmp_path / "spec.yaml"
    path.write_text(dump_spec(spec))
    assert load_spec(path) == spec


def test_a_file_is_enough_to_build_the_network(tmp_path: Path) -> None:
    path = tmp_path / "b0.yaml"
    path.write_text(dump_spec(scaled_family_member(builtin("efficientnet_b0"), PAPER, -3)))
    spec = scalesearch.load_spec(path)
    logits = scalesearch.build_model(spec, num_classes=7)(torch.zeros(2, *image_shape(3, spec.resolution)))
    assert logits.shape == (2, 7)


def test_the_file_reads_like_the_papers_table() -> None:
    lines = dump_spec(builtin("efficientnet_b0")).splitlines()
    assert "  - {op: mbconv, channels: 40, repeats: 2, kernel: 5, stride: 2, expand: 6.0, se: 0.25}" in lines


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"stages.0.kernel": 4}, "stages[0].kernel: expected a positive odd integer, got 4"),
        ({"stages.1.op": "conv3d"}, "stages[1].op: expected 'mbconv'"),
        ({"stages.0.chanels": 8}, "stages[0].chanels: expected a known key (did you mean channels?)"),
        ({"resolution": 0}, "resolution: expected greater than 0, got 0"),
        ({"stages.1.se": 0.25}, "stages[1]: expected no se: basic has none"),
        ({"stages": []}, "stages: "),
    ],
)
def test_a_wrong_field_is_named_with_its_path(change: dict[str, object], message: str, tmp_path: Path) -> None:
    data = yaml.safe_load(TINY)
    for path, value in change.items():
        place = data
        *parents, leaf = path.split(".")
        for parent in parents:
            place = place[int(parent) if parent.isdigit() else parent]
        place[leaf] = value
    file = tmp_path / "wrong.yaml"
    file.write_text(yaml.safe_dump(data))
    with pytest.raises(SpecError) as failure:
        load_spec(file)
    assert str(failure.value).startswith(message)


def test_all_wrong_fields_are_told_at_once(tmp_path: Path) -> None:
    file = tmp_path / "wrong.yaml"
    file.write_text(TINY.replace("resolution: 16", "resolution: -1").replace("relu", "gelu"))
    with pytest.raises(ScaleSearchError, match=r"resolution: .*activation: "):
        load_spec(file)


def test_fingerprints_are_equal_for_equal_networks_whatever_their_name(tiny: ModelSpec) -> None:
    assert tiny.model_copy(update={"name": "other", "source": "me"}).fingerprint == tiny.fingerprint
    assert tiny.model_copy(update={"resolution": 17}).fingerprint != tiny.fingerprint


def test_an_unknown_baseline_names_the_nearest() -> None:
    with pytest.raises(BaselineError, match="Did you mean efficientnet_b0"):
        builtin("efficentnet_b0")
    with pytest.raises(BaselineError, match=r"no spec file at nowhere\.yaml"):
        open_baseline("nowhere.yaml")


def test_another_activation_than_the_blocks_own_is_used_throughout() -> None:
    """EfficientNet-Lite: ReLU6 in place of SiLU, no squeeze-excitation."""
    b0 = builtin("efficientnet_b0")
    stages = tuple(stage.model_copy(update={"se": 0.0}) for stage in b0.stages)
    lite = scalesearch.build_model(b0.model_copy(update={"activation": "relu6", "stages": stages}), 10)
    kinds = {type(m).__name__ for m in lite.modules()}
    assert "ReLU6" in kinds
    assert not kinds & {"SiLU", "SqueezeExcitation"}


def test_stochastic_depth_grows_with_the_block_and_spares_the_first() -> None:
    from torchvision.ops import StochasticDepth

    for name in ("efficientnet_b0", "mobilenet_v2", "resnet18", "resnet50"):
        spec = builtin(name).model_copy(update={"stochastic_depth": 0.2})
        rates = [m.p for m in scalesearch.build_model(spec, 10).modules() if isinstance(m, StochasticDepth)]
        assert rates == sorted(rates)
        assert rates[-1] == pytest.approx(0.2 * (spec.blocks - 1) / spec.blocks) or name == "mobilenet_v2"
