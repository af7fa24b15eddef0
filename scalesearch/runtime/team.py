"""The processes that train one network together, and what they tell each other; most trainings are a team of one."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TypeVar

import torch
from torch import Tensor, distributed, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.parallel import DistributedDataParallel

from scalesearch.errors import DeviceError, ScaleSearchError
from scalesearch.runtime.device import pick_device

T = TypeVar("T")


@dataclass(frozen=True)
class Team:
    """This process is ``rank`` of ``world``, and ``local`` of those on its node.

    Alone, whatever is here changes nothing and needs no process group. In a team, every process calls the same
    methods in the same order.
    """

    rank: int = 0
    world: int = 1
    local: int = 0
    sync_batchnorm: bool = False

    @property
    def leads(self) -> bool:
        """Whether this is the one that writes and prints."""
        return self.rank == 0

    def share(self, batch: int) -> slice:
        """This process's images of a batch of so many; all get equally many where ``world`` divides it."""
        return slice(self.rank, batch, self.world)

    def part(self, count: int) -> range:
        """This process's stretch of ``count`` images: each lies in one stretch and in no other."""
        return range(count * self.rank // self.world, count * (self.rank + 1) // self.world)

    def total(self, values: Tensor) -> Tensor:
        """The sum over the processes of tensors on the CPU."""
        if self.world > 1:
            distributed.all_reduce(values)
        return values

    def mean(self, value: Tensor) -> float:
        """The mean over the processes of a number each."""
        if self.world == 1:
            return float(value.item())
        return float(self.total(value.detach().cpu().double()).item()) / self.world

    def first(self, make: Callable[[], T]) -> T:
        """What rank 0 makes, for everybody."""
        made = [make() if self.leads else None]
        if self.world > 1:
            distributed.broadcast_object_list(made, src=0, device=torch.device("cpu"))
        return made[0]  # type: ignore[return-value]

    def everyones(self, value: T) -> list[T]:
        """The values of all processes, by rank."""
        if self.world == 1:
            return [value]
        values: list[T] = [value] * self.world
        distributed.all_gather_object(values, value)
        return values

    def in_turn(self, make: Callable[[], T]) -> T:
        """What each makes, the first of each node before the others: they find what it left in the cache."""
        made = make() if self.local == 0 else None
        if self.world > 1:
            distributed.barrier()
        return make() if made is None else made

    def align(self, module: nn.Module) -> None:
        """Give everybody rank 0's buffers, the statistics of its batch norms: each has seen other images."""
        if self.world > 1:
            for buffer in module.buffers():
                distributed.broadcast(buffer, src=0)

    def parallel(self, model: nn.Module, device: torch.device) -> nn.Module | None:
        """``model`` with gradients averaged over the processes, also where some pass a block by; None alone."""
        if self.world == 1:
            return None
        return DistributedDataParallel(
            model, device_ids=[device.index] if device.type == "cuda" else None, find_unused_parameters=True
        )

    def normalised(self, model: nn.Module) -> nn.Module:
        """``model``, with batch norms over the whole batch if that was asked for.

        Raises:
            ScaleSearchError: torch cannot replace a batch norm that does more than normalise.
        """
        return synchronised(model) if self.sync_batchnorm and self.world > 1 else model


ALONE = Team()


def synchronised(model: nn.Module) -> nn.Module:
    """Every batch norm replaced by `torch.nn.SyncBatchNorm`, names and weights unchanged.

    Raises:
        ScaleSearchError: a batch norm does more than normalise, and would lose it.
    """
    own = {
        name: type(module)
        for name, module in model.named_modules()
        if isinstance(module, _BatchNorm) and not type(module).__module__.startswith("torch.nn.")
    }
    if any(kind.__module__.startswith("timm.") for kind in own.values()):
        from timm.layers import norm_act  # whose own conversion keeps the activation that its norms apply

        converted: nn.Module = norm_act.convert_sync_batchnorm(model)  # type: ignore[no-untyped-call]
        return converted
    if own:
        name, kind = next(iter(own.items()))
        raise ScaleSearchError(f"--sync-batchnorm: {name} is a {kind.__name__}, which SyncBatchNorm cannot replace")
    synced: nn.Module = nn.SyncBatchNorm.convert_sync_batchnorm(model)  # type: ignore[no-untyped-call]
    return synced


def place_in(environment: Mapping[str, str]) -> Team | None:
    """The place that torchrun gave this process; None where it was started by hand."""
    if not {"RANK", "WORLD_SIZE"} <= environment.keys():
        return None
    try:
        rank, world, local = (int(environment.get(key, "0")) for key in ("RANK", "WORLD_SIZE", "LOCAL_RANK"))
    except ValueError as failure:
        raise ScaleSearchError(f"RANK, WORLD_SIZE and LOCAL_RANK are not torchrun's: {failure}") from failure
    return Team(rank, world, local)


def device_of(team: Team, name: str) -> torch.device:
    """The device of this process: with CUDA, that of its local rank.

    Raises:
        DeviceError: it is not there, or cannot be shared out.
    """
    device = pick_device(name)
    if team.sync_batchnorm and device.type != "cuda":
        raise DeviceError(f"--sync-batchnorm needs CUDA: torch.nn.SyncBatchNorm does not run on {device.type}")
    if team.world == 1 or device.type == "cpu":
        return device
    if device.type != "cuda":
        raise DeviceError(f"{team.world} processes train one network on cpu or cuda, not on {device.type}")
    if name not in ("auto", "cuda"):
        raise DeviceError(f"device {name!r} is one device, and {team.world} processes need one each: --device cuda")
    return pick_device(f"cuda:{team.local}")
