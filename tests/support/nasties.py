"""Small networks that surgery gets wrong if it guesses; each takes its width, so that a wider one can be written."""

# mypy: disable-error-code="no-any-return, operator, no-untyped-call, unused-ignore"
from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional


def conv(inputs: int, outputs: int, kernel: int = 3, **options: Any) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, kernel, padding=kernel // 2, bias=False, **options),
        nn.BatchNorm2d(outputs),
        nn.ReLU(),
    )


class Net(nn.Module):
    """Stem, ``middle``, pool, classifier."""

    def __init__(self, width: int, outputs: int) -> None:
        super().__init__()
        self.stem = conv(3, width, stride=2)
        self.head = nn.Linear(outputs, 10)

    def middle(self, x: Tensor) -> Tensor:
        raise NotImplementedError

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.head(self.middle(self.stem(x)).mean((2, 3)))
        return logits


class SharedTwice(Net):
    """One block runs twice: what it takes is what it gives."""

    def __init__(self, width: int = 16) -> None:
        super().__init__(width, width)
        self.block = conv(width, width)

    def middle(self, x: Tensor) -> Tensor:
        y: Tensor = self.block(self.block(x))
        return y


class ResidualAcrossStages(Net):
    """The stem's output comes back two stages later."""

    def __init__(self, width: int = 16) -> None:
        super().__init__(width, width)
        self.one, self.two = conv(width, 2 * width), conv(2 * width, width)

    def middle(self, x: Tensor) -> Tensor:
        return x + self.two(self.one(x))  # type: ignore[no-any-return]


class ConcatThenSplit(Net):
    """Three branches are joined and parted again, by sizes kept in a list."""

    def __init__(self, width: int = 16) -> None:
        super().__init__(width, 4 * width)
        self.branches = nn.ModuleList(conv(width, outputs, 1) for outputs in (width, 2 * width, width))
        self.sizes = [2 * width, 2 * width]
        self.left, self.right = conv(2 * width, 2 * width), conv(2 * width, 2 * width)

    def middle(self, x: Tensor) -> Tensor:
        a, b = torch.split(torch.cat([branch(x) for branch in self.branches], 1), self.sizes, 1)
        return torch.cat([self.left(a), self.right(b)], 1)


