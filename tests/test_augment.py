"""Views of a whole batch: torchvision's, each image its own, wherever they are made."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor
from torchvision.transforms import InterpolationMode, v2

from scalesearch.data.augment import Augmentation
from scalesearch.data.crops import draw_boxes, multiplied_crops, resized_crops
from scalesearch.recipe import AugmentSettings


def _generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def _pictures(count: int, size: int) -> Tensor:
    """uint8 (count, 3, size, size): every third noise, every third smooth, every third black and white."""
    noise = torch.randint(256, (count, 3, size, size), dtype=torch.uint8, generator=_generator())
    smooth = v2.functional.resize(noise[..., ::4, ::4], [size, size], InterpolationMode.BICUBIC)
    kinds = torch.stack([noise, smooth, (noise > 127).to(torch.uint8) * 255])
    return kinds[torch.arange(count) % 3, torch.arange(count)]


def _augmentation(resolution: int, **settings: object) -> Augmentation:
    return Augmentation(AugmentSettings.model_validate(settings), resolution)


@pytest.mark.parametrize(
    ("size", "resolution"), [(74, 64), (64, 64), (20, 64), (8, 33), (146, 96), (200, 48), (256, 24), (40, 9), (3, 5)]
)
def test_a_crop_is_torchvisions_bit_for_bit_on_the_cpu_and_within_a_level_elsewhere(size: int, resolution: int) -> None:
    """Elsewhere matrices are multiplied: 1 pixel in 10⁴ may be one level off, in images that shrink more than twofold.

    Sizes above, at and below the resolution, and crops of one pixel and of the whole image among them.
    """
    images, boxes = _pictures(12, size), draw_boxes(12, size, (0.08, 1.0), _generator())
    boxes[0], boxes[1] = torch.tensor([0, 0, size, size]), torch.tensor([size - 1, 0, 1, 1])
    flips = torch.arange(12) % 2 == 1
    expected = torch.stack(
        [
            v2.functional.resized_crop(image, *box, [resolution] * 2, InterpolationMode.BICUBIC, antialias=True)
            for image, box in zip(images, boxes.tolist(), strict=True)
        ]
    )
    expected[flips] = expected[flips].flip(-1)
    assert torch.equal(resized_crops(images, boxes, flips, resolution), expected)
    apart = (multiplied_crops(images, boxes, flips, resolution).int() - expected.int()).abs()
    assert apart.max() <= 1
    assert apart.float().mean() <= (1e-4 if size > 2 * resolution else 0)


@pytest.mark.parametrize("scale", [(0.08, 1.0), (0.9, 1.0)])
def test_crops_lie_as_torchvisions_do(scale: tuple[float, float]) -> None:
    """Means and deviations of area, aspect and place agree within 4 standard errors of the 1,500 of torchvision's."""
    size, count = 97, 6000
    transform = v2.RandomResizedCrop(32, scale=scale)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        theirs = [transform.make_params([torch.empty(3, size, size)]) for _ in range(1500)]
    expected = torch.tensor([[p["top"], p["left"], p["height"], p["width"]] for p in theirs])
    drawn = draw_boxes(count, size, scale, _generator())
    assert (drawn[:, :2] >= 0).all()
    assert (drawn[:, 2:] >= 1).all()
    assert (drawn[:, :2] + drawn[:, 2:] <= size).all()

    def features(boxes: Tensor) -> Tensor:
        top, left, height, width = boxes.double().unbind(1)
        return torch.stack([height * width / size**2, (width / height).log(), top / size, left / size], dim=1)

    ours, other = features(drawn), features(expected)
    error = other.std(0) / math.sqrt(1500)
    assert ((ours.mean(0) - other.mean(0)).abs() < 4 * error).all()
    assert ((ours.std(0) - other.std(0)).abs() < 4 * error).all()


@pytest.mark.parametrize("policy", ["none"])
def test_a_view_depends_on_its_own_image_and_draws_alone(policy: str) -> None:
    """One image eight times is eight views; another order of the batch, or a part of it, changes none of them."""
    augment = _augmentation(32, policy=policy)
    images = _pictures(3, 40)[1].expand(8, -1, -1, -1)
    draws = augment.draw(8, 40, _generator())
    views = augment(images, draws)
    assert views.shape == (8, 3, 32, 32)
    assert views.dtype == torch.uint8
    assert len({view.numpy().tobytes() for view in views.contiguous()}) == 8
    order = torch.randperm(8, generator=_generator())
    assert torch.equal(augment(images[order], draws[order]), views[order])
    assert torch.equal(augment(images[1::3], draws[1::3]), views[1::3])
    assert torch.equal(augment(images[-1:], draws[-1]), views[-1:])
    assert len(draws[1::3]) == 3
    assert torch.equal(augment(images, augment.draw(8, 40, _generator())), views)
    assert not torch.equal(augment(images, augment.draw(8, 40, _generator(1))), views)


def test_half_of_the_views_are_mirrored_unless_flip_is_off() -> None:
    assert 450 < _augmentation(8).draw(1000, 8, _generator()).flips.sum() < 550
    assert not _augmentation(8, flip=False).draw(1000, 8, _generator()).flips.any()
