"""Forty-six networks of our own in the manner of public families, and what scaling must come to for each.

What is expected is written down by hand, from how the family is built; nothing here asks surgery.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from torch import nn

from tests.support.families import classic, light, residual, unsuited


@dataclass(frozen=True)
class Family:
    """A network and what must become of it at twice the depth and one and a half times the width.

    Attributes:
        make: builds it, freshly initialised.
        side: of its images, pixels.
        channels: of its images.
        block: the class of what repeats.
        blocks: how many of that class there are, before and after.
        skips: whether a block that keeps the shape passes its input on.
        stays: expressions for the names of layers whose outputs do not grow.
        sizes: whether it must run at other sizes than its own.
        refused: words of the refusal, where it must be refused.
        options: of surgery.
    """

    make: Callable[[], nn.Module]
    side: int = 32
    channels: int = 3
    block: type[nn.Module] | None = None
    blocks: tuple[int, int] = (0, 0)
    skips: bool = True
    stays: tuple[str, ...] = ()
    sizes: bool = True
    refused: str = ""
    options: tuple[str, ...] = ()


def _cifar(block: type[nn.Module]) -> Callable[[], nn.Module]:
    return lambda: residual.CifarResNet(block)


def _resnet(block: type[nn.Module], *stays: str) -> Family:
    return Family(_cifar(block), block=block, blocks=(8, 16), stays=stays)


FAMILIES: dict[str, Family] = {
    "resnet": _resnet(residual.BasicBlock),
    "preact-resnet": _resnet(residual.PreActBlock),
    "resnet-option-a": _resnet(residual.PaddedBlock),
    "resnet-option-a-closure": Family(
        lambda: residual.CifarResNet(residual.ClosureBlock),
        block=residual.ClosureBlock,
        blocks=(8, 16),
        stays=(r"^conv1$", r"conv2$"),
    ),
    "wide-resnet": Family(residual.WideNet, block=residual.WideBlock, blocks=(6, 12)),
    "se-resnet": _resnet(residual.SEBlock),
    "cbam": _resnet(residual.CBAMBlock),
    "eca": _resnet(residual.ECABlock),
    "resnext": Family(residual.ResNeXt, block=residual.Bottleneck, blocks=(6, 12)),
    "res2net": _resnet(residual.Res2Block),
    "sknet": _resnet(residual.SKBlock),
    "checkpointed": Family(residual.CheckpointedNet, block=residual.BasicBlock, blocks=(8, 16)),
    "blurpool": Family(residual.BlurNet, block=residual.BasicBlock, blocks=(8, 16)),
    "efficientnet-port": Family(light.EfficientPort, side=64, block=light.MBConv, blocks=(7, 14)),
    "mobilenet-v1": Family(light.MobileNetV1, side=64, block=nn.BatchNorm2d, blocks=(13, 25), stays=(r"^model.6.3$",)),
    "depthwise-pointwise": Family(light.AlternatingNet, block=nn.BatchNorm2d, blocks=(11, 21)),
    "mobilenet-v2": Family(light.MobileNetV2, side=64, block=light.InvertedResidual, blocks=(6, 12)),
    "mobilenet-v3": Family(light.MobileNetV3, side=64, block=light.HardBlock, blocks=(6, 12)),
    "shufflenet-v1": Family(light.ShuffleNetV1, block=light.ShuffleUnit, blocks=(5, 10)),
    "shufflenet-v2": Family(light.ShuffleNetV2, block=light.SplitUnit, blocks=(5, 10)),
    "ghostnet": Family(light.GhostNet, side=64, block=light.GhostBlock, blocks=(5, 10)),
    "repvgg": Family(light.RepVGG, block=nn.BatchNorm2d, blocks=(17, 35)),
    "xception": Family(light.Xception, side=64, block=light.SepBlock, blocks=(5, 10)),
    "lenet": Family(classic.LeNet, sizes=False, stays=(r"^conv2$",)),
    "lenet-adaptive": Family(classic.LeNet, stays=(r"^conv2$",), options=("adaptive_pool",)),
    "alexnet": Family(classic.AlexNet, side=64, block=nn.Conv2d, blocks=(5, 8)),
    "vgg": Family(classic.VGG, block=nn.Conv2d, blocks=(10, 20), skips=False),
    "nin": Family(classic.NiN, block=nn.Conv2d, blocks=(7, 7)),
    "squeezenet": Family(classic.SqueezeNet, side=64, block=classic.Fire, blocks=(5, 10), skips=False),
    "densenet": Family(classic.DenseNet, block=classic.DenseLayer, blocks=(6, 12)),
    "densenet-cifar": Family(classic.DenseCifar, block=classic.DenseUnit, blocks=(6, 12)),
    "googlenet": Family(classic.GoogLeNet, block=classic.Inception, blocks=(4, 8), skips=False),
    "dpn": Family(classic.DPN, block=classic.DualPath, blocks=(4, 8)),
    "cspnet": Family(classic.CSPNet, block=classic._Darknet, blocks=(5, 10)),
    "convnext": Family(classic.ConvNeXt, side=64, block=classic.ConvNeXtBlock, blocks=(7, 14)),
    "convmixer": Family(classic.conv_mixer, side=64, block=classic.Residual, blocks=(3, 6)),
    "coordconv": Family(classic.CoordNet, side=64, block=classic.Residual, blocks=(2, 4)),
    "spectral-norm": Family(classic.SpectralNet, side=64),
    "hrnet": Family(classic.HighResolution, side=64, block=classic.Residual, blocks=(4, 8)),
    "item": Family(unsuited.Normed, block=nn.Conv2d, blocks=(1, 1)),
    "one-channel": Family(unsuited.Digits, channels=1),
    "video": Family(unsuited.Video, refused="3-d"),
    "siamese": Family(unsuited.Siamese, refused="second"),
    "lstm": Family(unsuited.Reader, refused="recurrent"),
    "attention": Family(unsuited.Attending, refused="attention"),
    "unet": Family(unsuited.Segmenter, side=64, block=nn.Conv2d, blocks=(7, 13)),
    "torchscript": Family(unsuited.scripted, refused="TorchScript"),
}
