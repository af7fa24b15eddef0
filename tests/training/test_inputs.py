"""How images are seen by which network, where the recipe leaves it open."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from scalesearch.data.images import split_indices
from scalesearch.data.sources import open_source
from scalesearch.data.statistics import channel_statistics
from scalesearch.errors import DataError
from scalesearch.settings import AugmentSettings, DataSettings
from scalesearch.training.inputs import Inputs, settled


def _settled(root: Path, mode: str, own: int | None, policy: str = "none", **keys: object) -> Inputs:
    random = np.random.default_rng(0)
    for label in ("cat", "dog"):
        (root / label).mkdir(parents=True, exist_ok=True)
        for i in range(4):
            bands = {"L": (), "RGB": (3,), "RGBA": (4,)}.get(mode, ())
            top, kind = (2**16, np.uint16) if mode == "I;16" else (2**8, np.uint8)
            values = random.integers(top, size=(16, 16, *bands)).astype(kind)
            Image.fromarray(values).save(root / label / f"{i}.png")
    data = DataSettings.model_validate({"source": f"folder:{root}", **keys})
    augment = AugmentSettings.model_validate({"policy": policy})
    return settled(data, open_source(data), "net", own, 16, augment)


@pytest.mark.parametrize(
    ("mode", "own", "seen"),
    [
        ("L", None, (1, 8)),
        ("I;16", None, (1, 16)),
        ("RGB", None, (3, 8)),
        ("RGBA", None, (3, 8)),
        ("L", 1, (1, 8)),
        ("L", 3, (3, 8)),
        ("I;16", 3, (3, 16)),
        ("RGBA", 4, (4, 8)),
    ],
)
def test_networks_get_what_they_take_or_else_what_there_is(
    mode: str, own: int | None, seen: tuple[int, int], tmp_path: Path
) -> None:
    found = _settled(tmp_path, mode, own)
    assert (found.data.channels, found.data.bits) == seen
    assert (found.source.train.view.channels, found.source.train.view.bits) == seen


@pytest.mark.parametrize(
    ("mode", "own", "said"),
    [
        ("RGB", 1, "net takes 1 channel, and the images have 3: --set data.channels=1 turns colours into greys"),
        ("RGB", 4, "net takes 4 channels, and the images have 3: --set data.channels=4 makes images without alpha "
         "opaque"),
        ("L", 5, "net takes 5 channels, and images have 1, 3 or 4"),
    ],
)  # fmt: skip
def test_a_mismatch_names_both_numbers_and_what_to_set(mode: str, own: int, said: str, tmp_path: Path) -> None:
    with pytest.raises(DataError) as failure:
        _settled(tmp_path, mode, own)
    assert str(failure.value) == said


def test_what_is_set_is_done(tmp_path: Path) -> None:
    found = _settled(tmp_path, "RGB", 1, channels=1, bits=16, crop="pad")
    view = found.source.train.view
    assert (view.channels, view.bits, view.crop) == (1, 16, "pad")


@pytest.mark.parametrize(
    ("mode", "channels", "said"),
    [
        ("L", 1, "randaugment: its operation color does nothing to grey images"),
        ("RGBA", 4, "randaugment: its operations on colours leave alpha as it is"),
    ],
)
def test_augmentation_that_means_nothing_there_is_told(mode: str, channels: int, said: str, tmp_path: Path) -> None:
    assert said in _settled(tmp_path, mode, channels, "randaugment").words
    assert said not in _settled(tmp_path, mode, channels).words


def test_statistics_are_numpys_over_the_training_images_alone(tmp_path: Path) -> None:
    found = _settled(tmp_path, "I;16", None, minival=0.25)
    train, minival = split_indices(found.source, found.data)
    assert len(train) == 6 and len(minival) == 2
    values = np.stack([np.asarray(Image.open(found.source.train.name(i))) for i in train]) / 65535
    mean, deviation = channel_statistics(found.source, found.data, 16)
    assert mean == pytest.approx([values.mean()], rel=1e-3)
    assert deviation == pytest.approx([values.std()], rel=1e-3)
