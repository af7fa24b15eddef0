"""Views of images: per sample, reproducible, at any resolution."""

from __future__ import annotations

import torch

from scalesearch.data.batches import TrainBatches, evaluation_batches, normalise
from scalesearch.data.images import Split
from scalesearch.recipe import AugmentSettings


def _split(count: int = 24, size: int = 20) -> Split:
    generator = torch.Generator().manual_seed(0)
    images = torch.randint(256, (count, 3, size, size), dtype=torch.uint8, generator=generator)
    return Split(images, torch.arange(count))


def _take(seed: int, workers: int = 0, policy: str = "none", steps: int = 5) -> list[tuple[torch.Tensor, torch.Tensor]]:
    augment = AugmentSettings.model_validate({"policy": policy})
    batches = TrainBatches(_split(), augment, 16, batch_size=8, seed=seed, workers=workers)
    return list(batches.take(steps))


def _equal(a: list[tuple[torch.Tensor, torch.Tensor]], b: list[tuple[torch.Tensor, torch.Tensor]]) -> bool:
    return all(torch.equal(x, y) and torch.equal(k, m) for (x, k), (y, m) in zip(a, b, strict=True))


def test_a_seed_fixes_every_batch_whatever_else_draws_random_numbers() -> None:
    first = _take(3, policy="randaugment")
    torch.rand(17)
    assert _equal(first, _take(3, policy="randaugment"))
    assert not _equal(first, _take(4, policy="randaugment"))


def test_worker_processes_make_the_same_batches() -> None:
    assert _equal(_take(1), _take(1, workers=2))


def test_an_epoch_sees_every_image_once_and_the_next_in_another_order() -> None:
    labels = torch.stack([label for _, label in _take(0, steps=6)]).view(2, 24)
    assert [sorted(epoch) for epoch in labels.tolist()] == [list(range(24))] * 2
    assert labels[0].tolist() != labels[1].tolist()


def test_every_sample_gets_its_own_crop() -> None:
    """One image eight times: eight different views."""
    same = Split(_split().images[:1].expand(8, -1, -1, -1), torch.zeros(8, dtype=torch.int64))
    views, _ = next(TrainBatches(same, AugmentSettings(), 16, batch_size=8, seed=0, workers=0).take(1))
    assert len({view.numpy().tobytes() for view in views}) == 8


def test_evaluation_sees_the_central_part_at_the_networks_size() -> None:
    split = _split(size=32)
    assert isinstance(split.images, torch.Tensor)

    def views(resolution: int, crop: float) -> torch.Tensor:
        parts = list(evaluation_batches(split, resolution, crop, 10))
        assert [len(labels) for _, labels in parts] == [10, 10, 4]
        return torch.cat([images for images, _ in parts])

    assert torch.equal(views(32, 1.0), split.images)
    assert torch.equal(views(16, 0.5), split.images[:, :, 8:24, 8:24])
    assert views(40, 1.0).shape == (24, 3, 40, 40)


def test_normalised_images_have_imagenets_statistics() -> None:
    images = torch.tensor([124, 116, 104], dtype=torch.uint8).view(1, 3, 1, 1).expand(2, 3, 4, 4)
    out = normalise(images, torch.device("cpu"), channels_last=True)
    assert out.abs().max() < 0.02
    assert out.is_contiguous(memory_format=torch.channels_last)
