"""What is checked after surgery, by running: a network that fails is refused, never scaled wrongly in silence."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from scalesearch.errors import SurgeryError
from scalesearch.surgery.measure import measure
from scalesearch.surgery.network import Network, Scaled
from scalesearch.surgery.skeleton import law_of, replace_tensors
from scalesearch.surgery.trace import flatten, named_tensors


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
    with torch.no_grad():
        wanted, got = (list(flatten(m.eval()(image.to(device)))) for m in (model, twin))
    model.train(training)
    if len(wanted) != len(got) or not all(torch.equal(a, b) for a, b in zip(wanted, got, strict=True)):
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
        if tuple(weight.shape) != wanted and not _transposed(module, row.name):
            raise SurgeryError(row.name, f"its weight is {tuple(weight.shape)}, the account says {wanted}")
    measured = measure(module, account.resolution)
    if measured.macs != account.macs:
        raise SurgeryError("forward", f"{measured.macs:,} MACs run, the account says {account.macs:,}")


def _transposed(module: nn.Module, name: str) -> bool:
    owner = module.get_submodule(name.rpartition(".")[0])
    return isinstance(owner, (nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d))
