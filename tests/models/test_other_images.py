"""Networks for images that are not squares in colour: what they cost, how they are made, whose weights they take."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from fvcore.nn import FlopCountAnalysis
from torch import nn

from scalesearch.errors import BaselineError
from scalesearch.image_size import Rectangle, Resolution, image_shape
from scalesearch.models.build import build_model
from scalesearch.models.catalogue import builtin, model_of, open_baseline
from scalesearch.models.surgery.network import Network
from scalesearch.models.surgery.scale import scale_module
from scalesearch.models.weights import load_weights, load_whole
from scalesearch.scaling.compound import Coefficients, Multipliers, Rounding
from scalesearch.scaling.cost import closed_form
from scalesearch.scaling.points import Points
from scalesearch.scaling.spec import ModelSpec
from scalesearch.scaling.spec_files import dump_spec, load_spec

WIDE = Rectangle(40, 72)

OWN = """
import torch
from torch import nn

class Net(nn.Module):
    def __init__(self, channels):
        super().__init__()
        self.head = nn.Linear(16, 5)  # defined before the first layer that runs
        self.second = nn.Conv2d(8, 16, 3, 2, 1)
        self.first = nn.Conv2d(channels, 8, 3, 2, 1)

    def forward(self, x):
        return self.head(self.second(self.first(x).relu()).relu().mean((2, 3)))

def grey(): return Net(1)
def colour(): return Net(3)
def wide():
    made = Net(1)
    made.resolution = (32, 96)
    return made
