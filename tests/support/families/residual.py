"""Residual networks, as the many public ports of them are written."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.checkpoint import checkpoint


class TwoConvolutions(nn.Module):
    """What the basic blocks below share: two convolutions with norms, and the branch that they are."""

    def __init__(self, in_planes: int, planes: int, stride: int = 1) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(in_planes, planes, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(planes)
        self.conv2 = nn.Conv2d(planes, planes, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(planes)

    def twice(self, x: Tensor) -> Tensor:
        """Without the shortcut and the last rectifier."""
        return self.bn2(self.conv2(functional.relu(self.bn1(self.conv1(x)))))


class BasicBlock(TwoConvolutions):
    """A shortcut that is a Sequential, empty where the shape stays."""

    expansion = 1

    def __init__(self, in_planes: int, planes: int, stride: int = 1) -> None:
        super().__init__(in_planes, planes, stride)
        self.shortcut = nn.Sequential()
        if stride != 1 or in_planes != planes:
            self.shortcut = nn.Sequential(nn.Conv2d(in_planes, planes, 1, stride, bias=False), nn.BatchNorm2d(planes))

    def forward(self, x: Tensor) -> Tensor:
        out = self.twice(x)
        out += self.shortcut(x)
        return functional.relu(out)


class CifarResNet(nn.Module):
    """Ends in a pool of a fixed size."""

    def __init__(self, block: type[nn.Module] = BasicBlock, widths: tuple[int, ...] = (16, 32, 64, 128)) -> None:
        super().__init__()
        self.in_planes = widths[0]
        self.conv1 = nn.Conv2d(3, widths[0], 3, 1, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(widths[0])
        self.layer1 = self._make_layer(block, widths[0], 2, 1)
        self.layer2 = self._make_layer(block, widths[1], 2, 2)
        self.layer3 = self._make_layer(block, widths[2], 2, 2)
        self.layer4 = self._make_layer(block, widths[3], 2, 2)
        self.linear = nn.Linear(widths[3], 10)

    def _make_layer(self, block: type[nn.Module], planes: int, count: int, stride: int) -> nn.Sequential:
        layers = []
        for each in [stride] + [1] * (count - 1):
            layers.append(block(self.in_planes, planes, each))
            self.in_planes = planes
        return nn.Sequential(*layers)

    def forward(self, x: Tensor) -> Tensor:
        out = functional.relu(self.bn1(self.conv1(x)))
        out = self.layer4(self.layer3(self.layer2(self.layer1(out))))
        out = functional.avg_pool2d(out, 4)
        return self.linear(out.view(out.size(0), -1))


class PreActBlock(nn.Module):
    """The shortcut is there only where it changes something."""

    def __init__(self, in_planes: int, planes: int, stride: int = 1) -> None:
        super().__init__()
        self.bn1 = nn.BatchNorm2d(in_planes)
        self.conv1 = nn.Conv2d(in_planes, planes, 3, stride, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(planes)
        self.conv2 = nn.Conv2d(planes, planes, 3, 1, 1, bias=False)
        if stride != 1 or in_planes != planes:
            self.shortcut = nn.Sequential(nn.Conv2d(in_planes, planes, 1, stride, bias=False))

    def forward(self, x: Tensor) -> Tensor:
        out = functional.relu(self.bn1(x))
        shortcut = self.shortcut(out) if hasattr(self, "shortcut") else x
        out = self.conv1(out)
        return self.conv2(functional.relu(self.bn2(out))) + shortcut


class PaddedBlock(TwoConvolutions):
    """The shortcut has no weights: every second pixel, and zeros for the channels that are new (option A)."""

    def __init__(self, in_planes: int, planes: int, stride: int = 1) -> None:
        super().__init__(in_planes, planes, stride)
        self.planes, self.in_planes, self.stride = planes, in_planes, stride

    def forward(self, x: Tensor) -> Tensor:
        out = self.twice(x)
        if self.stride != 1 or self.in_planes != self.planes:
            extra = self.planes - self.in_planes
            x = functional.pad(x[:, :, :: self.stride, :: self.stride], (0, 0, 0, 0, extra // 2, extra - extra // 2))
        return functional.relu(out + x)


class LambdaLayer(nn.Module):
    """Whatever function it is given."""

    def __init__(self, function) -> None:  # type: ignore[no-untyped-def]
        super().__init__()
        self.function = function

    def forward(self, x: Tensor) -> Tensor:
        return self.function(x)


class ClosureBlock(TwoConvolutions):
    """The same, with the numbers in a closure, where nobody can see them."""

    def __init__(self, in_planes: int, planes: int, stride: int = 1) -> None:
        super().__init__(in_planes, planes, stride)
        self.shortcut: nn.Module = nn.Sequential()
        if stride != 1 or in_planes != planes:
            self.shortcut = LambdaLayer(
                lambda x: functional.pad(x[:, :, ::2, ::2], (0, 0, 0, 0, planes // 4, planes // 4), "constant", 0)
            )

    def forward(self, x: Tensor) -> Tensor:
        return functional.relu(self.twice(x) + self.shortcut(x))


class WideBlock(nn.Module):
    """Keeps whether it keeps the shape."""

    def __init__(self, in_planes: int, out_planes: int, stride: int = 1) -> None:
        super().__init__()
        self.bn1 = nn.BatchNorm2d(in_planes)
        self.conv1 = nn.Conv2d(in_planes, out_planes, 3, stride, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(out_planes)
        self.conv2 = nn.Conv2d(out_planes, out_planes, 3, 1, 1, bias=False)
        self.droprate = 0.1
        self.equal_in_out = in_planes == out_planes
        self.shortcut = (not self.equal_in_out and nn.Conv2d(in_planes, out_planes, 1, stride, bias=False)) or None

    def forward(self, x: Tensor) -> Tensor:
        if not self.equal_in_out:
            x = functional.relu(self.bn1(x))
            out = x
        else:
            out = functional.relu(self.bn1(x))
        out = functional.relu(self.bn2(self.conv1(out)))
        out = functional.dropout(out, p=self.droprate, training=self.training)
        return torch.add(x if self.equal_in_out else self.shortcut(x), self.conv2(out))  # type: ignore[misc]


class WideNet(nn.Module):
    """Its last module keeps the number of channels for a view."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 16, 3, 1, 1, bias=False)
        self.block1 = nn.Sequential(WideBlock(16, 32), WideBlock(32, 32))
        self.block2 = nn.Sequential(WideBlock(32, 64, 2), WideBlock(64, 64))
        self.block3 = nn.Sequential(WideBlock(64, 128, 2), WideBlock(128, 128))
        self.bn1 = nn.BatchNorm2d(128)
        self.fc = nn.Linear(128, 10)
        self.nChannels = 128

    def forward(self, x: Tensor) -> Tensor:
        out = self.block3(self.block2(self.block1(self.conv1(x))))
        out = functional.avg_pool2d(functional.relu(self.bn1(out)), 8)
        return self.fc(out.view(-1, self.nChannels))


