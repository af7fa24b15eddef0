"""What is checked after surgery, by running: a network that fails is refused."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from scalesearch.errors import SurgeryError
from scalesearch.models.surgery.initialisation import fitted
from scalesearch.models.surgery.measure import measure
from scalesearch.models.surgery.network import Network
from scalesearch.models.surgery.scaled import Scaled
from scalesearch.models.surgery.skeleton import law_of, replace_tensors
from scalesearch.models.surgery.tagger import flatten, named_tensors


def prove_identity(network: Network, model: nn.Module) -> None:
    """At multipliers of 1 the copy computes what ``model`` computes, bit for bit; it borrows the model's weights.

    Raises:
        SurgeryError: it does not.
    """
    theirs = dict(named_tensors(model))
    twin = network.scaled().skeleton()
    replace_tensors(twin, lambda _, __, tensor: theirs[law_of(tensor).name or ""])
    image = torch.linspace(-2, 2, 3 * network.resolution**2).reshape(1, 3, network.resolution, network.resolution)
    device = next((t.device for t in theirs.values()), torch.device("cpu"))
    training = model.training
    if device.type == "meta":
        raise SurgeryError("identity", "its weights are on the meta device: there is nothing to compare")
    model.eval()
    twin.eval()
    try:
        with torch.no_grad():
            wanted, got = (list(flatten(m(image.to(device)))) for m in (model, twin))
    except Exception as failure:
        text = str(failure).strip().partition("\n")[0]
        raise SurgeryError("identity", f"it does not run: {type(failure).__name__}: {text}") from failure
    finally:
        model.train(training)
    if not wanted or len(wanted) != len(got) or not all(torch.equal(a, b) for a, b in zip(wanted, got, strict=True)):
        raise SurgeryError("identity", "scaled by 1, it computes something else")


def prove(scaled: Scaled) -> None:
    """It runs forward and backward at its size, every layer has the account's channels, and torch counts its MACs.

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
    measured = measure(module, account.resolution)
    if measured.macs != account.macs:
        raise SurgeryError("forward", f"{measured.macs:,} MACs run, the account says {account.macs:,}")


def continued(name: str, kept: Tensor, shape: tuple[int, ...]) -> None:
    """Make sure that values which are kept can be had at another size."""
    try:
        fitted(kept, shape)
    except ValueError as failure:
        raise SurgeryError(name, str(failure)) from failure
