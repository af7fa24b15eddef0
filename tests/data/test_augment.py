"""Views of a whole batch: torchvision's, each image its own, wherever they are made."""

from __future__ import annotations

import math
from collections import Counter
from typing import Any

import pytest
import torch
from torch import Tensor
from torchvision.transforms import InterpolationMode, v2

from scalesearch.data.augment import Augmentation
from scalesearch.data.crops import draw_boxes, multiplied_crops, resized_crops
from scalesearch.data.operations import operated
from scalesearch.data.policies import NAMES, SIGNED, Range, draw_operations
from scalesearch.image_size import Rectangle
from scalesearch.settings import AugmentSettings

POLICIES = {"randaugment": v2.RandAugment, "trivialaugment": v2.TrivialAugmentWide, "autoaugment": v2.AutoAugment}
THEIRS = {name: name.title().replace("_", "") for name in NAMES} | {"autocontrast": "AutoContrast"}


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


def test_a_large_batch_is_multiplied_part_by_part() -> None:
    images, boxes, flips = _pictures(7, 40), draw_boxes(7, 40, (0.08, 1.0), _generator()), torch.arange(7) % 2 == 1
    whole = multiplied_crops(images, boxes, flips, 32)
    assert torch.equal(multiplied_crops(images, boxes, flips, 32, together=3 * 40**2), whole)


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


def _by_torchvision(image: Tensor, name: str, magnitude: float) -> Tensor:
    nearest, transform = InterpolationMode.NEAREST, v2.RandAugment()
    result: Tensor = transform._apply_image_or_video_transform(image, THEIRS[name], magnitude, nearest, transform._fill)
    return result


def _strengths(name: str, resolution: int) -> Tensor:
    """Every fourth magnitude of both ranges, with both signs where the sign is random: float64 (n,)."""
    ranges = [Range(31, 0.3, (150 / 331 * resolution,) * 2, 30.0, 0.9, 4), Range(31, 0.99, (32.0,) * 2, 135.0, 0.99, 6)]
    each = torch.cat([space.magnitudes()[NAMES.index(name), ::4] for space in ranges])
    return torch.cat([each, -each]) if name in SIGNED else each


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("resolution", [32, 45])
def test_an_operation_is_torchvisions_bit_for_bit(name: str, resolution: int) -> None:
    """Where a movement looks exactly between two pixels, float noise decides: there, either is right.

    So each pixel is what torchvision shows at the magnitude, or at one that differs by 10⁻⁴ of it. Noise, smooth and
    two-level images, a grey and a flat one, and one of few levels.
    """
    pictures = _pictures(6, resolution)
    pictures[3], pictures[4], pictures[5] = pictures[3, :1], 77, pictures[0] // 8 + 100
    strengths = _strengths(name, resolution)
    images = pictures.repeat(len(strengths), 1, 1, 1)
    magnitudes = strengths.repeat_interleave(len(pictures))
    result = operated(images, torch.full((len(images),), NAMES.index(name)), magnitudes)
    right = torch.zeros_like(result, dtype=torch.bool)
    for nudge in (1, 1 + 1e-4, 1 - 1e-4) if name in ("shear_x", "shear_y", "rotate") else (1,):
        views = [_by_torchvision(pictures, name, nudge * strength) for strength in strengths.tolist()]
        right |= result == torch.cat(views)
    assert right.all()


@pytest.mark.parametrize("policy", POLICIES)
def test_a_policy_draws_torchvisions_operations_as_often_and_as_strong(policy: str) -> None:
    """The same pairs of operation and signed magnitude; shares of 3,000 draws and 30,000 within 5 standard errors."""
    resolution, count, drawn = 64, 30_000, 3000
    theirs: Counter[tuple[str, float]] = Counter()

    class Recorded(POLICIES[policy]):  # type: ignore[misc, valid-type]
        def _apply_image_or_video_transform(
            self, image: Tensor, name: str, magnitude: float, *_: Any, **__: Any
        ) -> Tensor:
            cut = math.trunc(magnitude) if "Translate" in name else magnitude
            theirs[name, round(cut, 4) + 0.0] += 1
            return image

    transform, image = Recorded(), torch.empty(3, resolution, resolution)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(2)
        for _ in range(drawn):
            transform(image)
    settings = AugmentSettings.model_validate({"policy": policy})
    operations, magnitudes = draw_operations(settings, resolution, count, _generator())
    ours = Counter(
        (THEIRS[NAMES[which]], round(strength, 4) + 0.0)
        for which, strength in zip(operations.flatten().tolist(), magnitudes.flatten().tolist(), strict=True)
        if policy != "autoaugment" or NAMES[which] != "identity"  # there it stands for what did not happen
    )
    assert set(theirs) <= set(ours)
    for pair, times in ours.items():
        share = (times + theirs[pair]) / (count + drawn)
        assert abs(theirs[pair] / drawn - times / count) < 5 * math.sqrt(share * (1 / drawn + 1 / count)), pair


