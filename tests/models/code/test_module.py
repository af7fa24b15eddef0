"""A scaled module as a file of PyTorch: the constructor, blocks repeated, layers replaced, and the same logits."""

from __future__ import annotations

from pathlib import Path

import pytest
from torch import nn

from scalesearch.errors import ScaleSearchError
from scalesearch.image_size import image_shape
from scalesearch.models.catalogue import open_baseline
from scalesearch.models.code.constructors import Imports, constructor
from scalesearch.models.code.module import module_code
from scalesearch.models.code.proof import prove_same, running
from scalesearch.models.code.rendering import Written
from scalesearch.scaling.compound import Multipliers

PLAIN = (0.5, 0.5, 0.5)
OWN = """
import torch
from torch import nn

class Block(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.norm, self.conv = nn.GroupNorm(4, width), nn.Conv2d(width, width, 3, padding=1)
        self.scale = nn.Parameter(torch.full((width, 1, 1), 0.1))

    def forward(self, x):
        return x + self.scale * self.conv(self.norm(x).relu())

class Odd(nn.Conv2d):
    def __init__(self, secret, width):
        super().__init__(secret + 1, width, 3, 2, 1)

class Net(nn.Module):
    def __init__(self, stem):
        super().__init__()
        self.resolution = 32
        self.stem = stem
        self.stages = nn.Sequential(
            nn.Sequential(Block(16), Block(16)), nn.Conv2d(16, 32, 1), nn.Sequential(Block(32), Block(32), Block(32))
        )
        self.head = nn.Linear(32, 10)

    def forward(self, x):
        return self.head(self.stages(self.stem(x)).mean((2, 3)))

def build_net():
    return Net(nn.Conv2d(3, 16, 3, 2, 1))

def build_odd():
    return Net(Odd(2, 16))
"""


def both(source: str, depth: float, width: float, classes: int = 7) -> tuple[str, nn.Module, tuple[int, int, int]]:
    model = open_baseline(source).scaled(Multipliers(depth, width, 1))
    network = model.build(classes)
    code = module_code(Written(model, classes, None, "net.safetensors", PLAIN, PLAIN), network)
    return code, network, image_shape(model.channels, model.resolution)


def test_a_users_network_is_its_own_constructor_and_edits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("own_network.py").write_text(OWN)
    code, network, image = both("own_network.py:build_net", 1.5, 1.5)
    with running(code, "net", Path("net.py")) as made:
        twin = made.build_model()
        assert prove_same(network, twin, image, 7, "net").difference == 0
        made.count(twin)
    assert "from own_network import build_net  # of own_network.py, which lies beside this file" in code
    assert "    repeat(model.stages[2], 2, 2)\n    repeat(model.stages[0], 1, 1)\n" in code
    assert (
        "    for block in model.stages[0]:\n        block.scale = nn.Parameter(torch.full((24, 1, 1), 0.1))\n" in code
    )
    assert "        block.norm = nn.GroupNorm(4, 24)\n" in code
    assert "    model.head = nn.Linear(48, 7)\n" in code and len(code.splitlines()) < 120


def test_blocks_are_taken_away_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("own_network.py").write_text(OWN)
    code, network, image = both("own_network.py:build_net", 0.5, 1, 10)
    assert "del model.stages[2][2:3]" in code and "resize" not in code.split('"""', 2)[2]
    with running(code, "net", Path("net.py")) as made:
        assert prove_same(network, made.build_model(), image, 10, "net").difference == 0


def test_a_layer_of_a_class_of_ones_own_is_edited_in_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("odd_network.py").write_text(OWN)
    code, network, image = both("odd_network.py:build_odd", 1, 1.5)
    assert (
        "    model.stem.out_channels = 24\n    model.stem.weight = nn.Parameter(torch.randn((24, 3, 3, 3)) * " in code
    )
    with running(code, "net", Path("net.py")) as made:
        assert prove_same(network, made.build_model(), image, 7, "net").difference == 0


def test_what_cannot_be_written_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("my-network.py").write_text(OWN)
    with pytest.raises(ScaleSearchError, match=r"my-network\.py cannot be imported by its name: rename it"):
        both("my-network.py:build_net", 1, 1.5)


@pytest.mark.parametrize(
    ("layer", "call"),
    [
        (nn.Conv2d(3, 8, (3, 5), stride=2, padding="valid"), "nn.Conv2d(3, 8, (3, 5), stride=2, padding='valid')"),
        (nn.Conv2d(8, 8, 3, padding=1, groups=8, bias=False), "nn.Conv2d(8, 8, 3, padding=1, groups=8, bias=False)"),
        (nn.Linear(4, 5, bias=False), "nn.Linear(4, 5, bias=False)"),
        (nn.BatchNorm2d(6, eps=0.001, affine=False), "nn.BatchNorm2d(6, eps=0.001, affine=False)"),
        (nn.LayerNorm((4, 5), eps=1e-6), "nn.LayerNorm((4, 5), eps=1e-06)"),
        (nn.LayerNorm(4), "nn.LayerNorm((4,))"),
        (nn.PReLU(5), "nn.PReLU(num_parameters=5)"),
    ],
)
def test_a_layers_call_makes_that_layer(layer: nn.Module, call: str) -> None:
    assert constructor(layer, Imports()) == call
    made = eval(call, {"nn": nn})
    assert repr(made) == repr(layer) and made.state_dict().keys() == layer.state_dict().keys()


@pytest.mark.long
@pytest.mark.parametrize(
    ("source", "depth", "width"),
    [
        ("timm:resnet18", 1.5, 1.2),
        ("timm:mobilenetv3_small_100", 1.3, 1.1),
        ("timm:efficientnet_b0", 1.2, 1.1),
        ("torchvision:convnext_tiny", 0.6, 0.5),
        ("torchvision:regnet_y_400mf", 1.2, 1.1),
        ("torchvision:mobilenet_v2", 0.7, 1.2),
        ("torchvision:densenet121", 1.2, 1.1),
    ],
)
def test_other_peoples_networks(source: str, depth: float, width: float) -> None:
    code, network, image = both(source, depth, width)
    with running(code, "net", Path("net.py")) as made:
        twin = made.build_model()
        assert prove_same(network, twin, image, 7, "net").difference == 0
        made.count(twin)
    assert len(code.splitlines()) < 400
