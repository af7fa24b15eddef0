"""Views of images: per sample, reproducible, at any resolution."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest
import torch
from torchvision.transforms import v2

from scalesearch.data.batches import MEAN, STD, Normaliser, TrainBatches, evaluation_batches
from scalesearch.data.images import Split, load_images
from scalesearch.data.prefetch import AHEAD, ahead
from scalesearch.data.sources import open_source
from scalesearch.settings import AugmentSettings, DataSettings


def _split(count: int = 24, size: int = 20) -> Split:
    generator = torch.Generator().manual_seed(0)
    images = torch.randint(256, (count, 3, size, size), dtype=torch.uint8, generator=generator)
    return Split(images, torch.arange(count))


def _take(
    seed: int, policy: str = "none", steps: int = 5, start: int = 0, split: Split | None = None
) -> list[tuple[torch.Tensor, torch.Tensor]]:
    augment = AugmentSettings.model_validate({"policy": policy})
    batches = TrainBatches(split or _split(), augment, 16, batch_size=8, seed=seed)
    return list(batches.take(steps, start=start))


def _equal(a: list[tuple[torch.Tensor, torch.Tensor]], b: list[tuple[torch.Tensor, torch.Tensor]]) -> bool:
    return all(torch.equal(x, y) and torch.equal(k, m) for (x, k), (y, m) in zip(a, b, strict=True))


def test_a_seed_fixes_every_batch_whatever_else_draws_random_numbers() -> None:
    first = _take(3, policy="randaugment")
    torch.rand(17)
    assert _equal(first, _take(3, policy="randaugment"))
    assert not _equal(first, _take(4, policy="randaugment"))


def test_a_trial_that_goes_on_sees_what_it_would_have_seen() -> None:
    assert _equal(_take(1, policy="randaugment", steps=7)[4:], _take(1, policy="randaugment", steps=7, start=4))


def test_images_that_are_decoded_again_and_again_make_the_same_batches() -> None:
    """A thread fetches them ahead."""
    source, settings = open_source(DataSettings()), {"limit": 24}
    lazy, cached = (
        load_images(source, DataSettings.model_validate(settings | {"cache": cache}), 20).train
        for cache in (False, True)
    )
    assert lazy.device is None and cached.device == torch.device("cpu")
    assert _equal(_take(1, split=lazy), _take(1, split=cached))


def test_an_epoch_sees_every_image_once_and_the_next_in_another_order() -> None:
    labels = torch.stack([label for _, label in _take(0, steps=6)]).view(2, 24)
    assert [sorted(epoch) for epoch in labels.tolist()] == [list(range(24))] * 2
    assert labels[0].tolist() != labels[1].tolist()


def test_every_sample_gets_its_own_crop() -> None:
    """One image eight times: eight different views."""
    same = Split(_split().images[:1].expand(8, -1, -1, -1), torch.zeros(8, dtype=torch.int64))
    views, _ = next(TrainBatches(same, AugmentSettings(), 16, batch_size=8, seed=0).take(1))
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
    out = Normaliser(torch.device("cpu"), channels_last=True)(images)
    assert out.abs().max() < 0.02
    assert out.is_contiguous(memory_format=torch.channels_last)


def test_work_ahead_keeps_its_order_tells_what_failed_and_ends_when_it_is_left() -> None:
    made = []

    def items(until: int) -> Iterator[int]:
        for i in range(100):
            if i == until:
                raise OSError("gone")
            made.append(i)
            yield i

    taken = []
    with pytest.raises(OSError, match="gone"):
        for item in ahead(items(5)):
            taken.append(item)
    assert taken == [0, 1, 2, 3, 4]
    made.clear()
    for item in ahead(items(100)):
        if item == 3:
            break
    assert len(made) <= 4 + AHEAD + 1
    assert not [thread for thread in threading.enumerate() if thread.name == "ahead"]


@pytest.mark.parametrize("channels_last", [True, False])
def test_every_channel_is_normalised_by_its_own_statistics_whatever_the_size(channels_last: bool) -> None:
    normalise = Normaliser(torch.device("cpu"), channels_last=channels_last)
    for side in (5, 8, 5):
        images = torch.randint(
            256, (2, 3, side, side), dtype=torch.uint8, generator=torch.Generator().manual_seed(side)
        )
        wanted = v2.functional.normalize(images.float() / 255, list(MEAN), list(STD))
        torch.testing.assert_close(normalise(images), wanted)
        layout = torch.channels_last if channels_last else torch.contiguous_format
        assert normalise(images).is_contiguous(memory_format=layout)


def test_images_stay_where_they_are_if_all_workers_of_a_device_cannot_have_them(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Of 12,288 bytes of images, 30 % of 50,000 free ones hold one worker's and not two's."""
    asked: list[object] = []
    monkeypatch.setattr("torch.cuda.mem_get_info", lambda device: (50_000, 80_000))

    def moved(tensor: torch.Tensor, device: torch.device) -> torch.Tensor:
        asked.append(device)
        return tensor

    monkeypatch.setattr(torch.Tensor, "to", moved)
    split = Split(torch.zeros(4, 3, 32, 32, dtype=torch.uint8), torch.zeros(4, dtype=torch.int64))
    device = torch.device("cuda:0")
    assert split.on(device, beside=2) is split
    assert not asked
    assert split.on(device) is not split
    assert asked == [device, device]