@pytest.mark.parametrize("policy", ["none", *POLICIES])
def test_views_have_the_statistics_of_torchvisions(policy: str) -> None:
    """Mean level, contrast and detail of 400 views: means and deviations within 4 standard errors of each other."""
    count, size, resolution = 400, 40, 32
    images = v2.functional.resize(_pictures(count, 10), [size, size]) // 2 + 40
    steps: list[Any] = [v2.RandomResizedCrop(resolution, interpolation=InterpolationMode.BICUBIC)]
    steps += [v2.RandomHorizontalFlip(), *([POLICIES[policy]()] if policy in POLICIES else [])]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(3)
        theirs = torch.stack([v2.Compose(steps)(image) for image in images])
    augment = _augmentation(resolution, policy=policy)
    ours = augment(images, augment.draw(count, size, _generator()))

    def features(views: Tensor) -> Tensor:
        levels = views.double()
        return torch.stack(
            [levels.mean((1, 2, 3)), levels.std((1, 2, 3)), levels.diff(dim=-1).abs().mean((1, 2, 3))], 1
        )

    a, b = features(ours), features(theirs)
    error = b.std(0) * math.sqrt(2 / count)
    assert ((a.mean(0) - b.mean(0)).abs() < 4 * error).all()
    assert ((a.std(0) - b.std(0)).abs() < 4 * error).all()


def test_no_value_is_read_back_from_the_device() -> None:
    """The meta device has none to read."""
    for policy in ("none", *POLICIES):
        augment = _augmentation(24, policy=policy)
        images = torch.empty(100, 3, 40, 40, dtype=torch.uint8, device="meta")
        views = augment(images, augment.draw(100, 40, _generator()))
        assert (views.shape, views.dtype, views.device.type) == ((100, 3, 24, 24), torch.uint8, "meta")


@pytest.mark.parametrize("policy", ["none", *POLICIES])
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
    assert not torch.equal(augment(images, augment.draw(8, 40, _generator(99))), views)


def test_half_of_the_views_are_mirrored_unless_flip_is_off() -> None:
    assert 450 < _augmentation(8).draw(1000, 8, _generator()).flips.sum() < 550
    assert not _augmentation(8, flip=False).draw(1000, 8, _generator()).flips.any()


def _wide(channels: int = 3) -> Tensor:
    """uint8 (6, channels, 24, 40), noise and smooth ones."""
    square = _pictures(6, 40).float().mean(1, keepdim=True) if channels == 1 else _pictures(6, 40)
    return square[:, :, 8:32].to(torch.uint8).contiguous()


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("channels", [1, 3])
def test_an_operation_on_rectangles_and_grey_images_is_torchvisions(name: str, channels: int) -> None:
    pictures, strengths = _wide(channels), _strengths(name, 32)
    images, magnitudes = pictures.repeat(len(strengths), 1, 1, 1), strengths.repeat_interleave(len(pictures))
    result = operated(images, torch.full((len(images),), NAMES.index(name)), magnitudes)
    right = torch.zeros_like(result, dtype=torch.bool)
    for nudge in (1, 1 + 1e-4, 1 - 1e-4) if name in ("shear_x", "shear_y", "rotate") else (1,):
        right |= result == torch.cat([_by_torchvision(pictures, name, nudge * each) for each in strengths.tolist()])
    assert right.all()


def test_alpha_moves_with_the_image_and_keeps_its_levels() -> None:
    coloured, alpha = _wide(), _wide(1)
    both = torch.cat([coloured, alpha], dim=1)
    for name, magnitude in (("rotate", 20.0), ("brightness", 0.5), ("posterize", 4.0), ("color", 0.7)):
        which, strength = torch.full((6,), NAMES.index(name)), torch.full((6,), magnitude, dtype=torch.float64)
        result = operated(both, which, strength)
        assert torch.equal(result[:, :3], operated(coloured, which, strength))
        moved = operated(alpha, which, strength) if name == "rotate" else alpha
        assert torch.equal(result[:, 3:], moved)


@pytest.mark.parametrize("fractions", [False, True])
def test_a_rectangular_crop_is_torchvisions(fractions: bool) -> None:
    images, size = _wide(1), Rectangle(32, 20)
    if fractions:
        images = images.float() + 0.25 * (images < 255)
    boxes = draw_boxes(6, Rectangle(24, 40), (0.2, 1.0), _generator())
    flips = torch.arange(6) % 2 == 1
    expected = torch.stack(
        [
            v2.functional.resized_crop(image, *box, list(size), InterpolationMode.BICUBIC, antialias=True)
            for image, box in zip(images, boxes.tolist(), strict=True)
        ]
    ).clamp(0, 255)
    expected[flips] = expected[flips].flip(-1)
    assert torch.equal(resized_crops(images, boxes, flips, size), expected)
    assert (multiplied_crops(images, boxes, flips, size).float() - expected.float()).abs().max() <= (
        0.02 if fractions else 1
    )


def test_crops_of_rectangles_have_their_ratio_within_a_third() -> None:
    boxes = draw_boxes(4000, Rectangle(60, 240), (0.3, 1.0), _generator()).double()
    aspect = boxes[:, 3] / boxes[:, 2]
    assert (boxes[:, 0] + boxes[:, 2] <= 60).all() and (boxes[:, 1] + boxes[:, 3] <= 240).all()
    assert aspect.min() > 4 * 3 / 4 * 0.95 and aspect.max() < 4 * 4 / 3 * 1.05
    assert abs(aspect.log().mean() - math.log(4)) < 0.01
