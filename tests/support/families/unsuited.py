"""Networks that cannot be scaled as a ConvNet for one image: each must be refused in words. And one for grey images."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional


class Digits(nn.Module):
    """Takes images of one channel."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1, self.conv2 = nn.Conv2d(1, 16, 3, 1, 1), nn.Conv2d(16, 32, 3, 1, 1)
        self.fc = nn.Linear(32, 10)

    def forward(self, x: Tensor) -> Tensor:
        x = functional.max_pool2d(functional.relu(self.conv1(x)), 2)
        return self.fc(functional.relu(self.conv2(x)).mean((2, 3)))


class Video(nn.Module):
    """Takes films."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.fc = nn.Conv3d(3, 16, 3, padding=1), nn.Linear(16, 10)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc(self.conv(x).mean((2, 3, 4)))


class Siamese(nn.Module):
    """Takes two images."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.fc = nn.Conv2d(3, 16, 3, 2, 1), nn.Linear(32, 2)

    def forward(self, first: Tensor, second: Tensor) -> Tensor:
        return self.fc(torch.cat([self.conv(x).mean((2, 3)) for x in (first, second)], 1))


class Reader(nn.Module):
    """A recurrent layer reads the columns of its map."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.rnn = nn.Conv2d(3, 32, 3, 2, 1), nn.LSTM(32, 24, batch_first=True, bidirectional=True)
        self.fc = nn.Linear(48, 10)

    def forward(self, x: Tensor) -> Tensor:
        columns = self.conv(x).mean(2).permute(0, 2, 1)
        return self.fc(self.rnn(columns)[0][:, -1])


class Attending(nn.Module):
    """Attention over patches."""

    def __init__(self) -> None:
        super().__init__()
        self.patch, self.head = nn.Conv2d(3, 32, 8, 8), nn.Linear(32, 10)
        self.layer = nn.TransformerEncoderLayer(32, 4, 64, batch_first=True)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.layer(self.patch(x).flatten(2).transpose(1, 2)).mean(1))


class Segmenter(nn.Module):
    """Gives a map, not a row of classes (U-Net)."""

    def __init__(self) -> None:
        super().__init__()
        self.down1, self.down2 = _twice(3, 16), _twice(16, 32)
        self.up = nn.ConvTranspose2d(32, 16, 2, 2)
        self.join, self.out = _twice(32, 16), nn.Conv2d(16, 1, 1)

    def forward(self, x: Tensor) -> Tensor:
        first = self.down1(x)
        second = self.down2(functional.max_pool2d(first, 2))
        return self.out(self.join(torch.cat([self.up(second), first], 1)))


def _twice(inp: int, oup: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(inp, oup, 3, padding=1), nn.BatchNorm2d(oup), nn.ReLU(inplace=True),
        nn.Conv2d(oup, oup, 3, padding=1), nn.BatchNorm2d(oup), nn.ReLU(inplace=True),
    )  # fmt: skip


def scripted() -> Any:
    """Compiled to TorchScript."""
    return torch.jit.script(nn.Sequential(nn.Conv2d(3, 16, 3, 2, 1), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten()))


class Normed(nn.Module):
    """Divides by its own root of the width, and asks a number of its map (``item``)."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.fc = nn.Conv2d(3, 32, 3, 2, 1), nn.Linear(32, 10)

    def forward(self, x: Tensor) -> Tensor:
        x = self.conv(x)
        if x.abs().max().item() > 1e6:
            x = x.clamp(-1, 1)
        return self.fc(x.mean((2, 3)))
