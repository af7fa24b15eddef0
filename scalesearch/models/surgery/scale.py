"""`scale_module`: a deeper, wider network of the same make, in one call."""

from __future__ import annotations

from torch import nn

from scalesearch.errors import SurgeryError
from scalesearch.image_size import as_resolution
from scalesearch.models.surgery.grow.grown import NOISE, grow_scaled
from scalesearch.models.surgery.network import Network
from scalesearch.models.surgery.proof import prove, prove_identity
from scalesearch.models.surgery.suited import suited
from scalesearch.scaling.compound import Rounding


def scale_module(
    model: nn.Module,
    *,
    depth: float = 1,
    width: float = 1,
    resolution: int | tuple[int, int] = 224,
    rounding: Rounding | None = None,
    num_classes: int | None = None,
    keep_output_channels: bool = False,
    grow: bool = False,
    noise: float = NOISE,
) -> nn.Module:
    """A ``depth`` times deeper and ``width`` times wider network of the same make.

    ``model`` is left as it is, and its weights are not copied, unless it is to ``grow``: then the new network starts
    from them and computes the same function (Net2Net, Chen, Goodfellow & Shlens 2016), which is proved by running both.
    Without ``grow`` the new network starts by the scheme that the
    original's weights show (by their spread and the fan-in, where they show none), drawn from torch's global generator,
    on the CPU. Its ``account`` (an `Account`) says what was done: ``print(scaled.account)``.

    Args:
        resolution: side of the images it is for, pixels, or height and width; the network is run at it on the meta
            device. How many channels they have, its first layer says.
        rounding: how real multipliers become whole layers and channels; the official code's if None.
        num_classes: outputs of the new network's classifier; as before if None.
        keep_output_channels: what it gives out keeps its channels, as those who use a backbone's maps expect; only
            widths within grow.
        grow: start from the model's weights, and compute in eval mode what it computes.
        noise: of a network that grows, how much the shares differ that copies of a channel have of what reads it, as a
            part of one share; they add up to one whatever it is. With 0 copies get equal gradients, and stay equal.

    Raises:
        SurgeryError: the network cannot be scaled soundly, or not grown; the message names the layer and the reason.

    >>> from scalesearch import scale_module
    >>> from torchvision.models import resnet18
    >>> wider = scale_module(resnet18(), width=1.5, resolution=64)
    >>> wider.conv1.out_channels, wider.fc.in_features
    (96, 768)
    """
    rounding = rounding or Rounding()
    network = Network(
        model,
        as_resolution(resolution),
        keep_groups=rounding.keep_groups,
        adaptive_pool=rounding.adaptive_pool,
        keep_output_channels=keep_output_channels or rounding.keep_output_channels,
    )
    if next((t.device.type for t in model.parameters()), "cpu") != "meta":
        prove_identity(network, model)
    scaled = network.scaled(depth, width, rounding=rounding, num_classes=num_classes)
    prove(scaled)
    if grow:
        _refuse(network, depth, width, num_classes)
        small, deep = network.scaled(rounding=rounding), network.scaled(depth, rounding=rounding)
        result = grow_scaled(small, deep, scaled, suited(model), noise)
    else:
        result = scaled.build()
    result.train(model.training)
    result.account = scaled.account  # type: ignore[assignment]
    return result


def _refuse(network: Network, depth: float, width: float, num_classes: int | None) -> None:
    """Raises SurgeryError where a network asked for is not a larger one of the same classes."""
    if depth < 1 or width < 1:
        name, value = ("depth", depth) if depth < 1 else ("width", width)
        raise SurgeryError(name, f"×{value:.3g} makes it smaller: a network grows, or starts afresh (grow=False)")
    if num_classes not in (None, network.num_classes):
        raise SurgeryError(
            "num_classes",
            f"{num_classes} classes are another function: give the model its new classifier before growing",
        )
