"""Corruptions against NumPy, SciPy, Pillow and colorsys, at the levels of the authors' programs."""

from __future__ import annotations

import colorsys
import io

import numpy as np
import pytest
import torch
from PIL import Image
from scipy.ndimage import gaussian_filter
from scipy.stats import norm
from torch import Tensor

from scalesearch.data.corruptions import (
    CIFAR_C,
    CORRUPTIONS,
    IMAGENET_C,
    SEVERITIES,
    Condition,
    Corruptor,
    Levels,
    brightened,
)

FULL = Corruptor(IMAGENET_C, seen=224)


def _images(count: int = 3, side: int = 48) -> Tensor:
    """Smooth shapes and single bright and black pixels, each image its own: uint8 (count, 3, side, side)."""
    random = np.random.default_rng(0)
    waves = np.cumsum(random.normal(0, 9, (count, 3, side, side)), axis=-1) + random.integers(60, 200, (count, 3, 1, 1))
    images = waves.clip(0, 255).astype(np.uint8)
    images[:, :, 5:9, 7] = 0
    images[:, :, 11, 20:24] = 255
    return torch.from_numpy(images)


def _one(name: str, severity: int, corruptor: Corruptor = FULL) -> tuple[Tensor, Tensor]:
    images = _images()
    return images, corruptor(images, range(len(images)), Condition(name, severity))


def _furthest(found: Tensor, expected: np.ndarray) -> int:
    return int(np.abs(found.numpy().astype(int) - np.asarray(expected).astype(int)).max())


@pytest.mark.parametrize(
    ("levels", "name", "published"),
    [
        (IMAGENET_C, "gaussian_noise", (0.08, 0.12, 0.18, 0.26, 0.38)),
        (IMAGENET_C, "gaussian_blur", (1, 2, 3, 4, 6)),
        (IMAGENET_C, "jpeg_compression", (25, 18, 15, 10, 7)),
        (IMAGENET_C, "brightness", (0.1, 0.2, 0.3, 0.4, 0.5)),
        (IMAGENET_C, "contrast", (0.4, 0.3, 0.2, 0.1, 0.05)),
        (CIFAR_C, "gaussian_noise", (0.04, 0.06, 0.08, 0.09, 0.10)),
        (CIFAR_C, "gaussian_blur", (0.4, 0.6, 0.7, 0.8, 1)),
        (CIFAR_C, "jpeg_compression", (80, 65, 58, 50, 40)),
        (CIFAR_C, "brightness", (0.05, 0.1, 0.15, 0.2, 0.3)),
        (CIFAR_C, "contrast", (0.75, 0.5, 0.4, 0.3, 0.15)),
    ],
)
def test_levels_are_those_of_the_authors_programs(levels: Levels, name: str, published: tuple[float, ...]) -> None:
    """`make_imagenet_c.py` and `make_cifar_c.py` of github.com/hendrycks/robustness."""
    corruptor = Corruptor(levels, seen=levels.side)
    assert tuple(corruptor.level(Condition(name, severity)) for severity in SEVERITIES) == published


@pytest.mark.parametrize("severity", SEVERITIES)
def test_jpeg_is_what_pillow_makes_of_it(severity: int) -> None:
    images, found = _one("jpeg_compression", severity)
    for image, corrupted in zip(images, found, strict=True):
        file = io.BytesIO()
        quality = (25, 18, 15, 10, 7)[severity - 1]
        Image.fromarray(image.permute(1, 2, 0).numpy()).save(file, "JPEG", quality=quality)
        expected = np.asarray(Image.open(file)).transpose(2, 0, 1)
        assert _furthest(corrupted, expected) <= 2, "two decoders of one file"


@pytest.mark.parametrize("severity", SEVERITIES)
def test_brightness_is_added_to_the_value_of_hsv(severity: int) -> None:
    images, found = _one("brightness", severity)
    by = severity / 10
    pixels = images.permute(0, 2, 3, 1).reshape(-1, 3).numpy()[::7] / 255
    expected = []
    for red, green, blue in pixels:
        hue, saturation, value = colorsys.rgb_to_hsv(red, green, blue)
        expected.append(colorsys.hsv_to_rgb(hue, saturation, min(1.0, value + by)))
    assert _furthest(found.permute(0, 2, 3, 1).reshape(-1, 3)[::7], np.round(255 * np.array(expected))) <= 1


@pytest.mark.parametrize("severity", SEVERITIES)
def test_contrast_shrinks_towards_each_channels_mean(severity: int) -> None:
    images, found = _one("contrast", severity)
    plain = images.numpy() / 255
    mean = plain.mean((2, 3), keepdims=True)
    expected = (plain - mean) * (0.4, 0.3, 0.2, 0.1, 0.05)[severity - 1] + mean
    assert _furthest(found, np.round(255 * expected)) <= 1