class SEBlock(nn.Module):
    """Squeeze and excite by an integer ratio, then a residual sum."""

    def __init__(self, in_planes: int, planes: int, stride: int = 1) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(in_planes, planes, 3, stride, 1, bias=False), nn.BatchNorm2d(planes), nn.ReLU(inplace=True),
            nn.Conv2d(planes, planes, 3, 1, 1, bias=False), nn.BatchNorm2d(planes),
        )  # fmt: skip
        self.fc = nn.Sequential(
            nn.Linear(planes, planes // 4), nn.ReLU(inplace=True), nn.Linear(planes // 4, planes), nn.Sigmoid()
        )
        self.down = (
            nn.Sequential(nn.Conv2d(in_planes, planes, 1, stride, bias=False), nn.BatchNorm2d(planes))
            if stride != 1 or in_planes != planes
            else None
        )

    def forward(self, x: Tensor) -> Tensor:
        out = self.body(x)
        b, c, _, _ = out.size()
        gate = self.fc(out.mean((2, 3)).view(b, c)).view(b, c, 1, 1)
        return functional.relu(out * gate.expand_as(out) + (x if self.down is None else self.down(x)))


class Channels(nn.Module):
    """CBAM's gate over channels: means and maxima through one perceptron."""

    def __init__(self, planes: int) -> None:
        super().__init__()
        self.mlp = nn.Sequential(
            nn.Flatten(), nn.Linear(planes, planes // 8), nn.ReLU(), nn.Linear(planes // 8, planes)
        )

    def forward(self, x: Tensor) -> Tensor:
        total = None
        for pool in ("avg", "max"):
            function = functional.avg_pool2d if pool == "avg" else functional.max_pool2d
            raw = self.mlp(function(x, (x.size(2), x.size(3)), stride=(x.size(2), x.size(3))))
            total = raw if total is None else total + raw
        return x * torch.sigmoid(total).unsqueeze(2).unsqueeze(3).expand_as(x)  # type: ignore[arg-type]


class Places(nn.Module):
    """CBAM's gate over positions."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(2, 1, 7, padding=3, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        both = torch.cat((torch.max(x, 1)[0].unsqueeze(1), torch.mean(x, 1).unsqueeze(1)), dim=1)
        return x * torch.sigmoid(self.conv(both))


class CBAMBlock(BasicBlock):
    """A basic block with both of CBAM's gates."""

    def __init__(self, in_planes: int, planes: int, stride: int = 1) -> None:
        super().__init__(in_planes, planes, stride)
        self.ca, self.sa = Channels(planes), Places()

    def forward(self, x: Tensor) -> Tensor:
        out = self.twice(x)
        return functional.relu(self.sa(self.ca(out)) + self.shortcut(x))


class ECABlock(BasicBlock):
    """A one-dimensional convolution that slides over the channels' means."""

    def __init__(self, in_planes: int, planes: int, stride: int = 1) -> None:
        super().__init__(in_planes, planes, stride)
        self.conv = nn.Conv1d(1, 1, 3, padding=1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        out = self.twice(x)
        means = functional.adaptive_avg_pool2d(out, 1)
        gate = self.conv(means.squeeze(-1).transpose(-1, -2)).transpose(-1, -2).unsqueeze(-1)
        return functional.relu(out * torch.sigmoid(gate).expand_as(out) + self.shortcut(x))


class Bottleneck(nn.Module):
    """A grouped bottleneck, its width worked out from a cardinality (ResNeXt)."""

    def __init__(self, in_planes: int, planes: int, stride: int = 1, cardinality: int = 16) -> None:
        super().__init__()
        width = planes
        self.conv1 = nn.Conv2d(in_planes, width, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, stride, 1, groups=cardinality, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.conv3 = nn.Conv2d(width, 2 * planes, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(2 * planes)
        self.shortcut = nn.Sequential()
        if stride != 1 or in_planes != 2 * planes:
            self.shortcut = nn.Sequential(
                nn.Conv2d(in_planes, 2 * planes, 1, stride, bias=False), nn.BatchNorm2d(2 * planes)
            )

    def forward(self, x: Tensor) -> Tensor:
        out = functional.relu(self.bn1(self.conv1(x)))
        out = functional.relu(self.bn2(self.conv2(out)))
        return functional.relu(self.bn3(self.conv3(out)) + self.shortcut(x))


class ResNeXt(nn.Module):
    """Grouped bottlenecks in four runs."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 32, 3, 1, 1, bias=False), nn.BatchNorm2d(32), nn.ReLU())
        self.stage1 = nn.Sequential(Bottleneck(32, 32), Bottleneck(64, 32))
        self.stage2 = nn.Sequential(Bottleneck(64, 64, 2), Bottleneck(128, 64))
        self.stage3 = nn.Sequential(Bottleneck(128, 128, 2), Bottleneck(256, 128))
        self.pool, self.fc = nn.AdaptiveAvgPool2d((1, 1)), nn.Linear(256, 10)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc(self.pool(self.stage3(self.stage2(self.stage1(self.stem(x))))).flatten(1))


class Res2Block(nn.Module):
    """Parts its channels and passes each part on to the next (Res2Net)."""

    def __init__(self, in_planes: int, planes: int, stride: int = 1, scale: int = 4) -> None:
        super().__init__()
        self.width, self.nums = planes // scale, scale - 1
        self.conv1 = nn.Conv2d(in_planes, self.width * scale, 1, stride, bias=False)
        self.bn1 = nn.BatchNorm2d(self.width * scale)
        self.convs = nn.ModuleList(
            nn.Conv2d(self.width, self.width, 3, padding=1, bias=False) for _ in range(self.nums)
        )
        self.bns = nn.ModuleList(nn.BatchNorm2d(self.width) for _ in range(self.nums))
        self.conv3 = nn.Conv2d(self.width * scale, planes, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(planes)
        self.down = nn.Sequential()
        if stride != 1 or in_planes != planes:
            self.down = nn.Sequential(nn.Conv2d(in_planes, planes, 1, stride, bias=False), nn.BatchNorm2d(planes))

    def forward(self, x: Tensor) -> Tensor:
        parts = torch.split(functional.relu(self.bn1(self.conv1(x))), self.width, 1)
        part, out = parts[0], None
        for i in range(self.nums):
            part = part if i == 0 else part + parts[i]
            part = functional.relu(self.bns[i](self.convs[i](part)))
            out = part if out is None else torch.cat((out, part), 1)
        out = torch.cat((out, parts[self.nums]), 1)  # type: ignore[arg-type]
        return functional.relu(self.bn3(self.conv3(out)) + self.down(x))


class SKBlock(BasicBlock):
    """Two branches, weighed by a softmax over them (SKNet)."""

    def __init__(self, in_planes: int, planes: int, stride: int = 1) -> None:
        super().__init__(in_planes, planes, stride)
        self.branch = nn.Conv2d(planes, planes, 3, padding=2, dilation=2, bias=False)
        self.squeeze = nn.Linear(planes, max(planes // 4, 8))
        self.fcs = nn.ModuleList(nn.Linear(max(planes // 4, 8), planes) for _ in range(2))

    def forward(self, x: Tensor) -> Tensor:
        out = functional.relu(self.bn1(self.conv1(x)))
        feats = torch.stack([self.conv2(out), self.branch(out)], dim=1)
        z = functional.relu(self.squeeze(feats.sum(1).mean((2, 3))))
        weights = torch.stack([fc(z) for fc in self.fcs], dim=1).softmax(1).unsqueeze(-1).unsqueeze(-1)
        return functional.relu(self.bn2((feats * weights).sum(1)) + self.shortcut(x))


class CheckpointedNet(CifarResNet):
    """Forgets activations and works them out again in the backward pass."""

    def forward(self, x: Tensor) -> Tensor:
        out = functional.relu(self.bn1(self.conv1(x)))
        for layer in (self.layer1, self.layer2, self.layer3, self.layer4):
            out = checkpoint(layer, out, use_reentrant=False)
        return self.linear(out.mean((2, 3)))


class BlurPool(nn.Module):
    """Blurs by a buffer that has as many rows as there are channels."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.channels = channels
        row = torch.tensor([1.0, 2.0, 1.0])
        kernel = row[:, None] * row[None, :] / 16
        self.register_buffer("filt", kernel[None, None].repeat(channels, 1, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        x = functional.pad(x, (1, 1, 1, 1), mode="reflect")
        return functional.conv2d(x, self.filt, stride=2, groups=x.shape[1])  # type: ignore[arg-type]


class BlurNet(CifarResNet):
    """Blurs before it takes every second pixel."""

    def __init__(self) -> None:
        super().__init__()
        self.blur = BlurPool(128)

    def forward(self, x: Tensor) -> Tensor:
        out = functional.relu(self.bn1(self.conv1(x)))
        out = self.blur(self.layer4(self.layer3(self.layer2(self.layer1(out)))))
        return self.linear(out.mean((2, 3)))