class ThroughView(Net):
    """Channels go through a view, as in a channel shuffle."""

    def __init__(self, width: int = 16) -> None:
        super().__init__(width, width)
        self.block = conv(width, width)

    def middle(self, x: Tensor) -> Tensor:
        n, c, h, w = x.shape
        y: Tensor = self.block(x.view(n, 2, c // 2, h, w).transpose(1, 2).reshape(n, c, h, w))
        return y


class KeepsItsWidth(Net):
    """The module keeps its channel count and uses it in forward."""

    def __init__(self, width: int = 16) -> None:
        super().__init__(width, width)
        self.channels = width
        self.wide = conv(width, 2 * width)

    def middle(self, x: Tensor) -> Tensor:
        y = self.wide(x)
        return y[:, : self.channels] * y[:, self.channels :].sigmoid()  # type: ignore[no-any-return]


class ChannelBuffer(Net):
    """A buffer has one number per channel, all the same."""

    def __init__(self, width: int = 16) -> None:
        super().__init__(width, width)
        self.register_buffer("shift", torch.full((1, width, 1, 1), 0.5))

    def middle(self, x: Tensor) -> Tensor:
        return x + self.shift


class TiedWeights(Net):
    """Two layers are one parameter."""

    def __init__(self, width: int = 16) -> None:
        super().__init__(width, width)
        self.one, self.two = nn.Conv2d(width, width, 1), nn.Conv2d(width, width, 1)
        self.two.weight = self.one.weight

    def middle(self, x: Tensor) -> Tensor:
        y: Tensor = self.two(self.one(x).relu())
        return y


class Dictionary(Net):
    """Branches in a ModuleDict, summed."""

    def __init__(self, width: int = 16) -> None:
        super().__init__(width, width)
        self.branches = nn.ModuleDict({"a": conv(width, width, 1), "b": conv(width, width), "c": nn.Identity()})

    def middle(self, x: Tensor) -> Tensor:
        return torch.stack([branch(x) for branch in self.branches.values()]).sum(0)


class Conditional(Net):
    """An extra head that only trains, and a branch taken by shape."""

    def __init__(self, width: int = 16) -> None:
        super().__init__(width, width)
        self.extra = conv(width, width)
        self.auxiliary = nn.Linear(width, 10)

    def middle(self, x: Tensor) -> Tensor:
        return self.extra(x) if x.shape[-1] > 4 else x

    def forward(self, x: Tensor) -> Any:
        y = self.stem(x)
        logits = self.head(self.middle(y).mean((2, 3)))
        return (logits, self.auxiliary(y.mean((2, 3)))) if self.training else logits


class ChannelParameter(Net):
    """Global response normalisation on channels-last maps: parameters of shape (1, 1, 1, C)."""

    def __init__(self, width: int = 16) -> None:
        super().__init__(width, width)
        self.gamma = nn.Parameter(torch.zeros(1, 1, 1, width))
        self.scale = nn.Parameter(1e-6 * torch.ones(width))

    def middle(self, x: Tensor) -> Tensor:
        y = x.permute(0, 2, 3, 1)
        norm = y.norm(p=2, dim=(1, 2), keepdim=True)
        y = (y + self.gamma * (y * (norm / (norm.mean(-1, keepdim=True) + 1e-6)))) * self.scale
        return x + y.permute(0, 3, 1, 2)


class StandardisedConv(nn.Conv2d):
    """Weight standardisation with a scale worked out from the fan-in, as normaliser-free networks have it."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__(inputs, outputs, 3, padding=1)
        self.gain = nn.Parameter(torch.ones(outputs, 1, 1, 1))
        self.scale = self.weight[0].numel() ** -0.5

    def forward(self, x: Tensor) -> Tensor:
        gain = (self.gain * self.scale).view(-1)
        flat = self.weight.reshape(1, self.out_channels, -1)
        weight = functional.batch_norm(flat, None, None, weight=gain, training=True).reshape_as(self.weight)
        return functional.conv2d(x, weight, self.bias, padding=1)


class ScaleByFanIn(Net):
    def __init__(self, width: int = 16) -> None:
        super().__init__(width, width)
        self.one, self.two = StandardisedConv(width, 2 * width), StandardisedConv(2 * width, width)

    def middle(self, x: Tensor) -> Tensor:
        y: Tensor = self.two(self.one(x).relu())
        return y


class LiteralView(Net):
    """A literal in forward: 4 heads stay, what is left of the channels scales."""

    def __init__(self, width: int = 16) -> None:
        super().__init__(width, width)

    def middle(self, x: Tensor) -> Tensor:
        n, c, h, w = x.shape
        return (x.view(n, 4, -1, h, w) * 2).view(n, c, h, w)


class LiteralWidth(Net):
    """A literal width in forward: these channels cannot scale."""

    def __init__(self, width: int = 16) -> None:
        super().__init__(width, width)
        self.block = conv(width, width)

    def middle(self, x: Tensor) -> Tensor:
        y: Tensor = self.block(x).view(-1, 16, x.shape[2], x.shape[3])
        return y


class LiteralSplit(Net):
    """Literal sizes in a split: these channels cannot scale."""

    def __init__(self, width: int = 16) -> None:
        super().__init__(width, width)

    def middle(self, x: Tensor) -> Tensor:
        a, b = x.split([8, 8], 1)
        return torch.cat([b, a], 1)


class FlattenedMap(nn.Module):
    """A classifier on the flattened 8×8 map: one input size only."""

    def __init__(self, width: int = 16) -> None:
        super().__init__()
        self.stem = conv(3, width, stride=2)
        self.pool = nn.MaxPool2d(2)
        self.head = nn.Linear(width * 8 * 8, 10)

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.head(self.pool(self.stem(x)).flatten(1))
        return logits


class RandomBuffer(Net):
    """A buffer with a different number per channel: nobody can say what a new channel's would be."""

    def __init__(self, width: int = 16) -> None:
        super().__init__(width, width)
        self.register_buffer("shift", torch.arange(float(width)).view(1, width, 1, 1))

    def middle(self, x: Tensor) -> Tensor:
        return x + self.shift


class SelfAttention(Net):
    """Attention over positions."""

    def __init__(self, width: int = 16) -> None:
        super().__init__(width, width)
        self.attention = nn.MultiheadAttention(width, 4, batch_first=True)

    def middle(self, x: Tensor) -> Tensor:
        tokens = x.flatten(2).transpose(1, 2)
        return self.attention(tokens, tokens, tokens)[0].transpose(1, 2).reshape(x.shape)


class WrittenOutAttention(Net):
    """The same in three lines."""

    def __init__(self, width: int = 16) -> None:
        super().__init__(width, width)
        self.qkv = nn.Linear(width, 3 * width)

    def middle(self, x: Tensor) -> Tensor:
        q, k, v = self.qkv(x.flatten(2).transpose(1, 2)).chunk(3, -1)
        return ((q @ k.transpose(1, 2) * 0.25).softmax(-1) @ v).transpose(1, 2).reshape(x.shape)


class Block(nn.Module):
    """A bottleneck whose first of a stage projects its shortcut."""

    def __init__(self, inputs: int, width: int, stride: int = 1) -> None:
        super().__init__()
        self.body = nn.Sequential(conv(inputs, width, 1), conv(width, width, stride=stride), conv(width, 4 * width, 1))
        self.shortcut = conv(inputs, 4 * width, 1, stride=stride) if stride > 1 or inputs != 4 * width else None

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.body(x)
        return y + (x if self.shortcut is None else self.shortcut(x))


class NamedChain(Net):
    """Blocks by name, one after the other, in no container."""

    def __init__(self, width: int = 16, depth: int = 3) -> None:
        super().__init__(width, 4 * width)
        self.first = Block(width, width, 2)
        for index in range(1, depth):
            setattr(self, f"more{index}", Block(4 * width, width))

    def middle(self, x: Tensor) -> Tensor:
        y: Tensor = self.more2(self.more1(self.first(x)))
        return y


class Listed(Net):
    """Blocks in a ModuleList, each with a lone last one of another shape."""

    def __init__(self, width: int = 16, repeats: tuple[int, ...] = (3, 2, 1)) -> None:
        super().__init__(width, 16 * width)
        self.blocks = nn.ModuleList()
        inputs = width
        for stage, count in enumerate(repeats):
            for index in range(count):
                self.blocks.append(Block(inputs, width << stage, 2 if index == 0 else 1))
                inputs = 4 * width << stage
        self.count = sum(repeats)

    def middle(self, x: Tensor) -> Tensor:
        for index in range(self.count):
            x = self.blocks[index](x)
        return x


class OwnList(Net):
    """The blocks that run are those of a plain list, made once."""

    def __init__(self, width: int = 16) -> None:
        super().__init__(width, 4 * width)
        self.blocks = nn.Sequential(Block(width, width, 2), Block(4 * width, width))
        self.todo = list(self.blocks)

    def middle(self, x: Tensor) -> Tensor:
        for block in self.todo:
            x = block(x)
        return x


class ByIndex(Net):
    """A Sequential that forward goes through by index, with a tap on the way."""

    def __init__(self, width: int = 16) -> None:
        super().__init__(width, 8 * width)
        self.blocks = nn.Sequential(Block(width, width, 2), Block(4 * width, width), nn.MaxPool2d(2))
        self.last = Block(4 * width, width)

    def middle(self, x: Tensor) -> Tensor:
        taps = []
        for index, block in enumerate(self.blocks):
            x = block(x)
            if index in (1, 2):
                taps.append(x.mean((2, 3), keepdim=True))
        return torch.cat(taps, 1) + 0 * self.last(x).mean()


class HiddenWidth(Net):
    """A width kept where nobody looks, and used as a slice."""

    def __init__(self, width: int = 16) -> None:
        super().__init__(width, 16)
        self.settings = {"half": 8}

    def middle(self, x: Tensor) -> Tensor:
        half = self.settings["half"]
        return torch.cat([x[:, half:], x[:, :half]], 1)


class Caches(Net):
    """Forward keeps a tensor on the module."""

    def __init__(self, width: int = 16) -> None:
        super().__init__(width, width)
        self.grid: Tensor | None = None

    def middle(self, x: Tensor) -> Tensor:
        if self.grid is None:
            self.grid = torch.linspace(0, 1, x.shape[-1], device=x.device)
        return x * self.grid


class SharedKernel(Net):
    """Blocks share one convolution, and a frozen filter."""

    def __init__(self, width: int = 16, depth: int = 2) -> None:
        super().__init__(width, width)
        shared = nn.Conv2d(width, width, 3, padding=1)
        self.blocks = nn.Sequential(*[SharingBlock(width, shared) for _ in range(depth)])
        self.mean = nn.Parameter(torch.tensor([0.5, 0.4, 0.3]).view(1, 3, 1, 1), requires_grad=False)

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x - self.mean)

    def middle(self, x: Tensor) -> Tensor:
        return self.blocks(x)


class SharingBlock(nn.Module):
    def __init__(self, width: int, shared: nn.Conv2d) -> None:
        super().__init__()
        self.shared, self.own = shared, nn.Conv2d(width, width, 1)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.own(self.shared(x).relu())


class WithFeatures(Net):
    """Features and logits in a dictionary; the features are not the classes."""

    def __init__(self, width: int = 16) -> None:
        super().__init__(width, width)

    def forward(self, x: Tensor) -> Any:
        features = self.stem(x).mean((2, 3))
        return {"features": features, "logits": self.head(features)}


class ScaleOfWidth(Net):
    """A float worked out from the width when the module is made."""

    def __init__(self, width: int = 16) -> None:
        super().__init__(width, width)
        self.damp = Damp(width)

    def middle(self, x: Tensor) -> Tensor:
        return self.damp(x)


class Damp(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.scale = width**-0.5

    def forward(self, x: Tensor) -> Tensor:
        return x * self.scale