@pytest.mark.parametrize("severity", SEVERITIES)
def test_blur_is_scipys_with_mirrored_edges(severity: int) -> None:
    images, found = _one("gaussian_blur", severity)
    sigma = (1, 2, 3, 4, 6)[severity - 1]
    expected = gaussian_filter(images.numpy().astype(float), (0, 0, sigma, sigma), mode="mirror", truncate=4)
    assert _furthest(found, np.round(expected)) <= 1


def test_the_blur_is_the_same_share_of_a_smaller_picture_and_no_other_level_changes() -> None:
    half = Corruptor(IMAGENET_C, seen=112)
    for name in CORRUPTIONS:
        for severity in SEVERITIES:
            condition = Condition(name, severity)
            assert half.level(condition) == FULL.level(condition) * (0.5 if name == "gaussian_blur" else 1)
    images, found = _one("gaussian_blur", 5, half)
    expected = gaussian_filter(images.numpy().astype(float), (0, 0, 3, 3), mode="mirror", truncate=4)
    assert _furthest(found, np.round(expected)) <= 1


@pytest.mark.parametrize("severity", SEVERITIES)
def test_noise_has_the_published_deviation_and_is_clipped_as_often_as_it_has_to_be(severity: int) -> None:
    grey = torch.full((4, 3, 64, 64), 100, dtype=torch.uint8)
    found = FULL(grey, range(4), Condition("gaussian_noise", severity)).numpy()
    sigma = 255 * (0.08, 0.12, 0.18, 0.26, 0.38)[severity - 1]
    for edge, share in ((0, norm.cdf((0.5 - 100) / sigma)), (255, norm.sf((254.5 - 100) / sigma))):
        assert np.mean(found == edge) == pytest.approx(share, abs=4 * np.sqrt(share / found.size) + 1e-4)
    middle = np.mean(np.abs(found.astype(float) - 100) <= sigma / 2)
    assert middle == pytest.approx(1 - 2 * norm.sf(0.5), abs=0.02), "rounding to levels included"


@pytest.mark.parametrize("name", CORRUPTIONS)
@pytest.mark.parametrize("severity", [1, 5])
def test_an_images_corruption_is_its_own_in_any_batch(name: str, severity: int) -> None:
    images, condition = _images(6), Condition(name, severity)
    together = FULL(images, (4, 9, 2, 7, 30, 11), condition)
    alone = torch.cat([FULL(images[i : i + 1], (index,), condition) for i, index in enumerate((4, 9, 2, 7, 30, 11))])
    far = _furthest(together, alone.numpy())
    assert far <= (1 if name == "gaussian_blur" else 0)
    assert together.dtype == torch.uint8 and together.shape == images.shape
    assert not torch.equal(together, images)


def test_noise_is_by_seed_image_and_severity_and_by_nothing_else() -> None:
    grey = torch.full((2, 3, 16, 16), 128, dtype=torch.uint8)
    one = FULL(grey, (0, 1), Condition("gaussian_noise", 1))
    torch.manual_seed(9)
    assert torch.equal(one, FULL(grey, (0, 1), Condition("gaussian_noise", 1)))
    assert not torch.equal(one[0], one[1]), "images have their own"
    other = Corruptor(IMAGENET_C, 224, seed=1)(grey, (0, 1), Condition("gaussian_noise", 1))
    assert not torch.equal(one, other)
    two = FULL(grey, (0, 1), Condition("gaussian_noise", 2)).float() - 128
    correlation = np.corrcoef((one.float() - 128).flatten(), two.flatten())[0, 1]
    assert abs(correlation) < 0.15, "severities have their own, of 1,536 numbers"


@pytest.mark.parametrize("name", CORRUPTIONS)
@pytest.mark.parametrize("side", [1, 2, 9])
def test_tiny_images_are_corrupted_too(name: str, side: int) -> None:
    images = torch.randint(0, 256, (2, 3, side, side), dtype=torch.uint8)
    for severity in SEVERITIES:
        assert FULL(images, (0, 1), Condition(name, severity)).shape == images.shape


def test_no_corruption_is_the_image_itself_and_another_name_is_an_error() -> None:
    images = _images()
    assert FULL(images, (0, 1, 2), Condition()) is images
    with pytest.raises(KeyError):
        FULL(images, (0, 1, 2), Condition("fog", 1))


@pytest.mark.parametrize("level", [0.01, 0.5, 0.99, 1.0, 40.0])
def test_brightness_is_added_to_levels_between_the_first_two_as_well(level: float) -> None:
    """Images of 16 bits are levels with fractions: the darkest are less than one."""
    made = brightened(torch.full((1, 3, 2, 2), level), 25.5)
    assert torch.allclose(made, torch.full_like(made, level + 25.5))
