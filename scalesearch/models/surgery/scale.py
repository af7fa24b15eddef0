"""`scale_module`: a deeper, wider network of the same make, in one call."""

from __future__ import annotations

from torch import nn

from scalesearch.image_size import as_resolution
from scalesearch.models.surgery.network import Network
from scalesearch.models.surgery.proof import prove, prove_identity
from scalesearch.scaling.compound import Rounding


def scale_module(
    model: nn.Module,
    *,
    depth: float = 1,
    width: float = 1,
    resolution: int | tuple[int, int] = 224,
    rounding: Rounding | None = None,
    num_classes: int | None = None,
) -> nn.Module:
    """A ``depth`` times deeper and ``width`` times wider network of the same make, freshly initialised.

    ``model`` is left as it is, and its weights are not copied. The new network starts by the scheme that the
    original's weights show (by their spread and the fan-in, where they show none), drawn from torch's global generator,
    on the CPU. Its ``account`` (an `Account`) says what was done: ``print(scaled.account)``.

    Args:
        resolution: side of the images it is for, pixels, or height and width; the network is run at it on the meta
            device. How many channels they have, its first layer says.
        rounding: how real multipliers become whole layers and channels; the official code's if None.
        num_classes: outputs of the new network's classifier; as before if None.

    Raises:
        SurgeryError: the network cannot be scaled soundly; the message names the layer and the reason.

    >>> from scalesearch import scale_module
    >>> from torchvision.models import resnet18
    >>> wider = scale_module(resnet18(), width=1.5, resolution=64)
    >>> wider.conv1.out_channels, wider.fc.in_features
    (96, 768)
    """
    rounding = rounding or Rounding()
    size = as_resolution(resolution)
    network = Network(model, size, keep_groups=rounding.keep_groups, adaptive_pool=rounding.adaptive_pool)
    if next((t.device.type for t in model.parameters()), "cpu") != "meta":
        prove_identity(network, model)
    scaled = network.scaled(depth, width, rounding=rounding, num_classes=num_classes)
    prove(scaled)
    result = scaled.build()
    result.train(model.training)
    result.account = scaled.account  # type: ignore[assignment]
    return result
