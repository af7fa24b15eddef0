"""A table of stages as an entry of timm's registry: the same logits, and refusals that say why."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from torch import nn

from scalesearch.errors import ScaleSearchError, SpecError
from scalesearch.models.catalogue import builtin, model_of
from scalesearch.models.code.proof import prove_same, running
from scalesearch.models.code.rendering import Written
from scalesearch.models.code.timm_entry import timm_code, with_their_names
from scalesearch.scaling.module_spec import ModuleSpec
from scalesearch.scaling.spec import ModelSpec
from scalesearch.validation import parse

timm = pytest.importorskip("timm")
PLAIN = (0.5, 0.5, 0.5)
HEAD = "name: net\nresolution: 32\n"


def written(spec: ModelSpec | ModuleSpec, entry: str) -> str:
    return timm_code(Written(model_of(spec), 7, None, "net.safetensors", PLAIN, PLAIN), entry, None)


SEPARABLE = (
    HEAD
    + """
activation: relu6
stochastic_depth: 0.2
stem: {channels: 8}
stages:
  - {op: depthwise_separable, channels: 8, repeats: 1}
  - {op: inverted_residual, channels: 16, repeats: 2, stride: 2, expand: 6}
  - {op: inverted_residual, channels: 16, repeats: 1}
"""
)
GATED = (
    HEAD
    + """
activation: relu
norm: {eps: 0.01, momentum: 0.3}
stem: {channels: 8}
stages:
  - {op: fused_mbconv, channels: 8, repeats: 2}
  - {op: fused_mbconv, channels: 16, repeats: 2, stride: 2, expand: 4}
  - {op: mbconv, channels: 16, repeats: 2, kernel: 5, se: 0.25}
  - {op: mbconv, channels: 24, repeats: 2, stride: 2, expand: 4, se: 0.25}
head: {channels: 32, dropout: 0.3}
"""
)
RESIDUAL = (
    HEAD
    + """
activation: relu
stochastic_depth: 0.4
stem: {channels: 64, kernel: 7, pool: true}
stages:
  - {op: bottleneck, channels: 8, repeats: 2}
  - {op: bottleneck, channels: 16, repeats: 1, stride: 2}
  - {op: bottleneck, channels: 24, repeats: 1, stride: 2}
  - {op: bottleneck, channels: 32, repeats: 1, stride: 2}
"""
)


@pytest.mark.parametrize("table", [SEPARABLE, GATED, RESIDUAL], ids=["separable", "gated", "residual"])
def test_timm_makes_the_same_network(table: str, request: pytest.FixtureRequest) -> None:
    spec, entry = parse(ModelSpec, yaml.safe_load(table), SpecError), f"entry_{request.node.callspec.id}"
    network = model_of(spec).build(7)
    with running(written(spec, entry), entry, Path(f"{entry}.py")) as made:
        theirs = timm.create_model(entry)
        state = with_their_names(network, theirs)
        assert prove_same(network, theirs, (3, 32, 32), 7, entry, state=state).difference == 0
        made.count(theirs)
        assert theirs.pretrained_cfg["input_size"] == (3, 32, 32) and theirs.pretrained_cfg["mean"] == PLAIN
        assert _rates(network) <= _rates(theirs), "timm keeps a rate in blocks that have no skip, too"


def _rates(network: nn.Module) -> set[float]:
    """At which branches are dropped, those that are never dropped left out."""
    kinds = {"StochasticDepth": "p", "DropPath": "drop_prob"}
    found = [getattr(m, kinds[type(m).__name__]) for m in network.modules() if type(m).__name__ in kinds]
    return {round(rate, 6) for rate in found if rate}


@pytest.mark.long
@pytest.mark.parametrize("name", ["efficientnet_b0", "efficientnet_v2_b0", "mobilenet_v1", "mobilenet_v2", "resnet50"])
def test_timm_makes_the_built_in_networks(name: str) -> None:
    network, entry = model_of(builtin(name)).build(7), f"{name}_entry"
    with running(written(builtin(name), entry), entry, Path(f"{entry}.py")) as made:
        theirs = timm.create_model(entry)
        state = with_their_names(network, theirs)
        assert prove_same(network, theirs, (3, 64, 64), 7, name, state=state).difference == 0
        made.count(theirs)


def test_gates_whose_width_timm_would_round_are_cut_as_ours() -> None:
    table = """
name: net
resolution: 32
activation: silu
stem: {channels: 8}
stages:
  - {op: mbconv, channels: 8, repeats: 2, expand: 2, se: 0.35}
"""
    spec = parse(ModelSpec, yaml.safe_load(table), SpecError)  # 8 · 0.35 = 2.8: ours has 2, timm's rounding 3
    code = written(spec, "cut_gates")
    with running(code, "cut_gates", Path("cut_gates.py")):
        assert with_their_names(model_of(spec).build(7), timm.create_model("cut_gates"))


@pytest.mark.parametrize(
    ("table", "why"),
    [
        ("stem: {channels: 8, stride: 1}\nstages:\n  - {op: mbconv, channels: 8, repeats: 1}", "its stem has stride 1"),
        (
            "stem: {channels: 8}\nstages:\n  - {op: basic, channels: 8, repeats: 1}",
            "its stem is no 7x7 convolution of 64",
        ),
        (
            "stem: {channels: 64, kernel: 7, pool: true}\nstages:\n  - {op: basic, channels: 64, repeats: 1}",
            "it has 1 stages and not four",
        ),
    ],
)
def test_what_timm_cannot_be_is_refused_with_the_reason(table: str, why: str) -> None:
    spec = parse(ModelSpec, yaml.safe_load(f"name: net\nresolution: 32\nactivation: relu\n{table}\n"), SpecError)
    with pytest.raises(ScaleSearchError, match=why):
        written(spec, "net")


def test_a_module_is_refused_with_what_to_do_instead() -> None:
    layers = [{"name": "conv1", "inputs": 3, "outputs": 32, "kernel": [7, 7]}]
    plain = {"name": "net", "module": "torchvision:resnet18", "resolution": 64, "layers": layers}
    with pytest.raises(ScaleSearchError, match="--format python writes that"):
        written(parse(ModuleSpec, plain, SpecError), "net")
