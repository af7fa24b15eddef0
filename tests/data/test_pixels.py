"""What becomes of images of any mode, depth and shape."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image
from torchvision.transforms import v2

from scalesearch.data.pixels import View, as_array, fitted, share_kept
from scalesearch.image_size import Rectangle, Resolution

SIXTEEN = np.array([[0, 1, 255, 256], [257, 4095, 32768, 65535]], np.uint16)


@pytest.mark.parametrize("channels", [1, 3])
def test_sixteen_bits_are_shares_of_white_and_none_is_lost(channels: int) -> None:
    array = as_array(Image.fromarray(SIXTEEN), View(channels, 16))
    assert array.dtype == np.float32 and array.shape == (2, 4, channels)
    for channel in range(channels):
        assert np.allclose(array[..., channel] / 255, SIXTEEN / 65535, rtol=1e-6, atol=0)
    assert len(np.unique(array)) == 8


def test_eight_of_sixteen_bits_are_the_upper_ones() -> None:
    assert (as_array(Image.fromarray(SIXTEEN), View(1, 8))[..., 0] == SIXTEEN >> 8).all()


@pytest.mark.parametrize("mode", ["L", "LA", "P", "1", "CMYK", "RGBA", "RGB"])
@pytest.mark.parametrize(("channels", "theirs"), [(1, "L"), (3, "RGB"), (4, "RGBA")])
def test_eight_bits_are_converted_as_pillow_does(mode: str, channels: int, theirs: str) -> None:
    image = Image.linear_gradient("L").convert(mode)
    wanted = np.asarray(image.convert(theirs)).reshape(256, 256, channels)
    assert np.array_equal(as_array(image, View(channels)), wanted)
    assert np.array_equal(as_array(image, View(channels, 16)), wanted.astype(np.float32))


def test_grey_images_in_four_channels_are_opaque() -> None:
    deep = as_array(Image.fromarray(SIXTEEN), View(4, 16))
    assert (deep[..., 3] == 255).all() and (deep[..., 0] == deep[..., 2]).all()


@pytest.mark.parametrize(
    ("height", "width", "size"),
    [(60, 90, Rectangle(24, 72)), (40, 200, Rectangle(32, 96)), (50, 50, Rectangle(48, 16)), (70, 45, 32)],
)
def test_the_centre_is_torchvisions_crop_of_the_networks_ratio(height: int, width: int, size: Resolution) -> None:
    image = _picture(height, width)
    high, wide = (size, size) if isinstance(size, int) else size
    ratio = min(height / high, width / wide)
    cropped = v2.functional.center_crop(image, [round(high * ratio), round(wide * ratio)])
    wanted = np.asarray(cropped.resize((wide, high), Image.Resampling.BICUBIC)).transpose(2, 0, 1)
    found = fitted(as_array(image), size)
    assert found.shape == (3, high, wide)
    assert np.abs(found.astype(int) - wanted.astype(int)).max() <= 1
    assert share_kept(height, width, size) == pytest.approx(cropped.width * cropped.height / (height * width))


def test_squash_shows_the_whole_image_as_pillow_resizes_it() -> None:
    image = _picture(32, 128)
    wanted = np.asarray(image.resize((32, 32), Image.Resampling.BICUBIC)).transpose(2, 0, 1)
    assert np.abs(fitted(as_array(image), 32, "squash").astype(int) - wanted.astype(int)).max() <= 1


def test_pad_keeps_the_ratio_and_leaves_the_rest_black() -> None:
    image = _picture(32, 128)
    found = fitted(as_array(image), 64, "pad")
    assert not found[:, :24].any() and not found[:, 40:].any()
    wanted = np.asarray(image.resize((64, 16), Image.Resampling.BICUBIC)).transpose(2, 0, 1)
    assert np.abs(found[:, 24:40].astype(int) - wanted.astype(int)).max() <= 1


@pytest.mark.parametrize("crop", ["centre", "squash", "pad"])
def test_levels_with_fractions_stay_between_black_and_white(crop: str) -> None:
    edge = np.zeros((40, 64), np.uint16)
    edge[:, 32:] = 65535
    found = fitted(as_array(Image.fromarray(edge), View(1, 16)), Rectangle(24, 24 * 2), crop)  # type: ignore[arg-type]
    assert found.dtype == np.float32 and found.min() == 0 and found.max() == 255


def _picture(height: int, width: int) -> Image.Image:
    coarse = np.random.default_rng(height).integers(256, size=(9, 9, 3), dtype=np.uint8)
    return Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC)