"""


@pytest.fixture
def own(tmp_path: Path) -> str:
    (tmp_path / "own_nets.py").write_text(OWN)
    return str(tmp_path / "own_nets.py")


def _fvcore(module: nn.Module, shape: tuple[int, int, int]) -> int:
    analysis = FlopCountAnalysis(module.eval(), torch.zeros(1, *shape)).unsupported_ops_warnings(False)
    counted = analysis.uncalled_modules_warnings(False).by_operator()
    return int(sum(counted[name] for name in ("conv", "linear", "addmm", "matmul")))


def _table(name: str, resolution: Resolution, channels: int) -> ModelSpec:
    spec = builtin(name)
    stem = spec.stem.model_copy(update={"inputs": channels})
    return spec.model_copy(update={"resolution": resolution, "stem": stem})


@pytest.mark.parametrize("name", ["efficientnet_b0", "efficientnet_v2_b0", "mobilenet_v2", "resnet18"])
@pytest.mark.parametrize(("size", "channels"), [(WIDE, 3), (Rectangle(97, 33), 1), (40, 4)])
def test_the_closed_form_counts_rectangles_and_channels_as_fvcore(name: str, size: Resolution, channels: int) -> None:
    spec = _table(name, size, channels)
    module, cost = build_model(spec, 7), closed_form(spec, 7)
    assert cost.macs == _fvcore(module, image_shape(channels, size))
    assert cost.params == sum(p.numel() for p in module.parameters())


def test_a_grid_counts_rectangles_as_one_network_does() -> None:
    baseline = open_baseline("mobilenet_v2").at(resolution=WIDE, channels=1)
    points = [Coefficients(1.2, 1.1, gamma) for gamma in (1.0, 1.15, 1.4)]
    found = baseline.survey(1, num_classes=7).networks(Points.of(points))
    specs = [model.spec for model in found.models]
    assert [spec.resolution for spec in specs] == [WIDE, Rectangle(46, 83), Rectangle(56, 101)]
    assert list(found.costs) == [closed_form(spec, 7) for spec in specs if isinstance(spec, ModelSpec)]


def test_both_sides_grow_and_the_longer_one_is_bounded() -> None:
    assert Rounding().image(Rectangle(64, 192), 1.15) == Rectangle(74, 221)  # 73.6, 220.8
    assert Rounding(resolution_multiple=32).image(Rectangle(64, 192), 1.15) == Rectangle(64, 224)
    bounded = Rounding(max_resolution=240)
    assert bounded.image(Rectangle(64, 192), 2) == Rectangle(80, 240)
    assert bounded.image(Rectangle(64, 192), 1.1) == Rounding().image(Rectangle(64, 192), 1.1)
    assert bounded.image(200, 2) == bounded.pixels(200, 2) == 240


def test_a_file_keeps_both_sides_and_channels_and_builds_the_network(tmp_path: Path) -> None:
    spec = _table("mobilenet_v2", WIDE, 1)
    (tmp_path / "spec.yaml").write_text(dump_spec(spec))
    assert "resolution: [40, 72]" in (tmp_path / "spec.yaml").read_text()
    assert load_spec(tmp_path / "spec.yaml") == spec
    assert build_model(spec, 3)(torch.zeros(2, 1, 40, 72)).shape == (2, 3)


def test_three_channels_are_not_written_and_tell_no_networks_apart() -> None:
    spec = builtin("mobilenet_v2")
    assert "inputs" not in dump_spec(spec)
    assert _table("mobilenet_v2", 224, 3).fingerprint == spec.fingerprint != _table("mobilenet_v2", 224, 1).fingerprint


def test_a_family_of_a_rectangle_is_made_of_rectangles() -> None:
    baseline = open_baseline("mobilenet_v2").at(resolution=Rectangle(64, 192))
    assert baseline.member(Coefficients(1, 1, 1.15), 1).resolution == Rectangle(74, 221)
    assert open_baseline("mobilenet_v2").at(resolution=96).member(Coefficients(1, 1, 1.25), 1).resolution == 280


@pytest.mark.parametrize("source", ["torchvision:resnet18", "torchvision:mobilenet_v2"])
def test_modules_count_rectangles_as_fvcore(source: str) -> None:
    model = open_baseline(source).at(resolution=Rectangle(64, 96)).scaled(Multipliers(1, 1.25, 1.1))
    assert model.resolution == Rectangle(70, 106)
    assert model.cost(5).macs == _fvcore(model.build(5), (3, 70, 106))


@pytest.mark.parametrize(("factory", "channels"), [("grey", 1), ("colour", 3)])
def test_the_first_layer_that_runs_says_how_many_channels(factory: str, channels: int, own: str) -> None:
    baseline = open_baseline(f"{own}:{factory}", resolution=Rectangle(24, 48))
    assert baseline.channels == channels
    model = baseline.scaled(Multipliers(1, 2, 1.5))
    assert (model.channels, model.resolution) == (channels, Rectangle(36, 72))
    assert model.cost(5).macs == _fvcore(model.build(5), (channels, 36, 72))


def test_a_module_may_state_its_height_and_width(own: str) -> None:
    assert open_baseline(f"{own}:wide").resolution == Rectangle(32, 96)


def test_channels_that_a_module_does_not_take_are_refused_with_both_numbers(own: str) -> None:
    with pytest.raises(BaselineError) as failure:
        open_baseline(f"{own}:grey", resolution=32).at(channels=3)
    assert "takes images of 1 channel, and data.channels is 3: --set data.channels=1" in str(failure.value)


def test_a_module_is_scaled_at_the_size_and_channels_it_has() -> None:
    made = scale_module(
        nn.Sequential(nn.Conv2d(4, 8, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 3)),
        width=2, resolution=(16, 40),
    )  # fmt: skip
    assert made(torch.zeros(2, 4, 16, 40)).shape == (2, 3)
    assert made[0].in_channels == 4  # type: ignore[index]


def test_networks_of_timm_are_made_for_the_channels() -> None:
    pytest.importorskip("timm")
    baseline = open_baseline("timm:resnet18").at(channels=1, resolution=Rectangle(48, 64))
    spec = baseline.scaled(Multipliers(1, 1, 1)).spec
    again = model_of(spec)
    assert again.channels == 1 and again.build(5)(torch.zeros(1, 1, 48, 64)).shape == (1, 5)
    assert (
        again.fingerprint
        != open_baseline("timm:resnet18").at(resolution=Rectangle(48, 64)).scaled(Multipliers(1, 1, 1)).fingerprint
    )


@pytest.mark.parametrize("channels", [1, 4])
@pytest.mark.parametrize("names", ["same", "others"])
def test_a_first_kernel_for_colour_is_adapted_as_timm_does(channels: int, names: str) -> None:
    manipulate = pytest.importorskip("timm.models._manipulate")
    trained = build_model(_table("resnet18", 32, 3), 5).state_dict()
    key = next(name for name, value in trained.items() if value.ndim == 4)
    wanted = manipulate.adapt_input_conv(channels, trained[key])
    weights = trained if names == "same" else {f"other.{name}": value for name, value in trained.items()}
    network = build_model(_table("resnet18", 32, channels), 5)
    loaded = load_weights(network, weights, "some.pt")
    assert torch.allclose(network.state_dict()[key], wanted)
    assert not loaded.new and f"for the network's {channels}" in loaded.words


def test_a_network_that_has_to_be_whole_takes_no_adapted_kernel() -> None:
    trained = build_model(_table("resnet18", 32, 3), 5).state_dict()
    with pytest.raises(BaselineError, match="would stay untrained"):
        load_whole(build_model(_table("resnet18", 32, 1), 5), trained, "some.pt")


def test_the_last_maps_shorter_side_is_counted(own: str) -> None:
    assert open_baseline("mobilenet_v2").at(resolution=Rectangle(64, 192)).scaled(Multipliers(1, 1, 1)).last_side == 2
    wide = open_baseline(f"{own}:wide").scaled(Multipliers(1, 1, 1))
    assert wide.last_side == 8


def test_what_is_proved_of_a_module_holds_for_its_own_images() -> None:
    grey = nn.Sequential(nn.Conv2d(1, 8, 3, 2, 1), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 3))
    network = Network(grey, Rectangle(20, 44))
    assert network.channels == 1 and network.scaled().cost.macs == _fvcore(grey, (1, 20, 44))
