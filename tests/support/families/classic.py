"""Chains, fire modules, dense and branching networks, patches, and what is no ConvNet for one image at all."""

from __future__ import annotations

import math
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils.parametrizations import spectral_norm


class LeNet(nn.Module):
    """Flattens a map of a known size."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1, self.conv2 = nn.Conv2d(3, 6, 5), nn.Conv2d(6, 16, 5)
        self.fc1, self.fc2, self.fc3 = nn.Linear(16 * 5 * 5, 120), nn.Linear(120, 84), nn.Linear(84, 10)

    def forward(self, x: Tensor) -> Tensor:
        x = functional.max_pool2d(functional.relu(self.conv1(x)), 2)
        x = functional.max_pool2d(functional.relu(self.conv2(x)), 2)
        x = x.view(-1, 16 * 5 * 5)
        return self.fc3(functional.relu(self.fc2(functional.relu(self.fc1(x)))))


class AlexNet(nn.Module):
    """Pools to a fixed grid, then three linear layers."""

    def __init__(self) -> None:
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(3, 16, 5, 2, 2), nn.ReLU(inplace=True), nn.MaxPool2d(3, 2), nn.Conv2d(16, 48, 5, padding=2),
            nn.ReLU(inplace=True), nn.MaxPool2d(3, 2), nn.Conv2d(48, 96, 3, padding=1), nn.ReLU(inplace=True),
            nn.Conv2d(96, 64, 3, padding=1), nn.ReLU(inplace=True), nn.Conv2d(64, 64, 3, padding=1),
            nn.ReLU(inplace=True),
        )  # fmt: skip
        self.avgpool = nn.AdaptiveAvgPool2d((3, 3))
        self.classifier = nn.Sequential(
            nn.Dropout(), nn.Linear(64 * 3 * 3, 128), nn.ReLU(inplace=True), nn.Dropout(), nn.Linear(128, 128),
            nn.ReLU(inplace=True), nn.Linear(128, 10),
        )  # fmt: skip

    def forward(self, x: Tensor) -> Tensor:
        return self.classifier(torch.flatten(self.avgpool(self.features(x)), 1))


class VGG(nn.Module):
    """Runs of convolution, norm and rectifier in one Sequential, made from a list of numbers and letters."""

    cfg = (16, 16, "M", 32, 32, "M", 64, 64, 64, "M", 128, 128, "M", 128, "M")

    def __init__(self) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        in_channels = 3
        for x in self.cfg:
            if isinstance(x, str):
                layers.append(nn.MaxPool2d(2, 2))
            else:
                layers += [nn.Conv2d(in_channels, x, 3, padding=1), nn.BatchNorm2d(x), nn.ReLU(inplace=True)]
                in_channels = x
        layers.append(nn.AvgPool2d(1, 1))
        self.features, self.classifier = nn.Sequential(*layers), nn.Linear(128, 10)

    def forward(self, x: Tensor) -> Tensor:
        out = self.features(x)
        return self.classifier(out.view(out.size(0), -1))


class NiN(nn.Module):
    """Its last convolution gives the classes."""

    def __init__(self) -> None:
        super().__init__()
        self.classifier = nn.Sequential(
            nn.Conv2d(3, 48, 5, padding=2), nn.ReLU(), nn.Conv2d(48, 40, 1), nn.ReLU(), nn.Conv2d(40, 24, 1), nn.ReLU(),
            nn.MaxPool2d(3, 2, 1), nn.Dropout(0.5), nn.Conv2d(24, 48, 5, padding=2), nn.ReLU(), nn.Conv2d(48, 48, 1),
            nn.ReLU(), nn.AvgPool2d(3, 2, 1), nn.Conv2d(48, 48, 3, padding=1), nn.ReLU(), nn.Conv2d(48, 10, 1),
            nn.AvgPool2d(8, 1),
        )  # fmt: skip

    def forward(self, x: Tensor) -> Tensor:
        x = self.classifier(x)
        return x.view(x.size(0), 10)


class Fire(nn.Module):
    """Squeezes, then expands by two kernels whose maps are joined."""

    def __init__(self, inplanes: int, squeeze: int, expand: int) -> None:
        super().__init__()
        self.squeeze = nn.Conv2d(inplanes, squeeze, 1)
        self.expand1x1, self.expand3x3 = nn.Conv2d(squeeze, expand, 1), nn.Conv2d(squeeze, expand, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        x = functional.relu(self.squeeze(x))
        return torch.cat([functional.relu(self.expand1x1(x)), functional.relu(self.expand3x3(x))], 1)


class SqueezeNet(nn.Module):
    """Fires in a row, a convolution to the classes, a mean."""

    def __init__(self) -> None:
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(3, 32, 3, 2), nn.ReLU(inplace=True), nn.MaxPool2d(3, 2, ceil_mode=True), Fire(32, 8, 32),
            Fire(64, 8, 32), nn.MaxPool2d(3, 2, ceil_mode=True), Fire(64, 16, 64), Fire(128, 16, 64), Fire(128, 16, 64),
        )  # fmt: skip
        self.classifier = nn.Sequential(nn.Dropout(0.5), nn.Conv2d(128, 10, 1), nn.ReLU(), nn.AdaptiveAvgPool2d((1, 1)))
        for m in self.modules():
            if isinstance(m, nn.Conv2d):
                nn.init.kaiming_uniform_(m.weight)
                if m.bias is not None:
                    nn.init.constant_(m.bias, 0)

    def forward(self, x: Tensor) -> Tensor:
        return torch.flatten(self.classifier(self.features(x)), 1)


class DenseLayer(nn.Module):
    """Takes everything before it, as separate arguments."""

    def __init__(self, inputs: int, growth: int) -> None:
        super().__init__()
        self.norm1, self.conv1 = nn.BatchNorm2d(inputs), nn.Conv2d(inputs, 4 * growth, 1, bias=False)
        self.norm2, self.conv2 = nn.BatchNorm2d(4 * growth), nn.Conv2d(4 * growth, growth, 3, padding=1, bias=False)

    def forward(self, *prev: Tensor) -> Tensor:
        x = torch.cat(prev, 1)
        x = self.conv1(functional.relu(self.norm1(x)))
        return self.conv2(functional.relu(self.norm2(x)))


class DenseBlock(nn.ModuleDict):
    """Runs whatever layers it holds."""

    def __init__(self, count: int, inputs: int, growth: int) -> None:
        super().__init__()
        for i in range(count):
            self.add_module(f"denselayer{i + 1}", DenseLayer(inputs + i * growth, growth))

    def forward(self, first: Tensor) -> Tensor:
        features = [first]
        for layer in self.values():
            features.append(layer(*features))
        return torch.cat(features, 1)


class DenseNet(nn.Module):
    """Dense blocks with transitions that halve."""

    def __init__(self) -> None:
        super().__init__()
        self.conv0 = nn.Conv2d(3, 24, 3, 1, 1, bias=False)
        self.block1 = DenseBlock(3, 24, 12)
        self.trans1 = nn.Sequential(nn.BatchNorm2d(60), nn.ReLU(), nn.Conv2d(60, 30, 1, bias=False), nn.AvgPool2d(2))
        self.block2 = DenseBlock(3, 30, 12)
        self.norm, self.classifier = nn.BatchNorm2d(66), nn.Linear(66, 10)

    def forward(self, x: Tensor) -> Tensor:
        x = self.block2(self.trans1(self.block1(self.conv0(x))))
        return self.classifier(functional.adaptive_avg_pool2d(functional.relu(self.norm(x)), (1, 1)).flatten(1))


class DenseUnit(nn.Module):
    """Joins its result to what it was given."""

    def __init__(self, in_planes: int, growth_rate: int) -> None:
        super().__init__()
        self.bn1, self.conv1 = nn.BatchNorm2d(in_planes), nn.Conv2d(in_planes, 4 * growth_rate, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(4 * growth_rate)
        self.conv2 = nn.Conv2d(4 * growth_rate, growth_rate, 3, padding=1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        out = self.conv1(functional.relu(self.bn1(x)))
        return torch.cat([self.conv2(functional.relu(self.bn2(out))), x], 1)


class DenseCifar(nn.Module):
    """A Sequential of units per block; transitions by ``math.floor``."""

    def __init__(self, growth: int = 12) -> None:
        super().__init__()
        planes = 2 * growth
        self.conv1 = nn.Conv2d(3, planes, 3, padding=1, bias=False)
        self.dense1 = nn.Sequential(*(DenseUnit(planes + i * growth, growth) for i in range(3)))
        planes += 3 * growth
        out = math.floor(planes * 0.5)
        self.trans1 = nn.Sequential(
            nn.BatchNorm2d(planes), nn.ReLU(), nn.Conv2d(planes, out, 1, bias=False), nn.AvgPool2d(2)
        )
        self.dense2 = nn.Sequential(*(DenseUnit(out + i * growth, growth) for i in range(3)))
        self.bn, self.linear = nn.BatchNorm2d(out + 3 * growth), nn.Linear(out + 3 * growth, 10)

    def forward(self, x: Tensor) -> Tensor:
        out = self.dense2(self.trans1(self.dense1(self.conv1(x))))
        out = functional.avg_pool2d(functional.relu(self.bn(out)), 16)
        return self.linear(out.view(out.size(0), -1))


class Inception(nn.Module):
    """Four branches, joined."""

    def __init__(self, inp: int, n1: int, n3red: int, n3: int, n5red: int, n5: int, pool: int) -> None:
        super().__init__()
        self.b1 = self._unit(inp, n1, 1)
        self.b2 = nn.Sequential(self._unit(inp, n3red, 1), self._unit(n3red, n3, 3))
        self.b3 = nn.Sequential(self._unit(inp, n5red, 1), self._unit(n5red, n5, 3), self._unit(n5, n5, 3))
        self.b4 = nn.Sequential(nn.MaxPool2d(3, 1, 1), self._unit(inp, pool, 1))

    @staticmethod
    def _unit(inp: int, oup: int, kernel: int) -> nn.Sequential:
        return nn.Sequential(nn.Conv2d(inp, oup, kernel, padding=kernel // 2), nn.BatchNorm2d(oup), nn.ReLU(True))

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([self.b1(x), self.b2(x), self.b3(x), self.b4(x)], 1)


class GoogLeNet(nn.Module):
    """An auxiliary head while it trains; logits first."""

    def __init__(self) -> None:
        super().__init__()
        self.pre = Inception._unit(3, 48, 3)
        self.a3, self.b3 = Inception(48, 16, 24, 32, 4, 8, 8), Inception(64, 16, 24, 32, 4, 8, 8)
        self.a4, self.b4 = Inception(64, 32, 24, 64, 8, 16, 16), Inception(128, 32, 24, 64, 8, 16, 16)
        self.aux, self.linear = nn.Linear(64, 10), nn.Linear(128, 10)

    def forward(self, x: Tensor) -> Any:
        out = functional.max_pool2d(self.b3(self.a3(self.pre(x))), 3, 2, 1)
        aux = self.aux(out.mean((2, 3)))
        out = self.b4(self.a4(out))
        logits = self.linear(functional.avg_pool2d(out, 16).flatten(1))
        return (logits, aux) if self.training else logits


class DualPath(nn.Module):
    """A residual path and a dense one."""

    def __init__(self, last: int, inp: int, out: int, dense: int, stride: int, *, first: bool) -> None:
        super().__init__()
        self.out_planes, self.dense_depth = out, dense
        self.conv1, self.bn1 = nn.Conv2d(last, inp, 1, bias=False), nn.BatchNorm2d(inp)
        self.conv2, self.bn2 = nn.Conv2d(inp, inp, 3, stride, 1, groups=8, bias=False), nn.BatchNorm2d(inp)
        self.conv3, self.bn3 = nn.Conv2d(inp, out + dense, 1, bias=False), nn.BatchNorm2d(out + dense)
        self.shortcut = nn.Sequential()
        if first:
            self.shortcut = nn.Sequential(
                nn.Conv2d(last, out + dense, 1, stride, bias=False), nn.BatchNorm2d(out + dense)
            )

    def forward(self, x: Tensor) -> Tensor:
        out = functional.relu(self.bn1(self.conv1(x)))
        out = self.bn3(self.conv3(functional.relu(self.bn2(self.conv2(out)))))
        x, d = self.shortcut(x), self.out_planes
        return functional.relu(torch.cat([x[:, :d] + out[:, :d], x[:, d:], out[:, d:]], 1))


class DPN(nn.Module):
    """Dual paths in two stages."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Sequential(nn.Conv2d(3, 32, 3, 1, 1, bias=False), nn.BatchNorm2d(32), nn.ReLU())
        self.layer1 = nn.Sequential(DualPath(32, 32, 64, 8, 1, first=True), DualPath(80, 32, 64, 8, 1, first=False))
        self.layer2 = nn.Sequential(DualPath(88, 64, 96, 8, 2, first=True), DualPath(112, 64, 96, 8, 1, first=False))
        self.linear = nn.Linear(120, 10)

    def forward(self, x: Tensor) -> Tensor:
        return self.linear(self.layer2(self.layer1(self.conv1(x))).mean((2, 3)))


