"""Light networks: depthwise convolutions, splits, shuffles, ghosts, and kernels that are merged later."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional


class MBConv(nn.Module):
    """Called with a rate beside the image; decides on its skip by integers that it keeps."""

    def __init__(self, inp: int, oup: int, stride: int = 1, expand: int = 4) -> None:
        super().__init__()
        self.input_filters, self.output_filters, self.stride = inp, oup, stride
        mid = inp * expand
        self._expand_conv = nn.Conv2d(inp, mid, 1, bias=False)
        self._bn0 = nn.BatchNorm2d(mid, momentum=0.01, eps=1e-3)
        self._depthwise_conv = nn.Conv2d(mid, mid, 3, stride, 1, groups=mid, bias=False)
        self._bn1 = nn.BatchNorm2d(mid, momentum=0.01, eps=1e-3)
        squeezed = max(1, int(inp * 0.25))
        self._se_reduce, self._se_expand = nn.Conv2d(mid, squeezed, 1), nn.Conv2d(squeezed, mid, 1)
        self._project_conv = nn.Conv2d(mid, oup, 1, bias=False)
        self._bn2 = nn.BatchNorm2d(oup, momentum=0.01, eps=1e-3)

    def forward(self, inputs: Tensor, drop_connect_rate: float | None = None) -> Tensor:
        x = functional.silu(self._bn0(self._expand_conv(inputs)))
        x = functional.silu(self._bn1(self._depthwise_conv(x)))
        gate = self._se_expand(functional.silu(self._se_reduce(functional.adaptive_avg_pool2d(x, 1))))
        x = self._bn2(self._project_conv(torch.sigmoid(gate) * x))
        if self.stride == 1 and self.input_filters == self.output_filters:
            if drop_connect_rate and self.training:
                keep = 1 - drop_connect_rate
                x = x / keep * torch.floor(keep + torch.rand([x.shape[0], 1, 1, 1], device=x.device))
            x = x + inputs
        return x


class EfficientPort(nn.Module):
    """One list of blocks, each called with its share of the drop rate."""

    def __init__(self) -> None:
        super().__init__()
        self._conv_stem = nn.Conv2d(3, 16, 3, 2, 1, bias=False)
        self._bn0 = nn.BatchNorm2d(16)
        table = [(16, 16, 1), (16, 24, 2), (24, 24, 1), (24, 40, 2), (40, 40, 1), (40, 64, 1), (64, 64, 1)]
        self._blocks = nn.ModuleList(MBConv(i, o, s) for i, o, s in table)
        self._conv_head = nn.Conv2d(64, 128, 1, bias=False)
        self._bn1 = nn.BatchNorm2d(128)
        self._fc = nn.Linear(128, 10)

    def forward(self, inputs: Tensor) -> Tensor:
        x = functional.silu(self._bn0(self._conv_stem(inputs)))
        for idx, block in enumerate(self._blocks):
            x = block(x, drop_connect_rate=0.2 * float(idx) / len(self._blocks))
        x = functional.silu(self._bn1(self._conv_head(x)))
        return self._fc(functional.adaptive_avg_pool2d(x, 1).flatten(start_dim=1))


def _conv_dw(inp: int, oup: int, stride: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(inp, inp, 3, stride, 1, groups=inp, bias=False), nn.BatchNorm2d(inp), nn.ReLU(inplace=True),
        nn.Conv2d(inp, oup, 1, bias=False), nn.BatchNorm2d(oup), nn.ReLU(inplace=True),
    )  # fmt: skip


class MobileNetV1(nn.Module):
    """One Sequential of Sequentials, an average pool at its end, and a view by a number."""

    def __init__(self) -> None:
        super().__init__()
        self.model = nn.Sequential(
            nn.Sequential(nn.Conv2d(3, 16, 3, 2, 1, bias=False), nn.BatchNorm2d(16), nn.ReLU(inplace=True)),
            _conv_dw(16, 32, 1), _conv_dw(32, 64, 2), _conv_dw(64, 64, 1), _conv_dw(64, 128, 2), _conv_dw(128, 128, 1),
            _conv_dw(128, 128, 1), nn.AvgPool2d(8),
        )  # fmt: skip
        self.fc = nn.Linear(128, 10)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc(self.model(x).view(-1, 128))


class AlternatingNet(nn.Module):
    """Depthwise and pointwise units that alternate in one Sequential."""

    def __init__(self) -> None:
        super().__init__()
        layers: list[nn.Module] = [nn.Conv2d(3, 32, 3, 2, 1, bias=False), nn.BatchNorm2d(32), nn.ReLU()]
        for inp, oup, stride in ((32, 64, 1), (64, 64, 1), (64, 64, 1), (64, 128, 2), (128, 128, 1)):
            layers += [nn.Conv2d(inp, inp, 3, stride, 1, groups=inp, bias=False), nn.BatchNorm2d(inp), nn.ReLU()]
            layers += [nn.Conv2d(inp, oup, 1, bias=False), nn.BatchNorm2d(oup), nn.ReLU()]
        self.features, self.classifier = nn.Sequential(*layers), nn.Linear(128, 10)

    def forward(self, x: Tensor) -> Tensor:
        return self.classifier(self.features(x).mean([2, 3]))


class InvertedResidual(nn.Module):
    """Decides on its skip by integers compared in forward."""

    def __init__(self, inp: int, oup: int, stride: int, expand: int) -> None:
        super().__init__()
        self.inp, self.oup, self.stride = inp, oup, stride
        hidden = round(inp * expand)
        self.conv = nn.Sequential(
            nn.Conv2d(inp, hidden, 1, bias=False), nn.BatchNorm2d(hidden), nn.ReLU6(inplace=True),
            nn.Conv2d(hidden, hidden, 3, stride, 1, groups=hidden, bias=False), nn.BatchNorm2d(hidden),
            nn.ReLU6(inplace=True), nn.Conv2d(hidden, oup, 1, bias=False), nn.BatchNorm2d(oup),
        )  # fmt: skip

    def forward(self, x: Tensor) -> Tensor:
        if self.stride == 1 and self.inp == self.oup:
            return x + self.conv(x)
        return self.conv(x)


class MobileNetV2(nn.Module):
    """Some of its stages are one block, alone, that changes the shape."""

    def __init__(self) -> None:
        super().__init__()
        layers: list[nn.Module] = [nn.Sequential(nn.Conv2d(3, 16, 3, 2, 1, bias=False), nn.BatchNorm2d(16), nn.ReLU6())]
        channels = 16
        for expand, oup, count, stride in ((4, 24, 2, 2), (4, 32, 1, 2), (4, 48, 2, 1), (4, 64, 1, 1)):
            for i in range(count):
                layers.append(InvertedResidual(channels, oup, stride if i == 0 else 1, expand))
                channels = oup
        layers.append(nn.Sequential(nn.Conv2d(64, 160, 1, bias=False), nn.BatchNorm2d(160), nn.ReLU6()))
        self.features = nn.Sequential(*layers)
        self.classifier = nn.Sequential(nn.Dropout(0.2), nn.Linear(160, 10))
        for m in self.modules():
            if isinstance(m, nn.Conv2d):
                m.weight.data.normal_(0, math.sqrt(2.0 / (m.kernel_size[0] * m.kernel_size[1] * m.out_channels)))
            elif isinstance(m, nn.Linear):
                m.weight.data.normal_(0, 0.01)
                m.bias.data.zero_()

    def forward(self, x: Tensor) -> Tensor:
        return self.classifier(self.features(x).mean(3).mean(2))


class HardBlock(nn.Module):
    """MobileNetV3's, with a gate that is a module and hard activations."""

    def __init__(self, inp: int, hidden: int, oup: int, stride: int) -> None:
        super().__init__()
        self.identity = stride == 1 and inp == oup
        self.expand = nn.Sequential(nn.Conv2d(inp, hidden, 1, bias=False), nn.BatchNorm2d(hidden), nn.Hardswish())
        self.depth = nn.Sequential(
            nn.Conv2d(hidden, hidden, 5, stride, 2, groups=hidden, bias=False), nn.BatchNorm2d(hidden), nn.Hardswish()
        )
        self.gate = nn.Sequential(
            nn.AdaptiveAvgPool2d(1), nn.Conv2d(hidden, hidden // 4, 1), nn.ReLU(), nn.Conv2d(hidden // 4, hidden, 1),
            nn.Hardsigmoid(),
        )  # fmt: skip
        self.project = nn.Sequential(nn.Conv2d(hidden, oup, 1, bias=False), nn.BatchNorm2d(oup))

    def forward(self, x: Tensor) -> Tensor:
        y = self.depth(self.expand(x))
        y = self.project(y * self.gate(y))
        return x + y if self.identity else y


class MobileNetV3(nn.Module):
    """Expansions that are no whole multiples."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 16, 3, 2, 1, bias=False), nn.BatchNorm2d(16), nn.Hardswish())
        self.blocks = nn.Sequential(
            HardBlock(16, 64, 24, 2), HardBlock(24, 72, 24, 1), HardBlock(24, 96, 40, 2), HardBlock(40, 120, 40, 1),
            HardBlock(40, 120, 48, 1), HardBlock(48, 144, 48, 1),
        )  # fmt: skip
        self.head = nn.Sequential(nn.Conv2d(48, 288, 1, bias=False), nn.BatchNorm2d(288), nn.Hardswish())
        self.classifier = nn.Sequential(nn.Linear(288, 256), nn.Hardswish(), nn.Dropout(0.2), nn.Linear(256, 10))

    def forward(self, x: Tensor) -> Tensor:
        x = functional.adaptive_avg_pool2d(self.head(self.blocks(self.stem(x))), 1)
        return self.classifier(x.view(x.size(0), -1))


class ShuffleUnit(nn.Module):
    """ShuffleNetV1's: grouped, shuffled, added or joined."""

    def __init__(self, inp: int, oup: int, stride: int, groups: int = 4) -> None:
        super().__init__()
        self.stride, self.groups = stride, groups
        mid, out = oup // 4, oup - inp if stride == 2 else oup
        self.conv1 = nn.Conv2d(inp, mid, 1, groups=groups, bias=False)
        self.bn1 = nn.BatchNorm2d(mid)
        self.conv2 = nn.Conv2d(mid, mid, 3, stride, 1, groups=mid, bias=False)
        self.bn2 = nn.BatchNorm2d(mid)
        self.conv3 = nn.Conv2d(mid, out, 1, groups=groups, bias=False)
        self.bn3 = nn.BatchNorm2d(out)

    def forward(self, x: Tensor) -> Tensor:
        out = functional.relu(self.bn1(self.conv1(x)))
        n, c, h, w = out.size()
        out = out.view(n, self.groups, c // self.groups, h, w).transpose(1, 2).reshape(n, c, h, w)
        out = self.bn3(self.conv3(self.bn2(self.conv2(out))))
        if self.stride == 2:
            return functional.relu(torch.cat([out, functional.avg_pool2d(x, 3, 2, 1)], 1))
        return functional.relu(out + x)


class ShuffleNetV1(nn.Module):
    """Its groups are paths: the same few everywhere."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Sequential(nn.Conv2d(3, 32, 3, 2, 1, bias=False), nn.BatchNorm2d(32), nn.ReLU())
        self.stage2 = nn.Sequential(ShuffleUnit(32, 96, 2), ShuffleUnit(96, 96, 1), ShuffleUnit(96, 96, 1))
        self.stage3 = nn.Sequential(ShuffleUnit(96, 192, 2), ShuffleUnit(192, 192, 1))
        self.linear = nn.Linear(192, 10)

    def forward(self, x: Tensor) -> Tensor:
        out = self.stage3(self.stage2(self.conv(x)))
        return self.linear(functional.adaptive_avg_pool2d(out, 1).flatten(1))


class SplitUnit(nn.Module):
    """ShuffleNetV2's: half of the channels go on as they are."""

    def __init__(self, inp: int, oup: int, stride: int) -> None:
        super().__init__()
        self.stride = stride
        half = oup // 2
        if stride == 2:
            self.branch1 = nn.Sequential(
                nn.Conv2d(inp, inp, 3, 2, 1, groups=inp, bias=False), nn.BatchNorm2d(inp),
                nn.Conv2d(inp, half, 1, bias=False), nn.BatchNorm2d(half), nn.ReLU(),
            )  # fmt: skip
        first = inp if stride == 2 else half
        self.branch2 = nn.Sequential(
            nn.Conv2d(first, half, 1, bias=False), nn.BatchNorm2d(half), nn.ReLU(),
            nn.Conv2d(half, half, 3, stride, 1, groups=half, bias=False), nn.BatchNorm2d(half),
            nn.Conv2d(half, half, 1, bias=False), nn.BatchNorm2d(half), nn.ReLU(),
        )  # fmt: skip

    def forward(self, x: Tensor) -> Tensor:
        if self.stride == 1:
            x1, x2 = x.chunk(2, dim=1)
            out = torch.cat((x1, self.branch2(x2)), dim=1)
        else:
            out = torch.cat((self.branch1(x), self.branch2(x)), dim=1)
        b, c, h, w = out.size()
        return torch.transpose(out.view(b, 2, c // 2, h, w), 1, 2).contiguous().view(b, -1, h, w)


class ShuffleNetV2(nn.Module):
    """Equal splits that have to stay equal."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Sequential(nn.Conv2d(3, 24, 3, 2, 1, bias=False), nn.BatchNorm2d(24), nn.ReLU())
        self.stage2 = nn.Sequential(SplitUnit(24, 48, 2), SplitUnit(48, 48, 1), SplitUnit(48, 48, 1))
        self.stage3 = nn.Sequential(SplitUnit(48, 96, 2), SplitUnit(96, 96, 1))
        self.fc = nn.Linear(96, 10)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc(self.stage3(self.stage2(self.conv1(x))).mean([2, 3]))


class GhostModule(nn.Module):
    """Makes half of its channels cheaply from the other half, and cuts what is too much."""

    def __init__(self, inp: int, oup: int, ratio: int = 2) -> None:
        super().__init__()
        self.oup = oup
        first = math.ceil(oup / ratio)
        more = first * (ratio - 1)
        self.primary = nn.Sequential(nn.Conv2d(inp, first, 1, bias=False), nn.BatchNorm2d(first), nn.ReLU())
        self.cheap = nn.Sequential(
            nn.Conv2d(first, more, 3, 1, 1, groups=first, bias=False), nn.BatchNorm2d(more), nn.ReLU()
        )

    def forward(self, x: Tensor) -> Tensor:
        x1 = self.primary(x)
        return torch.cat([x1, self.cheap(x1)], dim=1)[:, : self.oup, :, :]


class GhostBlock(nn.Module):
    """Two ghosts around a depthwise convolution."""

    def __init__(self, inp: int, hidden: int, oup: int, stride: int) -> None:
        super().__init__()
        self.ghost1, self.stride = GhostModule(inp, hidden), stride
        if stride > 1:
            self.depthwise = nn.Conv2d(hidden, hidden, 3, stride, 1, groups=hidden, bias=False)
            self.norm = nn.BatchNorm2d(hidden)
        self.ghost2 = GhostModule(hidden, oup)
        self.shortcut = nn.Sequential()
        if inp != oup or stride != 1:
            self.shortcut = nn.Sequential(nn.Conv2d(inp, oup, 1, stride, bias=False), nn.BatchNorm2d(oup))

    def forward(self, x: Tensor) -> Tensor:
        out = self.ghost1(x)
        if self.stride > 1:
            out = self.norm(self.depthwise(out))
        return self.ghost2(out) + self.shortcut(x)


class GhostNet(nn.Module):
    """Stages of ghost blocks."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 16, 3, 2, 1, bias=False), nn.BatchNorm2d(16), nn.ReLU())
        self.blocks = nn.Sequential(
            GhostBlock(16, 32, 16, 1), GhostBlock(16, 48, 24, 2), GhostBlock(24, 72, 24, 1),
            GhostBlock(24, 96, 48, 2), GhostBlock(48, 96, 48, 1),
        )  # fmt: skip
        self.classifier = nn.Linear(48, 10)

    def forward(self, x: Tensor) -> Tensor:
        return self.classifier(self.blocks(self.stem(x)).mean((2, 3)))


class RepBlock(nn.Module):
    """Three branches that are merged into one kernel after training, by numbers that it keeps for that."""

    def __init__(self, in_channels: int, out_channels: int, stride: int = 1, groups: int = 1) -> None:
        super().__init__()
        self.in_channels, self.groups = in_channels, groups
        self.rbr_identity = nn.BatchNorm2d(in_channels) if out_channels == in_channels and stride == 1 else None
        self.rbr_dense = nn.Sequential(
            nn.Conv2d(in_channels, out_channels, 3, stride, 1, groups=groups, bias=False), nn.BatchNorm2d(out_channels)
        )
        self.rbr_1x1 = nn.Sequential(
            nn.Conv2d(in_channels, out_channels, 1, stride, groups=groups, bias=False), nn.BatchNorm2d(out_channels)
        )

    def forward(self, inputs: Tensor) -> Tensor:
        identity = 0 if self.rbr_identity is None else self.rbr_identity(inputs)
        return functional.relu(self.rbr_dense(inputs) + self.rbr_1x1(inputs) + identity)

    def merged(self) -> Tensor:
        """The kernel that all three branches amount to, without their biases."""
        total = functional.pad(_fused(self.rbr_1x1[0].weight, self.rbr_1x1[1]), [1, 1, 1, 1])
        total = total + _fused(self.rbr_dense[0].weight, self.rbr_dense[1])
        if self.rbr_identity is not None:
            kernel = torch.zeros(self.in_channels, self.in_channels // self.groups, 3, 3)
            for i in range(self.in_channels):
                kernel[i, i % (self.in_channels // self.groups), 1, 1] = 1
            total = total + _fused(kernel, self.rbr_identity)
        return total


def _fused(kernel: Any, norm: Any) -> Tensor:
    return kernel * (norm.weight / (norm.running_var + norm.eps).sqrt()).reshape(-1, 1, 1, 1)


class RepVGG(nn.Module):
    """Runs of blocks that keep ``in_channels`` for later."""

    def __init__(self) -> None:
        super().__init__()
        self.stage0 = RepBlock(3, 16, 2)
        self.stage1 = nn.Sequential(RepBlock(16, 24, 2), RepBlock(24, 24))
        self.stage2 = nn.Sequential(RepBlock(24, 48, 2), RepBlock(48, 48), RepBlock(48, 48))
        self.stage3 = nn.Sequential(RepBlock(48, 96, 2))
        self.gap, self.linear = nn.AdaptiveAvgPool2d(1), nn.Linear(96, 10)

    def forward(self, x: Tensor) -> Tensor:
        out = self.gap(self.stage3(self.stage2(self.stage1(self.stage0(x)))))
        return self.linear(out.view(out.size(0), -1))


class SepBlock(nn.Module):
    """Xception's: units in a list, a skip with its own convolution where the shape changes."""

    def __init__(self, inp: int, oup: int, reps: int, stride: int = 1) -> None:
        super().__init__()
        self.skip = nn.Conv2d(inp, oup, 1, stride, bias=False) if oup != inp or stride != 1 else None
        self.skipbn = nn.BatchNorm2d(oup) if self.skip is not None else None
        units: list[nn.Module] = []
        for i in range(reps):
            first = inp if i == 0 else oup
            units += [
                nn.ReLU(), nn.Conv2d(first, first, 3, 1, 1, groups=first, bias=False),
                nn.Conv2d(first, oup, 1, bias=False), nn.BatchNorm2d(oup),
            ]  # fmt: skip
        if stride != 1:
            units.append(nn.MaxPool2d(3, stride, 1))
        self.rep = nn.Sequential(*units)

    def forward(self, x: Tensor) -> Tensor:
        skip = x if self.skip is None else self.skipbn(self.skip(x))  # type: ignore[misc]
        return self.rep(x) + skip


class Xception(nn.Module):
    """Blocks that are attributes of the network, one by one."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Sequential(nn.Conv2d(3, 16, 3, 2, 1, bias=False), nn.BatchNorm2d(16), nn.ReLU())
        self.block1, self.block2 = SepBlock(16, 32, 2, 2), SepBlock(32, 64, 2, 2)
        self.block3, self.block4, self.block5 = SepBlock(64, 64, 2), SepBlock(64, 64, 2), SepBlock(64, 64, 2)
        self.bn, self.fc = nn.BatchNorm2d(64), nn.Linear(64, 10)

    def forward(self, x: Tensor) -> Tensor:
        x = self.block2(self.block1(self.conv1(x)))
        x = self.block5(self.block4(self.block3(x)))
        return self.fc(functional.relu(self.bn(x)).mean((2, 3)))
