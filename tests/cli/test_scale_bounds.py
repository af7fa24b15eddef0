"""`scale` with what EfficientNetV2 adds: bounds on images and widths, depth by stage, and its own published family."""

from __future__ import annotations

import json
import re

import pytest

from scalesearch.scaling.spec import ModelSpec
from scalesearch.scaling.spec_files import load_spec
from tests.support.small import Cli

MODULE = ("--baseline", "torchvision:resnet18")


def _words(text: str) -> str:
    return re.sub(r"\s+", " ", text)


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (("--phi", "6", "--max-resolution", "480"), "--max-resolution: resolution 480 in place of 518"),
        (("--phi", "2", "--max-resolution", "480"), "--max-resolution: changes nothing here"),
        (("--phi", "3", "--max-channels", "1000"), "--max-channels: widest layer 1280 in place of 1704"),
        (("--phi", "3", "--stage-depths", "0,0,0,1,1,1,1"), "--stage-depths: blocks "),
        ((*MODULE, "--phi", "2", "--stage-depths", "0,1,1,2"), "--stage-depths: other layers"),
        ((*MODULE, "--phi", "2", "--stage-depths", "1,1,1,1"), "changes nothing here"),
    ],
)  # fmt: skip
def test_what_a_bound_did_is_told(options: tuple[str, ...], told: str, cli: Cli) -> None:
    done = cli("scale", *options)
    assert done.returncode == 0, done.stderr
    assert told in _words(done.stdout + done.stderr)


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (("--stage-depths", "1,2"), "expected 7 numbers, one for each stage, got 2"),
        (("--stage-depths", "a"), "stage_depths[0]: expected a valid number"),
        ((*MODULE, "--stage-depths", "1"), "expected 4 numbers, one for each stage, got 1"),
        (("--preset", "published", "--max-channels", "100"), "leave out what bounds growth"),
        (("--preset", "published", "--baseline", "efficientnet_v2_b0", "--phi", "4"), "B0 to B3 are φ = 0 to 3"),
    ],
)  # fmt: skip
def test_what_does_not_go_is_said_in_a_line(options: tuple[str, ...], told: str, cli: Cli) -> None:
    done = cli("scale", *options)
    assert done.returncode != 0
    assert told in _words(done.stderr) and "Traceback" not in done.stderr


def test_the_published_v2_family_is_written(cli: Cli, tmp_path) -> None:  # type: ignore[no-untyped-def]
    done = cli("scale", "--baseline", "efficientnet_v2_b0", "--preset", "published", "--phi", "0..3", "--json")
    assert done.returncode == 0, done.stderr
    assert [row["params"] for row in json.loads(done.stdout)] == [7_139_704, 8_141_052, 10_096_086, 14_358_406]
    spec = load_spec(tmp_path / "efficientnet_v2_b3.yaml")
    assert isinstance(spec, ModelSpec) and spec.resolution == 300


def test_candidates_know_the_bounds(cli: Cli) -> None:
    found = {}
    for name, options in (("free", ()), ("bounded", ("--max-resolution", "240", "--stage-depths", "0,0,1,1,1,1,1"))):
        done = cli("candidates", "--phi", "2", "--json", *options)
        assert done.returncode == 0, done.stderr
        found[name] = json.loads(done.stdout)
    assert max(row["resolution"] for row in found["free"]) > 240
    assert max(row["resolution"] for row in found["bounded"]) == 240
    assert {row["network"] for row in found["free"]} != {row["network"] for row in found["bounded"]}
