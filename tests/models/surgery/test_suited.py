"""Networks that are not scaled are told so in words; wrappers are taken off."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from scalesearch.errors import SurgeryError
from scalesearch.models.surgery.network import Network
from scalesearch.models.surgery.proof import prove
from scalesearch.models.surgery.scale import scale_module
from scalesearch.scaling.module_spec import ModuleSpec
from scalesearch.scaling.spec_files import load_spec
from tests.support import surgery_coverage
from tests.support.families import unsuited
from tests.support.small import Cli


def _net(channels: int = 3) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(channels, 16, 3, 2, 1), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(16, 10)
    )


def _hooked() -> nn.Module:
    model = _net()
    model[0].register_forward_hook(lambda *_: model.train(model.training))
    return model


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (unsuited.Video, "conv: Conv3d: a network whose first layer is 3-d"),
        (unsuited.Siamese, "takes first, second"),
        (unsuited.scripted, "TorchScript"),
        (unsuited.Reader, r"rnn: a recurrent layer \(LSTM\)"),
        (unsuited.Attending, "attention"),
        (_hooked, "hook"),
    ],
)
def test_refusals_say_what_is_the_matter(make: Callable[[], nn.Module], words: str) -> None:
    with pytest.raises(SurgeryError, match=words) as caught:
        Network(make(), 32)
    assert "law" not in str(caught.value)
    assert len(str(caught.value)) < 200


@pytest.mark.parametrize(("make", "channels"), [(lambda: _net(1), 1), (lambda: _net(5), 5), (unsuited.Digits, 1)])
def test_the_first_layer_says_how_many_channels_images_have(make: Callable[[], nn.Module], channels: int) -> None:
    network = Network(make(), 32)
    assert network.channels == channels
    assert network.scaled(width=2).build()(torch.zeros(2, channels, 48, 48)).shape == (2, 10)


def test_wrappers_are_taken_off() -> None:
    compiled: Any = torch.compile(_net())
    for wrapped in (compiled, nn.DataParallel(_net()), nn.DataParallel(nn.DataParallel(_net()))):
        wider: Any = scale_module(wrapped, width=2, resolution=32)
        assert type(wider) is nn.Sequential
        assert wider[0].out_channels == 32


def test_a_part_that_was_compiled_is_scaled_as_it_was_written() -> None:
    model: Any = nn.Sequential(nn.Sequential(nn.Conv2d(3, 16, 3, 2, 1), nn.ReLU()), *list(_net(16))[0:])
    model[0] = torch.compile(model[0])
    wider: Any = scale_module(model, width=2, resolution=32)
    assert type(wider[0]) is nn.Sequential
    assert wider[0][0].out_channels == 32


def test_hooks_that_are_methods_or_functions_go_with_the_copy() -> None:
    class Counting(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.net, self.calls = _net(), 0
            self.net.register_forward_hook(self.count)

        def count(self, *_: object) -> None:
            self.calls += 1

        def forward(self, x: Tensor) -> Tensor:
            return self.net(x)

    wider: Any = scale_module(Counting(), width=2, resolution=32)
    before = wider.calls
    wider(torch.randn(2, 3, 32, 32))
    assert wider.calls == before + 1


def test_frozen_numbers_pin_their_width() -> None:
    """A network that normalises its map by known means of each channel."""

    class Known(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv, self.more, self.fc = nn.Conv2d(3, 16, 3, 2, 1), nn.Conv2d(16, 32, 3, 1, 1), nn.Linear(32, 10)
            self.register_buffer("means", torch.linspace(0, 1, 16).view(1, 16, 1, 1))

        def forward(self, x: Tensor) -> Tensor:
            return self.fc(self.more(self.conv(x) - self.means).mean((2, 3)))

    network = Network(Known(), 32)
    assert ("conv", "means holds numbers of its own") in network.fixed_widths
    scaled = network.scaled(width=1.5)
    prove(scaled)
    assert [row.outputs for row in scaled.account.layers] == [16, 48, 10]


def test_a_network_without_a_classifier_gets_no_classes() -> None:
    class Backbone(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.b = nn.Conv2d(3, 16, 3, 2, 1), nn.Conv2d(16, 32, 3, 2, 1)

        def forward(self, x: Tensor) -> list[Tensor]:
            first = self.a(x)
            return [first, self.b(first)]

    network = Network(Backbone(), 32)
    assert network.num_classes is None
    assert network.scaled(num_classes=1000).cost == network.scaled().cost


class Fixed(nn.Module):
    """Reshapes to a fixed row: at other sizes it would make several rows of one image."""

    resolution = 32

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.fc = nn.Conv2d(3, 32, 3, 2, 1), nn.Linear(32 * 256, 10)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc(self.conv(x).view(-1, 32 * 256))


def test_an_image_that_becomes_several_rows_is_no_larger_image() -> None:
    network = Network(Fixed(), 32)
    assert network.multiple is None
    with pytest.raises(SurgeryError, match="rows of one image"):
        network.nearest(64)
    assert network.pooling_helps


def _fixed(folder: Path) -> str:
    """`Fixed` as a baseline in a file of its own, which imports nothing of the tests."""
    (folder / "fixed.py").write_text("from torch import Tensor, nn\n\n\n" + inspect.getsource(Fixed))
    return f"{folder / 'fixed.py'}:Fixed"


def test_the_coverage_table_has_a_ratio_for_every_multiplier(tmp_path: Path) -> None:
    assert surgery_coverage.look(_fixed(tmp_path)).ratios == "1.00 1.00 1.00 1.00"


def test_multipliers_that_do_nothing_stay_1_wherever_they_are_shown(cli: Cli, tmp_path: Path) -> None:
    source = _fixed(tmp_path)
    shown = cli("check", source).stdout
    assert "no width is free" in shown
    assert "×1.5" not in shown
    shown = cli("scale", "--baseline", source, "--phi", "1", "--out", "fixed.yaml").stdout
    assert shown.count("stays 1") == 3
    assert "×1.10" not in shown
    written = load_spec(tmp_path / "fixed.yaml")
    assert isinstance(written, ModuleSpec)
    assert (written.depth, written.width, written.resolution) == (1, 1, 32)
    refused = cli("candidates", "--baseline", source)
    assert refused.returncode == 2
    assert "--adaptive-pool" in refused.stderr
