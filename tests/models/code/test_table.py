"""A table of stages as a file of PyTorch: the same network, for every operator, readable, without scalesearch."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest
import torch
import yaml
from torchvision.models import get_model_weights

from scalesearch.errors import SpecError
from scalesearch.models.catalogue import builtin, model_of
from scalesearch.models.code.proof import prove_same, running
from scalesearch.models.code.rendering import Written
from scalesearch.models.code.table import table_code
from scalesearch.scaling.spec import ModelSpec
from scalesearch.validation import parse

PLAIN = (0.5, 0.5, 0.5)
HEAD = "name: net\nresolution: 32\n"
TABLES = {
    "gates of some stages, an activation that is not torchvision's": HEAD + """
activation: relu6
stochastic_depth: 0.3
stem: {channels: 8}
stages:
  - {op: mbconv, channels: 8, repeats: 2, expand: 1, se: 0.3}
  - {op: mbconv, channels: 20, repeats: 2, stride: 2, kernel: 5, expand: 2.5}
head: {channels: 24, dropout: 0.1}
""",
    "a skip that ReLU would overwrite": HEAD + """
activation: relu
stem: {channels: 8, kernel: 5, stride: 1}
stages:
  - {op: fused_mbconv, channels: 8, repeats: 2, expand: 1}
  - {op: fused_mbconv, channels: 16, repeats: 2, stride: 2, expand: 4}
""",
    "two kinds of residual blocks, dropped": HEAD + """
activation: silu
norm: {eps: 0.01, momentum: 0.3}
stochastic_depth: 0.5
stem: {channels: 8, kernel: 7, pool: true}
stages:
  - {op: basic, channels: 8, repeats: 2}
  - {op: bottleneck, channels: 8, repeats: 2, stride: 2}
""",
    "inverted residuals and separable convolutions": HEAD + """
activation: relu
stochastic_depth: 0.2
stem: {channels: 8}
stages:
  - {op: inverted_residual, channels: 8, repeats: 2, expand: 3}
  - {op: depthwise_separable, channels: 12, repeats: 2, stride: 2}
head: {channels: 16}
""",
}  # fmt: skip


def written(spec: ModelSpec, classes: int = 7, names: tuple[str, ...] | None = None) -> str:
    return table_code(Written(model_of(spec), classes, names, "net.safetensors", PLAIN, PLAIN))


@pytest.mark.parametrize("table", TABLES.values(), ids=TABLES)
def test_every_operator_gives_the_same_network_and_it_trains(table: str) -> None:
    spec = parse(ModelSpec, yaml.safe_load(table), SpecError)
    code = written(spec)
    network = model_of(spec).build(7)
    with running(code, "net", Path("net.py")) as made:
        twin = made.build_model()
        assert list(twin.state_dict()) == list(network.state_dict())
        assert prove_same(network, twin, (3, 32, 32), 7, "net").difference == 0
        made.count(twin)
        torch.manual_seed(0)
        twin.train()(torch.randn(4, 3, 32, 32)).square().mean().backward()
        assert all(parameter.grad is not None for parameter in twin.parameters())
        drops = [module.p for module in twin.modules() if type(module).__name__ == "StochasticDepth"]
        assert drops == [module.p for module in network.modules() if type(module).__name__ == "StochasticDepth"]


@pytest.mark.parametrize("name", ["mobilenet_v2", "efficientnet_b0", "resnet18"])
def test_the_numbers_written_are_torchvisions(name: str) -> None:
    code = written(builtin(name), 1000)
    (numbers,) = (
        node.value for node in ast.parse(code).body
        if isinstance(node, ast.Assign) and "PARAMETERS" in ast.unparse(node.targets[0])
    )  # fmt: skip
    meta = get_model_weights(name).DEFAULT.meta
    parameters, macs = ast.literal_eval(numbers)
    assert parameters == meta["num_params"]
    assert macs / 1e9 == pytest.approx(meta["_ops"], rel=0.02), "torchvision counts other operators too"


def test_it_reads_as_if_somebody_had_written_it() -> None:
    code = written(builtin("efficientnet_b0"), names=("a", 'b "quoted"'))
    lines = code.splitlines()
    assert len(lines) < 180 and max(map(len, lines)) <= 120 and "    Stage(mbconv, channels=16,  repeats=1," in code
    assert not {line for line in lines if line != line.rstrip()}
    imported = {
        (node.module or "").partition(".")[0] if isinstance(node, ast.ImportFrom) else node.names[0].name
        for node in ast.walk(ast.parse(code)) if isinstance(node, (ast.Import, ast.ImportFrom))
    }  # fmt: skip
    assert imported == {
        "__future__", "collections", "functools", "math", "pathlib", "typing", "torch", "torchvision", "safetensors",
        "fvcore",
    }  # fmt: skip
    assert '    "b \\"quoted\\"",' in code


def test_a_file_whose_numbers_are_wrong_says_so(tiny: ModelSpec) -> None:
    code = written(tiny)
    with running(code, "net", Path("net.py")) as made:
        made.PARAMETERS += 1
        with pytest.raises(AssertionError, match=r"parameters, where .* are written"):
            made.count(made.build_model())
