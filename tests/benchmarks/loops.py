"""How others train: torchvision's reference loop, and a minimal one over timm's own parts."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from copy import deepcopy
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.data import DataLoader, Subset
from torchvision.datasets import ImageFolder
from torchvision.transforms import InterpolationMode, v2

from scalesearch.runtime.threads import cores

RATE, MOMENTUM, DECAY, SMOOTHING = 0.05, 0.9, 1e-5, 0.1
Steps = Callable[[Tensor, Tensor], Tensor]


def loaders() -> int:
    """Processes that load others' images. Where two cores train too, loading processes and torch's threads wait for
    each other, and none is fastest (MobileNetV2 at 64 px: 2.2 s an epoch, with one process 5.3, with two 8.6)."""
    return min(16, cores()) if torch.cuda.is_available() or cores() > 2 else 0


def where(processes: int) -> str:
    """In which processes that is, in words."""
    return f"in {processes} processes" if processes else "in the process that trains (on two cores that is fastest)"


def loader_of(
    folder: Path, chosen: list[int], views: list[nn.Module], *, batch: int, workers: int, device: torch.device,
    training: bool,
) -> DataLoader[tuple[Tensor, int]]:  # fmt: skip
    """Views of JPEG files, normalised one by one in processes that stay, as torchvision's reference makes them."""
    last = [
        v2.PILToTensor(),
        v2.ToDtype(torch.float32, scale=True),
        v2.Normalize((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
        v2.ToPureTensor(),
    ]
    images = Subset(ImageFolder(str(folder / "train"), v2.Compose([*views, *last])), chosen)
    return DataLoader(
        images, batch, shuffle=training, drop_last=training, num_workers=workers, pin_memory=device.type == "cuda",
        persistent_workers=workers > 0,
    )  # fmt: skip


def torchvision_epochs(
    network: nn.Module, folder: Path, chosen: list[int], *, size: int, batch: int, epochs: int, workers: int,
    device: torch.device, after: Callable[[], object] = lambda: None,
) -> list[float]:  # fmt: skip
    """Seconds of each epoch of torchvision's `references/classification`: ImageFolder, a loader's processes that
    decode, crop, flip and normalise one image at a time, AMP and cuDNN's benchmark on CUDA, SGD, and the loss read in
    every step for its log. ``after`` each epoch is a part of it. Unlike there the processes stay for the next epoch."""
    crop = v2.RandomResizedCrop(size, interpolation=InterpolationMode.BILINEAR, antialias=True)
    views = [crop, v2.RandomHorizontalFlip()]
    loader = loader_of(folder, chosen, views, batch=batch, workers=workers, device=device, training=True)
    optimizer = torch.optim.SGD(network.parameters(), lr=RATE, momentum=MOMENTUM, weight_decay=DECAY)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, epochs)
    scaler = torch.amp.GradScaler(device.type, enabled=device.type == "cuda")

    def step(images: Tensor, labels: Tensor) -> Tensor:
        with torch.autocast(device.type, torch.float16, enabled=device.type == "cuda"):
            loss = functional.cross_entropy(network(images), labels, label_smoothing=SMOOTHING)
        optimizer.zero_grad()
        scaler.scale(loss).backward()  # type: ignore[no-untyped-call]
        scaler.step(optimizer)
        scaler.update()
        loss.item()
        return loss

    def ended() -> None:
        schedule.step()
        after()

    return _epochs(network, loader, step, epochs, device, ended)


def timm_epochs(
    network: nn.Module, folder: Path, chosen: list[int], *, size: int, batch: int, epochs: int, workers: int,
    device: torch.device,
) -> list[float]:  # fmt: skip
    """Seconds of each epoch over timm's own loader, optimiser and schedule, in the order of its `train.py`: the batch
    is put together as uint8 and normalised on the device; the loss is read every fifty steps."""
    from timm.data.loader import create_loader
    from timm.optim._optim_factory import create_optimizer_v2
    from timm.scheduler.cosine_lr import CosineLRScheduler

    images = Subset(ImageFolder(str(folder / "train")), chosen)
    loader = create_loader(
        _Transformed(images), (3, size, size), batch,  # type: ignore[arg-type] # as timm's data sets are
        is_training=True, use_prefetcher=device.type == "cuda",
        num_workers=workers, device=device, interpolation="bicubic", scale=(0.08, 1.0), hflip=0.5, color_jitter=0.0,
        pin_memory=device.type == "cuda", persistent_workers=workers > 0,
    )  # fmt: skip
    optimizer = create_optimizer_v2(network, opt="sgd", lr=RATE, momentum=MOMENTUM, weight_decay=DECAY)
    schedule = CosineLRScheduler(optimizer, epochs)
    count = [0]

    def step(images: Tensor, labels: Tensor) -> Tensor:
        with torch.autocast(device.type, torch.bfloat16, enabled=device.type == "cuda"):
            loss = functional.cross_entropy(network(images), labels, label_smoothing=SMOOTHING)
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        count[0] += 1
        if count[0] % 50 == 0:
            loss.item()
        return loss

    epoch = iter(range(1, epochs + 1))
    return _epochs(network, loader, step, epochs, device, lambda: schedule.step(next(epoch)))


class _Transformed(torch.utils.data.Dataset[tuple[object, int]]):
    """A subset with a ``transform`` that a loader may set, as timm's own data sets have."""

    def __init__(self, images: Subset[tuple[object, int]]) -> None:
        self.images = images
        self.transform: Callable[[object], object] | None = None

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> tuple[object, int]:
        image, label = self.images[index]
        return (self.transform(image) if self.transform else image), label


def warm_up(network: nn.Module, size: int, batch: int, device: torch.device) -> None:
    """Passes over noise, through a copy, in the precisions of both loops: the kernels' first calls, and with them
    cuDNN's trials, which both scripts ask for."""
    torch.backends.cudnn.benchmark = True
    copy = deepcopy(network).to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    images = torch.randn(batch, 3, size, size, device=device).to(memory_format=torch.channels_last)
    for precision in (torch.float16, torch.bfloat16):
        with torch.autocast(device.type, precision, enabled=device.type == "cuda"):
            loss = copy(images).sum()
        loss.backward()


def _epochs(
    network: nn.Module, loader: Iterable[tuple[Tensor, Tensor]], step: Steps, epochs: int, device: torch.device,
    after: Callable[[], object],
) -> list[float]:  # fmt: skip
    network.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    seconds = []
    for _ in range(epochs):
        start = time.perf_counter()
        network.train()
        for images, labels in loader:
            moved = images.to(device, non_blocking=True, memory_format=torch.channels_last)
            step(moved, labels.to(device, non_blocking=True))
        after()
        if device.type == "cuda":
            torch.cuda.synchronize()
        seconds.append(time.perf_counter() - start)
    return seconds
