"""Networks in the manner of public families, scaled and held against what each must become."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from scalesearch.errors import SurgeryError
from scalesearch.models.surgery.network import Network
from scalesearch.models.surgery.proof import prove, prove_identity
from scalesearch.models.surgery.regularisation import drop_paths
from scalesearch.scaling.compound import Rounding
from tests.support.families import classic, light, residual
from tests.support.public_coverage import examine
from tests.support.public_families import FAMILIES

FAST = (
    "resnet-option-a-closure", "cbam", "checkpointed", "efficientnet-port", "depthwise-pointwise", "mobilenet-v2",
    "repvgg", "lenet-adaptive", "vgg", "densenet", "spectral-norm", "item", "unet",
    "one-channel", "video", "siamese", "lstm", "attention", "torchscript",
)  # fmt: skip
"""One of each kind; the others are as long."""


@pytest.mark.parametrize("name", FAST)
def test_a_public_family(name: str) -> None:
    assert examine(name, FAMILIES[name]).wrong == []


@pytest.mark.long
@pytest.mark.parametrize("name", sorted(set(FAMILIES) - set(FAST)))
def test_every_other_public_family(name: str) -> None:
    assert examine(name, FAMILIES[name]).wrong == []


def test_a_copied_block_gets_a_rate_of_its_own() -> None:
    """The author's loop goes over the new blocks too, and its rule gives each its rate."""
    network = Network(light.EfficientPort(), 64)
    deeper = network.scaled(depth=2).build().train()
    rates: list[float] = []
    for block in deeper._blocks:  # type: ignore[union-attr]
        block.register_forward_pre_hook(lambda _, __, named: rates.append(named["drop_connect_rate"]), with_kwargs=True)
    deeper(torch.randn(2, 3, 64, 64))
    assert rates == pytest.approx([0.2 * i / 14 for i in range(14)])


class DropPath(nn.Module):
    """Named as timm's is."""

    def __init__(self, rate: float) -> None:
        super().__init__()
        self.drop_prob = rate

    def forward(self, x: Tensor) -> Tensor:
        return x


class Dropping(nn.Module):
    """Blocks whose rates rise by a rule of the author's."""

    def __init__(self, rates: list[float]) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 16, 3, 2, 1)
        self.blocks = nn.Sequential(
            *[classic.Residual(nn.Sequential(nn.Conv2d(16, 16, 3, 1, 1), DropPath(rate))) for rate in rates]
        )
        self.fc = nn.Linear(16, 10)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc(self.blocks(self.stem(x)).mean((2, 3)))


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ([0.0, 0.1, 0.2], [0.2 * i / 5 for i in range(6)]),  # linspace(0, 0.2, n)
        ([0.2 * i / 3 for i in range(3)], [0.2 * i / 6 for i in range(6)]),  # rate · i / n
        ([0.2 * (i + 1) / 3 for i in range(3)], [0.2 * (i + 1) / 6 for i in range(6)]),  # rate · (i + 1) / n
        ([0.1, 0.1, 0.1], [0.1] * 6),
        ([0.3, 0.1, 0.2], [0.3, 0.1, 0.2, 0.2, 0.2, 0.2]),  # no rule: as copied
    ],
)
def test_rates_are_laid_anew_by_the_authors_rule(before: list[float], after: list[float]) -> None:
    deeper = Network(Dropping(before), 32).scaled(depth=2).build()
    assert [getattr(module, name) for module, name in drop_paths(deeper)] == pytest.approx(after)


def test_a_merge_after_training_finds_the_numbers_it_needs() -> None:
    """RepVGG's way: ``in_channels`` is kept for the kernel that the identity branch amounts to."""
    scaled = Network(light.RepVGG(), 32).scaled(depth=2, width=1.5).build().eval()
    merged = 0
    for block in scaled.modules():
        if isinstance(block, light.RepBlock) and block.rbr_identity is not None:
            x = torch.randn(1, block.rbr_identity.num_features, 8, 8)
            wanted = block.rbr_dense(x) + block.rbr_1x1(x) + block.rbr_identity(x)
            got = functional.conv2d(x, block.merged(), padding=1)  # at the start the norms' biases and means are zero
            assert torch.allclose(got, wanted, atol=1e-4)
            merged += 1
    assert merged == 9