class CrossStage(nn.Module):
    """Half of the channels go round the blocks (CSPNet)."""

    def __init__(self, inp: int, oup: int, count: int) -> None:
        super().__init__()
        self.down = nn.Sequential(nn.Conv2d(inp, oup, 3, 2, 1, bias=False), nn.BatchNorm2d(oup), nn.LeakyReLU(0.1))
        half = oup // 2
        self.blocks = nn.Sequential(*(_Darknet(half) for _ in range(count)))
        self.last = nn.Sequential(nn.Conv2d(oup, oup, 1, bias=False), nn.BatchNorm2d(oup), nn.LeakyReLU(0.1))

    def forward(self, x: Tensor) -> Tensor:
        x = self.down(x)
        x1, x2 = torch.split(x, x.shape[1] // 2, dim=1)
        return self.last(torch.cat([x1, self.blocks(x2)], dim=1))


class _Darknet(nn.Module):
    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv1 = nn.Sequential(nn.Conv2d(channels, channels // 2, 1, bias=False), nn.BatchNorm2d(channels // 2))
        self.conv2 = nn.Sequential(
            nn.Conv2d(channels // 2, channels, 3, padding=1, bias=False), nn.BatchNorm2d(channels)
        )

    def forward(self, x: Tensor) -> Tensor:
        return x + functional.leaky_relu(self.conv2(functional.leaky_relu(self.conv1(x), 0.1)), 0.1)


class CSPNet(nn.Module):
    """Cross stages of two and three blocks."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 16, 3, 1, 1)
        self.stages = nn.Sequential(CrossStage(16, 32, 2), CrossStage(32, 64, 3))
        self.head = nn.Linear(64, 10)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.stages(self.stem(x)).mean((2, 3)))


class ConvNeXtBlock(nn.Module):
    """Channels last inside, a layer scale, a residual."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.dwconv, self.norm = nn.Conv2d(dim, dim, 7, padding=3, groups=dim), nn.LayerNorm(dim, eps=1e-6)
        self.pwconv1, self.pwconv2 = nn.Linear(dim, 4 * dim), nn.Linear(4 * dim, dim)
        self.gamma = nn.Parameter(1e-6 * torch.ones(dim), requires_grad=True)

    def forward(self, x: Tensor) -> Tensor:
        kept = x
        x = self.norm(self.dwconv(x).permute(0, 2, 3, 1))
        x = self.gamma * self.pwconv2(functional.gelu(self.pwconv1(x)))
        return kept + x.permute(0, 3, 1, 2)


class FirstNorm(nn.Module):
    """A layer norm over channels that come first, written out."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.weight, self.bias = nn.Parameter(torch.ones(dim)), nn.Parameter(torch.zeros(dim))

    def forward(self, x: Tensor) -> Tensor:
        u = x.mean(1, keepdim=True)
        s = (x - u).pow(2).mean(1, keepdim=True)
        x = (x - u) / torch.sqrt(s + 1e-6)
        return self.weight[:, None, None] * x + self.bias[:, None, None]


class ConvNeXt(nn.Module):
    """Its stages lie in one list, what lies between them in another."""

    def __init__(self, depths: tuple[int, ...] = (2, 3, 2), dims: tuple[int, ...] = (24, 48, 96)) -> None:
        super().__init__()
        self.downsample_layers, self.stages = nn.ModuleList(), nn.ModuleList()
        self.downsample_layers.append(nn.Sequential(nn.Conv2d(3, dims[0], 4, 4), FirstNorm(dims[0])))
        for i in range(len(dims) - 1):
            self.downsample_layers.append(nn.Sequential(FirstNorm(dims[i]), nn.Conv2d(dims[i], dims[i + 1], 2, 2)))
        for depth, dim in zip(depths, dims, strict=True):
            self.stages.append(nn.Sequential(*[ConvNeXtBlock(dim) for _ in range(depth)]))
        self.norm, self.head = nn.LayerNorm(dims[-1], eps=1e-6), nn.Linear(dims[-1], 10)
        for m in self.modules():
            if isinstance(m, (nn.Conv2d, nn.Linear)):
                nn.init.trunc_normal_(m.weight, std=0.02)
                nn.init.constant_(m.bias, 0)  # type: ignore[arg-type]

    def forward(self, x: Tensor) -> Tensor:
        for i in range(3):
            x = self.stages[i](self.downsample_layers[i](x))
        return self.head(self.norm(x.mean([-2, -1])))


class Residual(nn.Module):
    """Adds what a function makes of it."""

    def __init__(self, fn: nn.Module) -> None:
        super().__init__()
        self.fn = fn

    def forward(self, x: Tensor) -> Tensor:
        return self.fn(x) + x


def conv_mixer(dim: int = 48, depth: int = 3) -> nn.Module:
    """Patches and one stage of blocks that are plain Sequentials."""
    return nn.Sequential(
        nn.Conv2d(3, dim, 4, 4), nn.GELU(), nn.BatchNorm2d(dim),
        *[
            nn.Sequential(
                Residual(
                    nn.Sequential(nn.Conv2d(dim, dim, 5, groups=dim, padding="same"), nn.GELU(), nn.BatchNorm2d(dim))
                ),
                nn.Conv2d(dim, dim, 1), nn.GELU(), nn.BatchNorm2d(dim),
            )
            for _ in range(depth)
        ],
        nn.AdaptiveAvgPool2d((1, 1)), nn.Flatten(), nn.Linear(dim, 10),
    )  # fmt: skip


class CoordNet(nn.Module):
    """Two more channels that say where a pixel is."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1, self.conv2 = nn.Conv2d(5, 32, 3, 2, 1), nn.Conv2d(32, 64, 3, 2, 1)
        self.body = nn.Sequential(*[Residual(nn.Sequential(nn.Conv2d(64, 64, 3, 1, 1), nn.ReLU())) for _ in range(2)])
        self.fc = nn.Linear(64, 10)

    def forward(self, x: Tensor) -> Tensor:
        b, _, h, w = x.size()
        rows = torch.linspace(-1, 1, h, device=x.device).view(1, 1, h, 1).expand(b, 1, h, w)
        columns = torch.linspace(-1, 1, w, device=x.device).view(1, 1, 1, w).expand(b, 1, h, w)
        x = functional.relu(self.conv1(torch.cat([x, rows, columns], 1)))
        return self.fc(self.body(functional.relu(self.conv2(x))).mean((2, 3)))


class SpectralNet(nn.Module):
    """Its weights are divided by their largest singular value whenever it runs."""

    def __init__(self) -> None:
        super().__init__()
        widths = (3, 16, 32, 64)
        self.body = nn.Sequential(
            *[
                layer
                for i, o in pairwise(widths)
                for layer in (spectral_norm(nn.Conv2d(i, o, 3, 2, 1)), nn.LeakyReLU(0.1))
            ]
        )
        self.fc = spectral_norm(nn.Linear(64, 10))

    def forward(self, x: Tensor) -> Tensor:
        return self.fc(self.body(x).sum([2, 3]))


class HighResolution(nn.Module):
    """Two resolutions side by side that hear of each other (HRNet)."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 16, 3, 2, 1, bias=False), nn.BatchNorm2d(16), nn.ReLU())
        self.transition = nn.Sequential(nn.Conv2d(16, 32, 3, 2, 1, bias=False), nn.BatchNorm2d(32), nn.ReLU())
        self.high = nn.Sequential(*[Residual(_unit(16, 16)) for _ in range(2)])
        self.low = nn.Sequential(*[Residual(_unit(32, 32)) for _ in range(2)])
        self.up, self.down = nn.Conv2d(32, 16, 1, bias=False), nn.Conv2d(16, 32, 3, 2, 1, bias=False)
        self.last, self.fc = nn.Conv2d(48, 64, 1), nn.Linear(64, 10)

    def forward(self, x: Tensor) -> Tensor:
        high = self.stem(x)
        low = self.low(self.transition(high))
        high = self.high(high)
        both = high + functional.interpolate(self.up(low), size=high.shape[2:], mode="nearest")
        low = functional.relu(low + self.down(high))
        joined = torch.cat([both, functional.interpolate(low, size=both.shape[2:], mode="bilinear")], 1)
        return self.fc(functional.relu(self.last(joined)).mean((2, 3)))


def _unit(inp: int, oup: int) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(inp, oup, 3, 1, 1, bias=False), nn.BatchNorm2d(oup), nn.ReLU())


class AllDifferent(nn.Module):
    """No two of its layers are alike."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1, self.conv2 = nn.Conv2d(3, 16, 5, 2), nn.Conv2d(16, 32, 3)
        self.conv3, self.fc = nn.Conv2d(32, 64, 1), nn.Linear(64, 10)

    def forward(self, x: Tensor) -> Tensor:
        x = functional.relu(self.conv2(functional.relu(self.conv1(x))))
        return self.fc(functional.relu(self.conv3(x)).mean((2, 3)))
