"""A spec becomes an `nn.Module`, on torchvision's own blocks."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial

from torch import Tensor, nn
from torchvision.models.efficientnet import FusedMBConv, FusedMBConvConfig, MBConv, MBConvConfig
from torchvision.models.mobilenetv2 import InvertedResidual
from torchvision.models.resnet import BasicBlock, Bottleneck
from torchvision.ops import Conv2dNormActivation, SqueezeExcitation, StochasticDepth

from scalesearch.cost import squeeze_channels
from scalesearch.spec import ModelSpec, StageSpec

Norm = Callable[..., nn.Module]
ACTIVATIONS: dict[str, type[nn.Module]] = {"relu": nn.ReLU, "relu6": nn.ReLU6, "silu": nn.SiLU}
NATIVE = {"mbconv": "silu", "fused_mbconv": "silu", "inverted_residual": "relu6", "bottleneck": "relu", "basic": "relu"}
"""The activation that torchvision hard-codes in each block."""


class ConvNet(nn.Module):
    """Stem, stages and head of a spec: images (N, 3, r, r) to logits (N, num_classes)."""

    def __init__(self, features: nn.Sequential, dropout: float, channels: int, num_classes: int) -> None:
        super().__init__()
        self.features = features
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.classifier = nn.Sequential(nn.Dropout(dropout), nn.Linear(channels, num_classes))

    def forward(self, images: Tensor) -> Tensor:
        logits: Tensor = self.classifier(self.pool(self.features(images)).flatten(1))
        return logits


def build_model(spec: ModelSpec, num_classes: int = 1000) -> nn.Module:
    """The network of ``spec``, initialised as the official code does it, from torch's global generator.

    Block i of N is dropped with probability ``stochastic_depth``·i/N where it has a skip (Tan & Le 2019, §5.2, as
    in the official code: the first never, the last almost at the full rate).
    """
    norm = partial(nn.BatchNorm2d, eps=spec.norm.eps, momentum=spec.norm.momentum)
    activation = ACTIVATIONS[spec.activation]
    convolution = partial(Conv2dNormActivation, norm_layer=norm, activation_layer=activation)
    stem = spec.stem
    layers: list[nn.Module] = [convolution(3, stem.channels, stem.kernel, stem.stride)]
    if stem.pool:
        layers.append(nn.MaxPool2d(3, stride=2, padding=1))
    channels, index = stem.channels, 0
    for stage in spec.stages:
        blocks: list[nn.Module] = []
        for repeat in range(stage.repeats):
            drop = spec.stochastic_depth * index / spec.blocks
            block = _BLOCKS[stage.op](stage, channels, stage.stride if repeat == 0 else 1, drop, norm, activation)
            if NATIVE.get(stage.op, spec.activation) != spec.activation:
                _swap_activation(block, ACTIVATIONS[NATIVE[stage.op]], activation)
            blocks.append(block)
            channels, index = stage.out_channels, index + 1
        layers.append(nn.Sequential(*blocks))
    if spec.head.channels:
        layers.append(convolution(channels, spec.head.channels, 1))
    model = ConvNet(nn.Sequential(*layers), spec.head.dropout, spec.widest, num_classes)
    initialise(model)
    return model


def initialise(model: nn.Module) -> None:
    """Convolutions normal with variance 2 / fan-out, the classifier uniform within ±1/√classes, biases zero.

    A depthwise kernel's fan-out is its own k², as in the official TensorFlow code; torchvision takes C·k².
    """
    for module in model.modules():
        if isinstance(module, nn.Conv2d):
            fan_out = module.out_channels * math.prod(module.kernel_size) // module.groups
            nn.init.normal_(module.weight, 0.0, math.sqrt(2.0 / fan_out))
        elif isinstance(module, nn.Linear):
            bound = 1.0 / math.sqrt(module.out_features)
            nn.init.uniform_(module.weight, -bound, bound)
        if isinstance(module, nn.Conv2d | nn.Linear) and module.bias is not None:
            nn.init.zeros_(module.bias)


def _swap_activation(block: nn.Module, old: type[nn.Module], new: type[nn.Module]) -> None:
    for module in block.modules():
        if isinstance(module, SqueezeExcitation):
            continue
        for name, child in module.named_children():
            if type(child) is old:
                setattr(module, name, new(inplace=True))


def _mbconv(
    stage: StageSpec, inputs: int, stride: int, drop: float, norm: Norm, activation: type[nn.Module]
) -> nn.Module:
    def gate(expanded: int, _: int, **options: Callable[..., nn.Module]) -> nn.Module:
        if not stage.se:
            return nn.Identity()
        return SqueezeExcitation(expanded, squeeze_channels(stage, inputs), **options)

    config = MBConvConfig(stage.expand, stage.kernel, stride, inputs, stage.channels, 1)
    return MBConv(config, drop, norm, gate)


def _fused_mbconv(
    stage: StageSpec, inputs: int, stride: int, drop: float, norm: Norm, activation: type[nn.Module]
) -> nn.Module:
    return FusedMBConv(
        FusedMBConvConfig(stage.expand, stage.kernel, stride, inputs, stage.channels, 1), drop, norm
    )


def _inverted_residual(
    stage: StageSpec, inputs: int, stride: int, drop: float, norm: Norm, activation: type[nn.Module]
) -> nn.Module:
    block = InvertedResidual(inputs, stage.channels, stride, stage.expand, norm)  # type: ignore[arg-type]
    if drop and block.use_res_connect:
        block.conv.append(StochasticDepth(drop, "row"))
    return block


def _depthwise_separable(
    stage: StageSpec, inputs: int, stride: int, drop: float, norm: Norm, activation: type[nn.Module]
) -> nn.Module:
    convolution = partial(Conv2dNormActivation, norm_layer=norm, activation_layer=activation)
    return nn.Sequential(
        convolution(inputs, inputs, stage.kernel, stride, groups=inputs), convolution(inputs, stage.channels, 1)
    )


def _residual(
    stage: StageSpec, inputs: int, stride: int, drop: float, norm: Norm, activation: type[nn.Module]
) -> nn.Module:
    shortcut = None
    if stride != 1 or inputs != stage.out_channels:
        shortcut = Conv2dNormActivation(inputs, stage.out_channels, 1, stride, norm_layer=norm, activation_layer=None)
    if stage.op == "basic":
        basic = BasicBlock(inputs, stage.channels, stride, shortcut, norm_layer=norm)
        basic.bn2 = _dropped(basic.bn2, drop)
        return basic
    block = Bottleneck(inputs, stage.channels, stride, shortcut, norm_layer=norm)
    block.bn3 = _dropped(block.bn3, drop)
    return block


def _dropped(branch: nn.Module, drop: float) -> nn.Module:
    return nn.Sequential(branch, StochasticDepth(drop, "row")) if drop else branch


_BLOCKS: dict[str, Callable[..., nn.Module]] = {
    "mbconv": _mbconv,
    "fused_mbconv": _fused_mbconv,
    "inverted_residual": _inverted_residual,
    "depthwise_separable": _depthwise_separable,
    "bottleneck": _residual,
    "basic": _residual,
}
