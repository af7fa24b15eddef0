"""A spec becomes an `nn.Module`, on torchvision's own blocks."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from torch import Tensor, nn
from torchvision.models.efficientnet import FusedMBConv, FusedMBConvConfig, MBConv, MBConvConfig
from torchvision.models.mobilenetv2 import InvertedResidual
from torchvision.models.resnet import BasicBlock, Bottleneck
from torchvision.ops import Conv2dNormActivation, SqueezeExcitation, StochasticDepth

from scalesearch.scaling.cost import squeeze_channels
from scalesearch.scaling.spec import ModelSpec, StageSpec

Norm = Callable[..., nn.Module]
ACTIVATIONS: dict[str, type[nn.Module]] = {"relu": nn.ReLU, "relu6": nn.ReLU6, "silu": nn.SiLU}
NATIVE = {"mbconv": "silu", "fused_mbconv": "silu", "inverted_residual": "relu6", "bottleneck": "relu", "basic": "relu"}
"""The activation that torchvision hard-codes in each block."""


class ConvNet(nn.Module):
    """Stem, stages and head of a spec: images (N, C, H, W) to logits (N, num_classes)."""

    def __init__(self, features: nn.Sequential, dropout: float, channels: int, num_classes: int) -> None:
        super().__init__()
        self.features = features
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.classifier = nn.Sequential(nn.Dropout(dropout), nn.Linear(channels, num_classes))

    def forward(self, images: Tensor) -> Tensor:
        """Logits (B, classes) of images (B, C, H, W)."""
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
    layers: list[nn.Module] = [convolution(stem.inputs, stem.channels, stem.kernel, stem.stride)]
    if stem.pool:
        layers.append(nn.MaxPool2d(3, stride=2, padding=1))
    channels, index = stem.channels, 0
    for stage in spec.stages:
        blocks: list[nn.Module] = []
        for repeat in range(stage.repeats):
            drop = spec.stochastic_depth * index / spec.blocks
            stride = stage.stride if repeat == 0 else 1
            block = _BLOCKS[stage.op](_Slot(stage, channels, stride, drop, norm, activation))
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


@dataclass(frozen=True)
class _Slot:
    """One block's place in the network."""

    stage: StageSpec
    inputs: int
    stride: int
    drop: float
    norm: Norm
    activation: type[nn.Module]


def _mbconv(slot: _Slot) -> nn.Module:
    stage = slot.stage

    def gate(expanded: int, _: int, **options: Callable[..., nn.Module]) -> nn.Module:
        if not stage.se:
            return nn.Identity()
        module: nn.Module = SqueezeExcitation(expanded, squeeze_channels(stage, slot.inputs), **options)
        return module

    config = MBConvConfig(stage.expand, stage.kernel, slot.stride, slot.inputs, stage.channels, 1)
    config.input_channels, config.out_channels = slot.inputs, stage.channels  # it rounds them to multiples of 8
    block: nn.Module = MBConv(config, slot.drop, slot.norm, gate)
    return block


def _fused_mbconv(slot: _Slot) -> nn.Module:
    stage = slot.stage
    config = FusedMBConvConfig(stage.expand, stage.kernel, slot.stride, slot.inputs, stage.channels, 1)
    block: nn.Module = (_Fused if slot.activation is nn.ReLU else FusedMBConv)(config, slot.drop, slot.norm)
    return block


class _Fused(FusedMBConv):  # type: ignore[misc]
    """torchvision's, whose skip is added in place: with ReLU, that would overwrite what the backward pass needs."""

    def forward(self, input: Tensor) -> Tensor:
        result: Tensor = self.block(input)
        return self.stochastic_depth(result) + input if self.use_res_connect else result


def _inverted_residual(slot: _Slot) -> nn.Module:
    stage = slot.stage
    block = InvertedResidual(slot.inputs, stage.channels, slot.stride, stage.expand, slot.norm)
    if block.use_res_connect:
        block.conv = _dropped(block.conv, slot.drop)
    scaled: nn.Module = block
    return scaled


def _depthwise_separable(slot: _Slot) -> nn.Module:
    stage = slot.stage
    convolution = partial(Conv2dNormActivation, norm_layer=slot.norm, activation_layer=slot.activation)
    return nn.Sequential(
        convolution(slot.inputs, slot.inputs, stage.kernel, slot.stride, groups=slot.inputs),
        convolution(slot.inputs, stage.channels, 1),
    )


def _residual(slot: _Slot) -> nn.Module:
    stage, shortcut = slot.stage, None
    if slot.stride != 1 or slot.inputs != stage.out_channels:
        shortcut = Conv2dNormActivation(
            slot.inputs, stage.out_channels, 1, slot.stride, norm_layer=slot.norm, activation_layer=None
        )
    factory, last = (BasicBlock, "bn2") if stage.op == "basic" else (Bottleneck, "bn3")
    block: nn.Module = factory(slot.inputs, stage.channels, slot.stride, shortcut, norm_layer=slot.norm)
    setattr(block, last, _dropped(getattr(block, last), slot.drop))
    return block


def _dropped(branch: nn.Module, drop: float) -> nn.Module:
    return nn.Sequential(branch, StochasticDepth(drop, "row")) if drop else branch


_BLOCKS: dict[str, Callable[[_Slot], nn.Module]] = {
    "mbconv": _mbconv,
    "fused_mbconv": _fused_mbconv,
    "inverted_residual": _inverted_residual,
    "depthwise_separable": _depthwise_separable,
    "bottleneck": _residual,
    "basic": _residual,
}
