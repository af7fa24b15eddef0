"""What is checked after surgery, by running: a network that fails is refused."""

from __future__ import annotations

import math
from contextlib import AbstractContextManager, nullcontext

import torch
from torch import Tensor, nn

from scalesearch.errors import SurgeryError
from scalesearch.image_size import Resolution, height_width, image_shape
from scalesearch.models.surgery.initialisation import as_written, fitted
from scalesearch.models.surgery.measure import measure
from scalesearch.models.surgery.network import Network
from scalesearch.models.surgery.scaled import Scaled
from scalesearch.models.surgery.skeleton import law_of, materialise, replace_tensors
from scalesearch.models.surgery.suited import suited
from scalesearch.models.surgery.tagger import flatten, named_tensors

SIDES = (32, 64, 128)
"""Pixels at which a training step is tried before the network's own, until one succeeds."""

MOST_PARAMETERS = 5 * 10**7
"""Of a network that is given numbers for its proof: they and their gradients take 0.4 GB."""


def prove_identity(network: Network, model: nn.Module) -> None:
    """At multipliers of 1 the copy computes what ``model`` computes, bit for bit; it borrows the model's weights.

    Raises:
        SurgeryError: it does not.
    """
    model = suited(model)
    theirs = {as_written(name): tensor for name, tensor in named_tensors(model)}
    twin = network.scaled().skeleton()
    replace_tensors(twin, lambda _, __, tensor: theirs[law_of(tensor).name or ""])
    shape = image_shape(network.channels, network.resolution)
    image = torch.linspace(-2, 2, math.prod(shape)).reshape(1, *shape)
    device = next((t.device for t in theirs.values()), torch.device("cpu"))
    training = model.training
    if device.type == "meta":
        raise SurgeryError("identity", "its weights are on the meta device: there is nothing to compare")
    model.eval()
    twin.eval()
    try:
        with torch.no_grad(), _as_written():
            wanted, got = (list(flatten(m(image.to(device)))) for m in (model, twin))
    except Exception as failure:
        text = str(failure).strip().partition("\n")[0]
        raise SurgeryError("identity", f"it does not run: {type(failure).__name__}: {text}") from failure
    finally:
        model.train(training)
    if not wanted or len(wanted) != len(got) or not all(torch.equal(a, b) for a, b in zip(wanted, got, strict=True)):
        raise SurgeryError("identity", "scaled by 1, it computes something else")


def _as_written() -> AbstractContextManager[object]:
    """Where parts that were compiled run as they were written: a compiler may round otherwise."""
    stance = getattr(torch.compiler, "set_stance", None)
    return stance("force_eager") if stance is not None else nullcontext()


def prove(scaled: Scaled) -> None:
    """It runs forward and backward at its size, every layer has the account's channels, and torch counts its MACs.

    Up to fifty million parameters it also makes a training step with numbers, on small images.

    Raises:
        SurgeryError: one of these is not so; the message names the layer.
    """
    account, module = scaled.account, scaled.skeleton()
    tensors: dict[str, Tensor] = dict(named_tensors(module))
    for row in account.layers:
        weight = tensors.get(row.name)
        if weight is None:
            continue  # a weight that is computed has no shape of its own
        wanted = (row.outputs, row.inputs // row.groups, *row.kernel)
        transposed = (row.inputs, row.outputs // row.groups, *row.kernel)
        if tuple(weight.shape) not in (wanted, transposed):
            raise SurgeryError(row.name, f"its weight is {tuple(weight.shape)}, the account says {wanted}")
    for name, tensor in tensors.items():
        kept = law_of(tensor).kept
        if kept is not None:
            continued(name, kept, tuple(tensor.shape))
    measured = measure(materialise(module) if scaled.real else module, account.resolution, account.channels)
    if measured.macs != account.macs:
        raise SurgeryError("forward", f"{measured.macs:,} MACs run, the account says {account.macs:,}")
    if scaled.cost.params <= MOST_PARAMETERS:
        _take_one_step(scaled)


def _take_one_step(scaled: Scaled) -> None:
    """Train on two random images with numbers on the CPU, as small as the network takes them.

    The meta device lets pass what real operations refuse, such as a convolution with more groups than outputs.
    """
    native, channels = scaled.account.resolution, scaled.account.channels
    smaller: list[Resolution] = [size for size in SIDES if size < min(height_width(native))]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        module = scaled.build().train()
        for size in (*smaller, native):
            try:
                outputs = [
                    out for out in flatten(module(torch.randn(2, *image_shape(channels, size)))) if out.requires_grad
                ]
                if outputs:
                    torch.autograd.backward(torch.stack([out.float().mean() for out in outputs]).sum())
            except Exception as failure:
                if size == native:  # at another size it may well be too small an image
                    text = str(failure).strip().partition("\n")[0] or type(failure).__name__
                    raise SurgeryError("forward", f"a training step at {size} px fails: {text}") from failure
            else:
                return


def continued(name: str, kept: Tensor, shape: tuple[int, ...]) -> None:
    """Make sure that values which are kept can be had at another size."""
    try:
        fitted(kept, shape)
    except ValueError as failure:
        raise SurgeryError(name, str(failure)) from failure