def test_an_adapted_block_leaves_out_what_it_does_not_run() -> None:
    network = Network(residual.WideNet(), 32)
    deeper = network.scaled(depth=2, width=1.25)
    prove(deeper)
    names = {name for name, _ in deeper.build().named_parameters()}
    assert not [name for name in names if ".1.shortcut" in name]


def test_the_classifier_is_no_block() -> None:
    model = nn.Sequential(
        nn.Conv2d(3, 16, 3, 2, 1), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(),
        nn.Linear(16, 32), nn.ReLU(), nn.Linear(32, 32), nn.ReLU(), nn.Linear(32, 32), nn.ReLU(), nn.Linear(32, 10),
    )  # fmt: skip
    assert Network(model, 32).stages == []


def test_blocks_that_join_a_list_must_leave_the_others_where_they_run() -> None:
    """The loop pools before its third block: with more blocks in the list, others would come before the pool."""

    class Numbered(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.stem = nn.Conv2d(3, 16, 3, 2, 1)
            self.blocks = nn.ModuleList(Scaled(16) for _ in range(4))
            self.fc = nn.Linear(16, 10)

        def forward(self, x: Tensor) -> Tensor:
            x = self.stem(x)
            for i, block in enumerate(self.blocks):
                x = functional.max_pool2d(x, 2) if i == 2 else x
                x = block(x, 0.1 * i)
            return self.fc(x.mean((2, 3)))

    class Scaled(nn.Module):
        def __init__(self, width: int) -> None:
            super().__init__()
            self.conv = nn.Conv2d(width, width, 3, 1, 1)

        def forward(self, x: Tensor, rate: float) -> Tensor:
            return x + self.conv(x) * (1 - rate)

    model = Numbered()
    network = Network(model, 32)
    prove_identity(network, model)
    deeper = network.scaled(depth=2)
    prove(deeper)
    assert [after for _, _, after in deeper.account.stages] == [4, 4]
    rows = [row for row in deeper.account.layers if row.name.startswith("blocks")]
    assert [row.positions for row in rows] == [256] * 4 + [64] * 4


def test_halves_and_sums_stay_what_they_are() -> None:
    class Halves(nn.Module):
        def __init__(self, how: str) -> None:
            super().__init__()
            self.how, self.a, self.b = how, 24, 24
            self.stem, self.left, self.right = (
                nn.Conv2d(3, 48, 3, 2, 1),
                nn.Conv2d(24, 24, 3, 1, 1),
                nn.Conv2d(24, 24, 1),
            )
            self.fc = nn.Linear(48, 10)

        def forward(self, x: Tensor) -> Tensor:
            x = self.stem(x)
            c = x.shape[1]
            if self.how == "sections":
                left, right = torch.split(x, [self.a, self.b], 1)
            elif self.how == "slices":
                left, right = x[:, : self.a], x[:, self.a :]
            elif self.how == "floor":
                left, right = x[:, : c // 2], x[:, c // 2 :]
            else:
                left, right = x[:, : int(c / 2)], x[:, int(c / 2) :]
            return self.fc(torch.cat([self.left(left), self.right(right)], 1).mean((2, 3)))

    for how in ("sections", "slices", "floor", "int"):
        network = Network(Halves(how), 32)
        for width in (0.75, 1.1, 1.3, 1.5):
            scaled = network.scaled(width=width)
            prove(scaled)
            rows = {row.name.removesuffix(".weight"): row for row in scaled.account.layers}
            assert 2 * rows["left"].inputs == 2 * rows["right"].inputs == rows["stem"].outputs
            assert (rows["stem"].outputs - 48) * (width - 1) >= 0


def test_a_sum_of_fixed_size_pins_both_its_parts() -> None:
    class Viewed(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.b, self.fc = nn.Conv2d(3, 32, 3, 2, 1), nn.Conv2d(3, 32, 5, 2, 2), nn.Linear(64, 10)

        def forward(self, x: Tensor) -> Tensor:
            joined = torch.cat([self.a(x), self.b(x)], 1).mean((2, 3))
            return self.fc(joined.view(-1, 64))

    network = Network(Viewed(), 32)
    assert {name for name, _ in network.fixed_widths} >= {"a", "b"}
    assert network.dead["beta"].startswith("none of its widths is free (forward reshapes it to a fixed size")
    prove(network.scaled(width=1.5))


def test_a_small_pad_of_channels_is_a_width() -> None:
    """Option A from 8 to 16 channels: what is padded, 4 on each side, is less than a width usually is."""

    class Padded(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.stem, self.conv, self.fc = nn.Conv2d(3, 8, 3, 1, 1), nn.Conv2d(8, 16, 3, 1, 1), nn.Linear(16, 10)
            self.pad = 4

        def forward(self, x: Tensor) -> Tensor:
            x = self.stem(x)
            x = functional.pad(x, (0, 0, 0, 0, self.pad, self.pad)) + self.conv(x)
            return self.fc(x.mean((2, 3)))

    scaled = Network(Padded(), 32).scaled(width=2)
    prove(scaled)
    assert [row.outputs for row in scaled.account.layers] == [16, 32, 10]


def test_a_root_of_a_kept_width_follows_it() -> None:
    class Rooted(nn.Module):
        def __init__(self, dim: int = 32) -> None:
            super().__init__()
            self.dim = dim
            self.stem, self.conv, self.fc = nn.Conv2d(3, dim, 3, 2, 1), nn.Conv2d(dim, dim, 3, 1, 1), nn.Linear(dim, 10)

        def forward(self, x: Tensor) -> Tensor:
            x = self.stem(x)
            return self.fc((x + self.conv(x) / self.dim**0.5).mean((2, 3)))

    assert Network(Rooted(), 32).scaled(width=2).build().dim == 64


@pytest.mark.parametrize("keep", [False, True])
def test_depthwise_convolutions_stay_depthwise(keep: bool) -> None:
    network = Network(light.MobileNetV2(), 64, keep_groups=keep)
    scaled = network.scaled(width=1.5)
    prove(scaled)
    depthwise = [m for m in scaled.build().modules() if isinstance(m, nn.Conv2d) and m.groups > 1]
    assert len(depthwise) == 6
    assert all(m.groups == m.in_channels == m.out_channels for m in depthwise)


def test_lone_blocks_of_another_class_are_stages() -> None:
    """EfficientNet-B0's first stage is a block of another class, alone; at B4's multipliers timm's B4 comes out."""
    timm = pytest.importorskip("timm")
    scaled = Network(timm.create_model("efficientnet_b0"), 224).scaled(1.8, 1.4, 380)
    b4 = timm.create_model("efficientnet_b4")
    assert [after for _, _, after in scaled.account.stages] == [len(stage) for stage in b4.blocks]
    assert scaled.cost.params == sum(parameter.numel() for parameter in b4.parameters())
    lite = Network(timm.create_model("efficientnet_lite0"), 224).scaled(1.8, 1.4, rounding=Rounding(fix_stem_head=True))
    stages = timm.create_model("efficientnet_lite4").blocks
    assert [after for _, _, after in lite.account.stages] == [len(stage) for stage in stages]


def test_a_step_with_numbers_is_part_of_the_proof() -> None:
    """The meta device lets a sum in place pass that autograd refuses."""

    class InPlace(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv, self.fc = nn.Conv2d(3, 16, 3, 2, 1), nn.Linear(16, 10)

        def forward(self, x: Tensor) -> Tensor:
            x = torch.sigmoid(self.conv(x))
            x += 1  # sigmoid's backward needs its result
            return self.fc(x.mean((2, 3)))

    with pytest.raises(SurgeryError, match=r"training step|cannot be trained"):
        prove(Network(InPlace(), 32).scaled(width=1.5))
